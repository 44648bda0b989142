//! Whoever looks at a page: signed in, within the roles of an admin key.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::http::header::{COOKIE, HeaderMap, HeaderName};
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest};
use zeroize::Zeroizing;

use crate::http::State;
use crate::http::dashboard::error::DashboardError;
use crate::http::dashboard::session::{Look, Notice, is_own_form};
use crate::http::error::AdminError;
use crate::http::exchange;
use crate::http::request::{Body, content_type, is_media_type};
use crate::model::audit::Origin;
use crate::model::{Role, Roles};

/// The cookie where pages come over TLS: browsers take it from this host alone, and send it over TLS alone.
pub const SECURE_COOKIE: &str = "__Host-m2mint";
/// The cookie where they do not.
pub const PLAIN_COOKIE: &str = "m2mint_session";
const THEME_COOKIE: &str = "m2mint_theme";
/// What a page sends that keeps itself fresh.
const LIVE: HeaderName = HeaderName::from_static("x-live");

/// How pages look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// As the browser wants it.
    System,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Theme {
    /// Each one, as it is offered.
    pub const ALL: [Self; 3] = [Self::System, Self::Light, Self::Dark];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// What a request asks for.
    #[must_use]
    pub fn of(request: &HttpRequest) -> Self {
        cookie(request.headers(), THEME_COOKIE).and_then(Self::named).unwrap_or(Self::System)
    }

    /// The one with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// The cookie that keeps it.
    #[must_use]
    pub fn cookie(self) -> String {
        format!("{THEME_COOKIE}={}; Path=/admin/; Max-Age=31536000; SameSite=Strict; HttpOnly", self.name())
    }
}

/// Somebody who is signed in.
pub struct Visitor {
    /// The admin key by its name or its place in the configuration.
    pub name: String,
    /// What it may be used for.
    pub roles: Roles,
    /// What forms carry.
    pub csrf: Box<str>,
    /// What is to be said once.
    pub notice: Option<Notice>,
    /// How pages look.
    pub theme: Theme,
    /// The page, where it can be gone back to.
    pub page: Option<String>,
    session: Zeroizing<String>,
}

impl Visitor {
    /// Whether the key allows what takes `role`.
    #[must_use]
    pub fn may(&self, role: Role) -> bool {
        self.roles.allow(role)
    }

    /// Passes on who may look at what takes `role`.
    ///
    /// # Errors
    /// [`DashboardError::Refused`], who may not.
    pub fn demand(&self, request: &HttpRequest, role: Role) -> Result<(), DashboardError> {
        if self.may(role) {
            return Ok(());
        }
        let call = format!("{} {}", request.method(), request.path());
        Err(AdminError::MissingRole { holder: self.name.clone(), call, needed: role }.into())
    }

    /// Takes a form that changes something: the only way to an [`Origin`], without which nothing is changed.
    ///
    /// # Errors
    /// [`DashboardError`], when the key has not the role, or when the form is none of this session.
    pub fn submit(
        &self,
        request: &HttpRequest,
        state: &State,
        body: Body,
        role: Role,
    ) -> Result<Submitted, DashboardError> {
        let form = Form::read(request, body)?;
        if !is_own_form(&self.csrf, form.text("csrf")) {
            return Err(DashboardError::ForeignForm);
        }
        self.demand(request, role)?;
        Ok(Submitted { form, origin: exchange::origin(request, state, self.name.as_str()) })
    }

    /// Has the next page say something.
    pub fn tell(&self, state: &State, notice: Notice) {
        state.dashboard.sessions.tell(&self.session, notice, state.clock.steady());
    }

    /// Ends the session.
    pub fn leave(&self, state: &State) {
        state.dashboard.sessions.end(&self.session);
    }
}

impl FromRequest for Visitor {
    type Error = DashboardError;
    type Future = Ready<Result<Self, DashboardError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(visitor(request).ok_or_else(|| DashboardError::SignedOut { back: request.uri().to_string() }))
    }
}

fn visitor(request: &HttpRequest) -> Option<Visitor> {
    let state = request.app_data::<Data<State>>()?;
    let headers = request.headers();
    let (id, secure) = match cookie(headers, SECURE_COOKIE) {
        Some(id) => (id, true),
        None => (cookie(headers, PLAIN_COOKIE)?, false),
    };
    let page = request.uri().to_string();
    let is_live = headers.contains_key(LIVE);
    let shows = request.method() == Method::GET && !is_live;
    let look =
        Look { id, secure, is_use: !is_live, idle: state.dashboard.idle(), page: shows.then_some(&*page) };
    let keys = state.directory.admin_keys();
    let live = state.dashboard.sessions.find(&look, keys, state.clock.steady(), state.clock.wall())?;
    Some(Visitor {
        name: live.holder.name,
        roles: live.holder.roles,
        csrf: live.csrf,
        notice: live.notice,
        theme: Theme::of(request),
        page: (request.method() == Method::GET).then_some(page),
        session: Zeroizing::new(id.to_owned()),
    })
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let pairs =
        headers.get_all(COOKIE).filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(';'));
    pairs
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(given, _)| *given == name)
        .map(|(_, value)| value)
}

/// A form that was sent, and who sent it.
pub struct Submitted {
    /// Its fields.
    pub form: Form,
    /// Who, for the audit log.
    pub origin: Origin,
}

/// The fields of a form.
#[derive(Default)]
pub struct Form(Vec<(String, Zeroizing<String>)>);

impl Form {
    /// Reads a form.
    ///
    /// # Errors
    /// When it is none, or too large.
    pub fn read(request: &HttpRequest, body: Body) -> Result<Self, DashboardError> {
        let body = body.bytes()?;
        if !is_media_type(content_type(request), "application/x-www-form-urlencoded") {
            return Err(DashboardError::Unreadable);
        }
        Ok(Self::parse(&body))
    }

    /// The parameters of a query.
    #[must_use]
    pub fn query(request: &HttpRequest) -> Self {
        Self::parse(request.query_string().as_bytes())
    }

    fn parse(text: &[u8]) -> Self {
        let pairs = form_urlencoded::parse(text);
        Self(pairs.map(|(name, value)| (name.into_owned(), Zeroizing::new(value.into_owned()))).collect())
    }

    /// A field, without white space around it; empty when it is not there.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(given, _)| given == name).map_or("", |(_, value)| value.trim())
    }

    /// Whether a box is ticked.
    #[must_use]
    pub fn is_on(&self, name: &str) -> bool {
        !self.text(name).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_cookie_is_found_among_others_by_its_whole_name() {
        let request = TestRequest::default()
            .append_header(("cookie", "a=1; xm2mint_session=no; m2mint_session=yes; b"))
            .append_header(("cookie", "m2mint_theme=dark"))
            .to_http_request();
        assert_eq!(cookie(request.headers(), PLAIN_COOKIE), Some("yes"));
        assert_eq!(cookie(request.headers(), SECURE_COOKIE), None);
        assert_eq!(Theme::of(&request), Theme::Dark);
    }

    #[test]
    fn a_theme_that_does_not_exist_is_the_systems() {
        let request =
            TestRequest::default().append_header(("cookie", "m2mint_theme=\"><script>")).to_http_request();
        assert_eq!(Theme::of(&request), Theme::System);
    }
}
