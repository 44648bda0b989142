//! `/verify`: whether the request that a reverse proxy has before it may pass. For services that cannot check tokens
//! themselves.
//!
//! What is demanded of the token is said by the query (`?audience=event&scope=event.create`), which the proxy writes, and
//! by the configured rules, where the proxy describes the request by host, path and method.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, CACHE_CONTROL, HOST, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use m2mint_keys::bearer::{self, BearerError, Challenge};
use m2mint_keys::verify::{Rejection, Verified};
use serde_json::json;

use crate::http::State;
use crate::model::rule::{Demand, Request, Rules};
use crate::model::{Audience, Scope};

/// Where proxies say which path is asked for.
const TARGETS: [&str; 2] = ["x-forwarded-uri", "x-original-uri"];

/// Why a request does not pass.
#[derive(Debug)]
enum Refusal {
    /// Nothing says what token is needed: nobody passes.
    NoDemand(&'static str),
    /// There is no token.
    NoToken,
    /// There are several, or what is there is none.
    NotOneToken,
    /// The token is not good, or not good for this.
    Rejected(Rejection),
}

/// Answers with 200 and who calls, or with 401 or 403. Proxies take every other status for a failure of their own.
pub async fn check(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let rules = state.rules.load();
    match demand(&request, &rules) {
        Ok(demand) => match caller(request.headers(), &demand, &state) {
            Ok(token) => pass(&token),
            Err(refusal) => refuse(&refusal, Some(&demand)),
        },
        Err(reason) => refuse(&Refusal::NoDemand(reason), None),
    }
}

/// What is demanded. Of query and description, one may be the caller's own: a proxy may pass on his query, or headers in
/// which he describes some other request. So where both say something, both count, and neither can lower the other.
fn demand(request: &HttpRequest, rules: &Rules) -> Result<Demand, &'static str> {
    let query = request.query_string();
    let targets: Vec<_> = TARGETS.iter().flat_map(|name| request.headers().get_all(*name)).collect();
    if targets.is_empty() || rules.0.is_empty() {
        // The query alone decides: it has to be the proxy's, and understood to the last word.
        let own = |target: &&HeaderValue| {
            let bytes = target.as_bytes();
            let query_at = bytes.iter().position(|byte| *byte == b'?').map(|at| at + 1);
            query_at.is_some_and(|at| bytes.get(at..) == Some(query.as_bytes()))
        };
        let asked = demand_of_query(query, true)?.ok_or("nothing says which token this request needs")?;
        return if targets.iter().any(own) {
            Err("the proxy passes on the query of its caller")
        } else {
            Ok(asked)
        };
    }
    let ruled = demand_of_rules(request, rules)?.cloned().ok_or("no rule lets this request pass")?;
    match demand_of_query(query, false)? {
        None => Ok(ruled),
        Some(asked) if asked.audience != ruled.audience => {
            Err("the proxy and the rules demand different audiences")
        }
        Some(asked) => Ok(Demand { scopes: [ruled.scopes, asked.scopes].concat(), ..asked }),
    }
}

fn caller(headers: &HeaderMap, demand: &Demand, state: &State) -> Result<Arc<Verified>, Refusal> {
    let mut authorizations = headers.get_all(AUTHORIZATION);
    let authorization = authorizations.next().ok_or(Refusal::NoToken)?;
    if authorizations.next().is_some() {
        return Err(Refusal::NotOneToken);
    }
    let token = authorization.to_str().ok().map(bearer::token);
    let Some(Ok(token)) = token else { return Err(Refusal::NotOneToken) };
    let token = state.issuer.check(token.ok_or(Refusal::NoToken)?).map_err(Refusal::Rejected)?;
    if token.issuer != state.issuer.settings().issuer {
        return Err(Refusal::Rejected(Rejection::WrongIssuer));
    }
    if token.audience != demand.audience.as_str() {
        return Err(Refusal::Rejected(Rejection::WrongAudience));
    }
    match demand.scopes.iter().find(|scope| !token.allows(scope.as_str())) {
        Some(missing) => Err(Refusal::Rejected(Rejection::MissingScope(missing.to_string()))),
        None => Ok(token),
    }
}

