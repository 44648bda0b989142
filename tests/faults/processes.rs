//! Several processes on one file.

use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::process::{command, run_to_end};
use crate::support::{Client, Process, post_form};
use crate::table::{Plan, Row};

const WRITERS: usize = 50;

pub fn fifty_verbs_at_once_lose_nothing_and_find_nothing_locked(_: &Plan) -> Vec<Row> {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let server = Process::again(Arc::clone(&directory), &[]);
    let mut rows = Vec::new();
    let all_at_once = |prefix: &str| {
        let start = |number: usize| {
            let id = format!("{prefix}-{number}");
            let mut verb = command(directory.path());
            verb.args([
                "clients",
                "create",
                "--id",
                &id,
                "--audience",
                "event",
                "--scope",
                "event.create",
                "--json",
            ]);
            (id, verb.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
        };
        let started: Vec<_> = (0..WRITERS).map(start).collect();
        let end = |(id, child): (String, std::process::Child)| {
            let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&stderr).into_owned();
            assert!(status.success() && !said.contains("locked"), "{id}: {said}");
            let made: Value = serde_json::from_slice(&stdout).unwrap();
            Client { id, secret: made["clientSecret"].as_str().unwrap().to_owned() }
        };
        started.into_iter().map(end).collect::<Vec<_>>()
    };
    let client = server.client();
    let beside = all_at_once("beside");
    allow(&server, &client, "event.last");
    for client in &beside {
        server.token(client);
    }
    rows.push(Row::new(
        "verbs that write at once, beside a server: all done, none finds the file locked",
        WRITERS,
        0,
    ));
    server.stop();
    let alone = all_at_once("alone");
    let server = Process::again(Arc::clone(&directory), &[]);
    for client in beside.iter().chain(&alone) {
        server.token(client);
    }
    server.verb(&["audit", "verify"]);
    rows.push(Row::new("the same without a server", WRITERS, 0));
    rows
}

/// Allows a client one more scope, by a verb, and answers how long it takes until the server grants it.
fn allow(server: &Process, client: &Client, scope: &str) -> Duration {
    server.verb(&["clients", "update", &client.id, "--scope", &format!("event.create {scope}")]);
    let begun = Instant::now();
    // No guess at a secret: those are slowed down.
    server.wait_until("the scope is granted", || {
        let fields = [
            ("grant_type", "client_credentials"),
            ("client_id", &client.id),
            ("client_secret", &client.secret),
            ("scope", scope),
        ];
        post_form(&server.endpoint("/auth/oauth/token"), &fields).status == 200
    });
    begun.elapsed()
}

pub fn what_a_verb_does_is_seen_by_the_server_within_a_second(_: &Plan) -> Vec<Row> {
    let server = Process::start();
    let client = server.client();
    let mut waits: Vec<Duration> =
        (0..20).map(|number| allow(&server, &client, &format!("event.x{number}"))).collect();
    waits.sort();
    // A machine that is busy with other things may make one of them late.
    let (median, late) = (waits[10], waits.iter().filter(|wait| **wait > Duration::from_secs(1)).count());
    assert!(median < Duration::from_secs(1), "{waits:?}");
    vec![Row::new(
        format!("changes by a verb, seen by the server after {} ms (median)", median.as_millis()),
        waits.len(),
        late.saturating_sub(2),
    )]
}

pub fn a_second_server_refuses_to_start(_: &Plan) -> Vec<Row> {
    let server = Process::start();
    let client = server.client();
    for _ in 0..5 {
        let output = run_to_end(command(server.directory.path()).args(["--listen", "127.0.0.1:0"]));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains("another m2mint already serves"), "{said}");
        server.token(&client);
    }
    vec![Row::new("second servers on one file: each refused, the first goes on", 5, 0)]
}
