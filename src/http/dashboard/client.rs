//! `/admin/client`: one client, its secrets, and what can be done to it.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use m2mint_keys::time::UnixTime;
use maud::{Markup, html};
use zeroize::Zeroizing;

use super::Answer;
use crate::administration::{self, AdministrationError, MAX_SECRETS};
use crate::http::State;
use crate::http::dashboard::error::{DashboardError, sentence};
use crate::http::dashboard::forms::{Question, told_problem};
use crate::http::dashboard::layout::{self, Section, copyable, csrf, from_now, query, time, time_or};
use crate::http::dashboard::session::Notice;
use crate::http::dashboard::visitor::{Form, Visitor};
use crate::http::request::Body;
use crate::model::{Audience, Client, ClientSecret, Network, Role, ScopePattern, Span};
use crate::store::clients::{self, StoredSecret};

/// How long other secrets are still accepted after a rotation, where nothing is said.
const GRACE: &str = "7d";

/// The page of a client.
#[must_use]
pub fn path(id: &str) -> String {
    query("/admin/client", &[("id", id)])
}

/// The client that a request names, with its secrets.
///
/// # Errors
/// When there is none, or the file cannot be read.
pub async fn find(state: &State, id: &str) -> Result<(Client, Vec<StoredSecret>), DashboardError> {
    let id = id.to_owned();
    let found = state
        .look(move |store| {
            store.read(|db| {
                let client = clients::get(db, &id)?;
                client.map(|client| Ok((client, clients::secrets(db, &id)?))).transpose()
            })
        })
        .await?;
    found.ok_or(DashboardError::NotFound("client"))
}

