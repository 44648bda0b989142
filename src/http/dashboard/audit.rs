//! `/admin/audit`: who did what, to what, from where.

use actix_web::HttpRequest;
use actix_web::web::Data;
use maud::{Markup, html};
use rusqlite::Connection;
use serde_json::{Map, Value};

use super::Answer;
use crate::http::State;
use crate::http::dashboard::layout::{self, Section, csrf, query};
use crate::http::dashboard::timeline;
use crate::http::dashboard::visitor::{Form, Visitor};
use crate::http::request::Body;
use crate::http::v1::audit::look_through;
use crate::model::Role;
use crate::model::audit::{date, hex};
use crate::store;
use crate::store::audit as log;

/// Entries on a page.
const PAGE: usize = 50;
/// The most entries that one page is looked for in: a rare one may be far back, and a page may not take for ever.
const LOOKED_AT: usize = 20_000;
/// What can be chosen, and how the actions begin that are meant.
const KINDS: [(&str, &str); 8] = [
    ("", "Everything"),
    ("client.", "Clients"),
    ("secret.", "Secrets"),
    ("key.", "Signing keys"),
    ("admin_key.", "Admin keys"),
    ("session.", "Dashboard sessions"),
    ("token", "Tokens"),
    ("server.", "Server"),
];

/// An entry, as it is shown.
pub struct Shown {
    seq: i64,
    fields: Map<String, Value>,
}

impl Shown {
    fn new(entry: &log::StoredEntry) -> Self {
        // What somebody has made unreadable is shown as it is: verifying tells.
        Self { seq: entry.seq, fields: serde_json::from_str(&entry.line).unwrap_or_default() }
    }

    fn text(&self, name: &str) -> &str {
        self.fields.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn changes(&self) -> Vec<String> {
        let changed = self.fields.get("changed").and_then(Value::as_object);
        let one = |(name, value): (&String, &Value)| match (value.get("from"), value.get("to")) {
            (Some(from), Some(to)) => format!("{name}: {} → {}", plain(from), plain(to)),
            _ => format!("{name}: {}", plain(value)),
        };
        let reason = Some(self.text("reason")).filter(|reason| !reason.is_empty()).map(str::to_owned);
        changed.into_iter().flatten().map(one).chain(reason).collect()
    }
}

/// A value for people.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::String(text) if text.is_empty() => "none".into(),
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// The newest entries.
///
/// # Errors
/// [`store::StoreError`] when the file cannot be read.
pub fn latest(db: &Connection, most: usize) -> store::Result<Vec<Shown>> {
    let mut found = Vec::new();
    log::for_each_backwards(db, |entry| {
        found.push(Shown::new(&entry));
        found.len() < most
    })?;
    Ok(found)
}

/// A few entries in short.
#[must_use]
pub fn brief(entries: &[Shown]) -> Markup {
    html! {
        @if entries.is_empty() { p.quiet { "Nothing yet." } }
        ul.lately { @for entry in entries { li {
            span { (action_tag(entry)) " " (timeline::short(entry.text("subject"))) }
            span.quiet { (moment(entry.text("at"))) " · " (entry.text("actor")) }
        } } }
    }
}

fn action_tag(entry: &Shown) -> Markup {
    html! { span class={ "tag " (entry.text("outcome")) } { (entry.text("action")) } }
}

/// A moment of an entry, to the second.
fn moment(at: &str) -> Markup {
    let (day, clock) = at.split_once('T').unwrap_or((at, ""));
    html! { time datetime=(at) { span.day { (day) } " " span.clock { (clock.split('.').next().unwrap_or_default()) " UTC" } } }
}

/// What is looked for.
struct Filter {
    kind: String,
    about: String,
    refused: bool,
    before: Option<i64>,
}

impl Filter {
    fn of(form: &Form) -> Self {
        Self {
            kind: form.text("kind").to_owned(),
            about: form.text("about").to_owned(),
            refused: form.is_on("refused"),
            before: form.text("before").parse().ok(),
        }
    }

    fn fits(&self, entry: &Shown) -> bool {
        let is_about = || {
            let (about, actor) = (self.about.as_str(), entry.text("actor"));
            entry.text("subject") == about
                || actor == about
                || actor.strip_prefix("client ") == Some(about)
                || actor.strip_prefix("admin_key ") == Some(about)
        };
        entry.text("action").starts_with(&self.kind)
            && (self.about.is_empty() || is_about())
            && (!self.refused || entry.text("outcome") == "refused")
    }

