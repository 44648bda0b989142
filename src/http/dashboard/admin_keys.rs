//! `GET /admin/admin-keys`: who may administer.

use actix_web::HttpRequest;
use actix_web::web::Data;
use maud::html;

use super::Answer;
use crate::http::State;
use crate::http::dashboard::layout::{self, Section, time, time_or};
use crate::http::dashboard::visitor::Visitor;
use crate::model::Role;
use crate::store::admin_keys;

/// Handles the request.
///
/// # Errors
/// When the key may do less than everything, or the file cannot be read.
pub async fn get(visitor: Visitor, request: HttpRequest, state: Data<State>) -> Answer {
    visitor.demand(&request, Role::All)?;
    let keys = state.look(|store| store.read(admin_keys::all)).await?;
    let (configured, now) = (state.directory.admin_keys().configured(), state.clock.wall());
    let content = html! {
        h1 { "Admin keys" }
        p.lead { "Who may administer, and within which roles. A key itself is shown once, when it is made: "
            code { "m2mint admin-keys add NAME --role read" } "." }
        div.scroll tabindex="0" role="region" aria-label="Admin keys" { table {
            thead { tr {
                th scope="col" { "Name" } th scope="col" { "Roles" } th scope="col" { "Made" } th scope="col" { "Expires" }
                th scope="col" { "Last used" }
            } }
            tbody {
                @for place in 1..=configured { tr {
                    th scope="row" { "api_key " (place) @if visitor.name == format!("api_key {place}") { " " span.tag { "you" } } }
                    td { span.tag { "all" } }
                    td { "in the configuration" } td { span.quiet { "—" } } td { span.quiet { "not kept" } }
                } }
                @for key in &keys {
                    @let is_over = key.expires_at.is_some_and(|end| now >= end);
                    tr {
                        th scope="row" { (key.name) @if visitor.name == format!("admin_key {}", key.name) { " " span.tag { "you" } } }
                        td {
                            @for role in key.roles.names() { span.tag { (role) } " " }
                            @if key.founding && configured > 0 { span.tag.revoked { "replaced by api_key" } }
                            @if is_over { span.tag.revoked { "expired" } }
                        }
                        td { (time(key.created_at)) }
                        td { (time_or(key.expires_at, "never")) }
                        td { (time_or(key.last_used_at, "never")) }
                    }
                }
            }
        } }
        section.card aria-labelledby="roles" {
            h2 #roles { "Roles" }
            dl {
                dt { span.tag { "read" } } dd { "Look at clients, keys, tokens, the audit log and metrics. Each other role includes it." }
                dt { span.tag { "clients" } } dd { "Change clients and their secrets; get and revoke their tokens." }
                dt { span.tag { "keys" } } dd { "Change what signs: rotate and revoke." }
                dt { span.tag { "all" } } dd { "Everything." }
            }
        }
    };
    Ok(layout::page(&visitor, Section::AdminKeys, "Admin keys", content))
}
