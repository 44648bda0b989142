//! Where new secrets go instead of the screen, and how those of a client are rotated.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Output;

use crate::support::{Client, Process, process};

/// Arguments that make a client.
const CREATE: &[&str] =
    &["clients", "create", "--id", "task-service", "--audience", "event", "--scope", "event.create"];
const ADD: &[&str] = &["secrets", "add", "task-service"];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn with<'a>(arguments: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [arguments, more].concat()
}

fn mode(server: &Process, name: &str) -> u32 {
    fs::metadata(server.path(name)).unwrap().mode() & 0o777
}

fn clients(server: &Process) -> usize {
    server.verb_json(&["clients", "list", "--json"]).as_array().unwrap().len()
}

#[track_caller]
fn is_refused(output: &Output, code: i32, told: &str) {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(text(&output.stderr).contains(told), "{output:?}");
    assert!(!text(&output.stdout).contains("m2s_"), "{output:?}");
}

#[test]
fn a_secret_goes_to_a_file_that_nobody_else_reads_and_is_not_shown() {
    let server = Process::start();
    let shown = server.verb(&with(CREATE, &["--to-file", "secret"]));
    assert!(shown.contains("in secret") && !shown.contains("m2s_"), "{shown}");
    assert_eq!(mode(&server, "secret"), 0o600);
    // The file holds the secret and nothing else: programs send it as it is.
    let secret = fs::read_to_string(server.path("secret")).unwrap();
    assert!(secret.starts_with("m2s_") && secret.trim() == secret, "{secret:?}");
    let client = Client { id: "task-service".into(), secret };
    server.wait_until("it counts", || server.try_token(&client).is_ok());

    let added = server.verb_json(&["secrets", "add", "task-service", "--to-file", "second", "--json"]);
    assert!(added["secretWrittenTo"] == "second" && added.get("clientSecret").is_none(), "{added}");
    let second = Client { secret: fs::read_to_string(server.path("second")).unwrap(), ..client };
    server.wait_until("the second counts", || server.try_token(&second).is_ok());

    let key =
        server.verb_json(&["admin-keys", "add", "deploy", "--role", "read", "--to-file", "key", "--json"]);
    assert!(key["keyWrittenTo"] == "key" && key.get("key").is_none(), "{key}");
    let key = fs::read_to_string(server.path("key")).unwrap();
    let list = || {
        let url = server.endpoint("/recipe/oauth/clients/list");
        crate::support::call("GET", &url, &[("api-key", &*key)], b"").status
    };
    server.wait_until("the key counts", || list() == 200);
}

#[test]
fn nothing_is_overwritten_and_no_secret_made_unless_asked() {
    let server = Process::start();
    fs::write(server.path("kept"), "something else").unwrap();
    std::os::unix::fs::symlink("nowhere", server.path("link")).unwrap();
    for (place, told) in [("kept", "--overwrite"), ("link", "--overwrite")] {
        is_refused(&server.run(&with(CREATE, &["--to-file", place])), 3, told);
    }
    is_refused(&server.run(&with(CREATE, &["--to-file", "no-such-folder/secret"])), 1, "No secret was made");
    assert_eq!(clients(&server), 0);
    assert_eq!(fs::read_to_string(server.path("kept")).unwrap(), "something else");
    assert!(!server.path("nowhere").exists());

    server.verb(&with(CREATE, &["--to-file", "kept", "--overwrite"]));
    assert!(fs::read_to_string(server.path("kept")).unwrap().starts_with("m2s_"));
    assert_eq!(mode(&server, "kept"), 0o600, "also where it was wider before");

    // What is no file is never replaced by one.
    fs::create_dir(server.path("folder")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        server.path("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    for place in ["folder", "pipe"] {
        is_refused(&server.run(&with(ADD, &["--to-file", place, "--overwrite"])), 3, "is no file");
        is_refused(&server.run(&with(ADD, &["--env-file", place])), 3, "is no file");
    }

    // A client that is refused leaves no file, and what was there stays.
    let before = fs::read_to_string(server.path("kept")).unwrap();
    is_refused(&server.run(&with(CREATE, &["--to-file", "fresh"])), 3, "exists already");
    is_refused(&server.run(&with(CREATE, &["--to-file", "kept", "--overwrite"])), 3, "exists already");
    assert_eq!(fs::read_to_string(server.path("kept")).unwrap(), before);
    let left: Vec<_> =
        fs::read_dir(server.directory.path()).unwrap().map(|one| one.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name != "fresh" && !name.to_string_lossy().ends_with(".new")), "{left:?}");
    for both in [&["--to-file", "a", "--env-file", "b"][..], &["--overwrite"], &["--env-name", "X"]] {
        assert_eq!(server.run(&with(CREATE, both)).status.code(), Some(2), "{both:?}");
    }
}

