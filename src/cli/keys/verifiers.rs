//! `m2mint keys verifiers`: who has the next key.

use serde_json::{Value, json};

use crate::cli::output::{self, Result, date};
use crate::cli::table;
use crate::model::verifier::Verifier;
use crate::rotation::view::{RingView, View};

/// Prints every known verifier of each ring.
///
/// # Errors
/// When it cannot be written.
pub fn show(view: &View, as_json: bool) -> Result {
    if as_json {
        let rings = view.rings.iter().map(|ring| {
            json!({
                "alg": ring.ring.algorithm().name(),
                "standby": ring.ring.keys.standby().map(|key| key.kid.as_str()),
                "verifiers": ring.reach.each().map(|(verifier, has_it)| to_json(verifier, has_it)).collect::<Vec<_>>(),
            })
        });
        return output::json(&json!({"rings": rings.collect::<Vec<_>>()}));
    }
    for (at, ring) in view.rings.iter().enumerate() {
        if at > 0 {
            output::line("");
        }
        print(view, ring);
    }
    Ok(())
}

fn print(view: &View, ring: &RingView) {
    let Some(reach) = view.reach(ring) else {
        output::line(&format!(
            "{}no verifier is known: one that fetches the JWKS again after a minute or more is",
            view.label(ring, ": ")
        ));
        return;
    };
    let row = |(verifier, has_it): (&Verifier, bool)| {
        vec![
            verifier.who.place(),
            verifier.who.agent.as_str().to_owned(),
            if has_it { "yes" } else { "no" }.to_owned(),
            date(verifier.first_seen),
            date(verifier.last_seen),
            verifier.held.etag.clone(),
        ]
    };
    let rows: Vec<_> = ring.reach.each().map(row).collect();
    table::print(&["ADDRESS", "USER AGENT", "HAS STANDBY", "FIRST SEEN", "LAST SEEN", "ETAG"], &rows);
    output::line("");
    output::line(&format!("{}{reach}", view.label(ring, ": ")));
}

fn to_json(verifier: &Verifier, has_it: bool) -> Value {
    json!({
        "address": verifier.who.address.map(|address| address.to_string()),
        "user_agent": verifier.who.agent.as_str(),
        "only_alg": verifier.who.alg.map(m2mint_keys::signing_key::Algorithm::name),
        "has_standby": has_it,
        "first_seen": date(verifier.first_seen),
        "last_seen": date(verifier.last_seen),
        "etag": verifier.held.etag,
        "kids": verifier.held.kids.iter().map(m2mint_keys::jwk::Kid::as_str).collect::<Vec<_>>(),
    })
}

/// How many there are, and which of them lack the standby.
#[must_use]
pub fn counted(ring: &RingView) -> Value {
    json!({
        "alg": ring.ring.algorithm().name(),
        "known": ring.reach.known(),
        "have_standby": ring.reach.having.len(),
        "lacking": ring.reach.lacking.iter().map(|verifier| to_json(verifier, false)).collect::<Vec<_>>(),
    })
}
