//! The rotation rule against simulated verifiers, through everything that can happen to an issuer: rotations and
//! revocations at any time, crashes between any two writes, restarts and reboots, clocks that jump by years, changes of
//! lifetimes and of A.
//!
//! Time in this model is *true time*; the issuer sees it through a wall clock with an offset that somebody may set, and
//! through a steady clock that nobody can. A verifier caches the key set for a part of A and fetches it again when its
//! copy is older than that. What must hold: a token is accepted by every such verifier for as long as it lives,
//! - by the issuer's wall clock, give or take s: the clock of a verifier that follows the issuer's, and
//! - by true time, give or take s, when the issuer's clock was right as it signed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

mod issuer;
mod verifiers;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use m2mint_keys::jwk::Kid;
use m2mint_keys::key_ring::{MAX_PUBLISHED, State};
use m2mint_keys::signing_key::Algorithm;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use issuer::{Issuer, Which};
use verifiers::{Token, Verifier};

const HISTORIES: u32 = 10_000;
const STEPS: usize = 50;
pub const SKEW: Duration = Duration::from_secs(60);

/// Something that happens.
#[derive(Debug, Clone)]
enum Step {
    /// Milliseconds of true time.
    Pass(i64),
    Mint,
    Rotate,
    Revoke(usize),
    /// The process dies after this many more writes or switches of what is served.
    CrashAfter(u32),
    Kill,
    Start {
        reboot: bool,
    },
    /// Somebody sets the wall clock by this many milliseconds.
    Jump(i64),
    Lifetime(u64),
    Propagation(u64),
    Every(Option<u64>),
}

/// Every kind of ring.
const RINGS: [Which; 3] =
    [Which::First(Algorithm::EdDsa), Which::First(Algorithm::Es256), Which::Joined(Algorithm::Es256)];

fn which() -> impl Strategy<Value = Which> {
    prop::sample::select(&RINGS)
}

