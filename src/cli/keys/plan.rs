//! `m2mint keys plan`: what happened to the keys, and what will.

use m2mint_keys::jwk::Kid;
use m2mint_keys::key_ring::forecast::{Change, Coming};
use m2mint_keys::key_ring::{Hold, KeyRecord, NewKey};
use m2mint_keys::signing_key::SigningKey;
use m2mint_keys::time::{Moment, UnixTime};
use serde_json::{Value, json};

use super::{RingView, View};
use crate::cli::output::{self, Result, date};
use crate::cli::table;
use crate::rotation::keeper::in_words;

/// Something in the life of a key.
struct Event {
    at: UnixTime,
    key: Named,
    what: What,
}

/// What happens to it.
#[derive(Clone, Copy)]
enum What {
    /// By the rule.
    Rule(Change),
    /// The key was made to sign at once.
    Founded,
    /// Somebody took it out.
    Revoked,
}

impl What {
    /// The word in JSON.
    const fn name(self) -> &'static str {
        match self {
            Self::Rule(Change::Published) => "published",
            Self::Rule(Change::Signs) => "signs",
            Self::Rule(Change::Retired) => "retired",
            Self::Rule(Change::Deleted) => "deleted",
            Self::Founded => "founded",
            Self::Revoked => "revoked",
        }
    }

    const fn in_words(self) -> &'static str {
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
enum Named {
    Kid(Kid),
    New(usize),
}

impl Named {
    fn text(&self) -> String {
        match self {
            Self::Kid(kid) => kid.to_string(),
            Self::New(number) => format!("new key {number}"),
        }
    }
}

/// Prints the timeline of each ring, for so many rotations ahead.
///
/// # Errors
/// When it cannot be written.
pub fn show(view: &View, rotations: usize, as_json: bool) -> Result {
    if as_json {
        let rings = view.rings.iter().map(|ring| to_json(view, ring, rotations));
        return output::json(&json!({"now": date(view.now.wall), "rings": rings.collect::<Vec<_>>()}));
    }
    for (at, ring) in view.rings.iter().enumerate() {
        if at > 0 {
            output::line("");
        }
        print(view, ring, rotations);
    }
    Ok(())
}

fn print(view: &View, ring: &RingView, rotations: usize) {
    let row = |event: Event| vec![date(event.at), event.key.text(), event.what.in_words().to_owned()];
    let mut rows: Vec<_> = past(ring).into_iter().map(row).collect();
    let alg = ring.ring.algorithm().name();
    let published = ring.ring.keys.published().count();
    let signing = ring.signing().map(Kid::to_string).unwrap_or_default();
    rows.push(vec![
        date(view.now.wall),
        signing,
        format!("NOW: signs with {alg}, and {published} keys are published"),
    ]);
    rows.extend(future(view, ring, rotations).into_iter().map(row));
    table::print(&["TIME", "KEY", "WHAT HAPPENS"], &rows);
    output::line("");
    output::line(&signal_now(view, ring));
    if ring.outlook.promotion_in.is_none() {
        output::line("without a signal nothing rotates: rotation.every = never");
    }
}

/// When a signal that is sent now takes effect, and why, in words.
fn signal_now(view: &View, ring: &RingView) -> String {
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
fn asked(view: &View, ring: &RingView) -> (Option<i64>, Option<Hold>) {
    let outlook = ring.ring.keys.outlook(&view.policy, view.now, true);
    (outlook.promotion_in, outlook.hold)
}

/// What the stamps of the keys tell, oldest first.
fn past(ring: &RingView) -> Vec<Event> {
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
fn future(view: &View, ring: &RingView, rotations: usize) -> Vec<Event> {
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
    let coming = keys.forecast(&view.policy, view.now, asked, rotations, lifetime, fresh);
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

fn to_json(view: &View, ring: &RingView, rotations: usize) -> Value {
    let event = |event: &Event| {
        let (kid, new) = match &event.key {
            Named::Kid(kid) => (Some(kid.as_str()), None),
            Named::New(number) => (None, Some(*number)),
        };
        json!({"at": date(event.at), "kid": kid, "new_key": new, "what": event.what.name()})
    };
    let (wait, hold) = asked(view, ring);
    json!({
        "alg": ring.ring.algorithm().name(),
        "past": past(ring).iter().map(event).collect::<Vec<_>>(),
        "signs": ring.signing().map(Kid::as_str),
        "published": ring.ring.keys.published().map(|key| key.kid.as_str()).collect::<Vec<_>>(),
        "future": future(view, ring, rotations).iter().map(event).collect::<Vec<_>>(),
        "signal_now": {
            "in_seconds": wait.map(|wait| wait.max(0) / 1000),
            "at": wait.map(|wait| date(view.in_millis(wait))),
            "reason": hold.map(Hold::reason),
            "asked_already": ring.ring.rotation_asked.is_some(),
        },
    })
}
