//! `POST /oauth/token` (RFC 6749 §4.4), in three dialects.

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, PRAGMA};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use m2mint_keys::time::UnixTime;

use crate::http::State;
use crate::http::error::{Code, OAuthError, PublicError};
use crate::http::exchange;
use crate::http::parameters::Parameters;
use crate::http::pressure;
use crate::http::request::{Authorization, Body, content_type, is_media_type};
use crate::issuer::{Issued, Refusal, TokenRequest};
use crate::limits::Door;
use crate::limits::source::Source;
use crate::model::audit::datable;
use crate::model::names::split_scopes;

/// RFC 8594.
const SUNSET: HeaderName = HeaderName::from_static("sunset");

/// The only grant there is (RFC 6749 §4.4.2).
pub const GRANT_TYPE: &str = "client_credentials";

/// How names are spelled in request and answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// RFC 6749's own.
    Snake,
    /// SuperTokens' documentation's, in JSON.
    Camel,
}

impl Spelling {
    const fn grant_type(self) -> &'static str {
        match self {
            Self::Snake => "grant_type",
            Self::Camel => "grantType",
        }
    }

    const fn client_id(self) -> &'static str {
        match self {
            Self::Snake => "client_id",
            Self::Camel => "clientId",
        }
    }

    const fn client_secret(self) -> &'static str {
        match self {
            Self::Snake => "client_secret",
            Self::Camel => "clientSecret",
        }
    }

    /// The spelling of a request; one spelling a request.
    ///
    /// # Errors
    /// `invalid_request` when names are spelled in two ways.
    pub fn of(parameters: &Parameters<'_>) -> Result<Self, OAuthError> {
        let used = |spelling: Self| {
            let names = [spelling.grant_type(), spelling.client_id(), spelling.client_secret()];
            names.into_iter().any(|name| parameters.has(name))
        };
        match (used(Self::Snake), used(Self::Camel)) {
            (true, true) => Err(OAuthError::invalid_request(
                "names are spelled in two ways: use either clientId or client_id throughout",
            )),
            (_, true) => Ok(Self::Camel),
            _ => Ok(Self::Snake),
        }
    }
}

/// Handles the request.
///
/// # Errors
/// RFC 6749 §5.2, in every dialect.
pub async fn post(request: HttpRequest, body: Body, state: Data<State>) -> Result<HttpResponse, PublicError> {
    let authorization = Authorization::of(&request);
    let attempted = !matches!(authorization, Authorization::None);
    let answer = answer(&request, body, authorization, &state).await;
    answer.map_err(|error| error.with_challenge(attempted))
}

async fn answer(
    request: &HttpRequest,
    body: Body,
    authorization: Authorization,
    state: &State,
) -> Result<HttpResponse, PublicError> {
    let body = body.bytes()?;
    pressure::let_by(request, state).await?;
    let parameters = read(request, &body)?;
    let spelling = Spelling::of(&parameters)?;
    let caller = Caller::of(request, state);
    let issued = issue(state, &parameters, spelling, authorization, &caller, Extras::default()).await?;
    Ok(token_response(&issued, spelling))
}

/// Reads the parameters of a request to the token endpoint, or to one that takes the same forms.
///
/// # Errors
/// `invalid_request` when they cannot be read.
pub fn read<'a>(request: &HttpRequest, body: &'a [u8]) -> Result<Parameters<'a>, PublicError> {
    // RFC 6749 §2.3.1: credentials must not be in the URI, where proxies and logs keep them.
    if !request.query_string().is_empty() {
        let query = Parameters::from_form(request.query_string().as_bytes())?;
        if ["client_secret", "client_id", "clientSecret", "clientId", "token"]
            .iter()
            .any(|name| query.has(name))
        {
            return Err(OAuthError::invalid_request(
                "credentials and tokens belong in the body, not in the URL",
            )
            .into());
        }
    }
    let content_type = content_type(request);
    if is_media_type(content_type, "application/x-www-form-urlencoded") {
        Ok(Parameters::from_form(body)?)
    } else if is_media_type(content_type, "application/json") {
        Ok(Parameters::from_json(body)?)
    } else {
        Err(OAuthError::invalid_request(
            "the content type must be application/x-www-form-urlencoded or application/json",
        )
        .into())
    }
}

