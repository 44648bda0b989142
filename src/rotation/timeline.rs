//! What happened to the keys of a ring, and what the rule will do by itself.

use m2mint_keys::jwk::Kid;
use m2mint_keys::key_ring::forecast::{Change, Coming};
use m2mint_keys::key_ring::{Hold, KeyRecord, NewKey};
use m2mint_keys::signing_key::SigningKey;
use m2mint_keys::time::{Moment, UnixTime};

use crate::model::audit::date_to_the_second as date;
use crate::rotation::keeper::in_words;
use crate::rotation::view::{RingView, View};

/// Something in the life of a key.
#[derive(Debug)]
pub struct Event {
    /// When.
    pub at: UnixTime,
    /// To which key.
    pub key: Named,
    /// What.
    pub what: What,
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// By the rule.
    Rule(Change),
    /// The key was made to sign at once.
    Founded,
    /// Somebody took it out.
    Revoked,
}

impl What {
    /// The word in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rule(Change::Published) => "published",
            Self::Rule(Change::Signs) => "signs",
            Self::Rule(Change::Retired) => "retired",
            Self::Rule(Change::Deleted) => "deleted",
            Self::Founded => "founded",
            Self::Revoked => "revoked",
        }
    }

    /// What it means, in words.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Rule(Change::Published) => "is published, as standby",
            Self::Rule(Change::Signs) => "signs",
            Self::Rule(Change::Retired) => "signs no more; its tokens still verify",
            Self::Rule(Change::Deleted) => "is published no more: its last token has expired",
            Self::Founded => "is published, and signs",
            Self::Revoked => "is revoked: neither published nor accepted",
        }
    }
}

/// A key that exists, or one that will.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// It exists.
    Kid(Kid),
    /// The first, the second, .. that will be made.
    New(usize),
}

impl Named {
    /// How people call it.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Kid(kid) => kid.to_string(),
            Self::New(number) => format!("new key {number}"),
        }
    }
}

/// When a signal that is sent now takes effect, and why, in words.
#[must_use]
pub fn signal_in_words(view: &View, ring: &RingView) -> String {
    let (wait, hold) = asked(view, ring);
    let alg = view.label(ring, ": ");
    let already = if ring.ring.rotation_asked.is_some() { ", and one is asked for already" } else { "" };
    match hold {
        None => format!("{alg}a rotation that is asked for now happens at once{already}"),
        Some(hold) => format!(
            "{alg}a rotation that is asked for now happens in {} ({}): {}{already}",
            in_words(wait),
            wait.map_or_else(|| "-".to_owned(), |wait| date(view.in_millis(wait))),
            hold.reason()
        ),
    }
}

/// How long a rotation that is asked for now waits, and for what: by the ring's own rule.
#[must_use]
pub fn asked(view: &View, ring: &RingView) -> (Option<i64>, Option<Hold>) {
    let outlook = ring.ring.keys.outlook(&ring.policy, view.now, true);
    (outlook.promotion_in, outlook.hold)
}

/// What the stamps of the keys tell, oldest first.
#[must_use]
pub fn past(ring: &RingView) -> Vec<Event> {
    let mut events: Vec<Event> = ring.ring.keys.records().iter().flat_map(stamps).collect();
    events.sort_by_key(|event| event.at);
    events
}

fn stamps(key: &KeyRecord) -> impl Iterator<Item = Event> {
    let published = key.published.map_or(key.created, |moment| moment.wall);
    let stamp = |moment: Option<Moment>, what| moment.map(|moment| (moment.wall, what));
    // The first of a ring is no standby before.
    let is_first = key.promoted.is_some_and(|promoted| promoted.wall == key.created);
    let made = if is_first { What::Founded } else { What::Rule(Change::Published) };
    let all = [
        Some((published, made)),
        stamp(key.promoted.filter(|_| !is_first), What::Rule(Change::Signs)),
        stamp(key.retired, What::Rule(Change::Retired)),
        stamp(key.revoked, What::Revoked),
    ];
    let kid = key.kid.clone();
    all.into_iter().flatten().map(move |(at, what)| Event { at, key: Named::Kid(kid.clone()), what })
}

/// What the rule will do by itself, soonest first.
#[must_use]
pub fn future(view: &View, ring: &RingView, rotations: usize) -> Vec<Event> {
    let keys = &ring.ring.keys;
    let mut new: Vec<Kid> = Vec::new();
    // Keys that sign nothing and are forgotten at once: the rule wants something that is a key.
    let fresh = || {
        let (key, _) = SigningKey::generate(keys.algorithm()).ok()?;
        new.push(key.kid().clone());
        Some(NewKey { kid: key.kid().clone(), public: key.public().clone() })
    };
    let lifetime = keys.records().iter().map(|key| key.longest_lifetime).max().unwrap_or_default();
    let asked = ring.ring.rotation_asked.is_some();
    let coming = keys.forecast(&ring.policy, view.now, asked, rotations, lifetime, fresh);
    let name = |kid: Kid| match new.iter().position(|new| *new == kid) {
        Some(at) => Named::New(at + 1),
        None => Named::Kid(kid),
    };
    let event = |one: Coming| Event {
        at: view.in_millis(one.in_millis),
        key: name(one.kid),
        what: What::Rule(one.change),
    };
    coming.into_iter().map(event).collect()
}
