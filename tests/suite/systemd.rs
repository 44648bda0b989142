//! The binary as systemd starts it: sockets, credentials and directories handed in, and news handed out.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::process::{command, run_to_end};
use crate::support::{ADMIN_KEY, Process, call, get};

fn directory() -> Arc<TempDir> {
    Arc::new(tempfile::tempdir().unwrap())
}

/// The binary, started by way of a shell that prepares what only the process itself can.
fn by_shell(shell: &str, directory: &TempDir, preparation: &str) -> Command {
    let binary = command(directory.path());
    let mut shell = Command::new(shell);
    shell.current_dir(directory.path()).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    shell.env("M2MINT_API_KEY", ADMIN_KEY).env("M2MINT_LISTEN", "127.0.0.1:0").stdin(Stdio::null());
    shell.arg("-c").arg(format!("{preparation}; exec \"$0\"")).arg(binary.get_program());
    shell
}

/// Where the news arrives.
struct Notifications(UnixDatagram);

impl Notifications {
    fn listen(directory: &TempDir) -> (Self, String) {
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        (Self(socket), path.display().to_string())
    }

    /// Reads until a message says this, and answers that message.
    #[track_caller]
    fn expect(&self, wanted: &str) -> String {
        let given_up = Instant::now() + Duration::from_secs(20);
        let mut seen = Vec::new();
        while Instant::now() < given_up {
            let mut buffer = [0; 4096];
            let length = self.0.recv(&mut buffer).unwrap_or_else(|error| panic!("{error}; so far: {seen:?}"));
            let message = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if message.contains(wanted) {
                return message;
            }
            seen.push(message);
        }
        panic!("no {wanted:?} among {seen:?}");
    }
}

#[test]
fn systemd_is_told_what_goes_on() {
    let directory = directory();
    let (news, path) = Notifications::listen(&directory);
    let server = Process::again(directory, &[("NOTIFY_SOCKET", &path), ("WATCHDOG_USEC", "1000000")]);
    news.expect("READY=1");
    assert_eq!(get(&server.endpoint("/hello")).status, 200);
    assert!(news.expect("STATUS=").contains("signing with"));
    news.expect("WATCHDOG=1");
    news.expect("WATCHDOG=1");
    server.signal(Signal::HUP);
    assert!(news.expect("RELOADING=1").contains("MONOTONIC_USEC="));
    news.expect("READY=1");
    server.signal(Signal::USR1);
    news.expect("STATUS=signing with");
    server.signal(Signal::USR1);
    assert!(news.expect("rotation queued").contains("1d 1h"));
    server.signal(Signal::TERM);
    news.expect("STOPPING=1");
}

#[test]
fn a_socket_that_systemd_hands_over_outlives_the_server() {
    let directory = directory();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let start = || {
        let mut command =
            by_shell("sh", &directory, "exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$");
        command.env("M2MINT_LISTEN", "systemd").env("M2MINT_ISSUER", "https://auth.example.com/auth");
        command.stdin(OwnedFd::from(socket.try_clone().unwrap()));
        Process::spawn(Arc::clone(&directory), command)
    };
    let server = start();
    assert_eq!(server.url, format!("http://{address}"));
    assert_eq!(get(&server.endpoint("/hello")).status, 200);
    server.stop();
    // Nobody serves, and nobody is refused: the request waits in the queue for the next server.
    let mut waiting = TcpStream::connect(address).unwrap();
    waiting.write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let server = start();
    let mut answer = String::new();
    waiting.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    server.stop();
}

#[test]
fn a_socket_that_systemd_names_admin_has_the_admin_api_for_itself() {
    let directory = directory();
    let [public, admin] = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let [public_url, admin_url] =
        [&public, &admin].map(|socket| format!("http://{}", socket.local_addr().unwrap()));
    // For the program, which is started with it.
    fcntl_setfd(&admin, FdFlags::empty()).unwrap();
    let shell = |names: &str| {
        let handed = format!(
            "exec 3<&0 4<&{} </dev/null; export LISTEN_FDS=2 LISTEN_FDNAMES={names} LISTEN_PID=$$",
            admin.as_raw_fd()
        );
        let mut command = by_shell("bash", &directory, &handed);
        command.env("M2MINT_LISTEN", "systemd").env("M2MINT_ISSUER", "https://auth.example.com/auth");
        command.stdin(OwnedFd::from(public.try_clone().unwrap()));
        command
    };
    let server = Process::spawn(Arc::clone(&directory), shell("m2mint.socket:admin"));
    assert_eq!(server.url, public_url);
    assert!(server.greeting.contains(&format!("admin API   {admin_url}")), "{}", server.greeting);
    let status =
        |url: &str, path: &str| call("GET", &format!("{url}{path}"), &[("api-key", ADMIN_KEY)], b"").status;
    let list = "/recipe/oauth/clients/list";
    assert_eq!((status(&public_url, list), status(&admin_url, list)), (404, 200));
    let metadata = "/.well-known/openid-configuration";
    assert_eq!((status(&public_url, metadata), status(&admin_url, metadata)), (200, 404));
    server.stop();
    let output = run_to_end(&mut shell("admin:admin"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("one has to be the public API's"), "{output:?}");
}

#[test]
fn a_socket_off_loopback_that_systemd_hands_over_obeys_the_same_rule() {
    let directory = directory();
    let socket = TcpListener::bind("0.0.0.0:0").unwrap();
    let mut command = by_shell("sh", &directory, "exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$");
    command.env("M2MINT_LISTEN", "systemd").env("M2MINT_ISSUER", "https://auth.example.com/auth");
    let output = run_to_end(command.stdin(OwnedFd::from(socket)));
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("would cross the network in the clear"),
        "{output:?}"
    );
}

