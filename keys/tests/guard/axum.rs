use axum::body::{Body, to_bytes};
use axum::http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use axum::http::{Method, Request};
use axum::routing::{get, post};
use axum::{Extension, Router};
use m2mint_keys::guard::Caller;
use tower::ServiceExt as _;

use crate::cases::{self, Ask};
use crate::support::{Answer, Question, Routes};

async fn who(Extension(caller): Extension<Caller>) -> String {
    match caller {
        Caller::Session(session) => format!("session of {}", session.user_id),
        Caller::Service(token) => format!("service {}", token.client_id),
        Caller::UserDelegated(token) => format!("{} for {}", token.client_id, token.subject),
    }
}

struct Axum;

impl Ask for Axum {
    fn ask(&self, routes: Routes, question: Question) -> Answer {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let Routes { guard, view, create } = routes;
            let metadata = guard.metadata().unwrap().path();
            let app = Router::new()
                .route("/events", get(who).layer(view))
                .route("/events", post(who).layer(create))
                .route_service(metadata, guard.metadata_service());
            let request = match question.method {
                "METADATA" => Request::get(metadata),
                method => {
                    Request::builder().uri("/events").method(Method::from_bytes(method.as_bytes()).unwrap())
                }
            };
            let request = question.authorizations.into_iter().fold(request, |request, value| {
                request.header(AUTHORIZATION, HeaderValue::from_bytes(&value).unwrap())
            });
            let response = app.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            let challenge =
                response.headers().get(WWW_AUTHENTICATE).map(|value| value.to_str().unwrap().to_owned());
            let status = response.status().as_u16();
            let body = to_bytes(response.into_body(), 10_000).await.unwrap();
            Answer { status, challenge, body: String::from_utf8(body.to_vec()).unwrap() }
        })
    }
}

#[test]
fn services_come_in_with_the_right_scope() {
    cases::services_come_in_with_the_right_scope(&Axum);
}

#[test]
fn each_refusal_says_what_is_wrong() {
    cases::each_refusal_says_what_is_wrong(&Axum);
}

#[test]
fn users_with_a_session_come_in_where_they_may() {
    cases::users_with_a_session_come_in_where_they_may(&Axum);
}

#[test]
fn a_token_of_one_issuer_never_passes_as_one_of_the_other() {
    cases::a_token_of_one_issuer_never_passes_as_one_of_the_other(&Axum);
}

#[test]
fn the_metadata_tells_where_tokens_come_from() {
    cases::the_metadata_tells_where_tokens_come_from(&Axum);
}
