//! `m2mint demo`: the story goes as it is recorded, and nothing of it is left behind.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::process;

fn demo(folder: &Path) -> Command {
    let mut command = process::command(folder);
    command.arg("demo").env("TMPDIR", folder);
    command
}

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

/// Whether a line is as the recording has it, in which `...` stands for anything.
fn fits(recorded: &str, line: &str) -> bool {
    let parts: Vec<_> = recorded.split("...").map(str::trim).collect();
    let mut rest = line.trim();
    for (at, part) in parts.iter().enumerate() {
        let Some(found) = rest.find(part).filter(|found| at > 0 || *found == 0) else { return false };
        rest = &rest[found + part.len()..];
    }
    rest.is_empty() || parts.last() == Some(&"")
}

#[test]
fn the_story_goes_as_the_readme_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let output = demo(folder.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(entries(folder.path()), 0, "nothing is left behind");
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let recording =
        readme.split("\ntarget/release/m2mint demo\n```\n\n```text\n").nth(1).expect("a recording");
    let recording = recording.split("\n```").next().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let lines =
        |text: &str| text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let (recorded, told) = (lines(recording), lines(&told));
    for (recorded, told) in recorded.iter().zip(&told) {
        assert!(fits(recorded, told), "recorded: {recorded}\ntold:     {told}");
    }
    assert_eq!(recorded.len(), told.len(), "{told:?}");
}

#[test]
fn nothing_is_left_behind_when_somebody_stops_it() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = demo(folder.path()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut first = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut first).unwrap();
        assert!(first.contains("Task Service"), "{first}");
        kill_process(Pid::from_child(&child), signal).unwrap();
        let status = child.wait().unwrap();
        // It may have come to its end before, but it was not killed.
        assert!(matches!(status.code(), Some(0 | 1)), "{status}");
        assert_eq!(entries(folder.path()), 0, "{signal:?}");
    }
}

#[test]
fn nobody_has_to_listen_and_nothing_of_this_machine_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = demo(folder.path());
    command.env("M2MINT_DATABASE", folder.path().join("real.db")).env("M2MINT_LISTEN", "192.0.2.1:1");
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    assert_eq!(entries(folder.path()), 0);
}
