//! `m2mint keys plan`: what happened to the keys, and what will.

use m2mint_keys::jwk::Kid;
use m2mint_keys::key_ring::Hold;
use serde_json::{Value, json};

use crate::cli::output::{self, Result, date};
use crate::cli::table;
use crate::rotation::timeline::{Event, Named, asked, future, past, signal_in_words};
use crate::rotation::view::{RingView, View};

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
    output::line(&signal_in_words(view, ring));
    if ring.outlook.promotion_in.is_none() {
        output::line("without a signal nothing rotates: rotation.every = never");
    }
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
