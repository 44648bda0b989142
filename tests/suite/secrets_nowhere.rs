//! Every secret that a server was given or has made is looked for, byte by byte, everywhere it leaves something.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use m2mint_keys::jwk::Kid;
use m2mint_keys::seal::MasterKey;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::live_rotation::QUICK;
use crate::support::http::{basic, call, form};
use crate::support::memory::{contains, memory_of};
use crate::support::process::command;
use crate::support::{Answer, Process};

const CHOSEN: &str = "a secret that a person chose";
const WRONG: &str = "m2s_wrong-secret-of-somebody-who-guesses-0123456789abc";

/// Something that nobody may find, and what it is.
struct Secret {
    what: &'static str,
    bytes: Vec<u8>,
}

impl Secret {
    fn text(what: &'static str, text: &str) -> Vec<Self> {
        vec![
            Self { what, bytes: text.as_bytes().to_vec() },
            Self {
                what,
                bytes: STANDARD.encode(text).trim_end_matches('=').as_bytes()[..text.len() - 4].to_vec(),
            },
        ]
    }

    /// Thirty-two bytes, and the texts that they are written as.
    fn bytes(what: &'static str, bytes: &[u8]) -> Vec<Self> {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let texts = [URL_SAFE_NO_PAD.encode(bytes), STANDARD.encode(bytes), hex];
        let texts = texts.into_iter().map(|text| Self { what, bytes: text.into_bytes() });
        texts.chain([Self { what, bytes: bytes.to_vec() }]).collect()
    }
}

fn found(secrets: &[Secret], place: &[u8]) -> Vec<&'static str> {
    let mut found: Vec<_> =
        secrets.iter().filter(|secret| contains(place, &secret.bytes)).map(|secret| secret.what).collect();
    found.dedup();
    found
}

/// The open private halves of a file.
fn seeds(directory: &Path, master: &[u8]) -> Vec<Secret> {
    let db = Connection::open(directory.join("m2mint.db")).unwrap();
    let mut statement = db.prepare("SELECT kid, sealed FROM signing_keys WHERE sealed IS NOT NULL").unwrap();
    let rows =
        statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))).unwrap();
    let mut seeds = Vec::new();
    for (kid, sealed) in rows.map(Result::unwrap) {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, master).unwrap());
        let nonce = Nonce::try_assume_unique_for_key(&sealed[1..13]).unwrap();
        let mut seed = sealed[13..].to_vec();
        let context = format!("m2mint signing key {}", Kid::parse(&kid).unwrap());
        let seed = key.open_in_place(nonce, Aad::from(context.as_bytes()), &mut seed).unwrap();
        seeds.extend(Secret::bytes("private signing key", seed));
    }
    seeds
}

/// A server that was given no secret from outside: it makes its admin key and its master key itself.
struct Made {
    server: Process,
    admin_key: String,
}

