//! `GET /admin/clients`: the clients, by pages, searched by id, name, audience or scope.

use actix_web::HttpRequest;
use actix_web::web::Data;
use maud::{Markup, html};
use rusqlite::Connection;

use super::{Answer, client};
use crate::http::State;
use crate::http::dashboard::layout::{self, Section, query, time};
use crate::http::dashboard::overview::grouped;
use crate::http::dashboard::visitor::{Form, Visitor};
use crate::model::{Audience, Client, Role, ScopePattern};
use crate::store::clients::{self, PageStart, Wanted};

/// Clients on a page.
const PAGE: usize = 50;
/// Scopes and audiences that are shown of each.
const SHOWN: usize = 4;

/// Handles the request.
///
/// # Errors
/// When the file cannot be read.
pub async fn get(visitor: Visitor, request: HttpRequest, state: Data<State>) -> Answer {
    let form = Form::query(&request);
    let (text, after) = (form.text("q").to_owned(), page_start(form.text("after")));
    let is_first = after.is_none();
    let (found, next) = {
        let text = text.clone();
        let page = move |db: &Connection| {
            let wanted = if text.is_empty() { Wanted::All } else { Wanted::About(&text) };
            clients::page_of(db, after.as_ref(), PAGE, wanted)
        };
        state.look(move |store| store.read(page)).await?
    };
    let content = html! {
        div.title {
            h1 { "Clients" }
            @if visitor.may(Role::Clients) { a.button.primary href="/admin/clients/new" { "New client…" } }
        }
        form.filter method="get" action="/admin/clients" role="search" aria-label="Search clients" {
            div.grow {
                label for="q" { "Id, name, audience or scope" }
                input #q type="search" name="q" value=(text) autocomplete="off" spellcheck="false";
            }
            button type="submit" { "Search" }
        }
        @if found.is_empty() {
            div.empty {
                @if !text.is_empty() { p { "No client has “" (text) "” in its id, name, audience or scope." } p { a href="/admin/clients" { "All clients" } } }
                @else { p { "There is no client yet." } @if visitor.may(Role::Clients) { p { a.button href="/admin/clients/new" { "Make the first one" } } } }
            }
        } @else {
            (table(&found))
        }
        nav.pages aria-label="Pages" {
            @if !is_first { a.button href=(query("/admin/clients", &[("q", &text)])) { "First page" } }
            @if let Some((at, id)) = &next {
                a.button href=(query("/admin/clients", &[("q", &text), ("after", &format!("{at} {id}"))])) { "Next page" }
            }
            span.quiet { (grouped(u64::try_from(state.directory.count()).unwrap_or(u64::MAX))) " clients in all" }
        }
    };
    Ok(layout::page(&visitor, Section::Clients, "Clients", content))
}

fn page_start(text: &str) -> Option<PageStart> {
    let (created_at, id) = text.split_once(' ')?;
    Some((created_at.parse().ok()?, id.to_owned()))
}

fn table(found: &[Client]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Clients" { table {
            thead { tr {
                th scope="col" { "Client" } th scope="col" { "Audiences" } th scope="col" { "Scopes" } th scope="col" { "Made" }
            } }
            tbody { @for one in found { tr {
                th scope="row" {
                    a href=(client::path(one.id.as_str())) { @if one.settings.name.is_empty() { (one.id) } @else { (one.settings.name) } }
                    @if one.settings.enabled == Some(false) { " " span.tag.revoked { "disabled" } }
                    div.quiet { code { (one.id) } }
                }
                td { (some(&one.settings.audience, Audience::as_str)) }
                td { (some(&one.settings.scope, ScopePattern::as_str)) }
                td { (time(one.created_at)) }
            } } }
        } }
    }
}

/// The first few names.
fn some<T>(names: &[T], text: impl Fn(&T) -> &str) -> Markup {
    html! {
        @if names.is_empty() { span.quiet { "none" } }
        @for name in names.iter().take(SHOWN) { span.name { (text(name)) } " " }
        @if names.len() > SHOWN { span.quiet { "and " (names.len() - SHOWN) " more" } }
    }
}
