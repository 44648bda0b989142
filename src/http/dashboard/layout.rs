//! What every page has around it.

use actix_web::http::StatusCode;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use actix_web::{HttpResponse, HttpResponseBuilder};
use m2mint_keys::time::UnixTime;
use maud::{DOCTYPE, Markup, html};

use crate::http::dashboard::assets::{ICON, SCRIPT, STYLE};
use crate::http::dashboard::session::Notice;
use crate::http::dashboard::visitor::{Theme, Visitor};
use crate::model::Role;
use crate::model::audit::date_to_the_second;
use crate::rotation::keeper::in_words;

/// Nothing runs, is shown, or is sent anywhere but from and to this server; and nobody frames it.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
     form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Where a page belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// How it runs.
    Overview,
    /// Clients.
    Clients,
    /// What clients call.
    Services,
    /// Signing keys.
    Keys,
    /// Tokens.
    Inspector,
    /// The audit log.
    Audit,
    /// Admin keys.
    AdminKeys,
    /// The configuration.
    Settings,
}

impl Section {
    const ALL: [Self; 8] = [
        Self::Overview,
        Self::Clients,
        Self::Services,
        Self::Keys,
        Self::Inspector,
        Self::Audit,
        Self::AdminKeys,
        Self::Settings,
    ];

    /// What looking at it takes: as in the admin API.
    const fn role(self) -> Role {
        match self {
            Self::AdminKeys => Role::All,
            _ => Role::Read,
        }
    }

    const fn told(self) -> (&'static str, &'static str) {
        match self {
            Self::Overview => ("Overview", "/admin/"),
            Self::Clients => ("Clients", "/admin/clients"),
            Self::Services => ("Services", "/admin/services"),
            Self::Keys => ("Signing keys", "/admin/keys"),
            Self::Inspector => ("Token inspector", "/admin/inspect"),
            Self::Audit => ("Audit log", "/admin/audit"),
            Self::AdminKeys => ("Admin keys", "/admin/admin-keys"),
            Self::Settings => ("Settings", "/admin/settings"),
        }
    }
}

