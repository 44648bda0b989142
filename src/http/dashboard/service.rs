//! `/admin/service`: one service, who calls it, and what can be done to it.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use m2mint_keys::time::UnixTime;
use maud::{Markup, html};

use super::Answer;
use crate::administration::services::{Unfit, remove_seen_service, unfit};
use crate::http::State;
use crate::http::dashboard::client;
use crate::http::dashboard::error::{DashboardError, sentence};
use crate::http::dashboard::forms::Question;
use crate::http::dashboard::layout::{self, Section, from_now, query, time};
use crate::http::dashboard::services::{LOOKED_AT, misfits};
use crate::http::dashboard::session::Notice;
use crate::http::dashboard::visitor::{Form, Visitor};
use crate::http::request::Body;
use crate::http::v1::services::tag;
use crate::model::{Client, Role, Scope, Service};
use crate::store::clients::{self, Wanted};
use crate::store::services;

/// The most clients that are looked at for what a change means to them.
const MOST_CLIENTS: usize = 1000;
/// Clients that are named.
const NAMED: usize = 12;

/// The page of a service.
#[must_use]
pub fn path(audience: &str) -> String {
    query("/admin/service", &[("audience", audience)])
}

/// A service, and who calls it.
pub struct View {
    service: Service,
    /// The clients that may ask for tokens for it, oldest first.
    clients: Vec<Client>,
    /// Whether there are more of them than were looked at.
    more: bool,
    /// Clients that are granted there what it does not understand, where those are few enough to look.
    unfit: Vec<Unfit>,
    now: UnixTime,
}

impl View {
    /// Looks at the service of `audience`.
    ///
    /// # Errors
    /// When it is not registered, or the file cannot be read.
    pub async fn read(state: &State, audience: &str) -> Result<Self, DashboardError> {
        let (now, is_small) = (state.clock.wall(), state.directory.count() <= LOOKED_AT);
        let audience = audience.to_owned();
        let view = state.look(move |store| {
            let Some(service) = store.read(|db| services::get(db, &audience))? else { return Ok(None) };
            let page = |db: &_| clients::page_of(db, None, MOST_CLIENTS, Wanted::At(&audience));
            let (clients, next) = store.read(page)?;
            let unfit = if is_small { unfit(store, Some(&service.audience), now)? } else { Vec::new() };
            Ok(Some(Self { service, clients, more: next.is_some(), unfit, now }))
        });
        view.await?.ok_or(DashboardError::NotFound("service"))
    }

    fn audience(&self) -> &str {
        self.service.audience.as_str()
    }

    /// How many clients may ask for tokens for it, in words.
    fn count(&self) -> String {
        match self.clients.len() {
            0 => "No client names it".into(),
            1 => "1 client names it".into(),
            count if self.more => format!("More than {count} clients name it"),
            count => format!("{count} clients name it"),
        }
    }

    fn former(&self) -> String {
        self.service.aliases.keys().map(Scope::as_str).collect::<Vec<_>>().join(", ")
    }
}

/// `GET /admin/service?audience=`
///
/// # Errors
/// When it is not registered, or the file cannot be read.
pub async fn get(visitor: Visitor, request: HttpRequest, state: Data<State>) -> Answer {
    let view = View::read(&state, Form::query(&request).text("audience")).await?;
    Ok(page(&visitor, &view))
}

fn page(visitor: &Visitor, view: &View) -> HttpResponse {
    let (audience, may) = (view.audience(), visitor.may(Role::Clients));
    let content = html! {
        p.crumbs { a href="/admin/services" { "Services" } " / " }
        div.title { h1 { (audience) } }
        @if !view.service.description.is_empty() { p.lead { (view.service.description) } }
        (misfits(&view.unfit))
        section.card aria-labelledby="actions" {
            h2 #actions { "What it understands" }
            (action_table(view))
        }
        section.card aria-labelledby="clients" {
            h2 #clients { "Who calls it" }
            p { (view.count()) @if view.clients.is_empty() { "." } @else { ": " (named(&view.clients.iter().collect::<Vec<_>>(), view.more)) } }
            @if !view.clients.is_empty() { p { a href=(query("/admin/clients", &[("q", audience)])) { "Find them among the clients" } } }
        }
        @if may {
            section.card.danger aria-labelledby="ends" {
                h2 #ends { "Ends" }
                div.actions { a.button.danger href=(query("/admin/service/remove", &[("audience", audience)])) { "Remove the service…" } }
            }
        }
        p.quiet.foot { a href=(query("/admin/audit", &[("about", audience)])) { "What was done to it" } }
    };
    layout::page(visitor, Section::Services, audience, content)
}

