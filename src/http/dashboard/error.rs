//! What a page says when there is nothing to show.

use actix_web::http::StatusCode;
use actix_web::http::header::{LOCATION, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use m2mint_keys::crypto::CryptoError;
use maud::html;

use crate::administration::AdministrationError;
use crate::http::dashboard::layout;
use crate::http::error::{AdminError, NotLetIn};
use crate::http::request::NoBody;
use crate::rotation::RotationError;
use crate::store::StoreError;

/// Why there is no page, or nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum DashboardError {
    /// Nobody is signed in, or no more.
    #[error("nobody is signed in")]
    SignedOut {
        /// Where to go on afterwards.
        back: String,
    },
    /// What the admin API would refuse too.
    #[error(transparent)]
    Refused(#[from] AdminError),
    /// Somebody else made the form, or it was made for a session that is over.
    #[error("this form belongs to another session")]
    ForeignForm,
    /// What was sent is no form.
    #[error("this is no form that can be read")]
    Unreadable,
    /// There is no such thing.
    #[error("there is no {0} here")]
    NotFound(&'static str),
    /// A rule says no.
    #[error("{0}")]
    Rule(String),
}

static CROSS_SITE: AdminError = AdminError::CrossSite;

impl DashboardError {
    /// Who was not let in, if that is what this is about.
    #[must_use]
    pub fn not_let_in(&self) -> Option<NotLetIn<'_>> {
        match self {
            Self::Refused(error) => error.not_let_in(),
            Self::ForeignForm => CROSS_SITE.not_let_in(),
            _ => None,
        }
    }

    /// What the log gets and nobody else.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        match self {
            Self::Refused(error) => error.cause(),
            _ => None,
        }
    }

    const fn title(&self) -> &'static str {
        match self {
            Self::SignedOut { .. } => "Sign in",
            Self::Refused(AdminError::MissingRole { .. }) => "Your key does not allow this",
            Self::Refused(AdminError::Unavailable(_) | AdminError::Overloaded) => "Not right now",
            Self::NotFound(_) => "Nothing is here",
            Self::ForeignForm => "Nothing was changed",
            Self::Refused(_) | Self::Unreadable | Self::Rule(_) => "That did not work",
        }
    }
}

impl From<NoBody> for DashboardError {
    fn from(reason: NoBody) -> Self {
        match reason {
            NoBody::TooLarge => AdminError::TooLarge.into(),
            NoBody::EndsTooEarly => Self::Unreadable,
        }
    }
}

impl From<StoreError> for DashboardError {
    fn from(error: StoreError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<AdministrationError> for DashboardError {
    fn from(error: AdministrationError) -> Self {
        match error {
            AdministrationError::UnknownClient(_) => Self::NotFound("client"),
            AdministrationError::UnknownSecret(_) => Self::NotFound("secret"),
            AdministrationError::UnknownService { .. } => Self::NotFound("service"),
            AdministrationError::Store(error) => error.into(),
            refused => Self::Rule(refused.to_string()),
        }
    }
}

impl From<RotationError> for DashboardError {
    fn from(error: RotationError) -> Self {
        match error {
            RotationError::Store(error) => error.into(),
            RotationError::Revoke(error) => Self::Rule(error.to_string()),
            error => Self::Refused(AdminError::Unavailable(error.to_string())),
        }
    }
}

impl From<CryptoError> for DashboardError {
    fn from(error: CryptoError) -> Self {
        Self::Refused(AdminError::Unavailable(error.to_string()))
    }
}

impl ResponseError for DashboardError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::SignedOut { .. } => StatusCode::SEE_OTHER,
            Self::Refused(AdminError::OAuth(_)) | Self::Rule(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Refused(AdminError::ClientNotFound) | Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Refused(error) => error.status_code(),
            Self::ForeignForm => StatusCode::FORBIDDEN,
            Self::Unreadable => StatusCode::BAD_REQUEST,
        }
    }

    fn error_response(&self) -> HttpResponse {
        if let Self::SignedOut { back } = self {
            let query = form_urlencoded::Serializer::new(String::new()).append_pair("back", back).finish();
            let location = format!("/admin/sign-in?{query}");
            return layout::plain(StatusCode::SEE_OTHER).insert_header((LOCATION, location)).finish();
        }
        let advice = match self {
            Self::ForeignForm => "Go back, reload the page, and send the form again.",
            Self::Refused(AdminError::Unavailable(_) | AdminError::Overloaded) => "Try again in a moment.",
            _ => "",
        };
        let body = layout::bare(
            self.title(),
            html! {
                h1 { (self.title()) }
                p { (sentence(&self.to_string())) " " (advice) }
                p { a.button href="/admin/" { "To the overview" } }
            },
        );
        let mut response = layout::plain(self.status_code());
        if self.status_code() == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header((RETRY_AFTER, 5));
        }
        response.content_type("text/html; charset=utf-8").body(body.into_string())
    }
}

/// A reason as a sentence of its own. A name that it begins with, such as `event.create`, stays as it is.
#[must_use]
pub fn sentence(reason: &str) -> String {
    let mut letters = reason.chars();
    let is_word = reason.split(' ').next().is_some_and(|word| !word.trim_end_matches('.').contains('.'));
    let upper = |first: char| if is_word { first.to_uppercase().to_string() } else { first.to_string() };
    let first = letters.next().map(upper).unwrap_or_default();
    let end = if reason.ends_with(['.', '!', '?', ')']) { "" } else { "." };
    format!("{first}{}{end}", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_begins_with_a_capital_letter_unless_it_begins_with_a_name() {
        for (reason, said) in [
            ("tokens live too long", "Tokens live too long."),
            ("event.create is an action already", "event.create is an action already."),
            ("stop.", "Stop."),
            ("", "."),
        ] {
            assert_eq!(sentence(reason), said);
        }
    }
}
