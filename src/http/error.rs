//! Every error that leaves the server, and the only place where one turns into a status and a body.

pub mod problem;

use std::borrow::Cow;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde_json::json;

use crate::administration::AdministrationError;
use crate::audit::refusals::Door;
use crate::directory::admin_keys::NotAccepted;
use crate::http::request::NoBody;
use crate::issuer::Refusal;
use crate::limits::Wait;
use crate::model::{Host, Role};
use crate::store::StoreError;

/// Seconds after which to try again when the server is in trouble.
const RETRY_SECONDS: u64 = 1;

/// What is said, and noted, of a secret that was not tried.
const TOO_MANY_GUESSES: &str = "too many wrong secrets; try again later";

const OVERLOADED: &str = "more tokens are asked for than this server can sign; try again shortly";

const TOO_LARGE: &str = "the request is larger than this server reads (limits.body)";

const ENDS_TOO_EARLY: &str = "the body ends too early";

const DATABASE_TROUBLE: &str = "the server cannot use its database right now; try again shortly";

/// An OAuth 2.0 error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// RFC 6749 §5.2.
    InvalidRequest,
    /// RFC 6749 §5.2.
    InvalidClient,
    /// RFC 6749 §5.2.
    UnsupportedGrantType,
    /// RFC 6749 §5.2.
    InvalidScope,
    /// RFC 8707 §2.
    InvalidTarget,
    /// RFC 6749 §4.1.2.1, for want of one at the token endpoint.
    TemporarilyUnavailable,
    /// The same, while more is asked for than can be done: nothing is wrong that somebody could look into.
    Overloaded,
    /// RFC 6585 §4, for want of a code of its own: the same name as [`Code::TemporarilyUnavailable`].
    TooManyRequests,
    /// The same, of a client that is known.
    TooManyTokens,
    /// RFC 7591 §3.2.2.
    InvalidClientMetadata,
    /// RFC 7591 §3.2.2.
    InvalidRedirectUri,
}

impl Code {
    /// The code as it goes over the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::TemporarilyUnavailable | Self::Overloaded | Self::TooManyRequests | Self::TooManyTokens => {
                "temporarily_unavailable"
            }
            Self::InvalidClientMetadata => "invalid_client_metadata",
            Self::InvalidRedirectUri => "invalid_redirect_uri",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::InvalidClient => StatusCode::UNAUTHORIZED,
            Self::TemporarilyUnavailable | Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooManyRequests | Self::TooManyTokens => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// What went wrong, in OAuth's terms.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {description}", .code.name())]
pub struct OAuthError {
    /// What a program reads.
    pub code: Code,
    /// What a person reads.
    pub description: String,
    /// What the log gets and nobody else.
    pub cause: Option<String>,
    /// Who said to be which client. For the audit log.
    pub client: Option<Box<str>>,
    /// Seconds after which to try again, where it depends.
    pub retry_after: Option<u64>,
}

impl OAuthError {
    /// More tokens are asked for than can be signed.
    #[must_use]
    pub fn overloaded(pause: Duration) -> Self {
        Self { retry_after: Some(pause.as_secs().max(1)), ..Self::new(Code::Overloaded, OVERLOADED) }
    }

    /// An error with this code and text.
    pub fn new(code: Code, description: impl Into<String>) -> Self {
        Self { code, description: description.into(), cause: None, client: None, retry_after: None }
    }

    /// Too many wrong secrets were sent.
    #[must_use]
    pub fn guessed_too_often(wait: Wait) -> Self {
        Self { retry_after: Some(wait.seconds()), ..Self::new(Code::TooManyRequests, TOO_MANY_GUESSES) }
    }

    /// `invalid_request`.
    pub fn invalid_request(description: impl Into<String>) -> Self {
        Self::new(Code::InvalidRequest, description)
    }

    /// Who was not let in, if that is what this is about.
    fn not_let_in(&self) -> Option<NotLetIn<'_>> {
        let reason = self.cause.as_deref().unwrap_or(&self.description);
        let door = match self.code {
            Code::InvalidClient | Code::TooManyRequests => Door::Client,
            Code::TooManyTokens => Door::Token,
            _ => return None,
        };
        let too_many = self.code != Code::InvalidClient;
        Some(NotLetIn { client: self.client.as_deref(), too_many, ..NotLetIn::at(door, reason) })
    }

    /// The description in the characters that RFC 6749 §5.2 allows.
    fn printable(&self) -> String {
        let allowed = |c: char| matches!(c, '\x20' | '\x21' | '\x23'..='\x5b' | '\x5d'..='\x7e');
        let replace = |c: char| match c {
            '"' | '`' => '\'',
            c if allowed(c) => c,
            _ => '?',
        };
        self.description.chars().map(replace).collect()
    }
}

/// Somebody who was not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotLetIn<'a> {
    /// Where.
    pub door: Door,
    /// The client that it said to be. It may be anything.
    pub client: Option<&'a str>,
    /// The admin key, where it was a good one.
    pub actor: Option<&'a str>,
    /// Why, as far as the log may know.
    pub reason: Cow<'a, str>,
    /// Whether it was not even tried: too much came before.
    pub too_many: bool,
}

