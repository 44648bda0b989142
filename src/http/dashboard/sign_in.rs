//! Signing in with an admin key, and out again; and how pages look.

use actix_web::http::StatusCode;
use actix_web::http::header::{LOCATION, ORIGIN, RETRY_AFTER, SET_COOKIE};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use m2mint_keys::crypto;
use maud::{Markup, html};

use super::Answer;
use crate::config::LONGEST_SESSION;
use crate::http::dashboard::error::{DashboardError, sentence};
use crate::http::dashboard::forms::told_problem;
use crate::http::dashboard::layout;
use crate::http::dashboard::visitor::{Form, PLAIN_COOKIE, SECURE_COOKIE, Theme, Visitor};
use crate::http::error::AdminError;
use crate::http::request::Body;
use crate::http::{State, exchange};
use crate::limits::Door;
use crate::model::Role;
use crate::model::audit::{Action, Entry, Origin};
use crate::store::admin_keys::AdminKeyHash;
use crate::store::{StoreError, audit};

/// `GET /admin/sign-in`
pub async fn get(request: HttpRequest, visitor: Result<Visitor, DashboardError>) -> HttpResponse {
    let query = Form::query(&request);
    let back = page_of_ours(query.text("back"));
    if visitor.is_ok() {
        return layout::go(&back);
    }
    layout::answer(StatusCode::OK, page(&request, &back, None))
}

/// `POST /admin/sign-in`
///
/// # Errors
/// When the file cannot be written: nobody is let in of whom the audit log says nothing.
pub async fn post(request: HttpRequest, body: Body, state: Data<State>) -> Answer {
    let form = Form::read(&request, body)?;
    let back = page_of_ours(form.text("back"));
    let presented = form.text("key");
    let (source, now) = (exchange::source(&request, &state), state.clock.steady());
    let leave = match state.limiter.admit(Door::Admin, source, presented, || false, now) {
        Ok(leave) => leave,
        Err(wait) => {
            let mut response = refused(&request, &back, AdminError::GuessedTooOften(wait));
            let seconds = wait.seconds().into();
            response.headers_mut().insert(RETRY_AFTER, seconds);
            return Ok(response);
        }
    };
    let holder = match state.directory.admin_keys().find(presented, state.clock.wall()) {
        Ok(holder) => holder,
        Err(why) => {
            state.limiter.wrong(&leave);
            return Ok(refused(&request, &back, AdminError::InvalidApiKey(why)));
        }
    };
    state.limiter.right(&leave, now);
    let origin = exchange::origin(&request, &state, holder.name.as_str());
    note(&state, origin, Action::SessionBegin).await?;
    let secure = is_secure(&request, &state);
    let key = AdminKeyHash(crypto::sha256(presented.as_bytes()));
    let id = state.dashboard.sessions.begin(key, holder, secure, now)?;
    let age = LONGEST_SESSION.as_secs();
    let cookie = if secure {
        format!("{SECURE_COOKIE}={}; Path=/; Max-Age={age}; Secure; HttpOnly; SameSite=Strict", *id)
    } else {
        format!("{PLAIN_COOKIE}={}; Path=/admin/; Max-Age={age}; HttpOnly; SameSite=Strict", *id)
    };
    let mut response = layout::plain(StatusCode::SEE_OTHER);
    Ok(response.insert_header((LOCATION, back)).insert_header((SET_COOKIE, cookie)).finish())
}

/// `POST /admin/sign-out`
///
/// # Errors
/// When the form is not of this session.
pub async fn sign_out(visitor: Visitor, request: HttpRequest, body: Body, state: Data<State>) -> Answer {
    let submitted = visitor.submit(&request, &state, body, Role::Read)?;
    visitor.leave(&state);
    // It is over, whether the file can say so or not.
    if let Err(error) = note(&state, submitted.origin, Action::SessionEnd).await {
        tracing::warn!(%error, "the end of a session is not in the audit log");
    }
    let gone = |name: &str, rest: &str| format!("{name}=; Max-Age=0; HttpOnly; SameSite=Strict; {rest}");
    let mut response = layout::plain(StatusCode::SEE_OTHER);
    response
        .insert_header((LOCATION, "/admin/sign-in"))
        .append_header((SET_COOKIE, gone(SECURE_COOKIE, "Path=/; Secure")))
        .append_header((SET_COOKIE, gone(PLAIN_COOKIE, "Path=/admin/")));
    Ok(response.finish())
}