/// `GET /admin/client?id=`
///
/// # Errors
/// When there is no such client.
pub async fn get(visitor: Visitor, request: HttpRequest, state: Data<State>) -> Answer {
    let (client, secrets) = find(&state, Form::query(&request).text("id")).await?;
    let now = state.clock.wall();
    let (id, settings) = (client.id.as_str(), &client.settings);
    let enabled = settings.enabled != Some(false);
    let may = visitor.may(Role::Clients);
    let content = html! {
        p.crumbs { a href="/admin/clients" { "Clients" } " / " }
        div.title {
            h1 { (name(&client)) @if !enabled { " " span.tag.revoked { "disabled" } } }
            @if may {
                div.actions {
                    a.button href=(query("/admin/client/edit", &[("id", id)])) { "Edit…" }
                    form method="post" action="/admin/client/enabled" {
                        (csrf(&visitor)) input type="hidden" name="id" value=(id);
                        input type="hidden" name="enabled" value=(if enabled { "false" } else { "true" });
                        button type="submit" { @if enabled { "Disable" } @else { "Enable" } }
                    }
                }
            }
        }
        (shown_once(visitor.notice.as_ref()))
        div.columns {
            section.card aria-labelledby="about" { h2 #about { "What it may do" } (about(&client, &state)) }
            section.card aria-labelledby="limits" { h2 #limits { "Where, when and how often" } (limits(&client)) }
        }
        section.card aria-labelledby="secrets" {
            div.title {
                h2 #secrets { "Secrets" }
                @if may { a.button href=(query("/admin/client/secrets/rotate", &[("id", id)])) { "Rotate…" } }
            }
            (secret_table(&visitor, id, &secrets, now))
            @if may && secrets.len() < MAX_SECRETS {
                form.filter method="post" action="/admin/client/secrets/add" aria-label="Add a secret" {
                    (csrf(&visitor)) input type="hidden" name="id" value=(id);
                    div {
                        label for="expires" { "Add a secret that expires in" }
                        input #expires type="text" name="expires" placeholder="never" autocomplete="off" spellcheck="false" aria-describedby="expires-help";
                        p.help #expires-help { "Such as 90d; nothing for never." }
                    }
                    button type="submit" { "Add" }
                }
            }
        }
        @if may {
            section.card.danger aria-labelledby="ends" {
                h2 #ends { "Ends" }
                div.actions {
                    a.button.danger href=(query("/admin/client/revoke-tokens", &[("id", id)])) { "Revoke its tokens…" }
                    a.button.danger href=(query("/admin/client/remove", &[("id", id)])) { "Delete the client…" }
                }
            }
        }
        p.quiet.foot {
            "Made " (time(client.created_at)) ", last changed " (time(client.updated_at)) ". "
            a href=(query("/admin/audit", &[("about", id)])) { "What was done to it" }
        }
    };
    Ok(layout::page(&visitor, Section::Clients, name(&client), content))
}

/// How a client is called: by its name, or its id where it has none.
#[must_use]
pub fn name(client: &Client) -> &str {
    if client.settings.name.is_empty() { client.id.as_str() } else { &client.settings.name }
}

fn shown_once(notice: Option<&Notice>) -> Markup {
    let Some(Notice::Secret { client, id, secret, others }) = notice else { return html! {} };
    html! {
        section.card.secret aria-labelledby="secret-title" role="status" {
            h2 #secret-title { "The new secret" }
            p { "It is shown this once: put it where it belongs now. Nobody can be shown it again." }
            dl {
                dt { "Client id" } dd { (copyable("new-id", client, "client id")) }
                dt { "Secret " (id) } dd { (copyable("new-secret", secret, "secret")) }
            }
            @if let Some(others) = others { p { (others) } }
        }
    }
}

fn about(client: &Client, state: &State) -> Markup {
    let settings = &client.settings;
    let names = |names: Vec<&str>| {
        html! {
            @if names.is_empty() { span.quiet { "none" } }
            @for name in names { span.name { (name) } " " }
        }
    };
    let lifetime = settings.token_lifetime.map(|span| span.to_string());
    let usual = Span(state.issuer.settings().lifetime);
    html! {
        dl {
            dt { "Client id" } dd { (copyable("client-id", client.id.as_str(), "client id")) }
            dt { "Audiences" } dd { (names(settings.audience.iter().map(Audience::as_str).collect())) }
            dt { "Scopes" } dd { (names(settings.scope.iter().map(ScopePattern::as_str).collect())) }
            @for (audience, scopes) in settings.audience_scopes.iter().flatten() {
                dt { "At " (audience) } dd { (names(scopes.iter().map(ScopePattern::as_str).collect())) }
            }
            dt { "Tokens live" } dd { @match lifetime { Some(own) => (own), None => { (usual) " " span.quiet { "as all do" } } } }
        }
    }
}

fn limits(client: &Client) -> Markup {
    let it = &client.settings.restrictions;
    let networks: Vec<_> = it.networks.iter().map(Network::to_string).collect();
    html! {
        dl {
            dt { "From" } dd { @if networks.is_empty() { span.quiet { "anywhere" } } @for one in networks { span.name { (one) } " " } }
            dt { "Not before" } dd { (time_or(it.not_before, "at any time")) }
            dt { "Not after" } dd { (time_or(it.not_after, "at any time")) }
            dt { "Tokens a minute" } dd { @match it.tokens_a_minute { Some(most) => (most), None => span.quiet { "as many as it asks for" } } }
        }
    }
}

fn secret_table(visitor: &Visitor, id: &str, secrets: &[StoredSecret], now: UnixTime) -> Markup {
    let may = visitor.may(Role::Clients);
    html! {
        @if secrets.is_empty() { p.empty { "It has no secret, and so gets no token." } } @else {
            div.scroll tabindex="0" role="region" aria-label="Each secret" { table {
                thead { tr {
                    th scope="col" { "Id" } th scope="col" { "Made" } th scope="col" { "Expires" } th scope="col" { "Last used" }
                    @if may { th scope="col" { span.unseen { "Actions" } } }
                } }
                tbody { @for secret in secrets {
                    @let number = secret.id.to_string();
                    @let is_over = secret.expires_at.is_some_and(|end| now >= end);
                    tr {
                        th scope="row" { (number) }
                        td { (time(secret.created_at)) }
                        td {
                            @match secret.expires_at {
                                None => span.quiet { "never" },
                                Some(end) => { (time(end)) div.quiet { (from_now(end, now)) @if is_over { " " span.tag.revoked { "expired" } } @else { " " span.tag.retired { "expiring" } } } }
                            }
                        }
                        td { (time_or(secret.last_used_at, "never")) @if let Some(at) = secret.last_used_at { div.quiet {
                            (from_now(at, now)) @if let Some(from) = secret.last_used_from { ", from " (from) }
                        } } }
                        @if may { td.actions {
                            a.button.small.danger href=(query("/admin/client/secrets/remove", &[("id", id), ("secret", &number)])) aria-label={ "Remove secret " (number) "…" } { "Remove…" }
                        } }
                    }
                } }
            } }
        }
    }
}

/// `POST /admin/client/enabled`
///
/// # Errors
/// When the form is not good, or there is no such client.
pub async fn set_enabled(visitor: Visitor, request: HttpRequest, body: Body, state: Data<State>) -> Answer {
    let submitted = visitor.submit(&request, &state, body, Role::Clients)?;
    let id = submitted.form.text("id").to_owned();
    let enabled = submitted.form.text("enabled") == "true";
    let (now, longest, key) = (state.clock.wall(), longest(&state), id.clone());
    state
        .change(move |store| {
            administration::update_client(store, &key, None, now, longest, &submitted.origin, |settings| {
                Ok::<_, AdministrationError>(crate::model::Settings { enabled: Some(enabled), ..settings })
            })
        })
        .await?;
    let told = if enabled {
        "Enabled: it gets tokens."
    } else {
        "Disabled: it gets no token, and introspection refuses those that it has."
    };
    visitor.tell(&state, Notice::Done(told.into()));
    Ok(layout::go(&path(&id)))
}

/// The longest that tokens may live.
#[must_use]
pub fn longest(state: &State) -> Span {
    Span(state.issuer.settings().max_lifetime)
}

/// `POST /admin/client/secrets/add`
///
/// # Errors
/// When the form is not good, or there is no such client.
pub async fn add_secret(visitor: Visitor, request: HttpRequest, body: Body, state: Data<State>) -> Answer {
    let submitted = visitor.submit(&request, &state, body, Role::Clients)?;
    let (form, now) = (&submitted.form, state.clock.wall());
    let id = form.text("id").to_owned();
    let expires_in = Some(form.text("expires")).filter(|text| !text.is_empty()).map(span).transpose()?;
    let expires_at = expires_in.map(|span| now.plus(span.0));
    let secret = ClientSecret::generate()?;
    let shown = Zeroizing::new(secret.expose().to_owned());
    let (key, origin) = (id.clone(), submitted.origin);
    let stored = state
        .change(move |store| administration::add_secret(store, &key, &secret, now, expires_at, &origin))
        .await?;
    visitor.tell(&state, Notice::Secret { client: id.clone(), id: stored.id, secret: shown, others: None });
    Ok(layout::go(&path(&id)))
}

fn span(text: &str) -> Result<Span, DashboardError> {
    Span::parse(text).map_err(|error| DashboardError::Rule(error.to_string()))
}

/// `GET /admin/client/secrets/rotate?id=`: what a rotation would do.
///
/// # Errors
/// When there is no such client.
pub async fn rotation(visitor: Visitor, request: HttpRequest, state: Data<State>) -> Answer {
    let (client, secrets) = find(&state, Form::query(&request).text("id")).await?;
    Ok(rotation_page(&visitor, &client, &secrets, state.clock.wall(), GRACE, None))
}

fn rotation_page(
    visitor: &Visitor,
    client: &Client,
    secrets: &[StoredSecret],
    now: UnixTime,
    grace: &str,
    problem: Option<&str>,
) -> HttpResponse {
    let live: Vec<_> = secrets.iter().filter(|one| one.expires_at.is_none_or(|at| at > now)).collect();
    let content = html! {
        p.crumbs { a href="/admin/clients" { "Clients" } " / " a href=(path(client.id.as_str())) { (name(client)) } " / " }
        h1 { "Rotate the secret" }
        section.card.preview aria-labelledby="effect" {
            h2 #effect { "What will happen" }
            ol {
                li { "A new secret is made, and shown once." }
                @if live.is_empty() { li { "There is no other secret that is accepted." } }
                @for one in &live { li {
                    "Secret " (one.id) " is still accepted for the time below"
                    @if let Some(end) = one.expires_at { ", or until " (time(end)) " if that is sooner" }
                    ". " span.quiet { "Last used: " (time_or(one.last_used_at, "never")) "." }
                } }
                li { "Give the new secret to every instance of the client before that. Nothing stops meanwhile." }
            }
        }
        @if visitor.may(Role::Clients) {
            form.stack method="post" action="/admin/client/secrets/rotate" {
                (csrf(visitor)) input type="hidden" name="id" value=(client.id);
                label for="grace" { "Accept the others for" }
                (told_problem(problem))
                input #grace type="text" name="grace" value=(grace) required autocomplete="off" aria-describedby=(if problem.is_some() { "problem grace-help" } else { "grace-help" });
                p.help #grace-help { "Such as 12h, 7d or 30d." }
                div.actions { button.primary type="submit" { "Make the new secret" } a.button href=(path(client.id.as_str())) { "Cancel" } }
            }
        }
    };
    layout::form_page(visitor, Section::Clients, "Rotate the secret", problem, content)
}

/// `POST /admin/client/secrets/rotate`
///
/// # Errors
/// When the form is not good, or there is no such client.
pub async fn rotate(visitor: Visitor, request: HttpRequest, body: Body, state: Data<State>) -> Answer {
    let submitted = visitor.submit(&request, &state, body, Role::Clients)?;
    let (id, grace) = (submitted.form.text("id").to_owned(), submitted.form.text("grace").to_owned());
    let now = state.clock.wall();
    let outcome = match span(&grace) {
        Err(error) => Err(error),
        Ok(grace) => {
            let secret = ClientSecret::generate()?;
            let shown = Zeroizing::new(secret.expose().to_owned());
            let (key, until, origin) = (id.clone(), now.plus(grace.0), submitted.origin);
            let changed = state
                .change(move |store| {
                    administration::rotate_secrets(store, &key, &secret, now, until, &origin)
                })
                .await;
            changed.map(|(stored, retiring)| (stored, retiring, shown)).map_err(DashboardError::from)
        }
    };
    let (stored, retiring, secret) = match outcome {
        Ok(done) => done,
        Err(DashboardError::Rule(reason)) => {
            let (client, secrets) = find(&state, &id).await?;
            return Ok(rotation_page(&visitor, &client, &secrets, now, &grace, Some(&sentence(&reason))));
        }
        Err(error) => return Err(error),
    };
    let last = retiring.iter().filter_map(|one| one.expires_at).max();
    let others = last.map(|last| {
        let ids: Vec<_> = retiring.iter().map(|one| one.id.to_string()).collect();
        format!(
            "Still accepted, until {} at most: secret {}.",
            crate::model::audit::date_to_the_second(last),
            ids.join(", ")
        )
    });
    visitor.tell(&state, Notice::Secret { client: id.clone(), id: stored.id, secret, others });
    Ok(layout::go(&path(&id)))
}

/// What cannot be taken back of a client, but for its words.
fn question<'a>(client: &'a Client, title: &'a str, action: &'a str) -> Question<'a> {
    let id = client.id.as_str();
    Question {
        section: Section::Clients,
        crumbs: html! { a href="/admin/clients" { "Clients" } " / " a href=(path(id)) { (name(client)) } " / " },
        title,
        action,
        effect: Vec::new(),
        hidden: vec![("id", id.to_owned())],
        fields: html! {},
        typed: None,
        button: title,
        is_final: true,
        cancel: path(id),
        role: Role::Clients,
        problem: None,
    }
}

