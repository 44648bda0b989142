//! `/admin/service/actions`: an action is added to a service, called by another name, or removed.

use actix_web::HttpRequest;
use actix_web::web::Data;
use maud::{Markup, html};

use super::Answer;
use crate::http::State;
use crate::http::dashboard::error::DashboardError;
use crate::http::dashboard::forms::{Question, line};
use crate::http::dashboard::layout::{self, query, time};
use crate::http::dashboard::service::{
    self, BY_ONE_NAME, Change, View, amend, names, path, question, refusal,
};
use crate::http::dashboard::session::Notice;
use crate::http::dashboard::visitor::{Form, Submitted, Visitor};
use crate::http::request::Body;
use crate::http::v1;
use crate::model::service::Alias;
use crate::model::{Role, Scope, Span};

/// `POST /admin/service/actions/add`
///
/// # Errors
/// When the form is not good, or there is no such service.
pub async fn add_action(visitor: Visitor, request: HttpRequest, body: Body, state: Data<State>) -> Answer {
    let Submitted { form, origin } = visitor.submit(&request, &state, body, Role::Clients)?;
    let (audience, name, what) = (form.text("audience"), form.text("name"), form.text("what"));
    let added = match Scope::parse(name) {
        Ok(action) => {
            let change = Change { added: vec![(action, what.to_owned())], ..Change::default() };
            amend(&state, audience, form.text("seen"), origin, change).await
        }
        Err(error) => Err(DashboardError::Rule(error.to_string())),
    };
    if let Some(reason) = refusal(added)? {
        let view = View::read(&state, audience).await?;
        return service::page(&visitor, &state, &view, name, what, Some(&reason)).await;
    }
    visitor.tell(&state, Notice::Done(format!("Added: {name}.")));
    Ok(layout::go(&path(audience)))
}

/// `GET /admin/service/actions/remove?audience=&action=`: what that would mean, of an action or of a former name.
///
/// # Errors
/// When there is no such action.
pub async fn action_removal(visitor: Visitor, request: HttpRequest, state: Data<State>) -> Answer {
    let query = Form::query(&request);
    let view = View::read(&state, query.text("audience")).await?;
    action_removal_page(&visitor, &view, query.text("action"), None)
}

fn action_removal_page(visitor: &Visitor, view: &View, name: &str, problem: Option<&str>) -> Answer {
    let action = "/admin/service/actions/remove";
    let about = if let Some(alias) = view.service.aliases.get(name) {
        Question {
            effect: former_name_effect(view, name, alias),
            button: "Take the name away",
            ..question(view, "Take a former name away", action)
        }
    } else if view.service.actions.contains_key(name) {
        Question { effect: action_effect(view, name), ..question(view, "Remove the action", action) }
    } else {
        return Err(DashboardError::NotFound("action"));
    };
    let hidden = [about.hidden, vec![("action", name.to_owned())]].concat();
    Ok(Question { hidden, problem, ..about }.page(visitor))
}

fn action_effect(view: &View, action: &str) -> Vec<Markup> {
    let (audience, former) = (view.audience(), view.former(action));
    let holders = view.clients(|grants| {
        grants.allows_scope(action, audience) || former.iter().any(|name| grants.names_scope(name, audience))
    });
    let mut effect = vec![
        html! { (names(&[action])) " is forgotten, with what it does. From now on it cannot be granted at " (audience) "." },
        html! { (view.told(&holders, "may ask for it", "may ask for it")) @if !holders.is_empty() { " What is granted stays, and tokens go on carrying it." } },
    ];
    if !former.is_empty() {
        effect.push(html! { "Its former names go with it: " (names(&former)) ". " (BY_ONE_NAME) });
    }
    effect.push(html! { "If it is only called something else, " a href=(query("/admin/service/actions/rename", &[("audience", audience), ("action", action)])) { "rename it" } " instead." });
    effect
}

fn former_name_effect(view: &View, former: &str, alias: &Alias) -> Vec<Markup> {
    let (audience, action) = (view.audience(), alias.action.as_str());
    let others = view.former(action);
    let by_this_alone = view.clients(|grants| {
        let is_named = |name: &str| grants.names_scope(name, audience);
        is_named(former)
            && !grants.allows_scope(action, audience)
            && !others.iter().any(|other| *other != former && is_named(other))
    });
    vec![
        html! {
            (names(&[former])) " is no name of " (names(&[action])) " any more: no token carries the one because of the other."
            @if alias.ends_at > view.now { " Without this, it could be asked for until " (time(alias.ends_at)) "." }
        },
        html! {
            (view.told(&by_this_alone, "has the action by this name alone", "have the action by this name alone"))
            @if !by_this_alone.is_empty() { " Grant " (names(&[action])) " first, or it is lost there." }
        },
        html! { "From now on another action can get this name." },
    ]
}

