//! What the command line says about itself.

use std::process::Output;

use clap::{Command, CommandFactory as _};
use m2mint::cli::Cli;

use crate::support::{Process, process};

/// Runs a verb where nothing is.
fn run(arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    process::command(directory.path()).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Every verb and action, as it is typed.
fn verbs(command: &Command, path: &[String]) -> Vec<Vec<String>> {
    let below = command.get_subcommands().flat_map(|below| {
        let path: Vec<_> = path.iter().cloned().chain([below.get_name().to_owned()]).collect();
        verbs(below, &path)
    });
    std::iter::once(path.to_vec()).chain(below).collect()
}

/// The words of a line, as a shell reads them.
fn words(line: &str) -> Vec<String> {
    let parts = line.split('\'').enumerate();
    parts
        .flat_map(|(at, part)| match at % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        })
        .take_while(|word| word != ">" && word != "|")
        .collect()
}

#[test]
fn every_verb_has_help_that_fits_a_screen_and_an_example_that_works() {
    for verb in verbs(&Cli::command(), &[]) {
        let arguments: Vec<_> = verb.iter().map(String::as_str).chain(["--help"]).collect();
        let output = run(&arguments);
        assert!(output.status.success(), "{verb:?}");
        let help = text(&output.stdout);
        assert!((1..=50).contains(&help.lines().count()), "{verb:?}: {} lines", help.lines().count());
        let examples: Vec<_> =
            help.lines().filter_map(|line| line.trim().strip_prefix("Example: ")).collect();
        assert!(!examples.is_empty(), "{verb:?} has no example");
        for example in examples {
            let words = words(example);
            let begins = std::iter::once("m2mint").chain(verb.iter().map(String::as_str));
            assert!(
                words.iter().map(String::as_str).zip(begins).all(|(word, verb)| word == verb),
                "{example}"
            );
            match Cli::command().try_get_matches_from(words) {
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error.kind(), clap::error::ErrorKind::DisplayHelp, "{example}: {error}")
                }
            }
        }
    }
    assert!(run(&["--version"]).status.success());
}

#[test]
fn every_verb_that_prints_can_print_json() {
    for verb in verbs(&Cli::command(), &[]) {
        let mut command = Cli::command();
        command.build();
        let found = verb.iter().fold(&command, |command, name| command.find_subcommand(name).unwrap());
        // These have actions that print, or print what is not theirs to shape.
        let has_none = matches!(
            verb.iter().map(String::as_str).collect::<Vec<_>>()[..],
            [] | ["serve"] | ["demo"] | ["completions"] | ["man"] | ["config"] | ["master-key"]
        );
        let has = found.get_arguments().any(|argument| argument.get_id() == "json");
        assert_eq!(has, !has_none, "{verb:?}");
    }
}

#[test]
fn a_verb_that_changes_something_says_so_in_json() {
    let server = Process::start();
    let client = server.client();
    let added = server.verb_json(&["secrets", "add", &client.id, "--json"])["id"].to_string();
    assert_eq!(server.verb_json(&["secrets", "remove", &client.id, &added, "--yes", "--json"])["removed"], 2);
    server.verb_json(&["admin-keys", "add", "deploy", "--role", "read", "--json"]);
    assert_eq!(server.verb_json(&["admin-keys", "remove", "deploy", "--yes", "--json"])["removed"], "deploy");
    let shown = server.verb_json(&["verifier", "jose", "--issuer", "https://auth.example", "--json"]);
    assert_eq!(shown["issuer"], "https://auth.example");
    assert!(shown["code"].as_str().unwrap().contains("jwtVerify"), "{shown}");
    let pack = server.verb_json(&["verifier", "pack", "--audience", "event", "--out", "pack", "--json"]);
    assert!(pack["folder"] == "pack" && pack["bad_tokens"].as_u64() > Some(20), "{pack}");
}

#[test]
fn typos_get_a_suggestion() {
    let server = Process::start();
    server.verb(&[
        "clients",
        "create",
        "--id",
        "task-service",
        "--audience",
        "event",
        "--scope",
        "event.view",
    ]);
    server.verb(&["admin-keys", "add", "deploy", "--role", "read"]);
    for (code, arguments, meant) in [
        (2, &["client", "list"][..], "clients"),
        (2, &["clients", "lst"], "list"),
        (2, &["clients", "create", "--audiences", "event"], "--audience"),
        (2, &["verifier", "jos"], "did you mean jose?"),
        (3, &["clients", "show", "task-servise"], "did you mean task-service?"),
        (3, &["clients", "update", "tsk-service", "--lifetime", "1m"], "did you mean task-service?"),
        (3, &["clients", "remove", "taskservice"], "did you mean task-service?"),
        (3, &["secrets", "add", "task-servce"], "did you mean task-service?"),
        (3, &["secrets", "list", "task_service"], "did you mean task-service?"),
        (3, &["secrets", "remove", "tasks-service", "1"], "did you mean task-service?"),
        (3, &["admin-keys", "remove", "deplyo"], "did you mean deploy?"),
        (1, &["config", "check", "--set", "listne=127.0.0.1:0"], "did you mean listen?"),
    ] {
        let output = server.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        assert!(text(&output.stderr).contains(meant), "{arguments:?}: {}", text(&output.stderr));
    }
    assert!(!text(&server.run(&["clients", "show", "zebra"]).stderr).contains("did you mean"));
}

#[test]
fn exit_codes_tell_usage_from_refusal_from_failure() {
    let server = Process::start();
    let client = server.client();
    for (code, arguments) in [
        (0, &["keys"][..]),
        (0, &["clients", "list"]),
        (1, &["keys", "--database", "no-such-file.db"]),
        (1, &["keys", "--set", "rotation.propagation=0s"]),
        (1, &["backup", "no-such-folder/copy.db"]),
        (2, &["clients", "create", "--lifetime", "soon"]),
        (2, &["clients", "create", "--enabled", "perhaps"]),
        (2, &["secrets", "add", &client.id, "--expires-in", "soon"]),
        (2, &["audit", "--since", "lately"]),
        (2, &["keys", "rotate", "--alg", "HS256"]),
        (2, &["token", &client.id]),
        (2, &["completions", "basic"]),
        (3, &["clients", "create", "--scope", "no\"scope"]),
        (3, &["keys", "revoke", "no-such-key"]),
        (3, &["secrets", "add", "nobody"]),
    ] {
        let output = server.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        assert_eq!(output.stderr.is_empty(), code == 0, "{arguments:?}: {output:?}");
    }
}

#[test]
fn shells_get_completions_and_man_gets_pages() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let completions = text(&run(&["completions", shell]).stdout);
        assert!(completions.contains("clients") && completions.contains("audience-scopes"), "{shell}");
    }
    let page = text(&run(&["man"]).stdout);
    assert!(page.contains(".TH m2mint 1") && page.contains("Exit codes"), "{page}");
    let directory = tempfile::tempdir().unwrap();
    let output = process::command(directory.path()).args(["man", "share/man1"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    for verb in verbs(&Cli::command(), &[]) {
        let name = std::iter::once("m2mint".to_owned()).chain(verb).collect::<Vec<_>>().join("-");
        let page = std::fs::read_to_string(directory.path().join(format!("share/man1/{name}.1"))).unwrap();
        assert!(page.contains("Example: "), "{name}");
    }
}
