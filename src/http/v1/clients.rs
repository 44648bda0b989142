//! `/admin/v1/clients`

use m2mint_keys::time::UnixTime;
use serde_json::Value;

use super::idempotency::once;
use super::reply::{Expected, Reply, Tagged, etag, page_size, read, segment};
use super::types::{
    Client as ClientJson, ClientChange, ClientMade, Clients, ClientsWanted, NewClient, Secret,
};
use super::{Call, PATH};
use crate::administration;
use crate::http::State;
use crate::http::clients::{DEFAULT_PAGE, LARGEST_PAGE, longest_lifetime, page_start, page_token};
use crate::http::error::problem::Problem;
use crate::model::audit::{Origin, date_to_the_second as date};
use crate::model::client::{MAX_NAME_LENGTH, is_valid_name};
use crate::model::restrictions::{moment, parse_moment};
use crate::model::{Audience, Client, ClientId, ClientSecret, Network, ScopePattern, Settings, Span};
use crate::store::clients::{self, PageStart, Wanted};

/// Where SuperTokens' API keeps the lifetime as it was given there.
const LIFESPAN: &str = "clientCredentialsGrantAccessTokenLifespan";
const METADATA: &str = "metadata";
const ENABLED: &str = "enabled";

type Result<T> = std::result::Result<T, Problem>;

/// A page of clients.
///
/// # Errors
/// When a parameter makes no sense, or the file cannot be read.
pub async fn list(state: &State, wanted: &ClientsWanted) -> Result<Clients> {
    let size = page_size(wanted.limit, DEFAULT_PAGE, LARGEST_PAGE)?;
    let after = after(wanted.cursor.as_deref())?;
    let search = wanted.search.clone().filter(|text| !text.is_empty());
    let look = move |db: &_| {
        let wanted = search.as_deref().map_or(Wanted::All, Wanted::Like);
        clients::page_of(db, after.as_ref(), size, wanted)
    };
    let (clients, next) = state.look(move |store| store.read(look)).await?;
    let next_cursor = next.as_ref().map(page_token);
    Ok(Clients { clients: clients.iter().map(render).collect(), next_cursor })
}

/// One client.
///
/// # Errors
/// When there is none, or the file cannot be read.
pub async fn get(state: &State, id: &str) -> Result<Tagged<ClientJson>> {
    let wanted = id.to_owned();
    let client = state.look(move |store| store.read(|db| clients::get(db, &wanted))).await?;
    Ok(tagged(&client.ok_or_else(|| Problem::no_client(id))?))
}

/// Makes a client.
///
/// # Errors
/// When a value is not well formed, a rule refuses it, or the id is taken.
pub async fn create(state: &State, origin: Origin, new: NewClient) -> Result<(ClientMade, String)> {
    let field = |name: &'static str| move |error: &dyn std::fmt::Display| Problem::invalid_field(name, error);
    let id = new.client_id.as_deref().map(ClientId::parse).transpose();
    let id = id.map_err(|error| field("clientId")(&error))?;
    let secret = new.client_secret.as_ref().map(|secret| ClientSecret::chosen(secret.expose())).transpose();
    let secret = secret.map_err(|error| field("clientSecret")(&error))?;
    let (is_given, now, longest) = (secret.is_some(), state.clock.wall(), longest_lifetime(state));
    let expires_at = expiry("secretExpiresIn", new.secret_expires_in.as_deref(), now)?;
    let mut settings = apply(&new.settings(), Settings::default())?;
    // A map of scopes by audience says both, where they are not said by themselves.
    if let Some(map) = &settings.audience_scopes {
        if new.audience.is_none() {
            settings.audience = map.keys().cloned().collect();
        }
        if new.scope.is_none() {
            settings.scope = without_repetitions(map.values().flatten().cloned());
        }
    }
    let new = administration::NewClient { id, secret, secret_expires_at: expires_at, settings };
    let made = state.change(move |store| administration::create_client(store, new, now, longest, &origin));
    let (client, secret) = made.await?;
    let Tagged { value, etag } = tagged(&client);
    let client_secret = (!is_given).then(|| Secret::new(secret.expose()));
    Ok((ClientMade { client: value, client_secret }, etag))
}

/// Changes a client that is still as `expected`.
///
/// # Errors
/// When there is none, it was changed meanwhile, a value is not well formed, or a rule refuses it.
pub async fn change(
    state: &State,
    origin: Origin,
    id: String,
    expected: Expected,
    change: ClientChange,
) -> Result<Tagged<ClientJson>> {
    let (now, longest) = (state.clock.wall(), longest_lifetime(state));
    let change = move |client: &Client| {
        expected.check(&tag(client))?;
        apply(&change, client.settings.clone())
    };
    let changed = state.change(move |store| {
        administration::update_seen_client::<Problem>(store, &id, None, now, longest, &origin, change)
    });
    Ok(tagged(&changed.await?))
}