/// An answer with what every answer of the dashboard says to browsers.
#[must_use]
pub fn plain(status: StatusCode) -> HttpResponseBuilder {
    let mut response = HttpResponse::build(status);
    // Forms say where they come from: with no referrer at all, browsers would say `Origin: null`.
    response
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((X_FRAME_OPTIONS, "DENY"))
        .insert_header((REFERRER_POLICY, "same-origin"))
        .insert_header((HeaderName::from_static("cross-origin-opener-policy"), "same-origin"))
        .insert_header((HeaderName::from_static("cross-origin-resource-policy"), "same-origin"))
        .insert_header((
            HeaderName::from_static("permissions-policy"),
            "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        ));
    response
}

/// A document as an answer.
#[must_use]
pub fn answer(status: StatusCode, document: Markup) -> HttpResponse {
    plain(status).content_type("text/html; charset=utf-8").body(document.into_string())
}

/// On to another page, after a form was sent.
#[must_use]
pub fn go(to: &str) -> HttpResponse {
    plain(StatusCode::SEE_OTHER).insert_header((actix_web::http::header::LOCATION, to)).finish()
}

/// A page for somebody who is signed in.
#[must_use]
pub fn page(visitor: &Visitor, section: Section, title: &str, content: Markup) -> HttpResponse {
    answer(StatusCode::OK, document(visitor, section, title, content))
}

/// A page with a form: 422 when that was sent and there is a `problem` with it.
#[must_use]
pub fn form_page(
    visitor: &Visitor,
    section: Section,
    title: &str,
    problem: Option<&str>,
    content: Markup,
) -> HttpResponse {
    let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    answer(status, document(visitor, section, title, content))
}

/// A page as a document.
#[must_use]
pub fn document(visitor: &Visitor, section: Section, title: &str, content: Markup) -> Markup {
    let body = html! {
        a.skip href="#main" { "Skip to the content" }
        header.bar {
            (brand("/admin/"))
            nav.sections aria-label="Sections" {
                ul {
                    @for one in Section::ALL.into_iter().filter(|one| visitor.may(one.role())) {
                        @let (name, path) = one.told();
                        li { a href=(path) aria-current=[(one == section).then_some("page")] { (name) } }
                    }
                }
            }
            div.who {
                p.who-key { span.quiet { "Signed in with" } br; b { (visitor.name) } }
                p.who-roles { @for role in visitor.roles.names() { span.tag { (role) } " " } }
                (theme_switch(visitor.theme, visitor.page.as_deref().unwrap_or(section.told().1)))
                form method="post" action="/admin/sign-out" {
                    (csrf(visitor))
                    button.link type="submit" { "Sign out" }
                }
            }
        }
        main #main tabindex="-1" {
            @if let Some(Notice::Done(text)) = &visitor.notice {
                p.notice role="status" { (text) }
            }
            (content)
        }
    };
    html_document(title, visitor.theme, false, body)
}

/// A page without a session around it.
#[must_use]
pub fn bare(title: &str, content: Markup) -> Markup {
    bare_with(title, Theme::System, html! { (brand("/admin/")) (content) })
}

/// The same, in a theme, as it is given.
#[must_use]
pub fn bare_with(title: &str, theme: Theme, content: Markup) -> Markup {
    html_document(title, theme, true, html! { main.alone #main { (content) } })
}

fn html_document(title: &str, theme: Theme, alone: bool, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" data-theme=(theme.name()) {
            head {
                meta charset="utf-8";
                title { (title) " · m2mint" }
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content=(match theme {
                    Theme::System => "light dark",
                    Theme::Light => "light",
                    Theme::Dark => "dark",
                });
                meta name="robots" content="noindex";
                link rel="stylesheet" href=(STYLE.path());
                link rel="icon" type="image/svg+xml" href=(ICON.path());
                script src=(SCRIPT.path()) defer {}
            }
            body class=(if alone { "alone" } else { "framed" }) { (body) }
        }
    }
}

/// The name of the program, with its sign.
#[must_use]
pub fn brand(to: &str) -> Markup {
    html! {
        a.brand href=(to) {
            svg viewBox="0 0 32 32" width="28" height="28" aria-hidden="true" {
                rect.brand-back width="32" height="32" rx="8" {}
                path.brand-leaf d="M7 23C6 12 13 6 25 7c1 12-5 18-15 17l-1.500 2.500M9.500 23.500c3-5 6.500-8.500 10.500-11" {}
            }
            span { "m2mint" }
        }
    }
}

/// Light, dark, or as the system has it.
#[must_use]
pub fn theme_switch(theme: Theme, back: &str) -> Markup {
    html! {
        form.theme method="post" action="/admin/theme" {
            input type="hidden" name="back" value=(back);
            fieldset {
                legend.unseen { "Appearance" }
                @for one in Theme::ALL {
                    button type="submit" name="theme" value=(one.name()) aria-pressed=(if one == theme { "true" } else { "false" }) {
                        (one.name())
                    }
                }
            }
        }
    }
}

/// What a form of this session carries.
#[must_use]
pub fn csrf(visitor: &Visitor) -> Markup {
    html! { input type="hidden" name="csrf" value=(visitor.csrf); }
}

/// A moment, in words for people and in RFC 3339 for programs.
#[must_use]
pub fn time(at: UnixTime) -> Markup {
    let text = date_to_the_second(at);
    let (day, clock) = text.split_once('T').unwrap_or((&text, ""));
    html! { time datetime=(text) { span.day { (day) } " " span.clock { (clock.trim_end_matches('Z')) " UTC" } } }
}

/// A moment that may not be.
#[must_use]
pub fn time_or(at: Option<UnixTime>, otherwise: &str) -> Markup {
    html! {
        @match at {
            Some(at) => (time(at)),
            None => span.quiet { (otherwise) },
        }
    }
}

/// How far a moment is from now, in words.
#[must_use]
pub fn from_now(at: UnixTime, now: UnixTime) -> String {
    let wait = at.millis().saturating_sub(now.millis());
    if wait >= 0 { format!("in {}", in_words(Some(wait))) } else { format!("{} ago", in_words(Some(-wait))) }
}

/// A text that is copied as a whole.
#[must_use]
pub fn copyable(id: &str, text: &str, what: &str) -> Markup {
    html! {
        span.copyable {
            code id=(id) { (text) }
            button.copy type="button" hidden data-copy=(id) aria-label={ "Copy the " (what) } { "Copy" }
        }
    }
}

/// Pairs of parameters as a query.
#[must_use]
pub fn query(path: &str, pairs: &[(&str, &str)]) -> String {
    let pairs = pairs.iter().filter(|(_, value)| !value.is_empty());
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}
