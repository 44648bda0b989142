//! The command line for somebody at a terminal: tables that fit, colour, questions.

use std::process::Command;

use crate::support::{Process, process, terminal};

const BOLD: &str = "\u{1b}[1m";

fn verb(server: &Process, arguments: &[&str]) -> Command {
    let mut command = process::command(server.directory.path());
    command.args(arguments).env("TERM", "xterm");
    command
}

#[test]
fn tables_fit_the_terminal_and_ids_stay_whole() {
    let server = Process::start();
    for name in ["Task Service", "The service that makes reports at the end of each month"] {
        server.verb(&["clients", "create", "--name", name, "--audience", "event", "--scope", "event.view"]);
    }
    for columns in [80, 100, 140, 200] {
        let mut command = verb(&server, &["clients", "list"]);
        command.env("NO_COLOR", "1");
        let (status, screen) = terminal::run(command, columns, "");
        assert!(status.success());
        let is_block = screen.starts_with("CLIENT ID  stcl_");
        let fits = |line: &str| line.chars().count() <= usize::from(columns);
        assert!(is_block || screen.lines().all(fits), "{columns}:\n{screen}");
        assert_eq!(is_block, columns < 100, "{columns}:\n{screen}");
    }
    // Nobody looks at a pipe: a row is a line.
    assert_eq!(server.verb(&["clients", "list"]).lines().count(), 3);
    let ids = server.verb_json(&["clients", "list", "--json"]);
    let (_, screen) = terminal::run(verb(&server, &["clients", "list"]), 60, "");
    for client in ids.as_array().unwrap() {
        assert!(screen.contains(client["clientId"].as_str().unwrap()), "{screen}");
    }
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    let server = Process::start();
    let (_, screen) = terminal::run(verb(&server, &["clients", "list"]), 120, "");
    assert!(screen.contains(BOLD), "{screen:?}");
    for (variable, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let mut command = verb(&server, &["clients", "list"]);
        command.env(variable, value);
        let (_, screen) = terminal::run(command, 120, "");
        assert!(!screen.contains('\u{1b}'), "{variable}: {screen:?}");
    }
    let (status, screen) = terminal::run(verb(&server, &["clients", "show", "nobody"]), 120, "");
    assert!(
        status.code() == Some(3) && screen.contains("\u{1b}[31m") && screen.contains("m2mint:"),
        "{screen:?}"
    );
    let output = verb(&server, &["clients", "list"]).output().unwrap();
    assert!(!output.stdout.contains(&0x1b), "nothing is coloured where no terminal is");
    let output = verb(&server, &["clients", "show", "nobody"]).output().unwrap();
    assert!(!output.stderr.contains(&0x1b));
}

#[test]
fn what_destroys_says_so_and_asks() {
    let server = Process::start();
    let client = server.client();
    let kid = server.active_kid("EdDSA");
    server.verb(&["admin-keys", "add", "deploy", "--role", "read"]);
    for (arguments, told) in [
        (&["clients", "remove", &*client.id][..], "gets no more tokens"),
        (&["secrets", "remove", &*client.id, "1"], "Whoever still uses it is refused"),
        (&["admin-keys", "remove", "deploy"], "Whoever still uses it is refused"),
        (&["keys", "revoke", &*kid], "every token that it signed is refused"),
        (&["master-key", "rotate"], "backups"),
    ] {
        for answer in ["n\n", "\n", "anything\n"] {
            let (status, screen) = terminal::run(verb(&server, arguments), 200, answer);
            assert_eq!(status.code(), Some(3), "{screen}");
            assert!(screen.contains(told) && screen.contains("[y/N]"), "{screen}");
            assert!(screen.contains("nothing was changed"), "{screen}");
        }
        let refused = server.run(arguments);
        assert_eq!(refused.status.code(), Some(3), "nobody can be asked");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("--yes"), "{refused:?}");
    }
    server.token(&client);
    let (status, screen) = terminal::run(verb(&server, &["clients", "remove", &client.id]), 200, "y\n");
    assert!(status.success() && screen.contains("removed: "), "{screen}");
    assert_eq!(server.run(&["clients", "show", &client.id]).status.code(), Some(3));
}

#[test]
fn names_from_elsewhere_cannot_turn_a_line_around() {
    let server = Process::start();
    let name = "Task \u{202e}ecivreS";
    server.verb(&["clients", "create", "--name", name, "--audience", "event", "--scope", "event.view"]);
    for arguments in [&["clients", "list"][..], &["audit"]] {
        let (_, screen) = terminal::run(verb(&server, arguments), 200, "");
        assert!(!screen.contains('\u{202e}') && screen.contains("\\u{202e}"), "{screen:?}");
    }
    let listed = server.verb_json(&["clients", "list", "--json"]);
    assert_eq!(listed[0]["clientName"], name, "programs get it as it is");
}
