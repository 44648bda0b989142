//! Registering a service, and saying what it is. What is filled in is read as the admin API reads it.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use maud::html;

use super::Answer;
use crate::administration::{AdministrationError, services};
use crate::http::State;
use crate::http::dashboard::error::DashboardError;
use crate::http::dashboard::forms::{line, lines, only_looked_at, told_problem};
use crate::http::dashboard::layout::{self, Section, csrf};
use crate::http::dashboard::service::{Change, View, amend, crumbs, hidden, path, refusal};
use crate::http::dashboard::session::Notice;
use crate::http::dashboard::visitor::{Form, Submitted, Visitor};
use crate::http::request::Body;
use crate::http::v1;
use crate::model::service::parse_action;
use crate::model::{Audience, Role, Service};

/// What is filled in, as texts.
#[derive(Default)]
struct Filled {
    audience: String,
    description: String,
    actions: String,
}

impl Filled {
    fn from(form: &Form) -> Self {
        let text = |name: &str| form.text(name).to_owned();
        Self { audience: text("audience"), description: text("description"), actions: text("actions") }
    }

    fn service(&self, now: m2mint_keys::time::UnixTime) -> Result<Service, AdministrationError> {
        let mut service = Service::new(Audience::parse(&self.audience)?);
        let lines = self.actions.lines().map(str::trim).filter(|line| !line.is_empty());
        let actions = lines.map(parse_action).collect::<Result<Vec<_>, _>>()?;
        v1::services::change(&mut service, Some(self.description.clone()), &[], Vec::new(), actions, now)?;
        Ok(service)
    }
}

fn page(visitor: &Visitor, filled: &Filled, problem: Option<&str>) -> HttpResponse {
    let content = html! {
        p.crumbs { a href="/admin/services" { "Services" } " / " }
        h1 { "Register a service" }
        (told_problem(problem))
        (only_looked_at(visitor, Role::Clients))
        form.fields method="post" action="/admin/services/new" aria-describedby=[problem.map(|_| "problem")] {
            (csrf(visitor))
            fieldset {
                legend { "What it is" }
                (line("audience", "Audience", &filled.audience, "Such as event: the aud of the tokens that are for it. It never changes."))
                (line("description", "Description", &filled.description, "For people, such as Calendar Service."))
            }
            fieldset {
                legend { "What it understands" }
                (lines("actions", "Actions", &filled.actions, "One a line, with what it does if you like: event.create = Makes an event. More can be added later.", 6))
            }
            @if visitor.may(Role::Clients) {
                p.quiet { "From then on clients are granted there only what it understands. What they are granted already, they keep; the next page tells what of that it does not understand." }
                div.actions {
                    button.primary type="submit" { "Register the service" }
                    a.button href="/admin/services" { "Cancel" }
                }
            }
        }
    };
    layout::form_page(visitor, Section::Services, "Register a service", problem, content)
}

/// `GET /admin/services/new`
///
/// # Errors
/// None of its own.
pub async fn new(visitor: Visitor) -> Answer {
    Ok(page(&visitor, &Filled::default(), None))
}

/// `POST /admin/services/new`
///
/// # Errors
/// When the form is not good, or the file cannot be written.
pub async fn create(visitor: Visitor, request: HttpRequest, body: Body, state: Data<State>) -> Answer {
    let submitted = visitor.submit(&request, &state, body, Role::Clients)?;
    let filled = Filled::from(&submitted.form);
    let (now, origin) = (state.clock.wall(), submitted.origin);
    let made = match filled.service(now) {
        Ok(service) => state.change(move |store| services::add_service(store, &service, now, &origin)).await,
        Err(error) => Err(error),
    };
    if let Some(reason) = refusal(made.map_err(DashboardError::from))? {
        return Ok(page(&visitor, &filled, Some(&reason)));
    }
    visitor.tell(&state, Notice::Done("Registered. It counts from now on.".into()));
    Ok(layout::go(&path(&filled.audience)))
}

/// `GET /admin/service/edit?audience=`
///
/// # Errors
/// When there is no such service.
pub async fn edit(visitor: Visitor, request: HttpRequest, state: Data<State>) -> Answer {
    let view = View::read(&state, Form::query(&request).text("audience")).await?;
    Ok(description_page(&visitor, &view, &view.service.description, None))
}

fn description_page(visitor: &Visitor, view: &View, filled: &str, problem: Option<&str>) -> HttpResponse {
    let (service, audience) = (&view.service, view.audience());
    let title = "Edit the description";
    let content = html! {
        p.crumbs { (crumbs(audience)) }
        h1 { (title) }
        (told_problem(problem))
        (only_looked_at(visitor, Role::Clients))
        form.fields method="post" action="/admin/service/edit" aria-describedby=[problem.map(|_| "problem")] {
            (csrf(visitor)) (hidden(view))
            fieldset {
                legend { "What it is" }
                p.fixed { span { "Audience" } " " code { (audience) } }
                @if problem.is_some() && filled != service.description {
                    p.fixed { span { "What it is now" } " " @if service.description.is_empty() { "nothing" } @else { (service.description) } }
                }
                (line("description", "Description", filled, "For people, such as Calendar Service."))
            }
            @if visitor.may(Role::Clients) {
                div.actions {
                    button.primary type="submit" { "Save" }
                    a.button href=(path(audience)) { "Cancel" }
                }
            }
        }
    };
    layout::form_page(visitor, Section::Services, title, problem, content)
}

/// `POST /admin/service/edit`
///
/// # Errors
/// When the form is not good, or there is no such service.
pub async fn update(visitor: Visitor, request: HttpRequest, body: Body, state: Data<State>) -> Answer {
    let Submitted { form, origin } = visitor.submit(&request, &state, body, Role::Clients)?;
    let (audience, description) = (form.text("audience"), form.text("description"));
    let change = Change { description: Some(description.to_owned()), ..Change::default() };
    let changed = amend(&state, audience, form.text("seen"), origin, change).await;
    if let Some(reason) = refusal(changed)? {
        let view = View::read(&state, audience).await?;
        return Ok(description_page(&visitor, &view, description, Some(&reason)));
    }
    visitor.tell(&state, Notice::Done("Saved.".into()));
    Ok(layout::go(&path(audience)))
}
