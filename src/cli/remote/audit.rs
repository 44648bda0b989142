//! `m2mint audit --url`

use form_urlencoded::Serializer;
use serde_json::{Map, Value, json};

use super::Server;
use crate::cli::audit::{Action, Filter, point_in_time, show, text_or_file};
use crate::cli::output::{self, CliError, Result};
use crate::clock::Clock;
use crate::http::v1::types::{AuditCheck, AuditHead, AuditPage, AuditReport};

/// How many entries are asked for at a time: the answer has to fit into what is read.
const PAGE: usize = 200;

/// Runs the verb.
///
/// # Errors
/// When the log is broken.
pub fn run(server: &Server, action: &Action, as_json: bool) -> Result {
    match action {
        Action::List(filter) => list(server, filter, as_json),
        Action::Verify { head } => verify(server, head.as_deref(), as_json),
        Action::Head => {
            let head: AuditHead = match server.get("/audit/head") {
                Err(CliError::Refused(_)) => {
                    return Err(CliError::Failed("nothing is signed yet: start a server once".into()));
                }
                other => other?,
            };
            if as_json {
                return output::json(&json!({"seq": head.seq, "head": head.head}));
            }
            output::line(&head.head);
            Ok(())
        }
    }
}

fn list(server: &Server, filter: &Filter, as_json: bool) -> Result {
    let now = Clock::system().wall();
    let time = |text: &Option<String>| text.as_deref().map(|text| point_in_time(text, now)).transpose();
    let wanted = [
        ("since", time(&filter.since)?),
        ("until", time(&filter.until)?),
        ("client", filter.client.clone()),
        ("action", filter.action.clone()),
    ];
    let mut found: Vec<(i64, Map<String, Value>)> = Vec::new();
    let mut cursor: Option<String> = None;
    while found.len() < filter.limit {
        let mut query = Serializer::new(String::new());
        query.append_pair("limit", &PAGE.min(filter.limit - found.len()).to_string());
        for (name, value) in &wanted {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        if let Some(cursor) = &cursor {
            query.append_pair("cursor", cursor);
        }
        let page: AuditPage = server.get(&format!("/audit?{}", query.finish()))?;
        for entry in page.entries {
            let fields = serde_json::to_value(&entry)?.as_object().cloned().unwrap_or_default();
            found.push((entry.seq, fields));
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    found.reverse();
    show(found, as_json)
}

fn verify(server: &Server, head: Option<&str>, as_json: bool) -> Result {
    let head = head.map(text_or_file).transpose()?;
    let check = AuditCheck { head: head.map(|head| head.trim().to_owned()) };
    let report: AuditReport = server.post("/audit/verify", &check)?;
    let (seq, reason) = (report.seq.unwrap_or_default(), report.reason.unwrap_or_default());
    if as_json {
        output::json(&if report.ok {
            json!({
                "ok": true,
                "first": report.first,
                "last": report.last,
                "hash": report.hash,
                "heads": report.heads,
                "newest_head": report.newest_head.as_ref().map(|head| json!({
                    "seq": head.seq,
                    "at": head.at,
                    "kid": head.kid,
                    "key_proven": head.key_proven,
                })),
            })
        } else {
            json!({"ok": false, "seq": report.seq, "reason": reason})
        })?;
    }
    if !report.ok {
        return Err(CliError::Refused(format!("the audit log is broken at entry {seq}: {reason}")));
    }
    if !as_json {
        let (first, last) = (report.first.unwrap_or_default(), report.last.unwrap_or_default());
        output::line(&format!("entries  {first} to {last}, each follows from the one before it"));
        output::line(&format!("hash     {}", report.hash.unwrap_or_default()));
        match &report.newest_head {
            Some(head) => output::line(&format!(
                "signed   {} times, last at {} up to entry {}, with {}",
                report.heads.unwrap_or_default(),
                head.at,
                head.seq,
                head.kid
            )),
            None => output::line("signed   never: no server was started on this file yet"),
        }
    }
    Ok(())
}
