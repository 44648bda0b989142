//! How keys are shown, whether they come from the file or over the network.

use serde_json::{Value, json};

use crate::cli::output::{self, Result};
use crate::cli::table;
use crate::http::v1::types::{ClockSet, Key, Keys, Transition};
use crate::model::Span;

use super::verifiers;

/// Prints every key, its state, and what comes next.
///
/// # Errors
/// When it cannot be written.
pub fn keys(keys: &Keys, as_json: bool) -> Result {
    if as_json {
        return output::json(&to_json(keys));
    }
    let when = |time: &Option<String>| time.clone().unwrap_or_else(|| "-".to_owned());
    let row = |key: &Key| {
        vec![
            key.kid.clone(),
            key.alg.clone(),
            key.state.clone(),
            key.since.clone(),
            when(&key.signs_until),
            when(&key.published_until),
            Span(std::time::Duration::from_secs(key.longest_lifetime_seconds)).to_string(),
        ]
    };
    table::print(
        &["KID", "ALG", "STATE", "SINCE", "SIGNS UNTIL", "PUBLISHED UNTIL", "LONGEST LIFETIME"],
        &keys.keys.iter().map(row).collect::<Vec<_>>(),
    );
    output::line("");
    for next in &keys.next_by_alg {
        let label = label(keys, &next.alg, ": ");
        output::line(&format!("{label}{}", next.in_words));
        let ring = keys.verifiers.iter().find(|ring| ring.alg == next.alg);
        if let Some(reach) = ring.and_then(|ring| ring.in_words.as_ref()) {
            output::line(&format!("{label}{reach}"));
        }
    }
    if let Some(ClockSet { at, ahead_by, back_by }) = &keys.clock_set {
        let (direction, by) = ahead_by.as_ref().map_or(("back", back_by), |_| ("ahead", ahead_by));
        let by = by.as_deref().unwrap_or_default();
        output::line(&format!(
            "the clock was set {direction} by {by} at {at}; waiting times of keys are not affected"
        ));
    }
    Ok(())
}

/// Which keys are meant, where there are those of several algorithms.
#[must_use]
pub fn label(keys: &Keys, alg: &str, end: &str) -> String {
    if keys.next_by_alg.len() > 1 { format!("{alg}{end}") } else { String::new() }
}

/// The keys in JSON.
#[must_use]
pub fn to_json(keys: &Keys) -> Value {
    let key = |key: &Key| {
        json!({
            "kid": key.kid,
            "alg": key.alg,
            "state": key.state,
            "since": key.since,
            "signs_until": key.signs_until,
            "published_until": key.published_until,
            "longest_lifetime_seconds": key.longest_lifetime_seconds,
        })
    };
    let next = |next: &Transition| {
        json!({
            "transition": next.transition,
            "alg": next.alg,
            "in_seconds": next.in_seconds,
            "at": next.at,
            "reason": next.reason,
        })
    };
    json!({
        "keys": keys.keys.iter().map(key).collect::<Vec<_>>(),
        "next": keys.next.as_ref().map(next),
        "clock_set": keys.clock_set.as_ref().map(|set| json!({
            "at": set.at,
            "ahead_by": set.ahead_by,
            "back_by": set.back_by,
        })),
        "verifiers": keys.verifiers.iter().map(verifiers::counted).collect::<Vec<_>>(),
        "next_by_alg": keys.next_by_alg.iter().map(next).collect::<Vec<_>>(),
    })
}
