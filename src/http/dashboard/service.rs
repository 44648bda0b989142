//! `/admin/service`: one service, who calls it, and what can be done to it.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use m2mint_keys::time::UnixTime;
use maud::{Markup, html};
use rusqlite::Connection;

use super::Answer;
use crate::administration::AdministrationError;
use crate::administration::services::{remove_seen_service, unfit, update_seen_service};
use crate::http::State;
use crate::http::dashboard::client;
use crate::http::dashboard::error::{DashboardError, sentence};
use crate::http::dashboard::forms::{Question, told_problem};
use crate::http::dashboard::layout::{self, Section, csrf, from_now, query, time};
use crate::http::dashboard::services::{LOOKED_AT, misfits};
use crate::http::dashboard::session::Notice;
use crate::http::dashboard::visitor::{Form, Visitor};
use crate::http::request::Body;
use crate::http::v1;
use crate::http::v1::services::tag;
use crate::model::audit::Origin;
use crate::model::grants::Grants;
use crate::model::{Client, Role, Scope, Service};
use crate::store::clients::{self, Wanted};
use crate::store::{Store, services};

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
    /// The service.
    pub service: Service,
    /// The clients that may ask for tokens for it, oldest first.
    clients: Vec<Client>,
    /// Whether there are more of them than were looked at.
    more: bool,
    /// When it was looked at.
    pub now: UnixTime,
}

impl View {
    /// Looks at the service of `audience`.
    ///
    /// # Errors
    /// When it is not registered, or the file cannot be read.
    pub async fn read(state: &State, audience: &str) -> Result<Self, DashboardError> {
        let (now, audience) = (state.clock.wall(), audience.to_owned());
        let look = move |db: &Connection| {
            let Some(service) = services::get(db, &audience)? else { return Ok(None) };
            let (clients, next) = clients::page_of(db, None, MOST_CLIENTS, Wanted::At(&audience))?;
            Ok(Some(Self { service, clients, more: next.is_some(), now }))
        };
        let view = state.look(move |store| store.read(look));
        view.await?.ok_or(DashboardError::NotFound("service"))
    }

    /// Its identity.
    #[must_use]
    pub fn audience(&self) -> &str {
        self.service.audience.as_str()
    }

    /// Those of its clients whose grants are `wanted`.
    #[must_use]
    pub fn clients(&self, wanted: impl Fn(&Grants) -> bool) -> Vec<&Client> {
        self.clients.iter().filter(|one| one.settings.grants().is_ok_and(|grants| wanted(&grants))).collect()
    }

    /// How many of its clients do what `verb` says, and which.
    #[must_use]
    pub fn told(&self, clients: &[&Client], verb: &str, verb_of_many: &str) -> Markup {
        html! {
            @match clients.len() {
                0 if self.more => { "None of the first " (self.clients.len()) " clients that name it " (verb) "." },
                0 => { "No client " (verb) "." },
                1 if !self.more => { "1 client " (verb) ": " (named(clients, false)) "." },
                count => {
                    @if self.more { "At least " }
                    (count) " clients " (verb_of_many) ": " (named(clients, self.more)) "."
                }
            }
        }
    }

    fn told_callers(&self) -> Markup {
        self.told(&self.clients.iter().collect::<Vec<_>>(), "names it", "name it")
    }

    /// The former names of an action.
    #[must_use]
    pub fn former(&self, action: &str) -> Vec<&str> {
        self.service.former_names(action).map(|(name, _)| name.as_str()).collect()
    }
}

/// `GET /admin/service?audience=`
///
/// # Errors
/// When it is not registered, or the file cannot be read.
pub async fn get(visitor: Visitor, request: HttpRequest, state: Data<State>) -> Answer {
    let view = View::read(&state, Form::query(&request).text("audience")).await?;
    page(&visitor, &state, &view, "", "", None).await
}