impl<'a> NotLetIn<'a> {
    fn at(door: Door, reason: impl Into<Cow<'a, str>>) -> Self {
        Self { door, client: None, actor: None, reason: reason.into(), too_many: false }
    }
}

impl From<Refusal> for OAuthError {
    fn from(refusal: Refusal) -> Self {
        let (cause, retry_after) = match &refusal {
            Refusal::InvalidClient(denied) => (Some(denied.to_string()), None),
            Refusal::TooManyTokens { wait, limit } => {
                (Some(format!("more than {limit} tokens a minute")), Some(wait.seconds()))
            }
            _ => (None, None),
        };
        let code = match refusal {
            Refusal::InvalidClient(_) => Code::InvalidClient,
            Refusal::TooManyTokens { .. } => Code::TooManyTokens,
            Refusal::InvalidScope(_) => Code::InvalidScope,
            Refusal::InvalidTarget(_) => Code::InvalidTarget,
            Refusal::Unavailable(_) => Code::TemporarilyUnavailable,
        };
        Self { cause, retry_after, ..Self::new(code, refusal.to_string()) }
    }
}

impl From<StoreError> for OAuthError {
    fn from(error: StoreError) -> Self {
        let cause = Some(error.to_string());
        Self { cause, ..Self::new(Code::TemporarilyUnavailable, DATABASE_TROUBLE) }
    }
}

/// An error of the public API.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct PublicError {
    error: OAuthError,
    status: Option<StatusCode>,
    challenge: bool,
}

impl PublicError {
    /// The body is larger than the server reads.
    #[must_use]
    pub fn too_large() -> Self {
        let error = OAuthError::invalid_request(TOO_LARGE);
        Self { error, status: Some(StatusCode::PAYLOAD_TOO_LARGE), challenge: false }
    }

    /// Another method than those that are understood here.
    #[must_use]
    pub fn method_not_allowed(methods: &str) -> Self {
        let error = OAuthError::invalid_request(format!("the method must be {methods}"));
        Self { error, status: Some(StatusCode::METHOD_NOT_ALLOWED), challenge: false }
    }

    /// What the log gets and nobody else.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.error.cause.as_deref().or(Some(&self.error.description))
    }

    /// What a program reads.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.error.code.name()
    }

    /// Whether this is one of many and says nothing that the log does not say once for all of them.
    #[must_use]
    pub fn is_overload(&self) -> bool {
        self.error.code == Code::Overloaded
    }

    /// Who was not let in, if that is what this is about.
    #[must_use]
    pub fn not_let_in(&self) -> Option<NotLetIn<'_>> {
        self.error.not_let_in()
    }

    /// Asks for HTTP Basic, where the client tried to authenticate that way (RFC 6749 §5.2).
    #[must_use]
    pub fn with_challenge(mut self, challenge: bool) -> Self {
        self.challenge = challenge && self.error.code == Code::InvalidClient;
        self
    }
}

impl<E: Into<OAuthError>> From<E> for PublicError {
    fn from(error: E) -> Self {
        Self { error: error.into(), status: None, challenge: false }
    }
}

impl ResponseError for PublicError {
    fn status_code(&self) -> StatusCode {
        self.status.unwrap_or(self.error.code.status())
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        response.insert_header((CACHE_CONTROL, "no-store"));
        if self.challenge {
            response.insert_header((WWW_AUTHENTICATE, r#"Basic realm="m2mint", charset="UTF-8""#));
        }
        retry_later(&mut response, self.status_code(), self.error.retry_after);
        response.json(json!({"error": self.error.code.name(), "error_description": self.error.printable()}))
    }
}

/// An error of the admin API, in the shapes of the SuperTokens core.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// No admin key, or one that is not accepted. Why not is for the log alone.
    #[error("Invalid API key")]
    InvalidApiKey(NotAccepted),
    /// A good admin key, for something else.
    #[error(
        "this admin key may not do that: {call} takes the role {needed} (m2mint admin-keys add NAME --role {needed})"
    )]
    MissingRole {
        /// The key by its name.
        holder: String,
        /// The call.
        call: String,
        /// What it takes.
        needed: Role,
    },
    /// The request does not say, or not once, whom it is meant for.
    #[error("the admin API takes requests with one well-formed Host header only")]
    NoHost,
    /// The request is meant for somebody else, or for a name that nobody has told the server.
    #[error(
        "the admin API is not known as {0}. If that is one of its names, add it to admin.hosts in the configuration"
    )]
    WrongHost(Host),
    /// A web page sends the request.
    #[error("the admin API takes no requests from web pages of other sites (Origin, Sec-Fetch-Site)")]
    CrossSite,
    /// The body is something else than JSON.
    #[error("the body has to be JSON: send it with content-type: application/json")]
    NotJson,
    /// Too many wrong admin keys came from there.
    #[error("Too many invalid API keys; try again later")]
    GuessedTooOften(Wait),
    /// The request cannot be read. The text says which field.
    #[error("{0}")]
    BadInput(String),
    /// The body is larger than the server reads.
    #[error("{TOO_LARGE}")]
    TooLarge,
    /// There is no such client.
    #[error("there is no such client")]
    ClientNotFound,
    /// Refused in OAuth's terms.
    #[error("{0}")]
    OAuth(#[from] OAuthError),
    /// More tokens are asked for than can be signed.
    #[error("{OVERLOADED}")]
    Overloaded,
    /// The server is in trouble. The text is for the log.
    #[error("{DATABASE_TROUBLE}")]
    Unavailable(String),
}