/// `GET /admin/client/secrets/remove?id=&secret=`
///
/// # Errors
/// When there is no such client or secret.
pub async fn secret_removal(visitor: Visitor, request: HttpRequest, state: Data<State>) -> Answer {
    let query = Form::query(&request);
    let (client, secrets) = find(&state, query.text("id")).await?;
    let secret = secrets.iter().find(|one| one.id.to_string() == query.text("secret"));
    let secret = secret.ok_or(DashboardError::NotFound("secret"))?;
    let others = secrets.len() - 1;
    let about = question(&client, "Remove a secret", "/admin/client/secrets/remove");
    let question = Question {
        effect: vec![
            html! { "Secret " (secret.id) " is refused from now on. Last used: " (time_or(secret.last_used_at, "never")) "." },
            html! { @if others == 0 { "It is the only one: the client gets no token until it has another." } @else { (others) " other secrets stay." } },
            html! { "Tokens that were bought with it stay good until they expire." },
        ],
        hidden: [about.hidden, vec![("secret", secret.id.to_string())]].concat(),
        button: "Remove the secret",
        ..about
    };
    Ok(question.page(&visitor))
}

/// `POST /admin/client/secrets/remove`
///
/// # Errors
/// When the form is not good, or there is no such client or secret.
pub async fn remove_secret(visitor: Visitor, request: HttpRequest, body: Body, state: Data<State>) -> Answer {
    let submitted = visitor.submit(&request, &state, body, Role::Clients)?;
    let id = submitted.form.text("id").to_owned();
    let secret = submitted.form.text("secret").parse().map_err(|_| DashboardError::NotFound("secret"))?;
    let (now, key, origin) = (state.clock.wall(), id.clone(), submitted.origin);
    state.change(move |store| administration::remove_secret(store, &key, secret, now, &origin)).await?;
    visitor.tell(&state, Notice::Done(format!("Secret {secret} is removed.")));
    Ok(layout::go(&path(&id)))
}