/// The page, with the action that somebody would like to add.
///
/// # Errors
/// When the file cannot be read.
pub async fn page(
    visitor: &Visitor,
    state: &State,
    view: &View,
    name: &str,
    what: &str,
    problem: Option<&str>,
) -> Answer {
    let (at, now) = (view.service.audience.clone(), view.now);
    let is_small = state.directory.count() <= LOOKED_AT;
    let look = move |store: &Store| if is_small { unfit(store, Some(&at), now) } else { Ok(Vec::new()) };
    let unfit = state.look(look).await?;
    let (audience, may) = (view.audience(), visitor.may(Role::Clients));
    let content = html! {
        p.crumbs { a href="/admin/services" { "Services" } " / " }
        div.title {
            h1 { (audience) }
            @if may { a.button href=(query("/admin/service/edit", &[("audience", audience)])) { "Edit the description…" } }
        }
        @if !view.service.description.is_empty() { p.lead { (view.service.description) } }
        section.card aria-labelledby="actions" {
            h2 #actions { "What it understands" }
            (actions(view, may))
            @if may {
                (told_problem(problem))
                form.filter method="post" action="/admin/service/actions/add" aria-label="Add an action" aria-describedby=[problem.map(|_| "problem")] {
                    (csrf(visitor)) (hidden(view))
                    div {
                        label for="name" { "New action" }
                        input #name type="text" name="name" value=(name) required autocomplete="off" spellcheck="false" autocapitalize="none" aria-describedby="name-help" autofocus[problem.is_some()];
                        p.help #name-help { "Such as event.create." }
                    }
                    div {
                        label for="what" { "What it does" }
                        input #what type="text" name="what" value=(what) autocomplete="off" aria-describedby="what-help";
                        p.help #what-help { "For people, such as Makes an event." }
                    }
                    button type="submit" { "Add" }
                }
            }
        }
        (misfits(&unfit))
        section.card aria-labelledby="clients" {
            h2 #clients { "Who calls it" }
            p { (view.told_callers()) }
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
    Ok(layout::form_page(visitor, Section::Services, audience, problem, content))
}

/// Which service a form is about, and in which state it was shown.
#[must_use]
pub fn hidden(view: &View) -> Markup {
    html! {
        input type="hidden" name="audience" value=(view.audience());
        input type="hidden" name="seen" value=(tag(&view.service));
    }
}

fn actions(view: &View, may: bool) -> Markup {
    let (service, audience) = (&view.service, view.audience());
    let to = |path: &str, name: &Scope| query(path, &[("audience", audience), ("action", name.as_str())]);
    html! {
        @if service.actions.is_empty() { p.empty { "It understands no action yet, and so no client can be granted one here." } } @else {
            ul.lately { @for (action, what) in &service.actions { li {
                div.grow {
                    span.name { (action.as_str()) }
                    @if !what.is_empty() { div { (what) } }
                    @for (name, alias) in service.former_names(action.as_str()) { div.quiet {
                        @if alias.ends_at > view.now { "also " (name) ", until " } @else { "called " (name) " until " }
                        (time(alias.ends_at)) " (" (from_now(alias.ends_at, view.now)) ")"
                        @if may { " " a.end href=(to("/admin/service/actions/remove", name)) aria-label={ "Take the former name " (name) " away…" } { "Take away…" } }
                    } }
                }
                @if may { div.actions {
                    a.button.small href=(to("/admin/service/actions/rename", action)) aria-label={ "Rename " (action) "…" } { "Rename…" }
                    a.button.small.danger href=(to("/admin/service/actions/remove", action)) aria-label={ "Remove " (action) "…" } { "Remove…" }
                } }
            } } }
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

/// What is done to a service.
#[derive(Default)]
pub struct Change {
    /// What it is, for people.
    pub description: Option<String>,
    /// Actions and former names that go.
    pub removed: Vec<String>,
    /// Actions that get another name, and until when the former one is understood.
    pub renamed: Vec<(String, Scope, UnixTime)>,
    /// Actions that come, with what they do.
    pub added: Vec<(Scope, String)>,
}

/// Changes a service that is as it was `seen`, and by the rules of the admin API.
///
/// # Errors
/// When it is not registered, is not as it was seen, or a rule or the file refuses the change.
pub async fn amend(
    state: &State,
    audience: &str,
    seen: &str,
    origin: Origin,
    change: Change,
) -> Result<(), DashboardError> {
    let (now, audience, seen) = (state.clock.wall(), audience.to_owned(), seen.to_owned());
    let Change { description, removed, renamed, added } = change;
    let changed = state.change(move |store| {
        update_seen_service::<DashboardError>(store, &audience, now, &origin, |service| {
            check_seen(service, &seen)?;
            let changed = v1::services::change(service, description, &removed, renamed, added, now);
            Ok(changed.map_err(AdministrationError::from)?)
        })
    });
    changed.await.map(drop)
}

fn check_seen(service: &Service, seen: &str) -> Result<(), DashboardError> {
    if tag(service) == seen { Ok(()) } else { Err(DashboardError::Rule(CHANGED_MEANWHILE.into())) }
}

const CHANGED_MEANWHILE: &str = "somebody else changed this service meanwhile. Nothing was changed: look at what it is now, and send this again";

/// Why a rule said no, as a sentence; other trouble is passed on.
///
/// # Errors
/// That.
pub fn refusal(outcome: Result<(), DashboardError>) -> Result<Option<String>, DashboardError> {
    match outcome {
        Ok(()) => Ok(None),
        Err(DashboardError::Rule(reason)) => Ok(Some(sentence(&reason))),
        Err(error) => Err(error),
    }
}

/// The pages above those of what is done to a service.
#[must_use]
pub fn crumbs(audience: &str) -> Markup {
    html! { a href="/admin/services" { "Services" } " / " a href=(path(audience)) { (audience) } " / " }
}

/// What is asked about a service before it is done, but for its words.
#[must_use]
pub fn question<'a>(view: &'a View, title: &'a str, action: &'a str) -> Question<'a> {
    let audience = view.audience();
    Question {
        section: Section::Services,
        crumbs: crumbs(audience),
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

/// What it means that former names end.
pub const BY_ONE_NAME: &str =
    "A client that is granted an action by one of its names gets it by that name alone.";

/// Names of actions.
#[must_use]
pub fn names(names: &[&str]) -> Markup {
    html! { @for (at, name) in names.iter().enumerate() { @if at > 0 { " " } span.name { (name) } } }
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
    let audience = view.audience();
    let former: Vec<_> = view.service.aliases.keys().map(Scope::as_str).collect();
    let count = view.service.actions.len();
    let mut effect = vec![
        html! { b { (audience) } " is registered no more. Its description and its " (count) @if count == 1 { " action are" } @else { " actions are" } " forgotten." },
        html! { (view.told_callers()) @if !view.clients.is_empty() { " What is granted stays, and tokens for " (audience) " are issued as before." } },
    ];
    if !former.is_empty() {
        effect.push(html! { "Former names end at once: " (names(&former)) ". " (BY_ONE_NAME) });
    }
    effect.push(html! { "From now on any action can be granted at " (audience) ", and nobody is told of a name that was mistyped." });
    effect.push(html! { "To take it back, register the service again." @if !former.is_empty() { " Former names do not come back with it." } });
    let question = Question {
        effect,
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
    if let Some(reason) = refusal(removed.await)? {
        let view = View::read(&state, view.audience()).await?;
        return Ok(removal_page(&visitor, &view, Some(&reason)));
    }
    visitor.tell(&state, Notice::Done(format!("Removed: {}.", view.audience())));
    Ok(layout::go("/admin/services"))
}