#[test]
fn a_secret_becomes_a_line_of_an_environment_file_and_the_others_stay() {
    let server = Process::start();
    let shown = server.verb(&with(CREATE, &["--env-file", "env"]));
    assert!(shown.contains("CLIENT_SECRET in env") && !shown.contains("m2s_"), "{shown}");
    assert_eq!(mode(&server, "env"), 0o600);
    let first = fs::read_to_string(server.path("env")).unwrap();
    assert!(first.starts_with("CLIENT_SECRET=m2s_") && first.ends_with('\n'), "{first}");

    fs::write(server.path("env"), format!("# of the task service\nLOG=info\n{first}LAST=no end of line"))
        .unwrap();
    let add = ["secrets", "add", "task-service", "--env-file", "env"];
    is_refused(&server.run(&add), 3, "sets CLIENT_SECRET already");
    server.verb(&with(&add, &["--env-name", "NEXT_SECRET"]));
    server.verb(&with(&add, &["--overwrite"]));
    let lines = fs::read_to_string(server.path("env")).unwrap();
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines[..3], ["# of the task service", "LOG=info", "LAST=no end of line"]);
    assert!(
        lines[3].starts_with("NEXT_SECRET=m2s_") && lines[4].starts_with("CLIENT_SECRET=m2s_"),
        "{lines:?}"
    );
    assert!(lines.len() == 5 && !lines.contains(&first.trim()), "{lines:?}");

    fs::set_permissions(server.path("env"), fs::Permissions::from_mode(0o644)).unwrap();
    is_refused(&server.run(&with(&add, &["--env-name", "THIRD"])), 3, "chmod 600 env");
    is_refused(&server.run(&with(&add, &["--env-name", "NOT A NAME"])), 2, "CLIENT_SECRET");
}

#[test]
fn a_secret_becomes_a_credential_without_standing_in_arguments() {
    let server = Process::start();
    // In the place of systemd's own program: it notes what it is told, and how.
    let tools = server.path("tools");
    fs::create_dir(&tools).unwrap();
    let tool = tools.join("systemd-creds");
    fs::write(&tool, "#!/bin/sh\necho \"$*\" > arguments\n/bin/cat > input\necho encrypted-text\n").unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    let run = |more: &[&str]| {
        let mut command = process::command(server.directory.path());
        command.env("PATH", &tools).args(with(CREATE, more)).output().unwrap()
    };
    let output = run(&["--systemd-cred", "client_secret.cred"]);
    let shown = text(&output.stdout);
    let place = fs::canonicalize(server.path("client_secret.cred")).unwrap();
    assert!(output.status.success() && !shown.contains("m2s_"), "{output:?}");
    assert!(shown.contains("LoadCredentialEncrypted=client_secret:/"), "{shown}");
    assert_eq!(fs::read_to_string(&place).unwrap(), "encrypted-text\n");
    assert_eq!(fs::read_to_string(server.path("arguments")).unwrap(), "encrypt --name=client_secret - -\n");
    let secret = fs::read_to_string(server.path("input")).unwrap();
    let client = Client { id: "task-service".into(), secret };
    server.wait_until("what was encrypted is the secret", || server.try_token(&client).is_ok());

    server.verb(&["clients", "remove", "task-service", "--yes"]);
    is_refused(&run(&["--systemd-cred", "client_secret.cred"]), 3, "--overwrite");
    fs::write(&tool, "#!/bin/sh\n/bin/cat > /dev/null\necho 'no key to encrypt with' >&2\nexit 1\n").unwrap();
    is_refused(&run(&["--systemd-cred", "other.cred"]), 1, "no key to encrypt with");
    fs::remove_file(&tool).unwrap();
    is_refused(&run(&["--systemd-cred", "other.cred"]), 1, "there is no systemd-creds here");
    assert!(clients(&server) == 0 && !server.path("other.cred").exists());
}

#[test]
fn rotating_secrets_adds_one_and_lets_the_others_expire() {
    let server = Process::start();
    let old = server.client();
    server.verb(&["secrets", "add", &old.id, "--expires-in", "1h"]);
    let said = server.verb(&["secrets", "rotate", &old.id, "--grace", "7d", "--to-file", "new"]);
    assert!(
        !said.contains("m2s_") && said.contains("at most: 1, 2") && said.contains("every instance"),
        "{said}"
    );
    let new = Client { secret: fs::read_to_string(server.path("new")).unwrap(), ..old.clone() };
    server.wait_until("the new secret counts", || server.try_token(&new).is_ok());
    server.token(&old);
    let listed = server.verb_json(&["secrets", "list", &old.id, "--json"]);
    let days = |at: usize| {
        let time = listed[at]["expiresAt"].as_str().map(|at| humantime::parse_rfc3339(at).unwrap());
        time.map(|at| at.duration_since(std::time::SystemTime::now()).unwrap().as_secs_f64() / 86_400.0)
    };
    assert!(days(0).is_some_and(|days| (6.9..=7.0).contains(&days)), "{listed}");
    assert!(
        days(1).is_some_and(|days| days < 0.1),
        "what expires sooner anyway does not live longer: {listed}"
    );
    assert_eq!(days(2), None);
    let audit = server.verb_json(&["audit", "--action", "secret.rotate", "--json"]);
    assert_eq!(audit[0]["changed"]["retiring"], serde_json::json!([1, 2]));
    assert!(!audit.to_string().contains("m2s_"));

    let again = server.verb_json(&["secrets", "rotate", &old.id, "--grace", "1s", "--json"]);
    assert_eq!(again["retiring"].as_array().unwrap().len(), 3, "{again}");
    let newest = Client { secret: again["clientSecret"].as_str().unwrap().to_owned(), ..old.clone() };
    server.wait_until("the others have expired", || {
        server.try_token(&old).is_err() && server.try_token(&new).is_err()
    });
    server.token(&newest);
    is_refused(&server.run(&["secrets", "rotate", &old.id, "--grace", "0s"]), 3, "at least 1s");
    is_refused(&server.run(&["secrets", "rotate", &old.id, "--grace", "soon"]), 2, "--grace");
}