fn pass(token: &Verified) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((CACHE_CONTROL, "no-store"));
    for (name, value) in [
        ("x-m2mint-client", &*token.client_id),
        ("x-m2mint-scope", token.scope()),
        ("x-m2mint-audience", &*token.audience),
    ] {
        match HeaderValue::from_str(value) {
            Ok(value) => response.insert_header((name, value)),
            // A caller whom the service cannot be told of does not pass.
            Err(_) => return refuse(&Refusal::NoDemand("the caller cannot be named in a header"), None),
        };
    }
    response.finish()
}

fn refuse(refusal: &Refusal, demand: Option<&Demand>) -> HttpResponse {
    let (status, error, description) = match refusal {
        Refusal::NoDemand(reason) => {
            let body = json!({"error": "access_denied", "error_description": reason});
            return HttpResponse::Forbidden().insert_header((CACHE_CONTROL, "no-store")).json(body);
        }
        Refusal::NoToken => (StatusCode::UNAUTHORIZED, None, "a bearer token is needed".to_owned()),
        Refusal::NotOneToken => (
            StatusCode::UNAUTHORIZED,
            Some(BearerError::InvalidRequest),
            "there must be exactly one bearer token, in the Authorization header".to_owned(),
        ),
        Refusal::Rejected(rejection) => {
            let status = StatusCode::from_u16(rejection.error().status()).unwrap_or(StatusCode::UNAUTHORIZED);
            (status, Some(rejection.error()), rejection.to_string())
        }
    };
    let scopes: Vec<&str> = demand.iter().flat_map(|demand| &demand.scopes).map(Scope::as_str).collect();
    let realm = demand.map_or("m2mint", |demand| demand.audience.as_str());
    let challenge =
        Challenge { realm, error, description: &description, scopes: &scopes, resource_metadata: None };
    HttpResponse::build(status)
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((WWW_AUTHENTICATE, challenge.to_header()))
        .json(json!({"error": error.map_or("invalid_token", BearerError::code), "error_description": description}))
}

/// What the query demands; `None` when it says nothing. `whole` refuses what it says beside.
fn demand_of_query(query: &str, whole: bool) -> Result<Option<Demand>, &'static str> {
    let (mut audience, mut scopes) = (None, Vec::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "audience" if audience.is_none() => {
                audience =
                    Some(Audience::parse(&value).map_err(|_| "the proxy demands a malformed audience")?);
            }
            "audience" => return Err("the proxy demands two audiences"),
            "scope" => {
                for scope in value.split(' ').filter(|scope| !scope.is_empty()) {
                    scopes.push(Scope::parse(scope).map_err(|_| "the proxy demands a malformed scope")?);
                }
            }
            // What was meant by it would not be checked.
            _ if whole => return Err("the proxy asks with a parameter that is not known"),
            _ => {}
        }
    }
    match audience {
        Some(audience) => Ok(Some(Demand { audience, scopes })),
        None if scopes.is_empty() => Ok(None),
        None => Err("the proxy demands a scope and no audience"),
    }
}

/// What the rules demand for the request that the proxy describes.
fn demand_of_rules<'r>(request: &HttpRequest, rules: &'r Rules) -> Result<Option<&'r Demand>, &'static str> {
    const UNCLEAR: &str = "the proxy does not say clearly which request it asks about";
    let headers = request.headers();
    let method = one_of(headers, ["x-forwarded-method", "x-original-method"]).map_err(|()| UNCLEAR)?;
    let target = one_of(headers, TARGETS).map_err(|()| UNCLEAR)?;
    // A proxy that passes the host in a header of its own uses `Host` for m2mint.
    let host = match one_of(headers, ["x-forwarded-host"]).map_err(|()| UNCLEAR)? {
        Some(host) => Some(host),
        None => one_of(headers, [HOST.as_str()]).map_err(|()| UNCLEAR)?,
    };
    let (Some(method), Some(host), Some(target)) = (method, host, target) else { return Err(UNCLEAR) };
    let described = Request::new(method, host, target).map_err(|_| UNCLEAR)?;
    Ok(rules.demand(&described))
}

/// The one value that these headers agree on; `None` when none is there.
fn one_of<'h, const N: usize>(headers: &'h HeaderMap, names: [&str; N]) -> Result<Option<&'h str>, ()> {
    let mut found = None;
    for value in names.iter().flat_map(|name| headers.get_all(*name)) {
        let value = value.to_str().map_err(|_| ())?;
        if found.is_some_and(|found| found != value) {
            return Err(());
        }
        found = Some(value);
    }
    Ok(found)
}
