//! Making a client and changing what it may do. What is filled in is read as the admin API reads it.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use maud::{Markup, html};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::Answer;
use crate::administration::{self, NewClient};
use crate::http::State;
use crate::http::client_json::Fields;
use crate::http::dashboard::client::{find, longest, name, path};
use crate::http::dashboard::error::{DashboardError, sentence};
use crate::http::dashboard::forms::{line, lines, only_looked_at, told_problem};
use crate::http::dashboard::layout::{self, Section, csrf};
use crate::http::dashboard::session::Notice;
use crate::http::dashboard::visitor::{Form, Visitor};
use crate::http::error::AdminError;
use crate::http::request::Body;
use crate::model::{Audience, Client, Network, Role, ScopePattern, restrictions};

/// What is filled in, as texts.
#[derive(Default)]
struct Filled {
    id: String,
    name: String,
    audience: String,
    scope: String,
    audience_scopes: String,
    lifetime: String,
    networks: String,
    not_before: String,
    not_after: String,
    tokens: String,
}

/// Where a form leads, and what it says.
struct Page<'a> {
    visitor: &'a Visitor,
    /// The client that is changed; none where one is made.
    client: Option<&'a Client>,
    filled: &'a Filled,
    /// When the client was last changed, as far as the form knows.
    seen: &'a str,
    problem: Option<&'a str>,
    usual_lifetime: String,
}

impl Filled {
    fn of(client: &Client) -> Self {
        let settings = &client.settings;
        let it = &settings.restrictions;
        let lines = |texts: Vec<String>| texts.join("\n");
        let moment = |moment: Option<_>| moment.map(restrictions::moment).unwrap_or_default();
        let map = settings.audience_scopes.iter().flatten();
        let map = map.map(|(audience, scopes)| {
            let scopes: Vec<_> = scopes.iter().map(ScopePattern::as_str).collect();
            format!("{audience} = {}", scopes.join(" "))
        });
        Self {
            id: client.id.to_string(),
            name: settings.name.clone(),
            audience: lines(settings.audience.iter().map(Audience::to_string).collect()),
            scope: lines(settings.scope.iter().map(ScopePattern::to_string).collect()),
            audience_scopes: lines(map.collect()),
            lifetime: settings.token_lifetime.map(|span| span.to_string()).unwrap_or_default(),
            networks: lines(it.networks.iter().map(Network::to_string).collect()),
            not_before: moment(it.not_before),
            not_after: moment(it.not_after),
            tokens: it.tokens_a_minute.map(|most| most.to_string()).unwrap_or_default(),
        }
    }

    fn from(form: &Form) -> Self {
        let text = |name: &str| form.text(name).to_owned();
        Self {
            id: text("id"),
            name: text("name"),
            audience: text("audience"),
            scope: text("scope"),
            audience_scopes: text("audience_scopes"),
            lifetime: text("lifetime"),
            networks: text("networks"),
            not_before: text("not_before"),
            not_after: text("not_after"),
            tokens: text("tokens"),
        }
    }