/// `POST /admin/service/actions/remove`
///
/// # Errors
/// When the form is not good, or there is no such action.
pub async fn remove_action(visitor: Visitor, request: HttpRequest, body: Body, state: Data<State>) -> Answer {
    let Submitted { form, origin } = visitor.submit(&request, &state, body, Role::Clients)?;
    let (audience, name) = (form.text("audience"), form.text("action"));
    let change = Change { removed: vec![name.to_owned()], ..Change::default() };
    let removed = amend(&state, audience, form.text("seen"), origin, change).await;
    if let Some(reason) = refusal(removed)? {
        let view = View::read(&state, audience).await?;
        return action_removal_page(&visitor, &view, name, Some(&reason));
    }
    visitor.tell(&state, Notice::Done(format!("Removed: {name}.")));
    Ok(layout::go(&path(audience)))
}

/// `GET /admin/service/actions/rename?audience=&action=`: what that would mean.
///
/// # Errors
/// When there is no such action.
pub async fn renaming(visitor: Visitor, request: HttpRequest, state: Data<State>) -> Answer {
    let query = Form::query(&request);
    let view = View::read(&state, query.text("audience")).await?;
    renaming_page(&visitor, &view, query.text("action"), "", v1::services::ALIAS_FOR, None)
}

fn renaming_page(
    visitor: &Visitor,
    view: &View,
    action: &str,
    to: &str,
    alias_for: &str,
    problem: Option<&str>,
) -> Answer {
    if !view.service.actions.contains_key(action) {
        return Err(DashboardError::NotFound("action"));
    }
    let (audience, former) = (view.audience(), view.former(action));
    let holders = view.clients(|grants| {
        grants.names_scope(action, audience) || former.iter().any(|name| grants.names_scope(name, audience))
    });
    let mut effect = vec![
        html! {
            "For the time below, clients may ask for " (names(&[action])) " by either name, whichever they are granted, and tokens carry both: the "
            "service finds the one that it knows, whether it was changed already or not."
        },
        html! { "After that only the new name can be asked for, and tokens carry that alone. Who is granted the action by its former name keeps it." },
        html! {
            (view.told(&holders, "is granted it by name", "are granted it by name"))
            @if !holders.is_empty() { " Have the service check for the new name, and clients ask for it, before the time is over." }
        },
        html! { "A wildcard gives only the names that it covers." },
    ];
    if !former.is_empty() {
        effect
            .push(html! { "What it was called before ends when it would have ended: " (names(&former)) "." });
    }
    let about = question(view, "Rename the action", "/admin/service/actions/rename");
    let question = Question {
        effect,
        hidden: [about.hidden, vec![("action", action.to_owned())]].concat(),
        fields: html! {
            (line("to", "New name", to, &format!("What {action} is called from now on.")))
            (line("alias_for", "Understand the former name for", alias_for, "Such as 30d or 90d."))
        },
        is_final: false,
        problem,
        ..about
    };
    Ok(question.page(visitor))
}

/// `POST /admin/service/actions/rename`
///
/// # Errors
/// When the form is not good, or there is no such action.
pub async fn rename_action(visitor: Visitor, request: HttpRequest, body: Body, state: Data<State>) -> Answer {
    let Submitted { form, origin } = visitor.submit(&request, &state, body, Role::Clients)?;
    let (audience, action, now) = (form.text("audience"), form.text("action"), state.clock.wall());
    let (to, alias_for) = (form.text("to"), form.text("alias_for"));
    let renamed = match (Scope::parse(to), Span::parse(alias_for)) {
        (Ok(to), Ok(span)) => {
            let renamed = vec![(action.to_owned(), to, now.plus(span.0))];
            amend(&state, audience, form.text("seen"), origin, Change { renamed, ..Change::default() }).await
        }
        (Err(error), _) => Err(DashboardError::Rule(error.to_string())),
        (_, Err(error)) => Err(DashboardError::Rule(error.to_string())),
    };
    if let Some(reason) = refusal(renamed)? {
        let view = View::read(&state, audience).await?;
        return renaming_page(&visitor, &view, action, to, alias_for, Some(&reason));
    }
    visitor.tell(
        &state,
        Notice::Done(format!(
            "Renamed: {action} is called {to}. For {alias_for}, it can be asked for by either name."
        )),
    );
    Ok(layout::go(&path(audience)))
}
