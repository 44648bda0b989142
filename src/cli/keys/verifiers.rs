//! `m2mint keys verifiers`: who has the next key.

use serde_json::{Value, json};

use crate::cli::output::{self, Result};
use crate::cli::table;
use crate::http::v1::types::{Keys, KnownVerifier, RingVerifiers};

use super::show::label;

/// Prints every known verifier of each ring.
///
/// # Errors
/// When it cannot be written.
pub fn show(keys: &Keys, as_json: bool) -> Result {
    if as_json {
        let rings = keys.verifiers.iter().map(|ring| {
            json!({
                "alg": ring.alg,
                "standby": ring.standby,
                "verifiers": ring.verifiers.iter().map(to_json).collect::<Vec<_>>(),
            })
        });
        return output::json(&json!({"rings": rings.collect::<Vec<_>>()}));
    }
    for (at, ring) in keys.verifiers.iter().enumerate() {
        if at > 0 {
            output::line("");
        }
        print(keys, ring);
    }
    Ok(())
}

fn print(keys: &Keys, ring: &RingVerifiers) {
    let label = label(keys, &ring.alg, ": ");
    let Some(reach) = &ring.in_words else {
        output::line(&format!(
            "{label}no verifier is known: one that fetches the JWKS again after a minute or more is"
        ));
        return;
    };
    let row = |verifier: &KnownVerifier| {
        vec![
            verifier.address.clone().unwrap_or_else(|| "unix".to_owned()),
            verifier.user_agent.clone(),
            if verifier.has_standby { "yes" } else { "no" }.to_owned(),
            verifier.first_seen.clone(),
            verifier.last_seen.clone(),
            verifier.etag.clone(),
        ]
    };
    let rows: Vec<_> = ring.verifiers.iter().map(row).collect();
    table::print(&["ADDRESS", "USER AGENT", "HAS STANDBY", "FIRST SEEN", "LAST SEEN", "ETAG"], &rows);
    output::line("");
    output::line(&format!("{label}{reach}"));
}

fn to_json(verifier: &KnownVerifier) -> Value {
    json!({
        "address": verifier.address,
        "user_agent": verifier.user_agent,
        "only_alg": verifier.only_alg,
        "has_standby": verifier.has_standby,
        "first_seen": verifier.first_seen,
        "last_seen": verifier.last_seen,
        "etag": verifier.etag,
        "kids": verifier.kids,
    })
}

/// How many there are, and which of them lack the standby.
#[must_use]
pub fn counted(ring: &RingVerifiers) -> Value {
    let lacking = ring.verifiers.iter().filter(|verifier| !verifier.has_standby);
    json!({
        "alg": ring.alg,
        "known": ring.known,
        "have_standby": ring.have_standby,
        "lacking": lacking.map(to_json).collect::<Vec<_>>(),
    })
}
