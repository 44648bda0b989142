//! `/admin/v1/unused`

use super::Call;
use super::clients::{after, render as render_client};
use super::reply::{Reply, page_size};
use super::types::{Unused as UnusedJson, UnusedPage, UnusedWanted};
use crate::administration::unused::{self, Report, Unused, What};
use crate::http::clients::{DEFAULT_PAGE, LARGEST_PAGE, page_token};
use crate::http::error::problem::Problem;
use crate::model::audit::date_to_the_second as date;
use crate::model::{Client, ScopePattern, Span};

/// What is called unused when nothing is said.
pub const SPAN: &str = "30d";
/// How many clients are looked at for one page: where most is used, that must not hold up others.
const MOST_LOOKED_AT: usize = 5000;

/// `GET /admin/v1/unused`
///
/// # Errors
/// When a parameter makes no sense, or the file cannot be read.
pub async fn get(call: Call) -> Result<Reply, Problem> {
    let wanted: UnusedWanted = call.query()?;
    let Call { state, .. } = call;
    let size = page_size(wanted.limit, DEFAULT_PAGE, LARGEST_PAGE)?;
    let span = Span::parse(wanted.span.as_deref().unwrap_or(SPAN));
    let span = span.map_err(|error| Problem::invalid_field("for", error))?;
    let (after, now) = (after(wanted.cursor.as_deref())?, state.clock.wall());
    let look = move |store: &_| unused::part(store, span, now, after, size, MOST_LOOKED_AT);
    let (report, next) = state.look(look).await?;
    Reply::ok(&UnusedPage { next_cursor: next.as_ref().map(page_token), ..render(report) })
}

/// What was found, as it is answered.
#[must_use]
pub fn render(report: Report) -> UnusedPage {
    let Report { cutoff, since, unused, changed_since } = report;
    let mut page = UnusedPage {
        unused: Vec::new(),
        narrower: Vec::new(),
        used_before: date(cutoff),
        grant_uses_since: since.map(date),
        changed_since,
        next_cursor: None,
    };
    for Unused { client, what, narrower } in unused {
        for (what, last) in &what {
            page.unused.push(UnusedJson { last_used_at: last.map(date), ..row(&client, what) });
        }
        if narrower != client.settings {
            page.narrower.push(render_client(&Client { settings: narrower, ..client }));
        }
    }
    page
}

fn row(client: &Client, what: &What) -> UnusedJson {
    let (kind, secret, audience, scope, used) = match what {
        What::Client => ("client", None, None, None, None),
        What::Secret(id) => ("secret", Some(*id), None, None, None),
        What::Audience(audience) => ("audience", None, Some(audience), None, None),
        What::Scope(scope, audience) => ("scope", None, audience.as_ref(), Some(scope), None),
        What::Wildcard(scope, audience, used) => {
            let used = used.iter().map(ScopePattern::to_string).collect();
            ("wildcard", None, audience.as_ref(), Some(scope), Some(used))
        }
    };
    UnusedJson {
        client_id: client.id.to_string(),
        kind: kind.to_owned(),
        secret,
        audience: audience.map(ToString::to_string),
        scope: scope.map(ToString::to_string),
        used,
        last_used_at: None,
    }
}