    /// As the admin API would be sent it. What is as it was `before` is not touched.
    fn to_json(&self, before: Option<&Self>) -> Result<Map<String, Value>, String> {
        let words = |text: &str| {
            let words: Vec<_> =
                text.split([' ', ',', ';', '\n', '\r', '\t']).filter(|word| !word.is_empty()).collect();
            words.into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        let moment = |text: &str| if text.is_empty() { Value::Null } else { text.into() };
        let fields = [
            ("clientName", same(before, self, |it| &it.name), Value::from(self.name.clone())),
            ("audience", same(before, self, |it| &it.audience), words(&self.audience).into()),
            ("scope", same(before, self, |it| &it.scope), words(&self.scope).join(" ").into()),
            ("audienceScopes", same(before, self, |it| &it.audience_scopes), map(&self.audience_scopes)?),
            (
                "clientCredentialsGrantAccessTokenLifespan",
                same(before, self, |it| &it.lifetime),
                moment(&self.lifetime),
            ),
            ("sourceNetworks", same(before, self, |it| &it.networks), words(&self.networks).into()),
            ("notBefore", same(before, self, |it| &it.not_before), moment(&self.not_before)),
            ("notAfter", same(before, self, |it| &it.not_after), moment(&self.not_after)),
            ("tokensPerMinute", same(before, self, |it| &it.tokens), number(&self.tokens)?),
        ];
        let changed = fields.into_iter().filter(|(_, is_same, _)| !is_same);
        Ok(changed.map(|(name, _, value)| (name.to_owned(), value)).collect())
    }
}

/// Whether a field is as it was. What was never there is as it was when nothing is filled in, but for the scope: whoever names
/// none is given none.
fn same(before: Option<&Filled>, now: &Filled, field: fn(&Filled) -> &String) -> bool {
    let tidy = |text: &str| text.replace('\r', "");
    before.is_some_and(|before| tidy(field(before)) == tidy(field(now)))
}

fn number(text: &str) -> Result<Value, String> {
    if text.is_empty() {
        return Ok(Value::Null);
    }
    text.parse::<u64>().map(Value::from).map_err(|_| "tokens a minute are a number".into())
}

/// `audience = scope scope`, a line each.
fn map(text: &str) -> Result<Value, String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let entry = |line: &str| {
        let (audience, scopes) = line
            .split_once('=')
            .ok_or_else(|| format!("“{line}” is not of the form: audience = scope scope"))?;
        let scopes: Vec<_> =
            scopes.split([' ', ',']).filter(|scope| !scope.is_empty()).map(str::to_owned).collect();
        Ok((audience.trim().to_owned(), Value::from(scopes)))
    };
    let entries: Map<String, Value> = lines.map(entry).collect::<Result<_, String>>()?;
    Ok(if entries.is_empty() { Value::Null } else { Value::Object(entries) })
}

impl Page<'_> {
    fn answer(&self) -> HttpResponse {
        let title = if self.client.is_some() { "Edit the client" } else { "New client" };
        layout::form_page(self.visitor, Section::Clients, title, self.problem, self.content(title))
    }

    fn content(&self, title: &str) -> Markup {
        let filled = self.filled;
        let (action, cancel) = match self.client {
            Some(client) => ("/admin/client/edit", path(client.id.as_str())),
            None => ("/admin/clients/new", "/admin/clients".to_owned()),
        };
        html! {
            p.crumbs {
                a href="/admin/clients" { "Clients" } " / "
                @if let Some(client) = self.client { a href=(cancel) { (name(client)) } " / " }
            }
            h1 { (title) }
            (told_problem(self.problem))
            (only_looked_at(self.visitor, Role::Clients))
            form.fields method="post" action=(action) aria-describedby=[self.problem.map(|_| "problem")] {
                (csrf(self.visitor))
                input type="hidden" name="seen" value=(self.seen);
                fieldset {
                    legend { "Who it is" }
                    (line("name", "Name", &filled.name, "For people, such as Task Service."))
                    @if let Some(client) = self.client {
                        input type="hidden" name="id" value=(client.id);
                        p.fixed { span { "Client id" } " " code { (client.id) } }
                    } @else {
                        (line("id", "Client id", &filled.id, "Such as task-service; one is made when this is empty. It never changes."))
                    }
                }
                fieldset {
                    legend { "What it may do" }
                    (lines("audience", "Audiences", &filled.audience, "The services that it may call, one a line. A token is good for one of them.", 3))
                    (lines("scope", "Scopes", &filled.scope, "The actions that it may ask for, one a line; event.* means every action that begins with event.", 4))
                    (lines("audience_scopes", "Scopes by audience", &filled.audience_scopes, "Optional. Where some scopes go with some audiences only, one line each: event = event.view event.create", 2))
                    (line("lifetime", "Tokens live", &filled.lifetime, &format!("Such as 15m. Empty: {}, as all do.", self.usual_lifetime)))
                }
                fieldset {
                    legend { "Where, when and how often" }
                    (lines("networks", "Networks", &filled.networks, "Where it may come from, one a line, such as 192.0.2.0/24. Empty: anywhere.", 2))
                    (line("not_before", "Not before", &filled.not_before, "In UTC, such as 2027-01-15T08:00:00Z."))
                    (line("not_after", "Not after", &filled.not_after, "From this moment on it gets none, and none of its tokens is good for longer."))
                    (line("tokens", "Tokens a minute", &filled.tokens, "Empty: as many as it asks for."))
                }
                @if self.visitor.may(Role::Clients) {
                    div.actions {
                        button.primary type="submit" { @if self.client.is_some() { "Save" } @else { "Make the client" } }
                        a.button href=(cancel) { "Cancel" }
                    }
                }
            }
        }
    }
}