#[test]
fn without_a_socket_from_systemd_it_says_so() {
    let directory = directory();
    let output = command(directory.path())
        .env("M2MINT_LISTEN", "systemd")
        .env("M2MINT_ISSUER", "https://auth.example.com/auth")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("LISTEN_FDS"));
}

#[test]
fn a_unix_socket_is_for_user_and_group_and_goes_with_the_server() {
    let directory = directory();
    let path = directory.path().join("m2mint.sock");
    let listen = format!("unix:{}", path.display());
    let environment = [("M2MINT_LISTEN", &*listen), ("M2MINT_ISSUER", "https://auth.example.com/auth")];
    let ask = || {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let server = Process::again(Arc::clone(&directory), &environment);
    assert_eq!(server.url, listen);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    assert!(ask().starts_with("HTTP/1.1 200"));
    // What a killed server leaves behind is no obstacle.
    server.kill();
    assert!(path.exists());
    let server = Process::again(directory, &environment);
    assert!(ask().starts_with("HTTP/1.1 200"));
    server.stop();
    assert!(!path.exists());
}

#[test]
fn credentials_and_state_directory_are_used() {
    let (credentials, state, work) = (directory(), directory(), directory());
    std::fs::write(credentials.path().join("master_key"), "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=\n")
        .unwrap();
    std::fs::write(credentials.path().join("api_key"), "the-first-admin-key\nthe-second-admin-key\n")
        .unwrap();
    for name in ["master_key", "api_key"] {
        // systemd guards them by the directory.
        std::fs::set_permissions(credentials.path().join(name), PermissionsExt::from_mode(0o440)).unwrap();
    }
    let mut command = command(work.path());
    command.env("CREDENTIALS_DIRECTORY", credentials.path()).env("STATE_DIRECTORY", state.path());
    command.env("M2MINT_LISTEN", "127.0.0.1:0");
    let server = Process::spawn(Arc::clone(&work), command);
    assert!(!server.greeting.contains("admin key"), "{}", server.greeting);
    for key in ["the-first-admin-key", "the-second-admin-key"] {
        assert_eq!(
            call("GET", &server.endpoint("/recipe/oauth/clients/list"), &[("api-key", key)], b"").status,
            200
        );
    }
    assert!(state.path().join("m2mint.db").exists());
    assert!(!state.path().join("m2mint.db.key").exists());
    server.stop();
    assert_eq!(std::fs::read_dir(work.path()).unwrap().count(), 0);
}

#[test]
fn the_admin_key_never_goes_to_the_journal() {
    let directory = directory();
    // The variable names the device and inode of what standard output goes to.
    let mut command =
        by_shell("sh", &directory, "exec 4>&1; export JOURNAL_STREAM=$(stat -Lc %d:%i /dev/fd/4); exec 4>&-");
    command.env_remove("M2MINT_API_KEY");
    let server = Process::spawn(Arc::clone(&directory), command);
    assert!(!server.greeting.contains("m2a_"), "{}", server.greeting);
    let file = server.path("m2mint.db.admin_key");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let key = std::fs::read_to_string(file).unwrap();
    let answer = call("GET", &server.endpoint("/recipe/oauth/clients/list"), &[("api-key", key.trim())], b"");
    assert_eq!(answer.status, 200);
    assert!(!server.log.lock().contains(key.trim()));
}

#[test]
fn a_reload_takes_what_can_be_taken_and_keeps_the_rest() {
    let directory = directory();
    let file = directory.path().join("m2mint.toml");
    let write = |lifetime: &str, extra: &str| {
        let text = format!("api_key = [\"{ADMIN_KEY}\"]\n[token]\nlifetime = \"{lifetime}\"\n{extra}");
        std::fs::write(&file, text).unwrap();
    };
    write("10m", "");
    let mut command = command(directory.path());
    command.env("M2MINT_LISTEN", "127.0.0.1:0");
    let server = Process::spawn(Arc::clone(&directory), command);
    let client = server.client();
    let lifetime = || {
        let claims = crate::support::token::claims(&server.token(&client));
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap()
    };
    assert_eq!(lifetime(), 600);
    write("20h", "");
    server.signal(Signal::HUP);
    server.wait_until("the longer lifetime is in use", || lifetime() == 20 * 3600);
    let keys = server.verb_json(&["keys", "--json"]);
    assert_eq!(keys["keys"][0]["longest_lifetime_seconds"], 20 * 3600);
    write("soon", "");
    server.signal(Signal::HUP);
    server.wait_until("refused", || {
        server.log.lock().contains("configuration not reloaded: token.lifetime = soon")
    });
    assert_eq!(lifetime(), 20 * 3600);
    std::fs::write(&file, "api_key = \"another-admin-key-0123\"\nworkers = 7\n[token]\nlifetime = \"30m\"\n")
        .unwrap();
    server.signal(Signal::HUP);
    server.wait_until("the new admin key counts", || {
        server.admin("GET", "/recipe/oauth/clients/list", &serde_json::Value::Null).status == 401
    });
    assert_eq!(lifetime(), 1800);
    assert!(server.log.lock().contains("workers has changed; that takes effect at the next start"));
}
