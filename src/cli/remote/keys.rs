//! `m2mint keys --url`

use m2mint_keys::signing_key::Algorithm;

use super::{Server, here_only, path};
use crate::cli::keys::show::{self, label};
use crate::cli::keys::{Action, plan, verifiers};
use crate::cli::output::{self, CliError, Result};
use crate::http::v1::types::{Keys, Plan, Revocation, Rotation, RotationWanted};

/// Runs the verb.
///
/// # Errors
/// When there is no such key, or a rule refuses it.
pub fn run(server: &Server, action: &Action, as_json: bool) -> Result {
    match action {
        Action::List => show::keys(&server.get("/keys")?, as_json),
        Action::Plan { rotations } => {
            plan::show(&server.get::<Plan>(&format!("/keys/plan?rotations={rotations}"))?, as_json)
        }
        Action::Verifiers => verifiers::show(&server.get("/keys")?, as_json),
        Action::Rotate { alg } => rotate(server, *alg, as_json),
        Action::Revoke { kid, yes } => revoke(server, kid, *yes, as_json),
        Action::Canary { .. } => Err(here_only("keys canary")),
        Action::Recover { .. } => Err(here_only("keys recover")),
    }
}

fn rotate(server: &Server, alg: Option<Algorithm>, as_json: bool) -> Result {
    let alg = alg.map(Algorithm::name);
    let keys: Keys = server.get("/keys")?;
    if let Some(alg) = alg.filter(|alg| !keys.next_by_alg.iter().any(|next| next.alg == *alg)) {
        let reason = format!(
            "there are no {alg} keys; they are made when an audience wants them: m2mint audiences set NAME --alg {alg}"
        );
        return Err(CliError::Refused(reason));
    }
    let wanted = RotationWanted { alg: alg.map(str::to_owned) };
    let Rotation { rings, keys } = server.post("/keys/rotate", &wanted)?;
    if as_json {
        return output::json(&show::to_json(&keys));
    }
    for ring in &rings {
        let alg = label(&keys, &ring.alg, " ");
        if ring.rotated {
            let kid = ring.signs.as_deref().unwrap_or_default();
            output::line(&format!("rotated: {alg}{kid} signs from now on"));
        } else {
            output::line(&format!("queued: {alg}{}", ring.next.in_words));
        }
    }
    Ok(())
}

fn revoke(server: &Server, kid: &str, yes: bool, as_json: bool) -> Result {
    let keys: Keys = server.get("/keys")?;
    let key = keys.keys.iter().find(|key| key.kid == kid);
    let key =
        key.ok_or_else(|| CliError::Refused(format!("there is no key {kid}; `m2mint keys` shows them all")))?;
    let effect = key.on_revocation.as_deref();
    let effect = effect.ok_or_else(|| CliError::Refused(format!("the key {kid} is revoked already")))?;
    output::confirm(&format!("Revoke {kid}? {effect}"), yes)?;
    let revoked: Revocation =
        server.post(&path(&["keys", kid, "revoke"]), &serde_json::Map::<String, serde_json::Value>::new())?;
    if as_json {
        return output::json(&show::to_json(&revoked.keys));
    }
    let since = if revoked.took_over { "signs from now on" } else { "goes on signing" };
    output::line(&format!("revoked: {kid}\n{} {since}", revoked.signs.unwrap_or_default()));
    Ok(())
}
