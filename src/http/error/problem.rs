//! Errors of `/admin/v1`: RFC 9457 problem details, each of a type that stays.

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CACHE_CONTROL, HeaderValue, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{AdminError, DATABASE_TROUBLE, ENDS_TOO_EARLY, NotLetIn, retry_later};
use crate::administration::AdministrationError;
use crate::http::request::NoBody;
use crate::rotation::RotationError;
use crate::store::StoreError;

/// What is before the name of every type.
const NAMESPACE: &str = "urn:m2mint:problem:";

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident = $name:literal, $status:ident, $title:literal;)+) => {
        /// What kind of problem it is. A program acts on its type, which never changes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Kind {
            $($(#[doc = $doc])+ $kind,)+
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$kind),+];

            /// The last part of its type.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)+ }
            }

            /// The status that it goes with.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$kind => StatusCode::$status,)+ }
            }

            const fn title(self) -> &'static str {
                match self { $(Self::$kind => $title,)+ }
            }
        }
    };
}

kinds! {
    /// The text is no JSON object, or a member is missing, unknown or of the wrong type.
    InvalidRequest = "invalid-request", BAD_REQUEST, "The request cannot be read";
    /// No admin key, or one that is not accepted.
    InvalidAdminKey = "invalid-admin-key", UNAUTHORIZED, "An admin key is needed";
    /// A good admin key, for something else.
    MissingRole = "missing-role", FORBIDDEN, "The admin key may not do that";
    /// The page of another site sends the request.
    CrossSite = "cross-site", FORBIDDEN, "Web pages of other sites may not ask";
    /// There is nothing at this path.
    NoSuchPath = "no-such-path", NOT_FOUND, "There is nothing at this path";
    /// There is no such client.
    ClientNotFound = "client-not-found", NOT_FOUND, "There is no such client";
    /// The client has no such secret.
    SecretNotFound = "secret-not-found", NOT_FOUND, "There is no such secret";
    /// The service is not registered.
    ServiceNotFound = "service-not-found", NOT_FOUND, "There is no such service";
    /// There is no such key.
    KeyNotFound = "key-not-found", NOT_FOUND, "There is no such key";
    /// There is no such admin key.
    AdminKeyNotFound = "admin-key-not-found", NOT_FOUND, "There is no such admin key";
    /// Nothing is there yet.
    NothingYet = "nothing-yet", NOT_FOUND, "There is nothing yet";
    /// The path takes other methods.
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED, "The path takes other methods";
    /// The name is taken, or the state does not allow it.
    Conflict = "conflict", CONFLICT, "That contradicts what is there";
    /// A request with the same idempotency key is being answered.
    InProgress = "idempotency-key-in-progress", CONFLICT, "The same request is being answered";
    /// Somebody has changed it meanwhile.
    PreconditionFailed = "precondition-failed", PRECONDITION_FAILED, "It was changed meanwhile";
    /// The body is larger than the server reads.
    TooLarge = "too-large", PAYLOAD_TOO_LARGE, "The request is too large";
    /// The body is something else than JSON.
    NotJson = "not-json", UNSUPPORTED_MEDIA_TYPE, "The body has to be JSON";
    /// The request is meant for somebody else.
    WrongHost = "wrong-host", MISDIRECTED_REQUEST, "The request is meant for another host";
    /// A file has mistakes.
    InvalidDeclaration = "invalid-declaration", UNPROCESSABLE_ENTITY, "The declaration has mistakes";
    /// A rule says no.
    Refused = "refused", UNPROCESSABLE_ENTITY, "A rule says no";
    /// The idempotency key came with another request before.
    KeyReused = "idempotency-key-reused", UNPROCESSABLE_ENTITY, "The idempotency key stands for another request";
    /// The request does not say which state it changes.
    PreconditionRequired = "precondition-required", PRECONDITION_REQUIRED, "If-Match is needed";
    /// Too many wrong admin keys came from there.
    TooManyGuesses = "too-many-guesses", TOO_MANY_REQUESTS, "Too many wrong admin keys";
    /// The server is in trouble.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "The server cannot do that right now";
}

/// An error of `/admin/v1`.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// What a program reads.
    pub kind: Kind,
    /// What a person reads.
    pub detail: String,
    /// Which member of the request it is about.
    pub field: Option<String>,
    /// Which methods the path takes.
    allow: Option<&'static str>,
    /// What the log gets and nobody else.
    cause: Option<String>,
    /// Why somebody was not let in.
    refused: Option<Box<AdminError>>,
}

/// A problem as it goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDetails {
    /// `urn:m2mint:problem:` and the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The status of the answer.
    pub status: u16,
    /// What is wrong, and what to do.
    pub detail: String,
    /// Which member of the request it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

impl ProblemDetails {
    /// The kind, without what is before every one.
    #[must_use]
    pub fn name(&self) -> &str {
        self.kind.strip_prefix(NAMESPACE).unwrap_or(&self.kind)
    }
}