/// `POST /admin/theme`
///
/// # Errors
/// When the form cannot be read.
pub async fn theme(request: HttpRequest, body: Body) -> Answer {
    let form = Form::read(&request, body)?;
    let theme = Theme::named(form.text("theme")).ok_or(DashboardError::Unreadable)?;
    let mut response = layout::plain(StatusCode::SEE_OTHER);
    response.insert_header((LOCATION, page_of_ours(form.text("back"))));
    Ok(response.insert_header((SET_COOKIE, theme.cookie())).finish())
}

async fn note(state: &State, origin: Origin, action: Action) -> Result<(), StoreError> {
    let now = state.clock.wall();
    state.change(move |store| store.write(|db| audit::append(db, &Entry::new(now, &origin, action)))).await
}

/// Whether the browser came over TLS, to us or to a proxy: it says so with each form, and the guards have compared that with
/// the host. A program that says nothing is taken at what this server speaks.
fn is_secure(request: &HttpRequest, state: &State) -> bool {
    match request.headers().get(ORIGIN) {
        Some(origin) => origin.as_bytes().starts_with(b"https://"),
        None => state.dashboard.speaks_tls,
    }
}

/// A page of the dashboard, and of nobody else; the overview, where it is none.
fn page_of_ours(path: &str) -> String {
    let plain = |c: char| matches!(c, '\x21'..='\x7e') && c != '\\';
    let is_ours = path.starts_with("/admin/") && !path.contains("//") && !path.contains("/../");
    let leads_on = !path.starts_with("/admin/sign-in") && path.chars().all(plain);
    if is_ours && leads_on { path.to_owned() } else { "/admin/".into() }
}

fn refused(request: &HttpRequest, back: &str, error: AdminError) -> HttpResponse {
    let text = match &error {
        AdminError::InvalidApiKey(_) => "This key is not accepted.".to_owned(),
        AdminError::GuessedTooOften(wait) => {
            format!("Too many wrong keys came from here. Try again in {} s.", wait.seconds())
        }
        other => sentence(&other.to_string()),
    };
    let error = DashboardError::from(error);
    let status = actix_web::ResponseError::status_code(&error);
    let mut response = HttpResponse::from_error(error);
    let shown = layout::answer(status, page(request, back, Some(&text)));
    let (head, body) = shown.into_parts();
    // The error stays with the answer: the audit log and the metrics read it there.
    *response.headers_mut() = head.headers().clone();
    response.set_body(body)
}

fn page(request: &HttpRequest, back: &str, problem: Option<&str>) -> Markup {
    let theme = Theme::of(request);
    layout::bare_with(
        "Sign in",
        theme,
        html! {
            (layout::brand("/admin/"))
            h1 { "Sign in" }
            (told_problem(problem))
            form.stack method="post" action="/admin/sign-in" {
                input type="hidden" name="back" value=(back);
                // For password managers: there is one account.
                input type="text" name="username" value="m2mint" autocomplete="username" hidden;
                label for="key" { "Admin key" }
                input #key type="password" name="key" required autofocus autocomplete="current-password"
                    aria-invalid=[problem.map(|_| "true")] aria-describedby=(if problem.is_some() { "problem key-help" } else { "key-help" });
                p.help #key-help {
                    "The first start showed one. Another is made with " code { "m2mint admin-keys add NAME --role read" } "."
                }
                button.primary type="submit" { "Sign in" }
            }
            (layout::theme_switch(theme, "/admin/"))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere_after_signing_in() {
        for path in ["/admin/", "/admin/keys", "/admin/client?id=a%2Fb&x=1"] {
            assert_eq!(page_of_ours(path), path);
        }
        for path in [
            "",
            "https://evil.example/",
            "//evil.example/admin/",
            "/\\evil.example",
            "/admin//evil.example",
            "/admin/\\evil.example",
            "/admin/../x",
            "/admin/sign-in?back=%2Fadmin%2F",
            "/administration",
            "/admin/\r\nset-cookie: a=b",
            "javascript:alert(1)",
        ] {
            assert_eq!(page_of_ours(path), "/admin/", "{path}");
        }
    }
}
