//! `m2mint clients --url`

use serde_json::{Value, json};

use super::{Server, pages, path};
use crate::cli::clients::{Action, Listing, show, show_made};
use crate::cli::output::{self, CliError, Result};
use crate::cli::unused::Unused;
use crate::clock::Clock;
use crate::http::v1::clients::render_settings;
use crate::http::v1::types::{
    Client as ClientJson, ClientChange, ClientMade, Clients, NewClient, Secret, UnusedPage,
};
use crate::model::grants::AudienceScopes;
use crate::model::restrictions::parse_moment;
use crate::model::{
    Audience, Client, ClientId, ClientSecret, Network, Restrictions, ScopePattern, Settings, Span,
};

/// The largest page: its answer has to fit into what is read.
const PAGE: &str = "100";

/// Runs the verb.
///
/// # Errors
/// When there is no such client, or a rule refuses the change.
pub fn run(server: &Server, action: &Action, as_json: bool) -> Result {
    match action {
        Action::Create { id, fields, to } => {
            let id = id.as_deref().map(ClientId::parse).transpose();
            let id = id.map_err(|error| CliError::Refused(error.to_string()))?;
            let settings = fields.apply(Settings::default())?;
            let secret = ClientSecret::generate().map_err(|error| CliError::Failed(error.to_string()))?;
            let place = to.prepare(secret.expose(), "CLIENT_SECRET")?;
            let change = difference(&Settings::default(), &settings);
            let new = NewClient {
                client_id: id.map(|id| id.to_string()),
                client_secret: Some(Secret::new(secret.expose())),
                secret_expires_in: None,
                client_name: change.client_name,
                enabled: change.enabled,
                // Said, though there are none: those of the map are not meant.
                scope: Some(change.scope.unwrap_or_default()),
                audience: Some(change.audience.unwrap_or_default()),
                audience_scopes: change.audience_scopes.flatten(),
                token_lifetime: change.token_lifetime.flatten(),
                source_networks: change.source_networks,
                not_before: change.not_before.flatten(),
                not_after: change.not_after.flatten(),
                tokens_per_minute: change.tokens_per_minute.flatten(),
                metadata: None,
            };
            let made: ClientMade = server.post("/clients", &new)?;
            show_made(&client(&made.client)?, &secret, place, as_json)
        }
        Action::List => {
            let mut listing = Listing::new(as_json);
            each(server, |one| {
                listing.add(&client(&one)?);
                Ok(true)
            })?;
            listing.show()
        }
        Action::Show { id } => show(&client(&require(server, id)?.0)?, as_json),
        Action::Update { id, fields } => {
            let (seen, etag) = require(server, id)?;
            let before = client(&seen)?.settings;
            let change = difference(&before, &fields.apply(before.clone())?);
            let changed: ClientJson =
                server.change("PATCH", &path(&["clients", id]), Some(&etag), &change)?;
            show(&client(&changed)?, as_json)
        }
        Action::Unused(wanted) => unused(server, wanted, as_json),
        Action::Remove { id, yes } => {
            require(server, id)?;
            output::confirm(
                &format!("Remove the client {id}? It gets no more tokens, and this cannot be undone."),
                *yes,
            )?;
            server.delete(&path(&["clients", id]), Some("*"))?;
            if as_json {
                return output::json(&json!({"didExist": true}));
            }
            output::line(&format!("removed: {id}"));
            Ok(())
        }
    }
}

/// The client and its entity tag, or that there is none, and which one was probably meant.
///
/// # Errors
/// [`CliError::Refused`] when there is none.
pub fn require(server: &Server, id: &str) -> Result<(ClientJson, String)> {
    match server.get_tagged(&path(&["clients", id])) {
        Err(CliError::Refused(reason)) if reason.starts_with("there is no client") => {
            let mut ids = Vec::new();
            // As many as one page holds: it is a help, and not worth more questions.
            each(server, |one| {
                ids.push(one.client_id);
                Ok(ids.len() < 100)
            })?;
            let meant = output::did_you_mean(id, ids.iter().map(String::as_str));
            Err(CliError::Refused(format!("there is no client {id}{meant}")))
        }
        other => other,
    }
}