fn usual(state: &State) -> String {
    crate::model::Span(state.issuer.settings().lifetime).to_string()
}

/// `GET /admin/clients/new`
///
/// # Errors
/// None of its own.
pub async fn new(visitor: Visitor, state: Data<State>) -> Answer {
    let (filled, usual_lifetime) = (Filled::default(), usual(&state));
    Ok(Page { visitor: &visitor, client: None, filled: &filled, seen: "", problem: None, usual_lifetime }
        .answer())
}

/// `POST /admin/clients/new`
///
/// # Errors
/// When the form is not good, or the file cannot be written.
pub async fn create(visitor: Visitor, request: HttpRequest, body: Body, state: Data<State>) -> Answer {
    let submitted = visitor.submit(&request, &state, body, Role::Clients)?;
    let filled = Filled::from(&submitted.form);
    let new = match new_client(&filled) {
        Ok(new) => new,
        Err(problem) => return refused(&visitor, &state, None, &filled, "", problem),
    };
    let (now, longest, origin) = (state.clock.wall(), longest(&state), submitted.origin);
    let made =
        state.change(move |store| administration::create_client(store, new, now, longest, &origin)).await;
    let (client, secret) = match made.map_err(DashboardError::from) {
        Ok(made) => made,
        Err(problem) => return refused(&visitor, &state, None, &filled, "", problem),
    };
    let id = client.id.to_string();
    let shown = Zeroizing::new(secret.expose().to_owned());
    visitor.tell(&state, Notice::Secret { client: id.clone(), id: 1, secret: shown, others: None });
    Ok(layout::go(&path(&id)))
}

fn new_client(filled: &Filled) -> Result<NewClient, DashboardError> {
    let mut json = filled.to_json(Some(&Filled::default())).map_err(DashboardError::Rule)?;
    // Said, even if it is none: SuperTokens' default is for those who say nothing.
    json.entry("scope").or_insert_with(|| "".into());
    if !filled.id.is_empty() {
        json.insert("clientId".into(), filled.id.clone().into());
    }
    let fields = Fields::parse(json)?;
    Ok(NewClient {
        id: fields.client_id()?,
        secret: None,
        secret_expires_at: None,
        settings: fields.create()?,
    })
}

/// The form once more, with what is wrong; other trouble is passed on.
fn refused(
    visitor: &Visitor,
    state: &State,
    client: Option<&Client>,
    filled: &Filled,
    seen: &str,
    problem: DashboardError,
) -> Answer {
    let reason = match problem {
        DashboardError::Rule(reason) => reason,
        DashboardError::Refused(AdminError::OAuth(error)) => error.description,
        DashboardError::Refused(AdminError::BadInput(reason)) => reason,
        other => return Err(other),
    };
    let (problem, usual_lifetime) = (sentence(&reason), usual(state));
    Ok(Page { visitor, client, filled, seen, problem: Some(&problem), usual_lifetime }.answer())
}

