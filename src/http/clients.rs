//! `/recipe/oauth/clients`: clients, as administrators see them.

use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::administration::{self, NewClient};
use crate::http::State;
use crate::http::admin::Admin;
use crate::http::client_json::{self, Fields, ok};
use crate::http::error::AdminError;
use crate::http::request::{Body, lenient_object};
use crate::model::Span;
use crate::store::clients::{self, PageStart};

/// Clients on a page when nothing is said.
pub const DEFAULT_PAGE: usize = 100;
/// The most clients on a page.
pub const LARGEST_PAGE: usize = 500;

type Answer = Result<HttpResponse, AdminError>;

/// `POST /recipe/oauth/clients`
///
/// # Errors
/// `OAUTH_ERROR` when a value is not well formed, or the id is taken.
pub async fn create(admin: Admin, body: Body, state: Data<State>) -> Answer {
    let fields = Fields::parse(object(body)?)?;
    let new = NewClient {
        id: fields.client_id()?,
        secret: fields.client_secret()?,
        secret_expires_at: None,
        settings: fields.create()?,
    };
    let (now, longest) = (state.clock.wall(), longest_lifetime(&state));
    let (client, secret) = state
        .change(move |store| administration::create_client(store, new, now, longest, &admin.origin))
        .await?;
    Ok(answer(ok(client_json::render(&client, Some(&secret)))))
}

/// `GET /recipe/oauth/clients?clientId=`
///
/// # Errors
/// `CLIENT_NOT_FOUND_ERROR`
pub async fn get(_: Admin, request: HttpRequest, state: Data<State>) -> Answer {
    let id = query(&request, "clientId").ok_or_else(|| AdminError::invalid_field("clientId"))?;
    let client = state.look(move |store| store.read(|db| clients::get(db, &id))).await?;
    Ok(answer(ok(client_json::render(&client.ok_or(AdminError::ClientNotFound)?, None))))
}

/// `PUT /recipe/oauth/clients`: changes the fields that are given. A new secret replaces all that the client has.
///
/// # Errors
/// `CLIENT_NOT_FOUND_ERROR`, or `OAUTH_ERROR` when a value is not well formed.
pub async fn update(admin: Admin, request: HttpRequest, body: Body, state: Data<State>) -> Answer {
    let fields = Fields::parse(object(body)?)?;
    // `supertokens-node` gives the id in the body and in the query.
    let id = match fields.client_id()? {
        Some(id) => id.to_string(),
        None => query(&request, "clientId").ok_or_else(|| AdminError::invalid_field("clientId"))?,
    };
    let secret = fields.client_secret()?;
    let (now, longest) = (state.clock.wall(), longest_lifetime(&state));
    let (client, secret) = state
        .change(move |store| {
            let change = |settings| fields.change(settings);
            let (secret_ref, origin) = (secret.as_ref(), &admin.origin);
            let client = administration::update_client(store, &id, secret_ref, now, longest, origin, change)?;
            Ok::<_, AdminError>((client, secret))
        })
        .await?;
    Ok(answer(ok(client_json::render(&client, secret.as_ref()))))
}

/// `POST /recipe/oauth/clients/remove`
///
/// # Errors
/// When the request cannot be read.
pub async fn remove(admin: Admin, body: Body, state: Data<State>) -> Answer {
    let object = object_of(body, &["clientId"])?;
    let id = required_text(&object, "clientId")?.to_owned();
    let now = state.clock.wall();
    let removed = state.change(move |store| administration::remove_client(store, &id, now, &admin.origin));
    let existed = removed.await?;
    Ok(answer(json!({"status": "OK", "didExist": existed})))
}

/// Which clients to list.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    page_size: Option<String>,
    page_token: Option<String>,
    client_name: Option<String>,
}

/// `GET /recipe/oauth/clients/list?pageSize=&pageToken=&clientName=`: oldest first.
///
/// # Errors
/// When a parameter cannot be read.
pub async fn list(_: Admin, page: Query<Page>, state: Data<State>) -> Answer {
    let Page { page_size, page_token: token, client_name } = page.into_inner();
    let size = match page_size.as_deref().filter(|size| !size.is_empty()) {
        None => DEFAULT_PAGE,
        Some(size) => {
            let size = size.parse().ok().filter(|size| (1..=LARGEST_PAGE).contains(size));
            size.ok_or_else(|| {
                AdminError::BadInput(format!("Field name 'pageSize' must be between 1 and {LARGEST_PAGE}"))
            })?
        }
    };
    let after = token.as_deref().filter(|token| !token.is_empty());
    let after = after
        .map(|token| page_start(token).ok_or_else(|| AdminError::invalid_field("pageToken")))
        .transpose()?;
    let (clients, next) = state
        .look(move |store| store.read(|db| clients::page(db, after.as_ref(), size, client_name.as_deref())))
        .await?;
    let clients: Vec<_> = clients.iter().map(|client| client_json::render(client, None)).collect();
    let mut json = Map::new();
    json.insert("status".into(), "OK".into());
    json.insert("clients".into(), json!(clients));
    if let Some(next) = next {
        json.insert("nextPaginationToken".into(), page_token(&next).into());
    }
    Ok(answer(Value::Object(json)))
}

/// What stands for the beginning of a page.
#[must_use]
pub fn page_token((created_at, id): &PageStart) -> String {
    URL_SAFE_NO_PAD.encode(format!("{created_at} {id}"))
}

/// The beginning of a page that a token stands for.
#[must_use]
pub fn page_start(token: &str) -> Option<PageStart> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    let (created_at, id) = text.split_once(' ')?;
    Some((created_at.parse().ok()?, id.to_owned()))
}

/// The JSON object in a body, which may have these members only.
///
/// # Errors
/// What is wrong with it; a member that nobody defines is named.
pub fn object_of(body: Body, known: &[&str]) -> Result<Map<String, Value>, AdminError> {
    let object = object(body)?;
    match object.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(object),
        Some(name) => Err(AdminError::unknown_field(name)),
    }
}

/// The JSON object in a body.
///
/// # Errors
/// What is wrong with it.
pub fn object(body: Body) -> Result<Map<String, Value>, AdminError> {
    lenient_object(&body.bytes()?).map_err(|error| {
        // What stands in the body may be a secret: it is not repeated.
        let reason = if error.is_data() && !error.to_string().contains("twice") {
            format!("a JSON object is expected, at line {} column {}", error.line(), error.column())
        } else {
            error.to_string()
        };
        AdminError::BadInput(format!("Invalid Json Input: {reason}"))
    })
}

/// A text that must be there.
///
/// # Errors
/// The core's words for a field that is not.
pub fn required_text<'a>(object: &'a Map<String, Value>, name: &str) -> Result<&'a str, AdminError> {
    object.get(name).and_then(Value::as_str).ok_or_else(|| AdminError::invalid_field(name))
}

/// A successful answer of the admin API. It may hold secrets: nobody may keep it.
#[must_use]
pub fn answer(json: Value) -> HttpResponse {
    HttpResponse::Ok().insert_header((actix_web::http::header::CACHE_CONTROL, "no-store")).json(json)
}

fn query(request: &HttpRequest, name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(request.query_string().as_bytes());
    pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// The longest lifetime that a token may have.
#[must_use]
pub fn longest_lifetime(state: &State) -> Span {
    Span(state.issuer.settings().max_lifetime)
}