fn action_table(view: &View) -> Markup {
    let service = &view.service;
    html! {
        @if service.actions.is_empty() { p.empty { "It understands no action yet, and so no client can be granted one here." } } @else {
            div.scroll tabindex="0" role="region" aria-label="Each action" { table {
                thead { tr {
                    th scope="col" { "Action" } th scope="col" { "What it does" } th scope="col" { "Former names" }
                } }
                tbody { @for (action, what) in &service.actions { tr {
                    th scope="row" { span.name { (action.as_str()) } }
                    td { (what) }
                    td { @for (name, alias) in service.aliases.iter().filter(|(_, alias)| alias.action == *action) {
                        div {
                            span.name { (name.as_str()) }
                            div.quiet { @if alias.ends_at > view.now { "until " } @else { "ended " } (time(alias.ends_at)) " (" (from_now(alias.ends_at, view.now)) ")" }
                        }
                    } }
                } } }
            } }
        }
    }
}

/// The first of some clients, by name.
fn named(clients: &[&Client], more: bool) -> Markup {
    html! {
        @for (at, one) in clients.iter().take(NAMED).enumerate() {
            @if at > 0 { ", " }
            a href=(client::path(one.id.as_str())) { (client::name(one)) }
        }
        @if more { " and others" } @else if clients.len() > NAMED { " and " (clients.len() - NAMED) " more" }
    }
}

/// Refuses to change what is not as it was shown.
///
/// # Errors
/// [`DashboardError::Rule`]
pub fn check_seen(service: &Service, seen: &str) -> Result<(), DashboardError> {
    if tag(service) == seen { Ok(()) } else { Err(DashboardError::Rule(CHANGED_MEANWHILE.into())) }
}

const CHANGED_MEANWHILE: &str = "somebody else changed this service meanwhile. Nothing was changed: look at what it is now, and send this again";

/// What is asked about a service before it is done, but for its words.
fn question<'a>(view: &'a View, title: &'a str, action: &'a str) -> Question<'a> {
    let audience = view.audience();
    Question {
        section: Section::Services,
        crumbs: html! { a href="/admin/services" { "Services" } " / " a href=(path(audience)) { (audience) } " / " },
        title,
        action,
        effect: Vec::new(),
        hidden: vec![("audience", audience.to_owned()), ("seen", tag(&view.service))],
        fields: html! {},
        typed: None,
        button: title,
        is_final: true,
        cancel: path(audience),
        role: Role::Clients,
        problem: None,
    }
}

/// `GET /admin/service/remove?audience=`: what that would mean.
///
/// # Errors
/// When it is not registered, or the file cannot be read.
pub async fn removal(visitor: Visitor, request: HttpRequest, state: Data<State>) -> Answer {
    let view = View::read(&state, Form::query(&request).text("audience")).await?;
    Ok(removal_page(&visitor, &view, None))
}

fn removal_page(visitor: &Visitor, view: &View, problem: Option<&str>) -> HttpResponse {
    let (audience, former) = (view.audience(), view.former());
    let question = Question {
        effect: vec![
            html! { b { (audience) } " is registered no more, and its " (view.service.actions.len()) " actions and their descriptions are forgotten." },
            html! {
                (view.count()) @if !view.clients.is_empty() { ": " (named(&view.clients.iter().collect::<Vec<_>>(), view.more)) }
                @if view.clients.is_empty() { "." } @else { ". They keep what they are granted, and get tokens for " (audience) " as before." }
            },
            html! {
                @if former.is_empty() { "No action has a former name that would end." }
                @else { "Former names end at once: " (former) ". A client that is granted an action by one of its names gets it by that name alone." }
            },
            html! { "From now on any action can be granted at " (audience) ", and nobody is told of a name that was mistyped." },
            html! { "To take it back, register the service again. Former names do not come back with it." },
        ],
        typed: Some(("audience", audience)),
        problem,
        ..question(view, "Remove the service", "/admin/service/remove")
    };
    question.page(visitor)
}

/// `POST /admin/service/remove`
///
/// # Errors
/// When the form is not good, or there is no such service.
pub async fn remove(visitor: Visitor, request: HttpRequest, body: Body, state: Data<State>) -> Answer {
    let submitted = visitor.submit(&request, &state, body, Role::Clients)?;
    let view = View::read(&state, submitted.form.text("audience")).await?;
    if submitted.form.text("typed") != view.audience() {
        let problem = "That is not the audience of the service. Nothing was removed.";
        return Ok(removal_page(&visitor, &view, Some(problem)));
    }
    let (now, seen) = (state.clock.wall(), submitted.form.text("seen").to_owned());
    let (audience, origin) = (view.audience().to_owned(), submitted.origin);
    let removed = state.change(move |store| {
        remove_seen_service::<DashboardError>(store, &audience, now, &origin, |service| {
            check_seen(service, &seen)
        })
    });
    match removed.await {
        Ok(()) => {}
        Err(DashboardError::Rule(reason)) => {
            let view = View::read(&state, view.audience()).await?;
            return Ok(removal_page(&visitor, &view, Some(&sentence(&reason))));
        }
        Err(error) => return Err(error),
    }
    visitor.tell(&state, Notice::Done(format!("Removed: {}.", view.audience())));
    Ok(layout::go("/admin/services"))
}