/// Removes a client that is still as `expected`.
///
/// # Errors
/// When there is none, or it was changed meanwhile.
pub async fn remove(state: &State, origin: Origin, id: String, expected: Expected) -> Result<()> {
    let now = state.clock.wall();
    let may = move |client: &Client| expected.check(&tag(client));
    state
        .change(move |store| administration::remove_seen_client::<Problem>(store, &id, now, &origin, may))
        .await
}

/// Revokes every token of a client that was issued until now.
///
/// # Errors
/// When there is no such client.
pub async fn revoke_tokens(state: &State, origin: Origin, id: String) -> Result<()> {
    let now = state.clock.wall();
    Ok(state.change(move |store| administration::revoke_all_tokens(store, &id, now, &origin)).await?)
}

/// `GET /admin/v1/clients`
///
/// # Errors
/// Those of [`list`].
pub async fn get_list(call: Call) -> Result<Reply> {
    let wanted: ClientsWanted = call.query()?;
    let Call { state, .. } = call;
    Reply::ok(&list(&state, &wanted).await?)
}

/// `GET /admin/v1/clients/{clientId}`
///
/// # Errors
/// Those of [`get`].
pub async fn get_one(call: Call) -> Result<Reply> {
    let id: String = call.path()?;
    let Call { state, .. } = call;
    let Tagged { value, etag } = get(&state, &id).await?;
    Ok(Reply::ok(&value)?.tagged(etag))
}

/// `POST /admin/v1/clients`
///
/// # Errors
/// Those of [`create`].
pub async fn post(call: Call) -> Result<Reply> {
    let Call { caller, request, body, state } = call;
    let (body, origin, here) = (body.bytes()?, caller.0.clone(), state.clone());
    let new: NewClient = read(&body)?;
    let work = async move {
        let (made, etag) = create(&here, origin, new).await?;
        let location = format!("{PATH}/clients/{}", segment(&made.client.client_id));
        Ok(Reply::ok(&made)?.created(Some(location)).tagged(etag))
    };
    once(&state, &request, &caller.0, &body, work).await
}

/// `PATCH /admin/v1/clients/{clientId}`
///
/// # Errors
/// Those of [`change`]; when the request does not say which state it changes.
pub async fn patch(call: Call) -> Result<Reply> {
    let id: String = call.path()?;
    let Call { caller, request, body, state } = call;
    let wanted: ClientChange = read(&body.bytes()?)?;
    let expected = Expected::of(&request)?;
    let Tagged { value, etag } = change(&state, caller.0, id, expected, wanted).await?;
    Ok(Reply::ok(&value)?.tagged(etag))
}

/// `DELETE /admin/v1/clients/{clientId}`
///
/// # Errors
/// Those of [`remove`]; when the request does not say which state it removes.
pub async fn delete(call: Call) -> Result<Reply> {
    let id: String = call.path()?;
    let Call { caller, request, state, .. } = call;
    let expected = Expected::of(&request)?;
    remove(&state, caller.0, id, expected).await?;
    Ok(Reply::nothing())
}

/// `POST /admin/v1/clients/{clientId}/tokens/revoke`
///
/// # Errors
/// Those of [`revoke_tokens`].
pub async fn post_revoke_tokens(call: Call) -> Result<Reply> {
    let id: String = call.path()?;
    let Call { caller, state, .. } = call;
    revoke_tokens(&state, caller.0, id).await?;
    Ok(Reply::nothing())
}

/// After which client a page begins.
///
/// # Errors
/// When the cursor is none.
pub fn after(cursor: Option<&str>) -> Result<Option<PageStart>> {
    let start =
        |cursor| page_start(cursor).ok_or_else(|| Problem::invalid_field("cursor", "it is none of a page"));
    cursor.map(start).transpose()
}

/// The moment until which something is good that is good for the time that a member says.
///
/// # Errors
/// When it is no duration.
pub fn expiry(field: &str, text: Option<&str>, now: UnixTime) -> Result<Option<UnixTime>> {
    let span = text.map(Span::parse).transpose().map_err(|error| Problem::invalid_field(field, error))?;
    Ok(span.map(|span| now.plus(span.0)))
}

/// A client as it is answered.
#[must_use]
pub fn render(client: &Client) -> ClientJson {
    ClientJson {
        client_id: client.id.to_string(),
        created_at: date(client.created_at),
        updated_at: date(client.updated_at),
        ..render_settings(&client.settings)
    }
}

