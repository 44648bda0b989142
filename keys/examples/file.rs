//! The File Service, with axum: every route says which scope it takes.
//!
//! ISSUER  who issues its access tokens, such as http://127.0.0.1:3567/auth
//! LISTEN  where it listens, such as 127.0.0.1:3002
//!
//! m2mint knows it as the audience `file`.

use std::collections::BTreeMap;
use std::env;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, put};
use axum::{Extension, Json, Router};
use m2mint_keys::guard::{Caller, Guard};
use m2mint_keys::remote::RemoteJwks;
use m2mint_keys::verify::Policy;
use parking_lot::Mutex;
use tokio::net::TcpListener;

type Failure = Box<dyn std::error::Error>;
type Files = Arc<Mutex<BTreeMap<String, String>>>;

async fn list(State(files): State<Files>) -> Json<Vec<String>> {
    Json(files.lock().keys().cloned().collect())
}

async fn read(State(files): State<Files>, Path(name): Path<String>) -> Result<String, StatusCode> {
    files.lock().get(&name).cloned().ok_or(StatusCode::NOT_FOUND)
}

async fn write(
    State(files): State<Files>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    content: String,
) -> StatusCode {
    println!("file: {} wrote {name:?}", caller.client_id().unwrap_or_default());
    match files.lock().insert(name, content) {
        Some(_) => StatusCode::NO_CONTENT,
        None => StatusCode::CREATED,
    }
}

async fn remove(State(files): State<Files>, Path(name): Path<String>) -> StatusCode {
    match files.lock().remove(&name) {
        Some(_) => StatusCode::NO_CONTENT,
        None => StatusCode::NOT_FOUND,
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let (issuer, listen) = (env::var("ISSUER")?, env::var("LISTEN")?);
    // Everything runs on one machine here: there is one clock.
    let policy = Policy { leeway: Duration::from_secs(1), ..Policy::new(&*issuer, "file") };
    let guard = Guard::with(RemoteJwks::discover(&issuer)?, policy)
        .with_metadata(&format!("http://{listen}"), &["file.view", "file.create", "file.delete"])?;
    let metadata = guard.metadata().map_or("/", |metadata| metadata.path());
    let app = Router::new()
        .route("/files", get(list).layer(guard.require(["file.view"])))
        .route("/files/{name}", get(read).layer(guard.require(["file.view"])))
        .route("/files/{name}", put(write).layer(guard.require(["file.create"])))
        .route("/files/{name}", delete(remove).layer(guard.require(["file.delete"])))
        .route_service(metadata, guard.metadata_service())
        .with_state(Files::default());
    axum::serve(TcpListener::bind(listen).await?, app).await?;
    Ok(())
}