/// What clients have and did not use: the pages as one.
fn unused(server: &Server, wanted: &Unused, as_json: bool) -> Result {
    let span = wanted.span()?.to_string();
    let mut all: Option<UnusedPage> = None;
    pages(server, "/unused", &[("for", &span)], |page: UnusedPage| {
        let next = page.next_cursor.clone();
        match &mut all {
            None => all = Some(page),
            Some(all) => {
                all.unused.extend(page.unused);
                all.narrower.extend(page.narrower);
                all.changed_since += page.changed_since;
            }
        }
        Ok(next)
    })?;
    let Some(all) = all else { return Ok(()) };
    let narrower = all.narrower.iter().map(|json| client(json).map(|client| (client.id, client.settings)));
    wanted.show(&all, &narrower.collect::<Result<Vec<_>>>()?, Clock::system().wall(), as_json)
}

/// Hands every client to `look`, oldest first, until it answers `false`.
fn each(server: &Server, mut look: impl FnMut(ClientJson) -> Result<bool>) -> Result {
    pages(server, "/clients", &[("limit", PAGE)], |page: Clients| {
        for client in page.clients {
            if !look(client)? {
                return Ok(None);
            }
        }
        Ok(page.next_cursor)
    })
}

/// What has to be said to make the one of the other.
fn difference(before: &Settings, after: &Settings) -> ClientChange {
    let (from, to) = (render_settings(before), render_settings(after));
    fn changed<T: PartialEq>(from: T, to: T) -> Option<T> {
        (from != to).then_some(to)
    }
    ClientChange {
        client_name: changed(from.client_name, to.client_name),
        enabled: (before.enabled != after.enabled).then_some(to.enabled),
        scope: changed(from.scope, to.scope),
        audience: changed(from.audience, to.audience),
        audience_scopes: changed(from.audience_scopes, to.audience_scopes),
        token_lifetime: changed(from.token_lifetime, to.token_lifetime),
        source_networks: changed(from.source_networks, to.source_networks),
        not_before: changed(from.not_before, to.not_before),
        not_after: changed(from.not_after, to.not_after),
        tokens_per_minute: changed(from.tokens_per_minute, to.tokens_per_minute),
        metadata: None,
    }
}

/// The client, as it is in the file there.
fn client(json: &ClientJson) -> Result<Client> {
    let wrong =
        |field: &str| CliError::Failed(format!("the server answers with a client whose {field} is none"));
    let audience = |name: &String| Audience::parse(name).map_err(|_| wrong("audience"));
    let scopes = |scopes: &[String]| -> Result<Vec<ScopePattern>> {
        scopes.iter().map(|scope| ScopePattern::parse(scope).map_err(|_| wrong("scope"))).collect()
    };
    let by_audience = |map: &std::collections::BTreeMap<String, Vec<String>>| -> Result<AudienceScopes> {
        map.iter().map(|(name, narrowed)| Ok((audience(name)?, scopes(narrowed)?))).collect()
    };
    let moment = |field: &str, text: &Option<String>| {
        text.as_deref().map(parse_moment).transpose().map_err(|_| wrong(field))
    };
    let networks = json.source_networks.iter().map(|text| Network::parse(text));
    let lifetime = json.token_lifetime.as_deref().map(Span::parse).transpose();
    let mut extra = json.super_tokens.clone();
    let was_said = extra.remove("enabled").is_some();
    if !json.metadata.is_empty() {
        extra.insert("metadata".into(), Value::Object(json.metadata.clone()));
    }
    Ok(Client {
        id: ClientId::parse(&json.client_id).map_err(|_| wrong("clientId"))?,
        settings: Settings {
            name: json.client_name.clone(),
            enabled: (was_said || !json.enabled).then_some(json.enabled),
            scope: scopes(&json.scope)?,
            audience: json.audience.iter().map(audience).collect::<Result<_>>()?,
            audience_scopes: json.audience_scopes.as_ref().map(by_audience).transpose()?,
            token_lifetime: lifetime.map_err(|_| wrong("tokenLifetime"))?,
            restrictions: Restrictions {
                networks: networks
                    .collect::<std::result::Result<_, _>>()
                    .map_err(|_| wrong("sourceNetworks"))?,
                not_before: moment("notBefore", &json.not_before)?,
                not_after: moment("notAfter", &json.not_after)?,
                tokens_a_minute: json.tokens_per_minute,
            },
            extra,
        },
        created_at: parse_moment(&json.created_at).map_err(|_| wrong("createdAt"))?,
        updated_at: parse_moment(&json.updated_at).map_err(|_| wrong("updatedAt"))?,
    })
}
