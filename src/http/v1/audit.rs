//! `/admin/v1/audit`

use super::Call;
use super::reply::{Reply, page_size, read};
use super::types::{AuditCheck, AuditEntry, AuditHead, AuditPage, AuditReport, AuditWanted, NewestHead};
use crate::audit::verify::{self, Broken, Evidence, Report};
use crate::http::State;
use crate::http::error::problem::{Kind, Problem};
use crate::model::audit::{date, hex};
use crate::model::restrictions::parse_moment;
use crate::store::StoreError;
use crate::store::audit::{self, StoredEntry};

/// Entries on a page when nothing is said, and at most.
const DEFAULT_PAGE: usize = 100;
const LARGEST_PAGE: usize = 500;
/// How many entries are looked at for one page: a filter that fits few must not hold up others.
const MOST_LOOKED_AT: usize = 20_000;

type Result<T> = std::result::Result<T, Problem>;

/// A page of the audit log, newest first.
///
/// # Errors
/// When a parameter makes no sense, or the file cannot be read.
pub async fn list(state: &State, wanted: &AuditWanted) -> Result<AuditPage> {
    let size = page_size(wanted.limit, DEFAULT_PAGE, LARGEST_PAGE)?;
    let before = match wanted.cursor.as_deref() {
        None => i64::MAX,
        Some(cursor) => {
            let seq = cursor.parse().ok().filter(|seq| *seq > 0);
            seq.ok_or_else(|| Problem::invalid_field("cursor", "it is none of a page"))?
        }
    };
    let time = |field: &str, text: &Option<String>| {
        let parsed = text.as_deref().map(|text| parse_moment(text).map(date)).transpose();
        parsed.map_err(|error| Problem::invalid_field(field, error))
    };
    let (since, until) = (time("since", &wanted.since)?, time("until", &wanted.until)?);
    let (client, action) = (wanted.client.clone(), wanted.action.clone());
    let fits = move |entry: &AuditEntry| {
        since.as_ref().is_none_or(|since| entry.at >= *since)
            && until.as_ref().is_none_or(|until| entry.at < *until)
            && client.as_ref().is_none_or(|id| is_about(entry, id))
            && action.as_ref().is_none_or(|action| entry.action.starts_with(action.as_str()))
    };
    let look = move |db: &_| {
        let (mut entries, mut last, mut looked_at) = (Vec::new(), None, 0);
        audit::for_each_before(db, before, |stored| {
            // Only the one that is one too many tells that there is more.
            if entries.len() == size || looked_at == MOST_LOOKED_AT {
                last = Some(stored.seq + 1);
                return false;
            }
            looked_at += 1;
            let entry = render(&stored);
            if fits(&entry) {
                entries.push(entry);
            }
            true
        })?;
        Ok((entries, last))
    };
    let (entries, last) = state.look(move |store| store.read(look)).await?;
    Ok(AuditPage { entries, next_cursor: last.map(|seq: i64| seq.to_string()) })
}

/// The newest signed head.
///
/// # Errors
/// When nothing is signed yet, or the file cannot be read.
pub async fn head(state: &State) -> Result<AuditHead> {
    let head = state.look(|store| store.read(audit::newest_head)).await?;
    let head = head.ok_or_else(|| Problem::new(Kind::NothingYet, "nothing is signed yet"))?;
    Ok(AuditHead { seq: head.seq, head: head.jws })
}

/// Checks every entry and every signed head: one that was kept elsewhere, `head`, too.
///
/// # Errors
/// When the file cannot be read.
pub async fn look_through(
    state: &State,
    head: Option<String>,
) -> std::result::Result<std::result::Result<Report, Broken>, StoreError> {
    // Those that this server signs with: their private halves were opened with the master key.
    let mut proven = state.keeper.published().signing_kids();
    loop {
        let (keys, head) = (proven.clone(), head.clone());
        let checked = state.look(move |store| {
            let evidence = Evidence { proven: Some(&keys), head: head.as_deref() };
            // It may take long: nobody else waits for it.
            store.read_apart(|db| verify::verify(db, &evidence))
        });
        let checked = checked.await?;
        // The keys may have rotated meanwhile, and another one have signed the newest head.
        let now = state.keeper.published().signing_kids();
        if checked.is_ok() || now == proven {
            return Ok(checked);
        }
        proven = now;
    }
}

/// Checks every entry, every signed head, and the head that was kept elsewhere.
///
/// # Errors
/// When the file cannot be read.
pub async fn check(state: &State, check: AuditCheck) -> Result<AuditReport> {
    Ok(match look_through(state, check.head).await? {
        Ok(report) => AuditReport {
            ok: true,
            first: Some(report.first),
            last: Some(report.last),
            hash: Some(hex(&report.hash)),
            heads: Some(report.heads),
            newest_head: report.newest.map(|(head, kid)| NewestHead {
                seq: head.seq,
                at: date(head.at),
                kid: kid.to_string(),
                key_proven: true,
            }),
            ..AuditReport::default()
        },
        Err(broken) => {
            AuditReport { seq: Some(broken.seq), reason: Some(broken.reason), ..AuditReport::default() }
        }
    })
}

/// `GET /admin/v1/audit`
///
/// # Errors
/// Those of [`list`].
pub async fn get_list(call: Call) -> Result<Reply> {
    let wanted: AuditWanted = call.query()?;
    let Call { state, .. } = call;
    Reply::ok(&list(&state, &wanted).await?)
}

/// `GET /admin/v1/audit/head`
///
/// # Errors
/// Those of [`head`].
pub async fn get_head(call: Call) -> Result<Reply> {
    let Call { state, .. } = call;
    Reply::ok(&head(&state).await?)
}

/// `POST /admin/v1/audit/verify`
///
/// # Errors
/// Those of [`check`].
pub async fn post_verify(call: Call) -> Result<Reply> {
    let Call { body, state, .. } = call;
    let wanted = read(&body.bytes()?)?;
    Reply::ok(&check(&state, wanted).await?)
}

fn is_about(entry: &AuditEntry, client: &str) -> bool {
    entry.subject.as_deref() == Some(client) || entry.actor.strip_prefix("client ") == Some(client)
}

fn render(entry: &StoredEntry) -> AuditEntry {
    // What somebody has made unreadable is shown as it is: checking the log tells.
    let fields: AuditEntry = serde_json::from_str(&entry.line).unwrap_or_default();
    AuditEntry { seq: entry.seq, hash: hex(&entry.hash), ..fields }
}
