//! `m2mint keys plan`: what happened to the keys, and what will.

use serde_json::{Value, json};

use crate::cli::output::{self, Result};
use crate::cli::table;
use crate::http::v1::types::{KeyEvent, Plan, RingPlan};

/// Prints the timeline of each ring.
///
/// # Errors
/// When it cannot be written.
pub fn show(plan: &Plan, as_json: bool) -> Result {
    if as_json {
        let rings = plan.rings.iter().map(to_json);
        return output::json(&json!({"now": plan.now, "rings": rings.collect::<Vec<_>>()}));
    }
    for (at, ring) in plan.rings.iter().enumerate() {
        if at > 0 {
            output::line("");
        }
        print(plan, ring);
    }
    Ok(())
}

fn print(plan: &Plan, ring: &RingPlan) {
    let row = |event: &KeyEvent| {
        let new = || event.new_key.map(|number| format!("new key {number}"));
        let key = event.kid.clone().or_else(new).unwrap_or_default();
        vec![event.at.clone(), key, event.in_words.clone()]
    };
    let mut rows: Vec<_> = ring.past.iter().map(row).collect();
    let (alg, published) = (&ring.alg, ring.published.len());
    rows.push(vec![
        plan.now.clone(),
        ring.signs.clone().unwrap_or_default(),
        format!("NOW: signs with {alg}, and {published} keys are published"),
    ]);
    rows.extend(ring.future.iter().map(row));
    table::print(&["TIME", "KEY", "WHAT HAPPENS"], &rows);
    output::line("");
    output::line(&ring.signal_now.in_words);
    if !ring.rotates_by_itself {
        output::line("without a signal nothing rotates: rotation.every = never");
    }
}

fn to_json(ring: &RingPlan) -> Value {
    let event = |event: &KeyEvent| json!({"at": event.at, "kid": event.kid, "new_key": event.new_key, "what": event.what});
    let signal = &ring.signal_now;
    json!({
        "alg": ring.alg,
        "past": ring.past.iter().map(event).collect::<Vec<_>>(),
        "signs": ring.signs,
        "published": ring.published,
        "future": ring.future.iter().map(event).collect::<Vec<_>>(),
        "signal_now": {
            "in_seconds": signal.in_seconds,
            "at": signal.at,
            "reason": signal.reason,
            "asked_already": signal.asked_already,
        },
    })
}
