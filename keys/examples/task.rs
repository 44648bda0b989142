//! The Task Service: schedules each task that it reads from its input, by creating an event at the Calendar Service and a
//! file at the File Service. Each of the two gets a token of its own, for what is asked of it and no more.
//!
//! ISSUER              who issues access tokens, such as http://127.0.0.1:3567/auth
//! CLIENT_ID           as which client
//! CLIENT_SECRET_FILE  a file with its secret
//! CALENDAR, FILES     where the two services are

use std::env;

use m2mint_keys::client::{Secret, TokenSource};
use reqwest_middleware::ClientWithMiddleware;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};

type Failure = Box<dyn std::error::Error>;

struct Tasks {
    calendar: ClientWithMiddleware,
    files: ClientWithMiddleware,
}

impl Tasks {
    fn new() -> Result<Self, Failure> {
        let (issuer, client_id) = (env::var("ISSUER")?, env::var("CLIENT_ID")?);
        let secret = Secret::file(env::var("CLIENT_SECRET_FILE")?);
        let tokens = |audience, scopes: &[&str]| {
            TokenSource::new(&issuer, &client_id, secret.clone(), audience, scopes)
        };
        Ok(Self {
            calendar: tokens("event", &["event.create"])?.client(),
            files: tokens("file", &["file.create"])?.client(),
        })
    }

    async fn schedule(&self, title: &str) -> Result<(), Failure> {
        let event = json!({"title": title, "at": "2030-01-01T10:00:00Z"});
        let events = format!("{}/events", env::var("CALENDAR")?);
        self.calendar.post(events).json(&event).send().await?.error_for_status()?;
        let file = format!("{}/files/{title}.txt", env::var("FILES")?);
        self.files.put(file).body("to do\n").send().await?.error_for_status()?;
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let tasks = Tasks::new()?;
    let mut titles = BufReader::new(stdin()).lines();
    while let Some(title) = titles.next_line().await? {
        match tasks.schedule(&title).await {
            Ok(()) => println!("task: scheduled {title:?}"),
            Err(error) => println!("task: cannot schedule {title:?}: {error}"),
        }
    }
    Ok(())
}
