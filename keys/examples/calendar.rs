//! The Calendar Service, with actix-web: every route says which scope it takes.
//!
//! ISSUER         who issues its access tokens, such as http://127.0.0.1:3567/auth
//! LISTEN         where it listens, such as 127.0.0.1:3001
//! SESSION_JWKS   a file with the keys of SuperTokens sessions; users with a session may then look at events
//! SESSION_ISSUER the `iss` of those sessions
//!
//! m2mint knows it as the audience `event`.

use std::collections::BTreeMap;
use std::env;
use std::time::Duration;

use actix_web::web::{Data, Json, Path, delete, get, post, put};
use actix_web::{App, HttpResponse, HttpServer, Responder};
use m2mint_keys::guard::{Caller, Guard};
use m2mint_keys::jwk::JwkSet;
use m2mint_keys::remote::RemoteJwks;
use m2mint_keys::verify::Policy;
use m2mint_keys::verify::session::SessionPolicy;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

type Failure = Box<dyn std::error::Error>;

#[derive(Clone, Serialize, Deserialize)]
struct Event {
    title: String,
    /// RFC 3339.
    at: String,
    #[serde(default)]
    created_by: String,
}

#[derive(Default)]
struct Calendar {
    events: Mutex<(u32, BTreeMap<u32, Event>)>,
}

async fn view(calendar: Data<Calendar>, caller: Caller) -> impl Responder {
    if let Caller::Session(session) = &caller {
        println!("calendar: the user {} looks at the events", session.user_id);
    }
    Json(calendar.events.lock().1.clone())
}

async fn create(calendar: Data<Calendar>, caller: Caller, Json(mut event): Json<Event>) -> impl Responder {
    event.created_by = caller.client_id().unwrap_or_default().to_owned();
    let mut events = calendar.events.lock();
    events.0 += 1;
    let id = events.0;
    println!("calendar: {} created the event {id}, {:?}", event.created_by, event.title);
    events.1.insert(id, event.clone());
    HttpResponse::Created().insert_header(("location", format!("/events/{id}"))).json(event)
}

async fn update(calendar: Data<Calendar>, id: Path<u32>, Json(event): Json<Event>) -> impl Responder {
    match calendar.events.lock().1.get_mut(&id) {
        Some(known) => {
            *known = Event { created_by: known.created_by.clone(), ..event };
            HttpResponse::NoContent()
        }
        None => HttpResponse::NotFound(),
    }
}

async fn remove(calendar: Data<Calendar>, id: Path<u32>) -> impl Responder {
    match calendar.events.lock().1.remove(&id) {
        Some(_) => HttpResponse::NoContent(),
        None => HttpResponse::NotFound(),
    }
}

fn guard() -> Result<Guard, Failure> {
    let (issuer, listen) = (env::var("ISSUER")?, env::var("LISTEN")?);
    // Everything runs on one machine here: there is one clock.
    let policy = Policy { leeway: Duration::from_secs(1), ..Policy::new(&*issuer, "event") };
    let guard = Guard::with(RemoteJwks::discover(&issuer)?, policy).with_metadata(
        &format!("http://{listen}"),
        &["event.view", "event.create", "event.update", "event.delete"],
    )?;
    let Ok(file) = env::var("SESSION_JWKS") else { return Ok(guard) };
    let keys = RemoteJwks::fixed(JwkSet::parse(&std::fs::read(file)?)?);
    let policy = SessionPolicy { issuer: env::var("SESSION_ISSUER")?, leeway: Duration::from_secs(1) };
    Ok(guard.with_sessions(keys, policy))
}

#[actix_web::main]
async fn main() -> Result<(), Failure> {
    let guard = guard()?;
    let calendar = Data::new(Calendar::default());
    let server = HttpServer::new(move || {
        App::new()
            .app_data(calendar.clone())
            .configure(|app| guard.serve_metadata(app))
            .route("/events", get().to(view).wrap(guard.require(["event.view"]).or_session()))
            .route("/events", post().to(create).wrap(guard.require(["event.create"])))
            .route("/events/{id}", put().to(update).wrap(guard.require(["event.update"])))
            .route("/events/{id}", delete().to(remove).wrap(guard.require(["event.delete"])))
    });
    server.workers(1).bind(env::var("LISTEN")?)?.run().await?;
    Ok(())
}
