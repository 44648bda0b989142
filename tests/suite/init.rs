//! `m2mint init`: what a first start needs is made, once, and nothing is overwritten.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Client, Process, process, terminal};

fn folder() -> Arc<TempDir> {
    Arc::new(tempfile::tempdir().unwrap())
}

fn init(folder: &Path, more: &[&str]) -> Output {
    process::command(folder).arg("init").args(more).output().unwrap()
}

#[track_caller]
fn done(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[track_caller]
fn refused(output: &Output, code: i32, told: &str) {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains(told), "{told}: {output:?}");
}

/// Every file below a folder: its mode and what is in it.
fn files(folder: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(
                files(&entry.path()).into_iter().map(|(path, file)| (format!("{name}/{path}"), file)),
            );
        } else {
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            found.insert(name, (mode, fs::read(entry.path()).unwrap()));
        }
    }
    found
}

/// Starts a server on what was made, and has the first client buy a token.
#[track_caller]
fn serves(folder: Arc<TempDir>, client: &Client) -> Process {
    let mut command = process::command(folder.path());
    command.env("M2MINT_LISTEN", "127.0.0.1:0");
    let server = Process::spawn(folder, command);
    assert!(!server.greeting.contains("admin key"), "nothing is left to make: {}", server.greeting);
    server.token(client);
    server
}

const FIRST: [&str; 6] = ["--client", "task-service", "--audience", "event", "--scope", "event.create"];

#[test]
fn a_folder_holds_what_a_server_needs_and_its_first_client_gets_tokens() {
    let folder = folder();
    let told = done(&init(
        folder.path(),
        &[&FIRST[..], &["--to-file", "secret", "--set", "rotation.every=30d"]].concat(),
    ));
    assert!(told.contains("m2a_") && !told.contains("m2s_") && told.contains("m2mint serve"), "{told}");
    let modes: Vec<_> = files(folder.path()).into_iter().map(|(name, (mode, _))| (name, mode)).collect();
    assert_eq!(
        modes.iter().map(|(name, mode)| (name.as_str(), *mode)).collect::<Vec<_>>(),
        [
            ("m2mint.db", 0o600),
            ("m2mint.db.key", 0o600),
            ("m2mint.db.key.witness", 0o600),
            ("m2mint.toml", 0o644),
            ("secret", 0o600)
        ]
    );
    let secret = fs::read_to_string(folder.path().join("secret")).unwrap().trim().to_owned();
    let server = serves(Arc::clone(&folder), &Client { id: "task-service".into(), secret });
    let shown = server.verb(&["config", "show"]);
    assert!(shown.lines().any(|line| line.starts_with("rotation.every ") && line.contains("30d")), "{shown}");
    // Its first keys are as those that a server makes.
    let before = server.active_kid("EdDSA");
    server.verb(&["keys", "rotate"]);
    assert_ne!(server.active_kid("EdDSA"), before);
    // The admin key that was shown is the one that counts.
    let key = told.split_whitespace().find(|word| word.starts_with("m2a_")).unwrap();
    let url = server.endpoint("/recipe/oauth/clients/list");
    assert_eq!(crate::support::call("GET", &url, &[("api-key", key)], b"").status, 200);
}

#[test]
fn a_dry_run_makes_nothing() {
    let folder = folder();
    let told = done(&init(
        folder.path(),
        &[&FIRST[..], &["--dry-run", "--issuer", "https://auth.example/auth"]].concat(),
    ));
    assert!(
        told.contains("issuer = \"https://auth.example/auth\"") && told.contains("the client task-service"),
        "{told}"
    );
    let json = done(&init(folder.path(), &["--dry-run", "--json"]));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert!(json["dry_run"] == true && json["files"][0]["new"] == true, "{json}");
    assert_eq!(files(folder.path()), BTreeMap::new());
}

#[test]
fn nothing_is_overwritten() {
    let folder = folder();
    done(&init(folder.path(), &[]));
    let before = files(folder.path());
    let told = done(&init(folder.path(), &[]));
    assert!(told.contains("kept") && !told.contains("made") && !told.contains("m2a_"), "{told}");
    refused(
        &init(folder.path(), &["--issuer", "https://auth.example/auth"]),
        3,
        "m2mint.toml exists already",
    );
    refused(&init(folder.path(), &FIRST), 3, "m2mint clients create --id task-service");
    assert_eq!(files(folder.path()), before);
    fs::remove_file(folder.path().join("m2mint.db.key")).unwrap();
    refused(&init(folder.path(), &[]), 3, "put back the master key");
    assert!(!folder.path().join("m2mint.db.key").exists(), "another one would open nothing");
}