impl Made {
    fn start() -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let mut command = command(directory.path());
        command.env("M2MINT_LISTEN", "127.0.0.1:0").env("M2MINT_LOG", "trace").envs(QUICK);
        let server = Process::spawn(directory, command);
        let line = server.greeting.lines().find(|line| line.trim_start().starts_with("admin key")).unwrap();
        let admin_key = line.split_whitespace().last().unwrap().to_owned();
        Self { server, admin_key }
    }

    fn admin(&self, method: &str, path: &str, body: &Value) -> Answer {
        let headers = [("api-key", &*self.admin_key), ("content-type", "application/json")];
        call(method, &self.server.endpoint(path), &headers, body.to_string().as_bytes())
    }

    fn token(&self, id: &str, secret: &str, by_basic: bool) -> Answer {
        let url = self.server.endpoint("/auth/oauth/token");
        let kind = ("content-type", "application/x-www-form-urlencoded");
        if by_basic {
            let body = form(&[("grant_type", "client_credentials")]);
            return call("POST", &url, &[kind, ("authorization", &basic(id, secret))], body.as_bytes());
        }
        let body = [("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)];
        call("POST", &url, &[kind], form(&body).as_bytes())
    }
}

#[test]
fn no_secret_is_in_a_file_nor_in_the_log_nor_in_what_the_system_tells_of_the_process() {
    let made = Made::start();
    let server = &made.server;
    let fields = json!({"clientId": "made", "scope": "a", "audience": ["b"]});
    let generated = made.admin("POST", "/recipe/oauth/clients", &fields).json()["clientSecret"]
        .as_str()
        .unwrap()
        .to_owned();
    let fields = json!({"clientId": "chosen", "clientSecret": CHOSEN, "scope": "a", "audience": ["b"]});
    assert_eq!(made.admin("POST", "/recipe/oauth/clients", &fields).json()["status"], "OK");
    let added =
        server.verb_json(&["secrets", "add", "made", "--json"])["clientSecret"].as_str().unwrap().to_owned();

    let mut secrets = Vec::new();
    let text = std::fs::read_to_string(server.path("m2mint.db.key")).unwrap();
    let master = URL_SAFE_NO_PAD.decode(text.trim()).unwrap();
    secrets.extend(Secret::bytes("master key", &master));
    secrets.extend(seeds(server.directory.path(), &master));
    for by_basic in [true, false] {
        for secret in [&generated, CHOSEN, &added] {
            let id = if secret == CHOSEN { "chosen" } else { "made" };
            server.wait_until("the secret is known", || made.token(id, secret, by_basic).status == 200);
            let token = made.token(id, secret, by_basic).json()["access_token"].as_str().unwrap().to_owned();
            made.admin("POST", "/recipe/oauth/introspect", &json!({"token": token}));
            secrets.push(Secret { what: "token", bytes: token.into_bytes() });
        }
        assert_eq!(made.token("made", WRONG, by_basic).status, 401);
        // Secrets in the wrong field, in the URL, in a broken body.
        assert_eq!(made.token(&generated, "made", by_basic).status, 401);
    }
    let url = server.endpoint(&format!("/auth/oauth/token?client_secret={generated}"));
    assert_eq!(call("POST", &url, &[("content-type", "application/json")], b"{}").status, 400);
    let broken = format!("{{\"client_secret\": \"{generated}\", ");
    let url = server.endpoint("/auth/oauth/token");
    assert_eq!(call("POST", &url, &[("content-type", "application/json")], broken.as_bytes()).status, 400);
    assert_eq!(
        made.admin("PUT", "/recipe/oauth/clients", &json!({"clientId": "made", "scope": "\u{1}"})).status,
        200
    );
    let wrong_admin = [("api-key", WRONG)];
    assert_eq!(call("GET", &server.endpoint("/recipe/oauth/clients/list"), &wrong_admin, b"").status, 401);

    server.verb(&["backup", "copy.db"]);
    server.verb(&["master-key", "rotate", "--yes"]);
    let text = std::fs::read_to_string(server.path("m2mint.db.key")).unwrap();
    let master = URL_SAFE_NO_PAD.decode(text.trim()).unwrap();
    assert!(MasterKey::parse(&text).is_ok());
    secrets.extend(Secret::bytes("new master key", &master));
    server.signal(Signal::USR1);
    server.wait_until("rotated", || server.verb(&["keys"]).contains("retired"));
    secrets.extend(seeds(server.directory.path(), &master));
    for (what, text) in [
        ("admin key", &*made.admin_key),
        ("secret made by the server", &generated),
        ("secret made by the command line", &added),
        ("secret that was chosen", CHOSEN),
        ("wrong secret", WRONG),
    ] {
        secrets.extend(Secret::text(what, text));
    }

    let directory = server.directory.path();
    let mut searched = 0;
    for file in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        let bytes = std::fs::read(&file).unwrap();
        if file.ends_with("m2mint.db.key") {
            assert_eq!(found(&secrets, &bytes), ["new master key"], "the search works");
            continue;
        }
        assert_eq!(found(&secrets, &bytes), Vec::<&str>::new(), "{}", file.display());
        searched += 1;
    }
    assert!(searched >= 4, "database, its log, its index, the backup: {searched}");
    let process = format!("/proc/{}", server.pid().as_raw_nonzero());
    for name in ["cmdline", "environ"] {
        let bytes = std::fs::read(format!("{process}/{name}")).unwrap();
        assert!(!bytes.is_empty());
        assert_eq!(found(&secrets, &bytes), Vec::<&str>::new(), "{name}");
    }
    let log = server.log.lock().clone();
    assert!(log.contains("authentication.refuse") || log.contains("client.create"), "{log}");
    assert_eq!(found(&secrets, log.as_bytes()), Vec::<&str>::new(), "the log");
    let listed = server.verb(&["audit", "--json"]) + &server.verb(&["audit"]);
    assert_eq!(found(&secrets, listed.as_bytes()), Vec::<&str>::new(), "what the audit log prints");
}