fn a_while() -> impl Strategy<Value = i64> {
    prop_oneof![
        2 => 0..5_000_i64,
        3 => 5_000..3_600_000_i64,
        4 => 3_600_000..60 * 3_600_000_i64,
        1 => Just(30 * 86_400_000_i64),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let years = 10 * 365 * 86_400_000_i64;
    prop_oneof![
        8 => a_while().prop_map(Step::Pass),
        8 => Just(Step::Mint),
        6 => Just(Step::Rotate),
        1 => (0..6_usize).prop_map(Step::Revoke),
        2 => (0..6_u32).prop_map(Step::CrashAfter),
        1 => Just(Step::Kill),
        5 => prop::bool::weighted(0.3).prop_map(|reboot| Step::Start { reboot }),
        2 => prop_oneof![-years..years, Just(years), Just(-years), -3_000..3_000_i64, -7_200_000..7_200_000_i64]
            .prop_map(Step::Jump),
        3 => prop_oneof![Just(30), Just(24 * 3600), 1..24 * 3600_u64].prop_map(Step::Lifetime),
        1 => (1..48 * 3600_u64).prop_map(Step::Propagation),
        1 => prop::option::of(48 * 3600..90 * 86_400_u64).prop_map(Step::Every),
    ]
}

/// Everything together.
struct History {
    issuer: Issuer,
    verifiers: Vec<Verifier>,
    tokens: Vec<Token>,
    /// Keys that had to sign before every verifier could know them, and when they were first served.
    hurried: HashMap<Kid, i64>,
}

impl History {
    fn new(which: Which, parts_of_a: &[u32]) -> Self {
        let mut issuer = Issuer::new(which);
        issuer.start(false);
        let verifier = |part: &u32| match which {
            Which::First(_) => Verifier::new(*part, &issuer),
            Which::Joined(_) => Verifier::without_keys(*part, &issuer),
        };
        let verifiers = parts_of_a.iter().map(verifier).collect();
        Self { issuer, verifiers, tokens: Vec::new(), hurried: HashMap::new() }
    }

    fn happen(&mut self, step: &Step) {
        match *step {
            Step::Pass(millis) => {
                self.issuer.world.pass(millis);
                self.verifiers.iter_mut().for_each(|verifier| verifier.keep_fresh(&self.issuer));
            }
            Step::Mint => self.tokens.extend(self.issuer.mint()),
            Step::Rotate => self.issuer.ask_for_rotation(),
            Step::Revoke(which) => self.revoke(which),
            Step::CrashAfter(writes) => self.issuer.crash_after(writes),
            Step::Kill => self.issuer.kill(),
            Step::Start { reboot } => self.issuer.start(reboot),
            Step::Jump(millis) => self.issuer.world.jump(millis),
            Step::Lifetime(secs) => self.issuer.set_lifetime(Duration::from_secs(secs)),
            Step::Propagation(secs) => self.issuer.policy.propagation = Duration::from_secs(secs),
            Step::Every(secs) => self.issuer.policy.every = secs.map(Duration::from_secs),
        }
        self.issuer.settle();
        self.verifiers.iter_mut().for_each(|verifier| verifier.keep_fresh(&self.issuer));
    }

    fn revoke(&mut self, which: usize) {
        let Some(kid) = self.issuer.kids().get(which).cloned() else { return };
        self.issuer.revoke(&kid);
        let ring = self.issuer.file_ring();
        if ring.get(&kid).is_some_and(|key| key.state() == State::Revoked)
            && let Some(active) = ring.active()
            && !active.founding
        {
            let served = self.issuer.first_served.get(&active.kid).copied().unwrap_or(i64::MAX);
            self.hurried.insert(active.kid.clone(), served);
        }
        let revoked: HashSet<_> = ring
            .records()
            .iter()
            .filter(|key| key.revoked.is_some())
            .collect::<Vec<_>>()
            .iter()
            .map(|key| key.kid.clone())
            .collect();
        self.tokens.retain(|token| !revoked.contains(&token.kid));
    }

    fn check(&mut self) {
        let ring = self.issuer.file_ring();
        let count = |state| ring.records().iter().filter(|key| key.state() == state).count();
        assert_eq!(count(State::Active), 1, "exactly one key signs");
        assert!(count(State::Standby) <= 1);
        assert!(ring.published().count() <= MAX_PUBLISHED, "at most {MAX_PUBLISHED} keys are published");
        for key in ring.records().iter().filter(|key| matches!(key.state(), State::Retired | State::Revoked))
        {
            assert!(!self.issuer.has_private_half(&key.kid), "a private half outlived its key's use");
        }
        if let Some((in_memory, signer, served)) = self.issuer.running_state() {
            assert_eq!(*in_memory, ring, "every state is reachable from the file alone");
            assert_eq!(Some(signer), ring.active().map(|key| &key.kid));
            assert_eq!(served.len(), ring.published().count());
            assert!(count(State::Standby) == 1, "a standby is always published");
        }
        let world = &self.issuer.world;
        self.tokens.iter_mut().for_each(|token| token.grow_old(world));
        self.tokens.retain(Token::lives);
        for verifier in &self.verifiers {
            // Without an issuer to ask, a copy older than A may not be used: such a verifier obeys by refusing.
            if !verifier.may_use_copy() {
                continue;
            }
            for token in &self.tokens {
                let hurried = self.hurried.get(&token.kid);
                let excused = hurried.is_some_and(|served| verifier.fetched_before(*served));
                assert!(
                    verifier.knows(&token.kid) || excused,
                    "a good token was refused: {token:?} by {verifier:?} at {world:?}"
                );
            }
        }
    }
}

#[test]
fn every_token_is_accepted_for_as_long_as_it_lives() {
    // The same histories each time; with the variable, as many others as it says.
    let others: Option<u32> = std::env::var("M2MINT_HISTORIES").ok().map(|number| number.parse().unwrap());
    let config =
        Config { cases: others.unwrap_or(HISTORIES), failure_persistence: None, ..Config::default() };
    let mut runner = match others {
        Some(_) => TestRunner::new(config),
        None => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
    };
    let histories =
        (which(), prop::collection::vec(0..=100_u32, 4), prop::collection::vec(step(), 10..STEPS));
    let outcome = runner.run(&histories, |(which, parts_of_a, steps)| {
        let mut history = History::new(which, &parts_of_a);
        for step in &steps {
            history.happen(step);
            history.check();
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

/// The model is worth something only if things do happen in it.
#[test]
fn histories_are_eventful() {
    let mut runner = TestRunner::deterministic();
    let histories = (prop::collection::vec(0..=100_u32, 4), prop::collection::vec(step(), STEPS));
    for which in RINGS {
        let (mut tokens, mut promotions, mut deletions, mut crashes) = (0, 0, 0, 0);
        for _ in 0..300 {
            let (parts_of_a, steps) = histories.new_tree(&mut runner).unwrap().current();
            let mut history = History::new(which, &parts_of_a);
            for step in &steps {
                let before = history.tokens.len();
                history.happen(step);
                tokens += history.tokens.len().saturating_sub(before);
                history.check();
            }
            promotions += history.issuer.happened.promotions;
            deletions += history.issuer.happened.deletions;
            crashes += history.issuer.happened.crashes;
        }
        println!(
            "{which:?}, 300 histories: {tokens} tokens, {promotions} promotions, {deletions} deletions, {crashes} crashes"
        );
        assert!(tokens > 300 && promotions > 150 && deletions > 50 && crashes > 50);
    }
}