/// What only the holder of an admin key may add to a token.
#[derive(Default)]
pub struct Extras<'a> {
    /// `iss`.
    pub issuer: Option<&'a str>,
    /// Further claims.
    pub claims: Option<&'a serde_json::Map<String, serde_json::Value>>,
}

/// A token, and what it was bought with.
#[derive(Debug)]
pub struct Bought {
    /// The token.
    pub issued: Issued,
    /// When the secret stops being accepted, if it does.
    pub secret_ends_at: Option<UnixTime>,
}

impl Bought {
    /// RFC 8594 §3: when the way by which this was got will be gone. HTTP tells it to the second.
    #[must_use]
    pub fn sunset(&self) -> Option<(HeaderName, HeaderValue)> {
        let end = httpdate::fmt_http_date(datable(self.secret_ends_at?));
        Some((SUNSET, HeaderValue::from_str(&end).ok()?))
    }
}

/// A client that showed one of its secrets.
#[derive(Debug, Clone, Copy)]
pub struct Authenticated<'a> {
    /// Who it is.
    pub client_id: &'a str,
    /// When that secret stops being accepted, if it does.
    pub secret_ends_at: Option<UnixTime>,
}

/// Authenticates the client and issues what it asks for.
///
/// # Errors
/// RFC 6749 §5.2.
pub async fn issue(
    state: &State,
    parameters: &Parameters<'_>,
    spelling: Spelling,
    authorization: Authorization,
    caller: &Caller,
    extras: Extras<'_>,
) -> Result<Bought, OAuthError> {
    match parameters.text(spelling.grant_type())? {
        Some(GRANT_TYPE) => {}
        Some(_) => {
            return Err(OAuthError::new(
                Code::UnsupportedGrantType,
                "the only grant type is client_credentials",
            ));
        }
        None => return Err(OAuthError::invalid_request(format!("{} is missing", spelling.grant_type()))),
    }
    let authenticated = authenticate(state, parameters, spelling, &authorization, caller).await?;
    let Authenticated { client_id, secret_ends_at } = authenticated;
    let request = TokenRequest {
        client_id,
        audience: audience(parameters)?,
        scopes: scopes(parameters)?,
        issuer: extras.issuer,
        extra: extras.claims,
    };
    let issued = state.issuer.issue(&request).await;
    let issued = issued.map_err(|refusal| OAuthError { client: Some(client_id.into()), ..refusal.into() })?;
    Ok(Bought { issued, secret_ends_at })
}

/// Who presents a secret.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    source: Source,
    /// Whether the holder of an admin key presents it for somebody else.
    for_another: bool,
}

impl Caller {
    /// The client itself.
    #[must_use]
    pub fn of(request: &HttpRequest, state: &State) -> Self {
        Self { source: exchange::source(request, state), for_another: false }
    }

    /// The holder of an admin key, for a client.
    #[must_use]
    pub fn for_another(request: &HttpRequest, state: &State) -> Self {
        Self { for_another: true, ..Self::of(request, state) }
    }
}

/// Authenticates the client by the one method that it used.
///
/// # Errors
/// `invalid_client`, `invalid_request` when it used two methods, or 429 when too many wrong secrets came before.
pub async fn authenticate<'a>(
    state: &State,
    parameters: &'a Parameters<'_>,
    spelling: Spelling,
    authorization: &'a Authorization,
    caller: &Caller,
) -> Result<Authenticated<'a>, OAuthError> {
    let missing = |what: &str| OAuthError::new(Code::InvalidClient, format!("{what} is missing"));
    let (id, secret) = (parameters.text(spelling.client_id())?, parameters.text(spelling.client_secret())?);
    let (id, secret) = match authorization {
        Authorization::None => {
            let id = id.ok_or_else(|| missing(spelling.client_id()))?;
            (id, secret.ok_or_else(|| missing(spelling.client_secret()))?)
        }
        _ if secret.is_some() => {
            return Err(OAuthError::invalid_request(
                "authenticate either by HTTP Basic or in the body, not by both",
            ));
        }
        Authorization::Basic(basic_id, _) if id.is_some_and(|id| id != basic_id.as_str()) => {
            return Err(OAuthError::invalid_request(
                "the client id in the body is not the one in HTTP Basic",
            ));
        }
        Authorization::Basic(id, secret) => (id.as_str(), secret.as_str()),
        Authorization::Unusable => {
            return Err(OAuthError::new(
                Code::InvalidClient,
                "the Authorization header is not well-formed HTTP Basic",
            ));
        }
    };
    let authenticated = try_secret(state, id, secret, caller).await;
    let secret_ends_at = authenticated.map_err(|error| OAuthError { client: Some(id.into()), ..error })?;
    Ok(Authenticated { client_id: id, secret_ends_at })
}

