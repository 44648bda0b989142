//! The binary, as its users start it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::http::{Answer, admin, get};
use super::{ADMIN_KEY, Client};

/// A directory with a database, and the binary working in it.
pub struct Process {
    pub directory: Arc<TempDir>,
    pub url: String,
    pub greeting: String,
    pub log: Arc<Mutex<String>>,
    child: Child,
}

/// A command that runs the binary in `directory`, with nothing of this environment but what programs need.
pub fn command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_m2mint"));
    command.current_dir(directory).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    // Where tests look into it.
    command.env("M2MINT_LOG_FORMAT", "text");
    command.stdin(Stdio::null());
    command
}

/// Runs a command that has to end by itself: one that goes on, such as a server that starts though it should not, is
/// ended, and fails the test. What it prints has to fit into a pipe.
#[track_caller]
pub fn run_to_end(command: &mut Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let given_up = Instant::now() + Duration::from_secs(30);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > given_up {
            let _ = child.kill();
            let output = child.wait_with_output().unwrap();
            panic!("it did not end: {}", String::from_utf8_lossy(&output.stdout));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

impl Process {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts with these environment variables.
    #[track_caller]
    pub fn with(environment: &[(&str, &str)]) -> Self {
        Self::again(Arc::new(tempfile::tempdir().unwrap()), environment)
    }

    /// Starts on the file that another one left.
    #[track_caller]
    pub fn again(directory: Arc<TempDir>, environment: &[(&str, &str)]) -> Self {
        let mut command = command(directory.path());
        command.env("M2MINT_LISTEN", "127.0.0.1:0").env("M2MINT_API_KEY", ADMIN_KEY);
        command.envs(environment.iter().copied());
        Self::spawn(directory, command)
    }

    /// Runs a prepared command and waits until it serves.
    #[track_caller]
    pub fn spawn(directory: Arc<TempDir>, mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            let mut line = String::new();
            while stderr.read_line(&mut line).is_ok_and(|length| length > 0) {
                kept.lock().push_str(&std::mem::take(&mut line));
            }
        });
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        stdout.read_line(&mut first).unwrap();
        let url = first.trim_end().rsplit(' ').next().unwrap_or_default().to_owned();
        if !first.contains("listens on") {
            let _ = child.wait();
            panic!("it did not start: {first}{}", log.lock());
        }
        // The greeting is written in one piece: what came with its first line is in the buffer already.
        let greeting = first + &String::from_utf8_lossy(stdout.buffer());
        keep_reading(stdout);
        Self { directory, url, greeting, log, child }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Memory that it takes, in KiB.
    #[track_caller]
    pub fn resident_kib(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid().as_raw_nonzero())).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        resident.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Stops it as systemd does, and says how long that took.
    #[track_caller]
    pub fn stop(mut self) -> Duration {
        let begun = Instant::now();
        self.signal(Signal::TERM);
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.log.lock());
        begun.elapsed()
    }

    /// Kills it where it stands.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn endpoint(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Runs a verb on the same file.
    pub fn run(&self, arguments: &[&str]) -> Output {
        command(self.directory.path()).args(arguments).output().unwrap()
    }

    /// Runs a verb that has to work, and answers what it printed.
    #[track_caller]
    pub fn verb(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same, of a verb that prints JSON.
    #[track_caller]
    pub fn verb_json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.verb(arguments)).unwrap()
    }

    #[track_caller]
    pub fn admin(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        admin(method, &self.endpoint(path), &body)
    }

    #[track_caller]
    pub fn client(&self) -> Client {
        let fields =
            serde_json::json!({"clientName": "Task Service", "scope": "event.create", "audience": ["event"]});
        let made = self.admin("POST", "/recipe/oauth/clients", &fields).json();
        let text = |name: &str| made[name].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
        Client { id: text("clientId"), secret: text("clientSecret") }
    }

    /// A token, or why not.
    pub fn try_token(&self, client: &Client) -> Result<String, String> {
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", &client.id),
            ("client_secret", &client.secret),
            ("scope", "event.create"),
        ];
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let url = self.endpoint("/auth/oauth/token");
        let answer = super::http::try_call("POST", &url, &headers, super::form(&fields).as_bytes());
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.status == 200 {
            Ok(answer.json()["access_token"].as_str().unwrap().to_owned())
        } else {
            Err(format!("{answer:?}"))
        }
    }

    #[track_caller]
    pub fn token(&self, client: &Client) -> String {
        self.try_token(client).unwrap()
    }

    /// The key that signs in the ring of an algorithm.
    #[track_caller]
    pub fn active_kid(&self, alg: &str) -> String {
        let keys = self.verb_json(&["keys", "--json"]);
        let active = |key: &&Value| key["alg"] == alg && key["state"] == "active";
        let active = keys["keys"].as_array().unwrap().iter().find(active);
        active.unwrap_or_else(|| panic!("{keys}"))["kid"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub fn jwks(&self) -> String {
        get(&self.endpoint("/auth/jwt/jwks.json")).body
    }

    /// Waits until something is so. What it waits for happens in another process, so there is nothing else to wait on.
    #[track_caller]
    pub fn wait_until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let given_up = Instant::now() + Duration::from_secs(20);
        while !is_so() {
            assert!(Instant::now() < given_up, "still not: {what}. Log: {}", self.log.lock());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Keeps the pipe from filling up.
fn keep_reading(mut stdout: BufReader<ChildStdout>) {
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        let _ = stdout.read_to_end(&mut rest);
    });
}