/// The part of it that administrators set.
#[must_use]
pub fn render_settings(settings: &Settings) -> ClientJson {
    let mut super_tokens = settings.extra.clone();
    let metadata = super_tokens.get(METADATA).and_then(Value::as_object).cloned();
    if metadata.is_some() {
        super_tokens.remove(METADATA);
    }
    // Said, and not only so because nobody said anything.
    if settings.enabled == Some(true) {
        super_tokens.insert(ENABLED.into(), true.into());
    }
    let scopes = |scopes: &[ScopePattern]| scopes.iter().map(|scope| scope.as_str().to_owned()).collect();
    let by_audience = |map: &crate::model::grants::AudienceScopes| {
        map.iter().map(|(audience, narrowed)| (audience.to_string(), scopes(narrowed))).collect()
    };
    let restrictions = &settings.restrictions;
    ClientJson {
        client_id: String::new(),
        client_name: settings.name.clone(),
        enabled: settings.enabled != Some(false),
        scope: scopes(&settings.scope),
        audience: settings.audience.iter().map(Audience::to_string).collect(),
        audience_scopes: settings.audience_scopes.as_ref().map(by_audience),
        token_lifetime: settings.token_lifetime.map(|span| span.to_string()),
        source_networks: restrictions.networks.iter().map(Network::to_string).collect(),
        not_before: restrictions.not_before.map(moment),
        not_after: restrictions.not_after.map(moment),
        tokens_per_minute: restrictions.tokens_a_minute,
        metadata: metadata.unwrap_or_default(),
        super_tokens,
        created_at: String::new(),
        updated_at: String::new(),
    }
}

fn tagged(client: &Client) -> Tagged<ClientJson> {
    Tagged { value: render(client), etag: tag(client) }
}

/// The tag of the state of a client.
fn tag(client: &Client) -> String {
    // Texts and numbers: there is nothing in it that could fail to serialize.
    let mut state = serde_json::to_vec(&render(client)).unwrap_or_default();
    // Shown to the second only.
    state.extend(client.updated_at.millis().to_be_bytes());
    state.extend(client.created_at.millis().to_be_bytes());
    etag(&state)
}

/// The settings, changed as `change` says.
fn apply(change: &ClientChange, mut settings: Settings) -> Result<Settings> {
    if let Some(name) = &change.client_name {
        if !is_valid_name(name) {
            let reason = format!("at most {MAX_NAME_LENGTH} characters, and no control characters");
            return Err(Problem::invalid_field("clientName", reason));
        }
        settings.name.clone_from(name);
    }
    if let Some(scope) = &change.scope {
        settings.scope = patterns("scope", scope)?;
    }
    if let Some(audience) = &change.audience {
        let parsed = audience.iter().map(|name| parse_audience("audience", name));
        settings.audience = without_repetitions(parsed.collect::<Result<Vec<_>>>()?);
    }
    if let Some(map) = &change.audience_scopes {
        let entry = |(audience, scopes): (&String, &Vec<String>)| {
            Ok((parse_audience("audienceScopes", audience)?, patterns("audienceScopes", scopes)?))
        };
        settings.audience_scopes =
            map.as_ref().map(|map| map.iter().map(entry).collect::<Result<_>>()).transpose()?;
    }
    if let Some(lifetime) = &change.token_lifetime {
        let lifetime = lifetime.as_deref().map(Span::parse).transpose();
        settings.token_lifetime = lifetime.map_err(|error| Problem::invalid_field("tokenLifetime", error))?;
        settings.extra.remove(LIFESPAN);
    }
    settings.enabled = change.enabled.or(settings.enabled);
    let restrictions = &mut settings.restrictions;
    if let Some(networks) = &change.source_networks {
        let parsed =
            networks.iter().map(|text| Network::parse(text)).collect::<std::result::Result<Vec<_>, _>>();
        let parsed = parsed.map_err(|error| Problem::invalid_field("sourceNetworks", error))?;
        restrictions.networks = without_repetitions(parsed);
    }
    for (field, text, time) in [
        ("notBefore", &change.not_before, &mut restrictions.not_before),
        ("notAfter", &change.not_after, &mut restrictions.not_after),
    ] {
        if let Some(text) = text {
            let parsed = text.as_deref().map(parse_moment).transpose();
            *time = parsed.map_err(|error| Problem::invalid_field(field, error))?;
        }
    }
    if let Some(tokens) = change.tokens_per_minute {
        restrictions.tokens_a_minute = tokens;
    }
    if let Some(metadata) = &change.metadata {
        settings.extra.insert(METADATA.into(), Value::Object(metadata.clone()));
    }
    Ok(settings)
}

fn patterns(field: &str, scopes: &[String]) -> Result<Vec<ScopePattern>> {
    let parsed = scopes
        .iter()
        .map(|scope| ScopePattern::parse(scope).map_err(|error| Problem::invalid_field(field, error)));
    Ok(without_repetitions(parsed.collect::<Result<Vec<_>>>()?))
}

fn parse_audience(field: &str, name: &str) -> Result<Audience> {
    Audience::parse(name).map_err(|error| Problem::invalid_field(field, error))
}

fn without_repetitions<T: PartialEq>(names: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut kept = Vec::new();
    for name in names {
        if !kept.contains(&name) {
            kept.push(name);
        }
    }
    kept
}
