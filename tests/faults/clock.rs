//! Clocks that are set, while the server runs and between two runs.
//!
//! In this process the wall clock is set while true time goes on by itself; on the real program libfaketime sets it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::support::process::command;
use crate::support::token::{claims, kid};
use crate::support::{ADMIN_KEY, Client, Process, Server};
use crate::table::{Plan, Row};

const HOUR: i64 = 3600;
const YEARS: i64 = 10 * 365 * 24 * HOUR;
/// A, in seconds.
const A: i64 = 25 * HOUR;

/// When the clock is set.
#[derive(Debug, Clone, Copy)]
enum When {
    Running,
    BetweenRuns,
    Rebooting,
}

/// A server, true time, and what was seen by it.
struct Watch {
    server: Server,
    client: Client,
    /// Seconds.
    truth: i64,
    /// When each key was first seen in the key set; those of the very first one may sign at once.
    seen: BTreeMap<String, i64>,
    signers: Vec<String>,
    /// Keys, and until when one of their tokens is good.
    needed: BTreeMap<String, i64>,
    tokens: usize,
}

impl Watch {
    fn begin() -> Self {
        let server = Server::with(&[("rotation.every", "26h")]);
        let client = server.task_service();
        let truth = m2mint::clock::Clock::Manual(server.clock.clone()).wall().secs();
        let mut watch = Self {
            server,
            client,
            truth,
            seen: BTreeMap::new(),
            signers: Vec::new(),
            needed: BTreeMap::new(),
            tokens: 0,
        };
        watch.seen.extend(watch.server.kids().into_iter().map(|kid| (kid, i64::MIN / 2)));
        watch
    }

    fn look(&mut self, what: &str) {
        let published = self.server.kids();
        assert!(published.len() <= 4, "{what}");
        for kid in &published {
            self.seen.entry(kid.clone()).or_insert(self.truth);
        }
        // Nobody is locked out.
        let token = self.server.token(&self.client);
        self.tokens += 1;
        let signer = kid(&token);
        assert!(
            self.truth - self.seen[&signer] >= A,
            "{what}: {signer} signs, and not every verifier can know it"
        );
        let until = self.needed.entry(signer.clone()).or_default();
        *until = (*until).max(claims(&token)["exp"].as_i64().unwrap());
        // A clock that is set and stays so was wrong before, or is now: nobody here can tell.
        let latest = self.truth.max(self.wall());
        for (kid, until) in &self.needed {
            let there = published.contains(kid) || *kid == signer;
            assert!(there || latest >= *until, "{what}: {kid} is gone, and a token of it is good");
        }
        if self.signers.last() != Some(&signer) {
            self.signers.push(signer);
        }
    }

    fn wall(&self) -> i64 {
        m2mint::clock::Clock::Manual(self.server.clock.clone()).wall().secs()
    }

    fn pass(&mut self, seconds: i64) {
        self.truth += seconds;
        self.server.pass(seconds);
    }

    fn set(&mut self, by: i64, when: When) {
        match when {
            When::Running => {
                self.server.clock.jump(by * 1000);
                self.server.settle();
            }
            When::BetweenRuns | When::Rebooting => {
                self.server.stop();
                if matches!(when, When::Rebooting) {
                    self.server.clock.reboot(0);
                }
                self.server.clock.jump(by * 1000);
                self.server.restart();
            }
        }
    }
}

pub fn a_clock_that_is_set_promotes_and_deletes_nothing_early_and_locks_nobody_out(_: &Plan) -> Vec<Row> {
    let mut rows = Vec::new();
    for when in [When::Running, When::BetweenRuns, When::Rebooting] {
        let (mut times, mut tokens, mut rotations) = (0, 0, 0);
        for by in [1, -1, HOUR, -HOUR, YEARS, -YEARS] {
            for comes_back in [false, true] {
                let what = format!("{by} s, {when:?}, and back: {comes_back}");
                let mut watch = Watch::begin();
                watch.look(&what);
                watch.pass(5 * HOUR);
                watch.look(&what);
                watch.set(by, when);
                watch.look(&what);
                if comes_back {
                    watch.pass(600);
                    watch.look(&what);
                    watch.set(-by, when);
                    watch.look(&what);
                }
                for _ in 0..16 {
                    watch.pass(5 * HOUR);
                    watch.look(&what);
                }
                assert!(watch.signers.len() > 2, "{what}: keys rotate no more: {:?}", watch.signers);
                times += 1;
                tokens += watch.tokens;
                rotations += watch.signers.len() - 1;
            }
        }
        rows.push(Row::new(
            format!("clocks set by 1 s, 1 h or 10 years, {when:?}: {tokens} tokens, {rotations} rotations, nothing early, nobody locked out"),
            times,
            0,
        ));
    }
    rows
}

fn libfaketime() -> Option<&'static str> {
    let places = [
        "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
        "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
        "/usr/lib/faketime/libfaketimeMT.so.1",
    ];
    places.into_iter().find(|place| Path::new(place).exists())
}

pub fn the_real_program_says_that_its_clock_was_set_and_goes_on(_: &Plan) -> Vec<Row> {
    let what = "clocks of the real program set (libfaketime): logged, shown by `m2mint keys`, tokens go on";
    let Some(library) = libfaketime() else {
        return vec![Row::skipped(what, "there is no libfaketime (package faketime)")];
    };
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let file = directory.path().join("faketime");
    let set = |to: &str| std::fs::write(&file, to).unwrap();
    let start = || {
        let mut serve = command(directory.path());
        serve.env("M2MINT_LISTEN", "127.0.0.1:0").env("M2MINT_API_KEY", ADMIN_KEY);
        serve.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", &file).env("FAKETIME_NO_CACHE", "1");
        serve.env("DONT_FAKE_MONOTONIC", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        Process::spawn(Arc::clone(&directory), serve)
    };
    set("+0");
    let mut server = start();
    let client = server.client();
    let (active, jwks) = (server.active_kid("EdDSA"), server.jwks());
    let steps = ["+1", "+0", "+1h", "-1h", "+3650d", "+0", "-3650d", "+0"];
    for (number, step) in steps.iter().enumerate() {
        if number % 2 == 0 {
            set(step);
        } else {
            server.stop();
            set(step);
            server = start();
        }
        let token = server.token(&client);
        assert_eq!(kid(&token), active, "{step}: no early promotion");
        assert_eq!(server.jwks(), jwks, "{step}: no early deletion");
        if !["+1", "+0"].contains(step) || number > 1 {
            server.wait_until("it is logged", || server.log.lock().contains("the clock was set"));
        }
    }
    server.wait_until("`m2mint keys` shows it", || server.verb(&["keys"]).contains("the clock was set"));
    assert!(server.verb_json(&["keys", "--json"])["clock_set"]["at"].is_string());
    server.verb(&["audit", "verify"]);
    vec![Row::new(what, steps.len(), 0)]
}