/// `GET /admin/client/revoke-tokens?id=`
///
/// # Errors
/// When there is no such client.
pub async fn revocation(visitor: Visitor, request: HttpRequest, state: Data<State>) -> Answer {
    let (client, _) = find(&state, Form::query(&request).text("id")).await?;
    let question = Question {
        effect: vec![
            html! { "Introspection refuses every token that " b { (name(&client)) } " got until now." },
            html! { "A service that checks tokens by itself, without asking, accepts them until they expire." },
            html! { "The client can get new ones at once. To prevent that, disable it." },
        ],
        ..question(&client, "Revoke its tokens", "/admin/client/revoke-tokens")
    };
    Ok(question.page(&visitor))
}

/// `POST /admin/client/revoke-tokens`
///
/// # Errors
/// When the form is not good, or there is no such client.
pub async fn revoke_tokens(visitor: Visitor, request: HttpRequest, body: Body, state: Data<State>) -> Answer {
    let submitted = visitor.submit(&request, &state, body, Role::Clients)?;
    let id = submitted.form.text("id").to_owned();
    let (now, key, origin) = (state.clock.wall(), id.clone(), submitted.origin);
    state.change(move |store| administration::revoke_all_tokens(store, &key, now, &origin)).await?;
    visitor.tell(&state, Notice::Done("Every token that it got until now is revoked.".into()));
    Ok(layout::go(&path(&id)))
}