/// Tries a secret, if it may be tried: before that, nothing is hashed.
async fn try_secret(
    state: &State,
    id: &str,
    secret: &str,
    caller: &Caller,
) -> Result<Option<UnixTime>, OAuthError> {
    let door = if caller.for_another { Door::ClientOfAnother(id) } else { Door::Client(id) };
    let leave = state.limiter.admit(
        door,
        caller.source,
        secret,
        || state.issuer.expects(id, caller.source),
        state.clock.steady(),
    );
    let leave = leave.map_err(OAuthError::guessed_too_often)?;
    let tried = state.issuer.authenticate(id, secret, caller.source).await;
    match &tried {
        Ok(_) if leave.is_usual() => {}
        Ok(_) => state.limiter.right(&leave, state.clock.steady()),
        Err(Refusal::Unavailable(_)) => state.limiter.untried(&leave, state.clock.steady()),
        Err(_) => state.limiter.wrong(&leave),
    }
    Ok(tried?)
}

/// The one audience, by either of its names (RFC 8707 calls it `resource`).
///
/// # Errors
/// `invalid_target` when there are two, `invalid_request` when it is no text.
pub fn audience<'a>(parameters: &'a Parameters<'_>) -> Result<Option<&'a str>, OAuthError> {
    let mut named = parameters.texts("audience")?;
    let audience = named.next();
    if named.next().is_some() {
        return Err(one_audience());
    }
    let mut resources = parameters.texts("resource")?;
    let audience = audience.or_else(|| resources.next());
    if resources.any(|resource| Some(resource) != audience) {
        return Err(one_audience());
    }
    Ok(audience.filter(|audience| !audience.is_empty()))
}

fn one_audience() -> OAuthError {
    OAuthError::new(Code::InvalidTarget, "a token is for one audience: ask for one token a service")
}

/// Scopes as one text, or as an array. An empty array asks for none.
///
/// # Errors
/// `invalid_request` when they are something else.
pub fn scopes<'a>(parameters: &'a Parameters<'_>) -> Result<Option<Vec<&'a str>>, OAuthError> {
    if parameters.is_array("scope") {
        return Ok(Some(parameters.texts("scope")?.collect()));
    }
    Ok(parameters.text("scope")?.map(|text| split_scopes(text).collect()))
}

/// RFC 6749 §5.1. Every value is made of characters that JSON does not escape: tokens are base64url, and a scope cannot
/// hold a quote or a backslash.
fn token_response(bought: &Bought, spelling: Spelling) -> HttpResponse {
    let Issued { token, lifetime, scope } = &bought.issued;
    let names = match spelling {
        Spelling::Snake => {
            [r#"{"access_token":""#, r#"","token_type":"Bearer","expires_in":"#, r#","scope":""#]
        }
        Spelling::Camel => [r#"{"accessToken":""#, r#"","tokenType":"Bearer","expiresIn":"#, r#","scope":""#],
    };
    let [before_token, before_lifetime, before_scope] = names;
    let mut digits = itoa::Buffer::new();
    // Put together with not a byte to spare: it is sent as it is.
    let parts = [before_token, token, before_lifetime, digits.format(*lifetime), before_scope, scope, "\"}"];
    let body = parts.concat();
    let mut response = HttpResponse::with_body(StatusCode::OK, BoxBody::new(body));
    let headers = response.headers_mut();
    if let Some((name, end)) = bought.sunset() {
        headers.insert(name, end);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}
