//! What is counted while the server runs, for whoever graphs it. Counting takes no lock and allocates nothing: it is an
//! addition in memory. What is expensive is done when somebody reads.
//!
//! | module | holds |
//! |---|---|
//! | [`endpoint`] | which call a request is, and how it ended |
//! | [`histogram`] | how long things took |
//! | [`tokens`] | tokens by client and audience, the busiest by name |
//! | [`text`] | OpenMetrics and the text format that came before it |

pub mod endpoint;
pub mod histogram;
pub mod text;
pub mod tokens;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::metrics::endpoint::{Endpoint, Outcome};
use crate::metrics::histogram::Histogram;
use crate::model::audit::Door;

/// How long requests take, in microseconds: from a key set out of memory to a hash that is slow on purpose.
const LATENCIES: &[u64] =
    &[50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000];

/// Why somebody was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// What was shown does not open this door.
    Denied,
    /// It was not even tried: too many wrong ones came before, or the client has had its tokens of the minute.
    TooMany,
}

/// Every door, as metrics name it.
pub const DOORS: [(Door, &str); 4] =
    [(Door::Client, "client"), (Door::Admin, "admin"), (Door::Role, "role"), (Door::Token, "token")];

/// Every reason, as metrics name it.
pub const REASONS: [(Refused, &str); 2] = [(Refused::Denied, "denied"), (Refused::TooMany, "too_many")];

/// What requests did.
pub struct Metrics {
    requests: [[AtomicU64; Outcome::ALL.len()]; Endpoint::ALL.len()],
    latencies: [Histogram; Endpoint::ALL.len()],
    refused: [[AtomicU64; REASONS.len()]; DOORS.len()],
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Default::default(),
            latencies: std::array::from_fn(|_| Histogram::new(LATENCIES)),
            refused: Default::default(),
        }
    }
}

impl Metrics {
    /// Counts a request that ended.
    pub fn count(&self, endpoint: Endpoint, outcome: Outcome, took: Duration) {
        if let Some(counter) =
            self.requests.get(endpoint as usize).and_then(|outcomes| outcomes.get(outcome as usize))
        {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(latencies) = self.latencies.get(endpoint as usize) {
            latencies.observe(took);
        }
    }

    /// How many requests there were.
    #[must_use]
    pub fn requests(&self, endpoint: Endpoint, outcome: Outcome) -> u64 {
        let outcomes = self.requests.get(endpoint as usize);
        outcomes.and_then(|outcomes| outcomes.get(outcome as usize)).map_or(0, value)
    }

    /// How long requests took.
    #[must_use]
    pub fn latencies(&self, endpoint: Endpoint) -> Option<&Histogram> {
        self.latencies.get(endpoint as usize)
    }

    /// Counts somebody who was not let in.
    pub fn count_refused(&self, door: Door, why: Refused) {
        if let Some(counter) = self.refused_at(door, why) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many were not let in.
    #[must_use]
    pub fn refused(&self, door: Door, why: Refused) -> u64 {
        self.refused_at(door, why).map_or(0, value)
    }

    fn refused_at(&self, door: Door, why: Refused) -> Option<&AtomicU64> {
        let door = DOORS.iter().position(|(one, _)| *one == door)?;
        let why = REASONS.iter().position(|(one, _)| *one == why)?;
        self.refused.get(door)?.get(why)
    }
}

fn value(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
