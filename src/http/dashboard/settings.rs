//! `GET /admin/settings`: the configuration that is in effect, and where each value came from. Secrets are masked.

use actix_web::web::Data;
use maud::html;

use super::Answer;
use crate::config::Origin;
use crate::config::keys::Key;
use crate::http::State;
use crate::http::dashboard::layout::{self, Section};
use crate::http::dashboard::visitor::Visitor;

/// Handles the request.
///
/// # Errors
/// None of its own.
pub async fn get(visitor: Visitor, state: Data<State>) -> Answer {
    let shown = state.dashboard.shown();
    let content = html! {
        h1 { "Settings" }
        p.lead { "What is in effect, and where it comes from: the file, the environment, a flag, or the default. Change it there; "
            code { "systemctl reload m2mint" } " takes in what is marked as reloadable." }
        div.scroll tabindex="0" role="region" aria-label="Settings" { table.settings {
            thead { tr { th scope="col" { "Key" } th scope="col" { "Value" } th scope="col" { "From" } } }
            tbody { @for one in &shown {
                @let key = Key::named(one.key);
                tr {
                    th scope="row" {
                        code { (one.key) }
                        @if let Some(key) = key { div.quiet { (key.about) } }
                    }
                    td.break { (one.value) }
                    td {
                        span class=(if one.origin == Origin::Default { "quiet" } else { "tag" }) { (one.origin.to_string()) }
                        @if key.is_some_and(|key| key.reloads) { div.quiet { "reloadable" } }
                    }
                }
            } }
        } }
    };
    Ok(layout::page(&visitor, Section::Settings, "Settings", content))
}