#[test]
fn what_cannot_be_made_as_a_whole_leaves_nothing_behind() {
    let folder = folder();
    fs::write(folder.path().join("secret"), "somebody's").unwrap();
    refused(
        &init(folder.path(), &[&FIRST[..], &["--to-file", "secret"]].concat()),
        3,
        "secret exists already",
    );
    refused(&init(folder.path(), &["--client", "no client", "--audience", "event"]), 3, "");
    refused(&init(folder.path(), &["--set", "rotation.propagation=soon"]), 1, "rotation.propagation");
    refused(
        &init(folder.path(), &["--set", "api_key=a-key-that-everybody-can-read"]),
        1,
        "seen by every user",
    );
    refused(&init(folder.path(), &["--listen", "0.0.0.0:3567"]), 1, "issuer");
    let left: Vec<_> = files(folder.path()).into_keys().collect();
    assert_eq!(left, ["secret"]);
}

#[test]
fn a_service_of_systemd_gets_its_files_where_the_unit_looks_for_them() {
    let folder = folder();
    let told =
        done(&init(folder.path(), &[&["--systemd", "--root", "image", "--json"], &FIRST[..]].concat()));
    let json: Value = serde_json::from_str(&told).unwrap();
    assert!(
        json["clientSecret"].as_str().unwrap().starts_with("m2s_") && json["admin_key"].is_null(),
        "{json}"
    );
    let image = files(&folder.path().join("image"));
    let modes: Vec<_> = image.iter().map(|(name, (mode, _))| (name.as_str(), *mode)).collect();
    assert_eq!(
        modes,
        [
            ("etc/m2mint/api_key", 0o600),
            ("etc/m2mint/m2mint.toml", 0o644),
            ("etc/m2mint/master_key", 0o600),
            ("etc/systemd/system/m2mint.service", 0o644),
            ("var/lib/m2mint/m2mint.db", 0o600),
            ("var/lib/m2mint/m2mint.db.witness", 0o600),
        ]
    );
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/m2mint.service");
    assert_eq!(image["etc/systemd/system/m2mint.service"].1, fs::read(unit).unwrap());
    let state = fs::metadata(folder.path().join("image/var/lib/m2mint")).unwrap();
    assert_eq!(state.permissions().mode() & 0o777, 0o700);
    // As systemd would start it, in the place of /.
    let at = |path: &str| folder.path().join("image").join(path).display().to_string();
    let mut command = process::command(folder.path());
    command.env("M2MINT_LISTEN", "127.0.0.1:0").args(["serve", "--config", &at("etc/m2mint/m2mint.toml")]);
    command
        .env("CREDENTIALS_DIRECTORY", at("etc/m2mint"))
        .args(["--database", &at("var/lib/m2mint/m2mint.db")]);
    let server = Process::spawn(Arc::clone(&folder), command);
    let secret = json["clientSecret"].as_str().unwrap().to_owned();
    server.token(&Client { id: "task-service".into(), secret });
    let key = String::from_utf8(image["etc/m2mint/api_key"].1.clone()).unwrap();
    let url = server.endpoint("/recipe/oauth/clients/list");
    assert_eq!(crate::support::call("GET", &url, &[("api-key", key.trim())], b"").status, 200);
}

#[test]
fn somebody_at_a_terminal_is_asked() {
    let folder = folder();
    let guided = |typed: &str| {
        let mut command = process::command(folder.path());
        command.arg("init").env("TERM", "dumb");
        terminal::run(command, 200, typed)
    };
    // Where the tests run as root on a machine with systemd, there is one more question.
    let first = if Path::new("/run/systemd/system").exists() && rustix::process::geteuid().is_root() {
        "\n"
    } else {
        ""
    };
    let (status, screen) = guided(&format!("{first}\n\n\n\nno\n"));
    assert!(status.code() == Some(3) && screen.contains("nothing was made"), "{screen}");
    assert_eq!(files(folder.path()), BTreeMap::new());
    let (status, screen) =
        guided(&format!("{first}auth\nhttp://localhost:3567/auth/\nreport\nfile\nfile.view\nyes\n"));
    assert!(status.success() && screen.contains("Write a URL"), "{screen}");
    let config = fs::read_to_string(folder.path().join("m2mint.toml")).unwrap();
    assert!(config.contains("\nissuer = \"http://localhost:3567/auth\"\n"), "{config}");
    let client = process::command(folder.path()).args(["clients", "show", "report"]).output().unwrap();
    assert!(done(&client).contains("file.view"), "{client:?}");
    assert!(screen.contains("m2s_"), "the secret is shown");
}