    /// The page that begins before number `before`; the first one without.
    fn page(&self, before: Option<i64>) -> String {
        let refused = if self.refused { "on" } else { "" };
        let before = before.map(|before| before.to_string()).unwrap_or_default();
        let pairs = [
            ("kind", self.kind.as_str()),
            ("about", self.about.as_str()),
            ("refused", refused),
            ("before", before.as_str()),
        ];
        query("/admin/audit", &pairs)
    }
}

/// A page of entries, newest first, and the number before which the next one begins.
fn page_of(db: &Connection, filter: &Filter) -> store::Result<(Vec<Shown>, Option<i64>)> {
    let (mut found, mut looked, mut next) = (Vec::new(), 0, None);
    log::for_each_before(db, filter.before.unwrap_or(i64::MAX), |entry| {
        if found.len() == PAGE || looked == LOOKED_AT {
            next = Some(entry.seq + 1);
            return false;
        }
        looked += 1;
        let entry = Shown::new(&entry);
        if filter.fits(&entry) {
            found.push(entry);
        }
        true
    })?;
    Ok((found, next))
}

/// `GET /admin/audit`
///
/// # Errors
/// When the file cannot be read.
pub async fn get(visitor: Visitor, request: HttpRequest, state: Data<State>) -> Answer {
    let filter = Filter::of(&Form::query(&request));
    let (filter, (found, next)) =
        state.look(move |store| store.read(|db| page_of(db, &filter).map(|page| (filter, page)))).await?;
    let content = html! {
        div.title {
            h1 { "Audit log" }
            form method="post" action="/admin/audit/verify" { (csrf(&visitor)) button type="submit" { "Verify the log" } }
        }
        p.lead { "Each entry holds the hash of the one before it, and the newest is signed. It never holds a secret or a token." }
        form.filter method="get" action="/admin/audit" role="search" aria-label="Filter the audit log" {
            div { label for="kind" { "What" }
                select #kind name="kind" { @for (begin, name) in KINDS {
                    option value=(begin) selected[begin == filter.kind] { (name) }
                } }
            }
            div { label for="about" { "Client, key or administrator" }
                input #about type="search" name="about" value=(filter.about) autocomplete="off" spellcheck="false";
            }
            div.check { input #refused type="checkbox" name="refused" checked[filter.refused]; label for="refused" { "Refused only" } }
            button type="submit" { "Filter" }
        }
        @if found.is_empty() { p.empty { "No entry fits." } } @else { (table(&found)) }
        nav.pages aria-label="Pages" {
            @if filter.before.is_some() { a.button href=(filter.page(None)) { "Newest" } }
            @if let Some(next) = next { a.button href=(filter.page(Some(next))) { "Older" } }
        }
    };
    Ok(layout::page(&visitor, Section::Audit, "Audit log", content))
}

fn table(entries: &[Shown]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Entries" { table.audit {
            thead { tr {
                th.number scope="col" { "No." } th scope="col" { "Time" } th scope="col" { "Action" } th scope="col" { "To what" }
                th scope="col" { "By" } th scope="col" { "What changed" }
            } }
            tbody { @for entry in entries { tr {
                td.number { (entry.seq) }
                td { (moment(entry.text("at"))) }
                td { (action_tag(entry)) }
                td.break { (entry.text("subject")) }
                td { (entry.text("actor")) @if !entry.text("address").is_empty() { div.quiet { "from " (entry.text("address")) } } }
                td.break { @for change in entry.changes() { div { (change) } } }
            } } }
        } }
    }
}

/// `POST /admin/audit/verify`
///
/// # Errors
/// When the form is not good, or the file cannot be read.
pub async fn verify(visitor: Visitor, request: HttpRequest, body: Body, state: Data<State>) -> Answer {
    visitor.submit(&request, &state, body, Role::Read)?;
    let outcome = look_through(&state, None).await?;
    let content = html! {
        h1 { "Verify the audit log" }
        @match outcome {
            Ok(report) => {
                p.notice role="status" { "The log is whole: entries " (report.first) " to " (report.last) ", each of which follows from the one before it." }
                dl {
                    dt { "Hash of the newest entry" } dd { code { (hex(&report.hash)) } }
                    dt { "Signed" } dd { (report.heads) " times" }
                    @if let Some((head, kid)) = &report.newest {
                        dt { "Newest signature" } dd { (moment(&date(head.at))) ", up to entry " (head.seq) ", with " code { (kid.to_string()) } }
                    }
                }
            }
            Err(broken) => { p.problem role="alert" { (crate::http::dashboard::error::sentence(&broken.to_string())) } }
        }
        p { a.button href="/admin/audit" { "Back to the log" } }
    };
    Ok(layout::page(&visitor, Section::Audit, "Verify the audit log", content))
}
