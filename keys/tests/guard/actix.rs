use actix_web::http::Method;
use actix_web::http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::{App, web};
use m2mint_keys::guard::Caller;

use crate::cases::{self, Ask};
use crate::support::{Answer, Issuer, Question, Routes};

async fn who(caller: Caller) -> String {
    match caller {
        Caller::Session(session) => format!("session of {}", session.user_id),
        Caller::Service(token) => format!("service {}", token.client_id),
        Caller::UserDelegated(token) => format!("{} for {}", token.client_id, token.subject),
    }
}

struct Actix;

impl Ask for Actix {
    fn ask(&self, routes: Routes, question: Question) -> Answer {
        actix_web::rt::System::new().block_on(async {
            let Routes { guard, view, create } = routes;
            let app = App::new()
                .configure(|app| guard.serve_metadata(app))
                .route("/events", web::get().to(who).wrap(view))
                .route("/events", web::post().to(who).wrap(create));
            let app = init_service(app).await;
            let request = match question.method {
                "METADATA" => TestRequest::get().uri(guard.metadata().unwrap().path()),
                method => {
                    TestRequest::with_uri("/events").method(Method::from_bytes(method.as_bytes()).unwrap())
                }
            };
            let request = question.authorizations.into_iter().fold(request, |request, value| {
                request.append_header((AUTHORIZATION, HeaderValue::from_bytes(&value).unwrap()))
            });
            let response = call_service(&app, request.to_request()).await;
            let challenge =
                response.headers().get(WWW_AUTHENTICATE).map(|value| value.to_str().unwrap().to_owned());
            Answer {
                status: response.status().as_u16(),
                challenge,
                body: String::from_utf8(read_body(response).await.to_vec()).unwrap(),
            }
        })
    }
}

#[test]
fn services_come_in_with_the_right_scope() {
    cases::services_come_in_with_the_right_scope(&Actix);
}

#[test]
fn each_refusal_says_what_is_wrong() {
    cases::each_refusal_says_what_is_wrong(&Actix);
}

#[test]
fn users_with_a_session_come_in_where_they_may() {
    cases::users_with_a_session_come_in_where_they_may(&Actix);
}

#[test]
fn a_token_of_one_issuer_never_passes_as_one_of_the_other() {
    cases::a_token_of_one_issuer_never_passes_as_one_of_the_other(&Actix);
}

#[test]
fn the_metadata_tells_where_tokens_come_from() {
    cases::the_metadata_tells_where_tokens_come_from(&Actix);
}

#[test]
fn a_handler_that_takes_a_caller_is_not_reached_without_a_guard() {
    actix_web::rt::System::new().block_on(async {
        let app = init_service(App::new().route("/", web::get().to(who))).await;
        let token = Issuer::new().token("event", &[]);
        let request = TestRequest::get().uri("/").insert_header((AUTHORIZATION, format!("Bearer {token}")));
        assert_eq!(call_service(&app, request.to_request()).await.status().as_u16(), 500);
    });
}
