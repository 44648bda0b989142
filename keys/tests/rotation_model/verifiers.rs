//! Tokens, and the verifiers that they meet.

use std::time::Duration;

use m2mint_keys::jwk::Kid;
use m2mint_keys::time::millis;

use crate::SKEW;
use crate::issuer::{Issuer, World};

/// A token: which key signed it, and for how long it lives.
#[derive(Debug, Clone)]
pub struct Token {
    pub kid: Kid,
    /// By the issuer's wall clock.
    pub expires_at: i64,
    /// Whether that clock was right when it signed.
    pub signed_at_true_time: bool,
    /// A token that has expired once does not come back when a clock is set back.
    expired_by_wall: bool,
    expired_by_truth: bool,
}

impl Token {
    pub fn new(kid: Kid, expires_at: i64, world: &World) -> Self {
        let signed_at_true_time = world.offset == 0;
        Self { kid, expires_at, signed_at_true_time, expired_by_wall: false, expired_by_truth: false }
    }

    pub fn grow_old(&mut self, world: &World) {
        let dead_from = self.expires_at + millis(SKEW);
        self.expired_by_wall |= world.wall() >= dead_from;
        self.expired_by_truth |= !self.signed_at_true_time || world.now >= dead_from;
    }

    pub fn lives(&self) -> bool {
        !self.expired_by_wall || !self.expired_by_truth
    }
}

/// Somebody who checks tokens against a copy of the key set.
#[derive(Debug)]
pub struct Verifier {
    /// How much of A it uses, in percent.
    part_of_a: u32,
    copy: Vec<Kid>,
    fetched: i64,
    /// Its copy was older than A at a time when there was nobody to ask: it is not used again, whatever A becomes.
    thrown_away: bool,
}

impl Verifier {
    /// A verifier that has the keys which are served.
    pub fn new(part_of_a: u32, issuer: &Issuer) -> Self {
        let mut verifier = Self::without_keys(part_of_a, issuer);
        verifier.fetch(issuer);
        verifier
    }

    /// A verifier whose copy was fetched just before the ring joined.
    pub fn without_keys(part_of_a: u32, issuer: &Issuer) -> Self {
        Self { part_of_a, copy: Vec::new(), fetched: issuer.world.now, thrown_away: false }
    }

    fn keep(&self, issuer: &Issuer) -> i64 {
        let a: Duration = issuer.policy.propagation;
        millis(a) * i64::from(self.part_of_a) / 100
    }

    /// Fetches the key set as often as its part of A demands. What is served does not change while time passes: the last
    /// fetch is the one that counts, and it is as old as it can be.
    pub fn keep_fresh(&mut self, issuer: &Issuer) {
        let (age, keep) = (issuer.world.now - self.fetched, self.keep(issuer));
        self.thrown_away |= age > millis(issuer.policy.propagation);
        if age < keep || issuer.served().is_none() {
            return;
        }
        let since = if keep == 0 { 0 } else { age % keep };
        self.fetch(issuer);
        // Not before the set that it now holds was first served.
        self.fetched = (issuer.world.now - since).max(issuer.served_since());
    }

    fn fetch(&mut self, issuer: &Issuer) {
        if let Some(served) = issuer.served() {
            self.copy = served.to_vec();
            self.fetched = issuer.world.now;
            self.thrown_away = false;
        }
    }

    pub fn may_use_copy(&self) -> bool {
        !self.thrown_away
    }

    pub fn knows(&self, kid: &Kid) -> bool {
        self.copy.contains(kid)
    }

    /// Or in the same instant: then it cannot be told which came first.
    pub fn fetched_before(&self, time: i64) -> bool {
        self.fetched <= time
    }
}