impl Problem {
    /// A problem of this kind.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), field: None, allow: None, cause: None, refused: None }
    }

    /// A member of the request makes no sense.
    pub fn invalid_field(field: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        let field = field.into();
        let detail = format!("{field}: {reason}");
        Self { field: Some(field), ..Self::new(Kind::InvalidRequest, detail) }
    }

    /// There is no such client.
    #[must_use]
    pub fn no_client(id: &str) -> Self {
        Self::new(Kind::ClientNotFound, format!("there is no client {id}"))
    }

    /// Another method than those that the path takes.
    #[must_use]
    pub fn method_not_allowed(methods: &'static str) -> Self {
        let problem = Self::new(Kind::MethodNotAllowed, format!("the method must be {methods}"));
        Self { allow: Some(methods), ..problem }
    }

    /// What the log gets and nobody else.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// Who was not let in, if that is what this is about.
    #[must_use]
    pub fn not_let_in(&self) -> Option<NotLetIn<'_>> {
        self.refused.as_ref().and_then(|refused| refused.not_let_in())
    }

    /// As it goes over the wire.
    #[must_use]
    pub fn details(&self) -> ProblemDetails {
        ProblemDetails {
            kind: format!("{NAMESPACE}{}", self.kind.name()),
            title: self.kind.title().to_owned(),
            status: self.kind.status().as_u16(),
            detail: self.detail.clone(),
            field: self.field.clone(),
        }
    }
}

impl From<AdminError> for Problem {
    fn from(error: AdminError) -> Self {
        let kind = match &error {
            AdminError::InvalidApiKey(_) => Kind::InvalidAdminKey,
            AdminError::MissingRole { .. } => Kind::MissingRole,
            AdminError::CrossSite => Kind::CrossSite,
            AdminError::NoHost | AdminError::WrongHost(_) => Kind::WrongHost,
            AdminError::NotJson => Kind::NotJson,
            AdminError::GuessedTooOften(_) => Kind::TooManyGuesses,
            AdminError::BadInput(_) => Kind::InvalidRequest,
            AdminError::TooLarge => Kind::TooLarge,
            AdminError::ClientNotFound => Kind::ClientNotFound,
            AdminError::OAuth(_) => Kind::Refused,
            AdminError::Overloaded | AdminError::Unavailable(_) => Kind::Unavailable,
        };
        let detail = match kind {
            Kind::InvalidAdminKey => {
                "send an admin key: Authorization: Bearer KEY, or api-key: KEY".to_owned()
            }
            _ => error.to_string(),
        };
        let cause = error.cause().map(str::to_owned);
        Self { cause, refused: Some(Box::new(error)), ..Self::new(kind, detail) }
    }
}

impl From<NoBody> for Problem {
    fn from(reason: NoBody) -> Self {
        match reason {
            NoBody::TooLarge => AdminError::TooLarge.into(),
            NoBody::EndsTooEarly => Self::new(Kind::InvalidRequest, ENDS_TOO_EARLY),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self { cause: Some(error.to_string()), ..Self::new(Kind::Unavailable, DATABASE_TROUBLE) }
    }
}

impl From<AdministrationError> for Problem {
    fn from(error: AdministrationError) -> Self {
        let kind = match error {
            AdministrationError::Store(error) => return error.into(),
            AdministrationError::Crypto(_) => {
                let cause = Some(error.to_string());
                return Self { cause, ..Self::new(Kind::Unavailable, "there is no randomness to be had") };
            }
            AdministrationError::UnknownClient(_) => Kind::ClientNotFound,
            AdministrationError::UnknownSecret(_) => Kind::SecretNotFound,
            AdministrationError::UnknownAdminKey(_) => Kind::AdminKeyNotFound,
            AdministrationError::UnknownService { .. } => Kind::ServiceNotFound,
            AdministrationError::DuplicateClient(_)
            | AdministrationError::DuplicateAdminKey(_)
            | AdministrationError::DuplicateService(_) => Kind::Conflict,
            _ => Kind::Refused,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<RotationError> for Problem {
    fn from(error: RotationError) -> Self {
        match error {
            RotationError::Store(error) => error.into(),
            RotationError::Revoke(error) => Self::new(Kind::Conflict, error.to_string()),
            other => {
                let detail = "the keys cannot be changed right now; try again shortly";
                Self { cause: Some(other.to_string()), ..Self::new(Kind::Unavailable, detail) }
            }
        }
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.kind.status()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        response.insert_header((CACHE_CONTROL, "no-store"));
        if self.kind == Kind::InvalidAdminKey {
            response.insert_header((WWW_AUTHENTICATE, r#"Bearer realm="m2mint admin""#));
        }
        let retry_after = match self.refused.as_deref() {
            Some(AdminError::GuessedTooOften(wait)) => Some(wait.seconds()),
            _ => None,
        };
        retry_later(&mut response, self.status_code(), retry_after);
        if let Some(methods) = self.allow {
            response.insert_header((ALLOW, HeaderValue::from_static(methods)));
        }
        // Texts and a number: there is nothing in it that could fail to serialize.
        let body = serde_json::to_vec(&self.details()).unwrap_or_default();
        response.content_type("application/problem+json").body(body)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_kind_has_a_type_of_its_own_and_a_status_that_is_an_error() {
        let names: HashSet<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            assert!(kind.status().is_client_error() || *kind == Kind::Unavailable, "{}", kind.name());
        }
    }
}
