//! `m2mint apply --url`, `m2mint export --url`

use super::{Server, pages};
use crate::cli::output::Result;
use crate::http::v1::types::{Change, Changes, Declaration, DeclarationPage};

/// What would be done, and the tag of that plan.
///
/// # Errors
/// When a rule refuses a step.
pub fn plan(server: &Server, declaration: &Declaration) -> Result<(Vec<Change>, String)> {
    let answer = server.send("POST", "/declaration/plan", &[], Some(&serde_json::to_vec(declaration)?))?;
    let etag = answer.header("etag").unwrap_or_default().to_owned();
    Ok((server.value::<Changes>(&answer)?.changes, etag))
}

/// Does what the plan with this tag says.
///
/// # Errors
/// When it would be another plan by now, or a rule refuses a step: then nothing is done.
pub fn apply(server: &Server, declaration: &Declaration, etag: &str) -> Result {
    let key = uuid::Uuid::new_v4().to_string();
    let headers = [("if-match", etag), ("idempotency-key", &key)];
    server.send("POST", "/declaration", &headers, Some(&serde_json::to_vec(declaration)?)).map(drop)
}

/// Hands each part of the file to `say`.
///
/// # Errors
/// When the server does not answer.
pub fn export(server: &Server, mut say: impl FnMut(String)) -> Result {
    pages(server, "/declaration", &[], |part: DeclarationPage| {
        if !part.toml.is_empty() {
            say(part.toml);
        }
        Ok(part.next_cursor)
    })
}