impl AdminError {
    /// A field is missing or has the wrong type: the SuperTokens core's own words.
    #[must_use]
    pub fn invalid_field(name: &str) -> Self {
        Self::BadInput(format!("Field name '{name}' is invalid in JSON input"))
    }

    /// A field that nobody defines.
    #[must_use]
    pub fn unknown_field(name: &str) -> Self {
        let name: String = name.chars().filter(|c| !c.is_control()).take(100).collect();
        Self::BadInput(format!("Field name '{name}' is not known"))
    }

    /// What the log gets and nobody else.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        match self {
            Self::Unavailable(cause) => Some(cause),
            _ => None,
        }
    }
}

impl AdminError {
    /// Who was not let in, if that is what this is about.
    #[must_use]
    pub fn not_let_in(&self) -> Option<NotLetIn<'_>> {
        match self {
            Self::InvalidApiKey(why) => Some(NotLetIn::at(Door::Admin, why.to_string())),
            Self::MissingRole { holder, call, needed } => {
                let reason = format!("{call} takes the role {needed}");
                Some(NotLetIn { actor: Some(holder), ..NotLetIn::at(Door::Role, reason) })
            }
            Self::NoHost | Self::WrongHost(_) | Self::CrossSite => {
                Some(NotLetIn::at(Door::Admin, self.to_string()))
            }
            Self::GuessedTooOften(_) => {
                let refused = NotLetIn::at(Door::Admin, "too many wrong admin keys");
                Some(NotLetIn { too_many: true, ..refused })
            }
            Self::OAuth(error) => error.not_let_in(),
            _ => None,
        }
    }
}

impl From<StoreError> for AdminError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<NoBody> for PublicError {
    fn from(reason: NoBody) -> Self {
        match reason {
            NoBody::TooLarge => Self::too_large(),
            NoBody::EndsTooEarly => OAuthError::invalid_request(ENDS_TOO_EARLY).into(),
        }
    }
}

impl From<NoBody> for AdminError {
    fn from(reason: NoBody) -> Self {
        match reason {
            NoBody::TooLarge => Self::TooLarge,
            NoBody::EndsTooEarly => Self::BadInput(ENDS_TOO_EARLY.into()),
        }
    }
}

impl From<Refusal> for AdminError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unavailable(cause) => Self::Unavailable(cause.into()),
            refusal => Self::OAuth(refusal.into()),
        }
    }
}

impl From<AdministrationError> for AdminError {
    fn from(error: AdministrationError) -> Self {
        match error {
            AdministrationError::UnknownClient(_) => Self::ClientNotFound,
            AdministrationError::Store(error) => error.into(),
            refused => Self::OAuth(OAuthError::new(Code::InvalidClientMetadata, refused.to_string())),
        }
    }
}

impl ResponseError for AdminError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::InvalidApiKey(_) => StatusCode::UNAUTHORIZED,
            Self::MissingRole { .. } | Self::CrossSite => StatusCode::FORBIDDEN,
            Self::NoHost | Self::WrongHost(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::GuessedTooOften(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::BadInput(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::ClientNotFound | Self::OAuth(_) => StatusCode::OK,
            Self::Overloaded | Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        response.insert_header((CACHE_CONTROL, "no-store"));
        let retry_after = match self {
            Self::GuessedTooOften(wait) => Some(wait.seconds()),
            Self::OAuth(error) => error.retry_after,
            _ => None,
        };
        retry_later(&mut response, self.status_code(), retry_after);
        match self {
            Self::ClientNotFound => response.json(json!({"status": "CLIENT_NOT_FOUND_ERROR"})),
            Self::OAuth(error) => response.json(json!({
                "status": "OAUTH_ERROR",
                "error": error.code.name(),
                "errorDescription": error.printable(),
                "statusCode": error.code.status().as_u16(),
            })),
            text => response.content_type("text/plain; charset=utf-8").body(text.to_string()),
        }
    }
}

fn retry_later(response: &mut HttpResponseBuilder, status: StatusCode, seconds: Option<u64>) {
    let seconds = seconds.or_else(|| (status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_SECONDS));
    if let Some(seconds) = seconds {
        response.insert_header((RETRY_AFTER, seconds));
    }
}