#[test]
fn what_has_had_its_day_is_not_in_memory_either() {
    let made = Made::start();
    let server = &made.server;
    let text = std::fs::read_to_string(server.path("m2mint.db.key")).unwrap();
    let old = Secret::bytes("old master key", &URL_SAFE_NO_PAD.decode(text.trim()).unwrap());
    let admin_key = Secret::text("admin key", &made.admin_key);
    let memory = memory_of(server);
    assert_eq!(found(&old, &memory), ["old master key"], "the search works: this one is in use");
    assert_eq!(found(&admin_key, &memory), Vec::<&str>::new());
    server.verb(&["master-key", "rotate", "--yes"]);
    server
        .wait_until("the new key is in use", || server.log.lock().contains("rotated; the new one is in use"));
    assert_eq!(found(&old, &memory_of(server)), Vec::<&str>::new());
}

#[test]
fn nobody_but_root_looks_into_the_process_and_it_leaves_no_core() {
    let server = Process::start();
    let pid = server.pid().as_raw_nonzero().to_string();
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().rev().take(3).collect::<Vec<_>>(), ["bytes", "0", "0"], "{core}");
    // Where nothing limits it, its memory is kept out of swap.
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap().trim() != "0 kB";
    let unlimited =
        limits.lines().any(|line| line.starts_with("Max locked memory") && line.contains("unlimited"));
    assert_eq!(locked, unlimited, "{status}");
    // What belongs to a process that must not be dumped belongs to root, whoever runs it.
    if !rustix::process::getuid().is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let as_nobody = |program: &str, arguments: &[&str]| {
        let mut command = std::process::Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", program]).args(arguments);
        command.current_dir(directory.path()).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command
    };
    // A copy: nobody may not get at the build.
    let program = directory.path().join("m2mint");
    std::fs::copy(env!("CARGO_BIN_EXE_m2mint"), &program).unwrap();
    let mut theirs = as_nobody(program.to_str().unwrap(), &[]);
    theirs.env("M2MINT_LISTEN", "127.0.0.1:0").env("M2MINT_API_KEY", crate::support::ADMIN_KEY);
    let theirs = Process::spawn(Arc::new(tempfile::tempdir().unwrap()), theirs);
    let pid = theirs.pid().as_raw_nonzero().to_string();
    for name in ["environ", "mem", "maps"] {
        let read = as_nobody("head", &["-c", "1", &format!("/proc/{pid}/{name}")]).output().unwrap();
        let error = String::from_utf8(read.stderr).unwrap();
        assert!(!read.status.success() && error.contains("Permission denied"), "{name}: {error}");
    }
    let own = as_nobody("head", &["-c", "1", "/proc/self/environ"]).output().unwrap();
    assert!(own.status.success(), "it can look into what is its own");
}
