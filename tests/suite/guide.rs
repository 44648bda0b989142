//! The guide says what is so: its reference pages are written from the code, its messages are the program's, its links lead
//! somewhere. Its commands are run by `tests/readme/run`.
//!
//! Where a reference page is out of date, `M2MINT_WRITE_REFERENCE=1 cargo test --test suite guide` writes it anew.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};
use m2mint::cli::Cli;
use m2mint::config::keys::KEYS;

use crate::support::Process;
use crate::support::http::{admin, get};
use crate::support::process::command;

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn guide() -> PathBuf {
    top().join("deploy/guide")
}

/// Every file below `folder` whose name ends so.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_str().is_some_and(|path| path.ends_with(ending)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Compares a page with what it has to be, or writes it.
#[track_caller]
fn is_up_to_date(page: &str, text: &str) {
    let path = guide().join("reference").join(page);
    if std::env::var_os("M2MINT_WRITE_REFERENCE").is_some() {
        fs::write(&path, text).unwrap();
    }
    let stands = fs::read_to_string(&path).unwrap_or_default();
    let differs = stands.lines().zip(text.lines()).find(|(stands, is)| stands != is);
    assert!(
        stands == text,
        "deploy/guide/reference/{page} is out of date: M2MINT_WRITE_REFERENCE=1 cargo test --test suite guide. First difference: {differs:?}"
    );
}

/// Every verb and action, as it is typed.
fn verbs(command: &Command, path: &[String]) -> Vec<Vec<String>> {
    let below = command.get_subcommands().filter(|below| !below.is_hide_set()).flat_map(|below| {
        let path: Vec<_> = path.iter().cloned().chain([below.get_name().to_owned()]).collect();
        verbs(below, &path)
    });
    std::iter::once(path.to_vec()).chain(below).collect()
}

#[test]
fn the_reference_of_the_command_line_is_what_help_prints() {
    let directory = tempfile::tempdir().unwrap();
    let mut page = "# The command line\n\nWritten from the program's own `--help`. Every verb takes the options of the first section under \
                    *Configuration*, which are left out below.\n"
        .to_owned();
    for verb in verbs(&Cli::command(), &[]) {
        let output = command(directory.path()).args(&verb).arg("--help").output().unwrap();
        assert!(output.status.success(), "{verb:?}");
        let help = String::from_utf8(output.stdout).unwrap();
        let mut is_shared = false;
        let mut lines = Vec::new();
        for line in help.lines() {
            if line == "Configuration:" {
                is_shared = !verb.is_empty();
            } else if is_shared && line.is_empty() {
                is_shared = false;
                continue;
            }
            if !is_shared {
                lines.push(line.trim_end());
            }
        }
        let name =
            std::iter::once("m2mint").chain(verb.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
        write!(page, "\n## {name}\n\n```text\n{}\n```\n", lines.join("\n").trim_end()).unwrap();
    }
    is_up_to_date("command-line.md", &page);
}

#[test]
fn the_reference_of_the_configuration_has_every_key() {
    let mut page = "# The configuration\n\nWritten from the program's table of keys. *reload*: a change takes effect on `SIGHUP`; the others \
                    need a restart. [`m2mint.toml`](../../m2mint.toml) has each with more words.\n\n\
                    | key | variable | default | | |\n|---|---|---|---|---|\n"
        .to_owned();
    for key in &KEYS {
        let reload = if key.reloads { "reload" } else { "" };
        let about = key.about.replace('|', "\\|");
        writeln!(page, "| `{}` | `{}` | {} | {about} | {reload} |", key.name, key.variable(), key.default)
            .unwrap();
    }
    is_up_to_date("configuration.md", &page);
}

#[test]
fn the_reference_of_metrics_has_every_family() {
    let server = Process::with(&[("M2MINT_BACKUP__EVERY", "1d")]);
    server.token(&server.client());
    let metrics = || admin("GET", &server.endpoint("/metrics"), "").body;
    server.wait_until("a backup is made", || metrics().contains("m2mint_backup_bytes"));
    let text = metrics();
    let mut page = "# Metrics\n\nWritten from what a server answers at `/metrics`. A counter's samples end in `_total`, an info's in `_info`, and a \
                    histogram's in `_bucket`, `_count` and `_sum`.\n\n| family | kind | labels | |\n|---|---|---|---|\n"
        .to_owned();
    for line in text.lines() {
        let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|line| line.split_once(' ')) else {
            continue;
        };
        let kind = text.lines().find_map(|line| line.strip_prefix(&format!("# TYPE {name} "))).unwrap();
        let labels: BTreeSet<_> = text
            .lines()
            .filter(|line| line.starts_with(name) && !line.starts_with('#'))
            .filter_map(|line| {
                let (sample, rest) = line.split_once('{')?;
                let suffix = sample.strip_prefix(name)?;
                let is_its = ["", "_total", "_info", "_bucket", "_count", "_sum"].contains(&suffix);
                is_its.then(|| rest.split_once('}').unwrap().0)
            })
            .flat_map(|labels| labels.split("\",").map(|label| label.split_once('=').unwrap().0))
            .filter(|label| *label != "le")
            .map(|label| format!("`{label}`"))
            .collect();
        let labels = labels.into_iter().collect::<Vec<_>>().join(", ");
        writeln!(page, "| `{name}` | {kind} | {labels} | {help} |").unwrap();
    }
    is_up_to_date("metrics.md", &page);
}