/// `GET /admin/client/edit?id=`
///
/// # Errors
/// When there is no such client.
pub async fn edit(visitor: Visitor, request: HttpRequest, state: Data<State>) -> Answer {
    let (client, _) = find(&state, Form::query(&request).text("id")).await?;
    let (filled, seen) = (Filled::of(&client), client.updated_at.millis().to_string());
    let usual_lifetime = usual(&state);
    Ok(Page {
        visitor: &visitor,
        client: Some(&client),
        filled: &filled,
        seen: &seen,
        problem: None,
        usual_lifetime,
    }
    .answer())
}

/// `POST /admin/client/edit`
///
/// # Errors
/// When the form is not good, or there is no such client.
pub async fn update(visitor: Visitor, request: HttpRequest, body: Body, state: Data<State>) -> Answer {
    let submitted = visitor.submit(&request, &state, body, Role::Clients)?;
    let filled = Filled::from(&submitted.form);
    let seen = submitted.form.text("seen").to_owned();
    let (client, _) = find(&state, &filled.id).await?;
    let json = match filled.to_json(Some(&Filled::of(&client))) {
        Ok(json) => json,
        Err(reason) => {
            return refused(&visitor, &state, Some(&client), &filled, &seen, DashboardError::Rule(reason));
        }
    };
    let (now, longest, id, origin) =
        (state.clock.wall(), longest(&state), filled.id.clone(), submitted.origin);
    let known = seen.clone();
    let changed = state
        .change(move |store| {
            let fields = Fields::parse(json)?;
            administration::update_seen_client(store, &id, None, now, longest, &origin, |client| {
                if client.updated_at.millis().to_string() != known {
                    return Err(DashboardError::Rule(CHANGED_MEANWHILE.into()));
                }
                Ok::<_, DashboardError>(fields.change(client.settings.clone())?)
            })
        })
        .await;
    if let Err(problem) = changed {
        return refused(&visitor, &state, Some(&client), &filled, &seen, problem);
    }
    visitor.tell(&state, Notice::Done("Saved. It counts from now on.".into()));
    Ok(layout::go(&path(client.id.as_str())))
}

const CHANGED_MEANWHILE: &str = "somebody else changed this client meanwhile. Nothing was saved: open the form anew to see what it is now";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_was_changed_is_sent() {
        let before =
            Filled { name: "a".into(), scope: "x\ny".into(), lifetime: "1h".into(), ..Filled::default() };
        let after =
            Filled { name: "b".into(), scope: "x\r\ny".into(), lifetime: String::new(), ..Filled::default() };
        let json = Value::Object(after.to_json(Some(&before)).unwrap());
        assert_eq!(json, json!({"clientName": "b", "clientCredentialsGrantAccessTokenLifespan": null}));
    }

    #[test]
    fn lists_are_written_as_people_write_them() {
        let filled = Filled {
            audience: "event, file\r\nmail".into(),
            scope: " event.view\nevent.create ".into(),
            audience_scopes: "event = event.view, event.create\n\nfile=".into(),
            tokens: "60".into(),
            ..Filled::default()
        };
        let json = Value::Object(filled.to_json(Some(&Filled::default())).unwrap());
        assert_eq!(
            json,
            json!({
                "audience": ["event", "file", "mail"],
                "scope": "event.view event.create",
                "audienceScopes": {"event": ["event.view", "event.create"], "file": []},
                "tokensPerMinute": 60,
            })
        );
        for wrong in [
            Filled { tokens: "many".into(), ..Filled::default() },
            Filled { audience_scopes: "event".into(), ..Filled::default() },
        ] {
            assert!(wrong.to_json(None).is_err());
        }
    }

    #[test]
    fn a_new_client_without_scopes_has_none() {
        let new = new_client(&Filled { id: "task".into(), ..Filled::default() }).unwrap();
        assert!(new.settings.scope.is_empty() && new.id.unwrap().as_str() == "task");
    }
}