/// `GET /admin/client/remove?id=`
///
/// # Errors
/// When there is no such client.
pub async fn removal(visitor: Visitor, request: HttpRequest, state: Data<State>) -> Answer {
    let (client, secrets) = find(&state, Form::query(&request).text("id")).await?;
    Ok(removal_page(&visitor, &client, &secrets, None))
}

fn removal_page(
    visitor: &Visitor,
    client: &Client,
    secrets: &[StoredSecret],
    problem: Option<&str>,
) -> HttpResponse {
    let last_use = secrets.iter().filter_map(|one| one.last_used_at).max();
    let question = Question {
        effect: vec![
            html! { b { (name(client)) } " and its " (secrets.len()) " secrets are gone. It gets no token from now on. Last used: " (time_or(last_use, "never")) "." },
            html! { "Introspection refuses its tokens at once; a service that checks them by itself accepts them until they expire." },
            html! { "This cannot be undone. To stop it for a while, disable it instead." },
        ],
        typed: Some(("id of the client", client.id.as_str())),
        problem,
        ..question(client, "Delete the client", "/admin/client/remove")
    };
    question.page(visitor)
}

/// `POST /admin/client/remove`
///
/// # Errors
/// When the form is not good, or there is no such client.
pub async fn remove(visitor: Visitor, request: HttpRequest, body: Body, state: Data<State>) -> Answer {
    let submitted = visitor.submit(&request, &state, body, Role::Clients)?;
    let (client, secrets) = find(&state, submitted.form.text("id")).await?;
    if submitted.form.text("typed") != client.id.as_str() {
        let problem = "That is not the id of the client. Nothing was deleted.";
        return Ok(removal_page(&visitor, &client, &secrets, Some(problem)));
    }
    let (now, id, origin) = (state.clock.wall(), client.id.to_string(), submitted.origin);
    let existed = state.change(move |store| administration::remove_client(store, &id, now, &origin)).await?;
    if !existed {
        return Err(DashboardError::NotFound("client"));
    }
    visitor.tell(&state, Notice::Done(format!("Deleted: {}.", name(&client))));
    Ok(layout::go("/admin/clients"))
}