#[test]
fn the_reference_of_the_api_has_every_call() {
    let server = Process::start();
    let described = get(&server.endpoint("/openapi.json")).json();
    let mut page = "# The API\n\nWritten from `/openapi.json`, the OpenAPI 3.1 description that each server answers, with schemas and examples; `/openapi` is the same \
                    for people. *role*: what the admin key must have that the call takes. With `admin.listen`, each listener describes its own calls.\n"
        .to_owned();
    let calls: Vec<_> = described["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, calls)| {
            calls.as_object().unwrap().iter().map(move |(method, call)| (path, method, call))
        })
        .filter(|(_, _, call)| call["summary"].is_string())
        .collect();
    let tags: BTreeSet<_> = calls.iter().map(|(_, _, call)| call["tags"][0].as_str().unwrap()).collect();
    for tag in tags {
        write!(page, "\n## {tag}\n\n| call | role | |\n|---|---|---|\n").unwrap();
        for (path, method, call) in calls.iter().filter(|(_, _, call)| call["tags"][0] == tag) {
            let summary = call["summary"].as_str().unwrap();
            let role = call["x-role"].as_str().map(|role| format!("`{role}`")).unwrap_or_default();
            writeln!(page, "| `{} {path}` | {role} | {summary} |", method.to_uppercase()).unwrap();
        }
    }
    is_up_to_date("api.md", &page);
}

/// The text of a source as it is printed: lines that go on are joined, and `...` stands for what is filled in.
fn as_printed(source: &str) -> String {
    let mut text = String::new();
    let mut rest = source.chars().peekable();
    while let Some(character) = rest.next() {
        match (character, rest.peek()) {
            ('\\', Some('\n')) => while rest.next_if(|next| next.is_whitespace()).is_some() {},
            ('\\', Some('"')) => {}
            ('{', Some(next)) if next.is_alphanumeric() || "}:_".contains(*next) => {
                let inside: String = rest.by_ref().take_while(|next| *next != '}').collect();
                // What is longer is a piece of Rust.
                text.push_str(if inside.len() < 40 && !inside.contains('\n') { "..." } else { &inside });
            }
            _ => text.push(character),
        }
    }
    text
}

/// The messages of the page, in order.
fn messages() -> Vec<String> {
    let page = fs::read_to_string(guide().join("troubleshooting.md")).unwrap();
    let bullets = page.lines().filter_map(|line| line.strip_prefix("- `"));
    bullets.map(|line| line.trim_matches('`').trim_matches([' ']).to_owned()).collect()
}

#[test]
fn every_message_of_the_page_is_one_that_the_program_has() {
    let sources: Vec<_> =
        files(&top().join("src"), ".rs").iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let printed: Vec<_> = sources.iter().map(|source| as_printed(source)).collect();
    let messages = messages();
    assert!(messages.len() > 30);
    for message in messages {
        assert!(printed.iter().any(|text| text.contains(&message)), "nothing prints: {message}");
    }
}

#[test]
fn every_reason_not_to_start_is_on_the_page() {
    let page: Vec<_> = messages();
    for name in ["store/schema.rs", "witness.rs", "master_key.rs", "listeners.rs"] {
        let source = as_printed(&fs::read_to_string(top().join("src").join(name)).unwrap());
        for attribute in source.split("#[error(").skip(1) {
            let attribute = attribute.trim_start();
            let Some(message) = attribute.strip_prefix('"').and_then(|text| text.split_once('"')) else {
                continue;
            };
            // Some only pass on what another one says.
            if message.0.chars().any(char::is_alphabetic) {
                assert!(page.iter().any(|known| known == message.0), "{name}: {}", message.0);
            }
        }
    }
}

/// A heading, as links name it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars()
        .filter(|character| character.is_alphanumeric() || " -_".contains(*character))
        .map(|character| if character == ' ' { '-' } else { character })
        .collect()
}

/// The lines of a page that are no code.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    page.lines().filter(move |line| {
        let fence = line.starts_with("```");
        is_code ^= fence;
        !is_code && !fence
    })
}

#[test]
fn every_link_leads_somewhere() {
    let pages = files(&top().join("deploy"), ".md")
        .into_iter()
        .chain([top().join("README.md"), top().join("keys/README.md")]);
    let mut count = 0;
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for line in prose(&text) {
            for link in line.split("](").skip(1).filter_map(|rest| rest.split_once(')')) {
                let link = link.0;
                if link.contains("://") {
                    continue;
                }
                let (file, heading) = link.split_once('#').unwrap_or((link, ""));
                let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
                assert!(target.exists(), "{}: {link}", page.display());
                let found = heading.is_empty() || {
                    let text = fs::read_to_string(&target).unwrap();
                    prose(&text)
                        .any(|line| line.starts_with('#') && anchor(line.trim_start_matches('#')) == heading)
                };
                assert!(found, "{}: {link}", page.display());
                count += 1;
            }
        }
    }
    assert!(count > 40, "{count}");
}

#[test]
fn the_first_page_leads_to_every_other_one() {
    let index = fs::read_to_string(guide().join("README.md")).unwrap();
    for page in files(&guide(), ".md") {
        let name = page.strip_prefix(guide()).unwrap().display().to_string();
        assert!(name == "README.md" || index.contains(&format!("({name})")), "{name}");
    }
}
