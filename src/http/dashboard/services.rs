//! `GET /admin/services`: the registered services, what they understand, and which clients are granted what they do not.

use actix_web::web::Data;
use m2mint_keys::time::UnixTime;
use maud::{Markup, html};

use super::Answer;
use crate::administration::services::{Unfit, unfit};
use crate::http::State;
use crate::http::dashboard::layout::{self, Section, from_now, query, time};
use crate::http::dashboard::visitor::Visitor;
use crate::http::dashboard::{client, service};
use crate::model::service::Service;
use crate::model::{Audience, Role};
use crate::store::services;

/// The most clients whose grants a page looks through.
pub const LOOKED_AT: usize = 10_000;

/// Handles the request.
///
/// # Errors
/// When the file cannot be read.
pub async fn get(visitor: Visitor, state: Data<State>) -> Answer {
    let (now, is_small) = (state.clock.wall(), state.directory.count() <= LOOKED_AT);
    let (registered, unfit) = state
        .look(move |store| {
            let unfit = if is_small { unfit(store, None, now)? } else { Vec::new() };
            Ok((store.read(services::all)?, unfit))
        })
        .await?;
    let may = visitor.may(Role::Clients);
    let content = html! {
        div.title {
            h1 { "Services" }
            @if may { a.button.primary href="/admin/services/new" { "New service…" } }
        }
        p.lead { "What clients call: each service has an audience and the actions that it understands. At a registered service, a client is granted "
            "only those." }
        (misfits(&unfit))
        @if !is_small { p.quiet { "Whether every grant is understood is told by " code { "m2mint services check" } "." } }
        @if registered.is_empty() {
            div.empty {
                p { "No service is registered. Clients may be granted any action at any audience." }
                @if may { p { a.button href="/admin/services/new" { "Register the first one" } } }
            }
        } @else { div.columns { @for service in registered.values() { (card(service, now)) } } }
    };
    Ok(layout::page(&visitor, Section::Services, "Services", content))
}

/// What clients are granted, and no service understands.
#[must_use]
pub fn misfits(unfit: &[Unfit]) -> Markup {
    html! {
        @if !unfit.is_empty() {
            section.card.danger aria-labelledby="misfits" {
                h2 #misfits { "Granted, and not understood" }
                ul.lately { @for unfit in unfit { @let id = unfit.client.as_str(); @for misfit in &unfit.misfits { li {
                    span { a href=(client::path(id)) { (id) } " may ask for " span.name { (misfit.scope.as_str()) } }
                    span.quiet {
                        "at " (misfit.audiences.iter().map(Audience::as_str).collect::<Vec<_>>().join(", "))
                        @if let Some(meant) = &misfit.meant { ": did you mean " (meant) "?" }
                    }
                } } } }
            }
        }
    }
}

fn card(service: &Service, now: UnixTime) -> Markup {
    let audience = service.audience.as_str();
    html! {
        section.card aria-labelledby={ "service-" (audience) } {
            h2 id={ "service-" (audience) } { a href=(service::path(audience)) { (audience) } }
            @if !service.description.is_empty() { p { (service.description) } }
            @if service.actions.is_empty() { p.quiet { "It understands no action yet." } }
            dl { @for (action, what) in &service.actions {
                dt { span.name { (action.as_str()) } }
                dd {
                    (what)
                    @for (name, alias) in service.former_names(action.as_str()).filter(|(_, alias)| alias.ends_at > now) {
                        div.quiet { "also " (name) ", until " (time(alias.ends_at)) " (" (from_now(alias.ends_at, now)) ")" }
                    }
                }
            } }
            p { a href=(query("/admin/clients", &[("q", audience)])) { "Clients that name it" } }
        }
    }
}
