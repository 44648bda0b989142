//! What happens, told as it happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use m2mint_keys::json;
use m2mint_keys::jwk::Kid;
use m2mint_keys::key_ring::Policy;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::services::Service;
use crate::administration::services::add_service;
use crate::cli::output::{self, CliError, Result};
use crate::cli::terminal::{self, BOLD, GREEN, RED};
use crate::cli::web::Web;
use crate::clock::Clock;
use crate::model::audit::Origin;
use crate::model::{AdminKey, Audience, Scope, Service as Registered};
use crate::rotation::keeper::Keeper;
use crate::rotation::view::{self, View};
use crate::store::Store;

/// How long a rotation may take.
const PATIENCE: Duration = Duration::from_secs(10);

const CLIENT: &str = "task-service";
const EVENT: [(&str, &str); 4] = [
    ("event.view", "sees events"),
    ("event.create", "makes an event"),
    ("event.update", "changes an event"),
    ("event.delete", "removes an event"),
];
const FILE: [(&str, &str); 4] = [
    ("file.view", "sees files"),
    ("file.create", "makes a file"),
    ("file.update", "changes a file"),
    ("file.delete", "removes a file"),
];

/// Everything that the story is played on.
pub struct Stage {
    pub url: String,
    pub issuer: String,
    pub web: Web,
    pub admin_key: AdminKey,
    pub store: Arc<Store>,
    pub keeper: Keeper,
    pub policy: Policy,
    pub runtime: tokio::runtime::Handle,
    pub calendar: Service,
    pub files: Service,
    /// Set when somebody wants it to end.
    pub stopped: AtomicBool,
}

/// A token, and what is told of it.
struct Bought {
    token: Zeroizing<String>,
    kid: String,
}

fn says(text: &str) {
    output::line(&format!("   {text}"));
}

impl Stage {
    /// Begins the next act, unless somebody has had enough.
    fn act(&self, title: &str) -> Result {
        if self.stopped.load(Ordering::Relaxed) {
            return Err(CliError::Failed("stopped. Nothing of it is left behind".into()));
        }
        output::line(&format!("\n{}", terminal::paint_output(BOLD, title)));
        Ok(())
    }

    fn keys(&self) -> Result<(String, String)> {
        let view = self.view()?;
        let ring = view.rings.first().ok_or_else(|| failed("there are no keys"))?;
        let name = |kid: Option<&Kid>| kid.map(|kid| short(kid.as_str())).unwrap_or_default();
        Ok((name(ring.signing()), name(ring.ring.keys.standby().map(|key| &key.kid))))
    }

    fn view(&self) -> Result<View> {
        let now = view::now(&self.store)?;
        Ok(View::read(&self.store, self.policy, now)?)
    }

    fn register(&self, audience: &str, description: &str, actions: &[(&str, &str)]) -> Result {
        let refused = |error: &dyn std::fmt::Display| failed(&error.to_string());
        let mut service = Registered::new(Audience::parse(audience).map_err(|error| refused(&error))?);
        service.description = description.to_owned();
        for (name, about) in actions {
            service.actions.insert(Scope::parse(name).map_err(|error| refused(&error))?, (*about).to_owned());
        }
        add_service(&self.store, &service, Clock::system().wall(), &Origin::of("demo"))?;
        let names: Vec<_> = actions.iter().map(|(name, _)| *name).collect();
        says(&format!("{audience:<6} {}", names.join(" ")));
        Ok(())
    }

    fn make_client(&self) -> Result<Zeroizing<String>> {
        let body = json!({
            "clientId": CLIENT,
            "clientName": "Task Service",
            "audience": ["event", "file"],
            "scope": "event.* file.view file.create",
            "audienceScopes": {"event": ["event.*"], "file": ["file.view", "file.create"]},
        });
        let key = ("api-key", self.admin_key.expose());
        let url = format!("{}/recipe/oauth/clients", self.url);
        let answer = self
            .web
            .send("POST", &url, &[key, JSON], body.to_string().into_bytes())
            .map_err(CliError::Failed)?;
        let made = json::object(&answer.body).unwrap_or_default();
        let secret = made.get("clientSecret").and_then(Value::as_str);
        secret
            .map(|secret| Zeroizing::new(secret.to_owned()))
            .ok_or_else(|| failed("the client could not be made"))
    }

    /// Asks for a token, and answers it, or the error code and what it means.
    fn buy(&self, secret: &str, audience: &str, scope: &str) -> Result<std::result::Result<Bought, String>> {
        let pair = Zeroizing::new(format!("{CLIENT}:{secret}"));
        let basic = Zeroizing::new(format!("Basic {}", STANDARD.encode(&*pair)));
        let form =
            format!("grant_type=client_credentials&audience={audience}&scope={}", scope.replace(' ', "+"));
        let url = format!("{}/oauth/token", self.issuer);
        let answer = self.web.post_form(&url, &basic, &form).map_err(CliError::Failed)?;
        let body = json::object(&answer.body).unwrap_or_default();
        let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        if answer.status != 200 {
            return Ok(Err(format!("{} {}: {}", answer.status, text("error"), text("error_description"))));
        }
        let token = Zeroizing::new(text("access_token"));
        let header =
            token.split('.').next().and_then(|part| URL_SAFE_NO_PAD.decode(part).ok()).unwrap_or_default();
        let header = json::object(&header).unwrap_or_default();
        let kid = header.get("kid").and_then(Value::as_str).unwrap_or_default();
        Ok(Ok(Bought { kid: short(kid), token }))
    }

    /// A token that the story needs.
    fn bought(&self, secret: &str, audience: &str, scope: &str) -> Result<Bought> {
        let bought = self.buy(secret, audience, scope)?.map_err(|why| failed(&why))?;
        says(&format!("buys a token for {audience} with {scope}, signed by {}", bought.kid));
        Ok(bought)
    }

    /// Calls a service, and tells what it answers, which has to be what the story says.
    fn call(&self, service: &Service, method: &str, path: &str, token: &Bought, expected: u16) -> Result {
        let url = format!("{}{path}", service.url);
        let bearer = Zeroizing::new(format!("Bearer {}", &*token.token));
        let answer = self.web.send(method, &url, &[("authorization", &bearer)], Vec::new());
        let answer = answer.map_err(CliError::Failed)?;
        let told = String::from_utf8_lossy(&answer.body).into_owned();
        let line = format!("{method:<6} {path:<18} at the {:<16}  -> {} {told}", service.name, answer.status);
        if answer.status != expected {
            return Err(failed(&format!("{line}, and not {expected}")));
        }
        let style = if expected == 200 { GREEN } else { RED };
        says(&terminal::paint_output(style, &line));
        Ok(())
    }

    /// Refused by m2mint itself.
    fn refused(&self, what: &str, secret: &str, audience: &str, scope: &str) -> Result {
        match self.buy(secret, audience, scope)? {
            Ok(_) => Err(failed(&format!("{what}, and is not refused"))),
            Err(why) => {
                says(&terminal::paint_output(RED, &format!("{what}  -> {why}")));
                Ok(())
            }
        }
    }

    fn rotate(&self) -> Result {
        let before = self.keys()?.0;
        self.runtime.block_on(self.keeper.rotate(Origin::of("demo")))?;
        let given_up = Instant::now() + PATIENCE;
        while self.keys()?.0 == before {
            if Instant::now() > given_up {
                return Err(failed("the rotation did not happen"));
            }
            self.runtime.block_on(self.keeper.settle())?;
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

const JSON: (&str, &str) = ("content-type", "application/json");

fn failed(why: &str) -> CliError {
    CliError::Failed(why.to_owned())
}

/// Enough of a key id to tell it from others.
fn short(kid: &str) -> String {
    kid.chars().take(8).collect()
}

/// Tells the story.
///
/// # Errors
/// When something does not go as it says.
pub fn tell(stage: &Stage) -> Result {
    let Stage { calendar, files, .. } = stage;
    output::line(
        "A Task Service schedules tasks: an event at the Calendar Service, a file at the File Service.",
    );

    stage.act("m2mint starts")?;
    let (signs, next) = stage.keys()?;
    says(&format!("at {}, with a database, a master key, and two signing keys:", stage.issuer));
    says(&format!("{signs} signs; {next} is the next one, published already, and signs nothing yet"));

    stage.act("Services say what they understand: m2mint services add event --action event.view ...")?;
    stage.register("event", "Calendar Service", &EVENT)?;
    stage.register("file", "File Service", &FILE)?;

    stage.act("The Task Service becomes a client: m2mint clients create --id task-service ...")?;
    let secret = stage.make_client()?;
    says("event  event.*");
    says("file   file.view file.create");
    says("it gets a secret; m2mint keeps only a hash of that");

    stage.act("The services fetch the key set, once")?;
    for service in [calendar, files] {
        says(&format!(
            "the {} has {} keys, and checks tokens by itself from now on",
            service.name,
            service.fetch()?
        ));
    }

    stage.act("A task is scheduled")?;
    let create = stage.bought(&secret, "event", "event.create")?;
    stage.call(calendar, "POST", "/events", &create, 200)?;
    let file = stage.bought(&secret, "file", "file.create")?;
    stage.call(files, "POST", "/files/task-1.txt", &file, 200)?;

    stage.act("A token is good for one service and for what it says, and for nothing else")?;
    stage.call(files, "GET", "/files/task-1.txt", &create, 401)?;
    stage.call(calendar, "DELETE", "/events/1", &create, 403)?;
    stage.refused("asks for file.delete at file", &secret, "file", "file.delete")?;
    stage.refused("asks for a token for billing", &secret, "billing", "event.view")?;
    stage.refused("comes with a wrong secret   ", "m2s_wrong", "event", "event.view")?;

    stage.act("The signing key is rotated: m2mint keys rotate")?;
    stage.rotate()?;
    let (signs, next) = stage.keys()?;
    says(&format!("{signs} signs from now on; {next} is the next one"));
    says(&format!(
        "{} signs no more, and its private half is erased; it is published until its last token has expired",
        create.kid
    ));

    stage.act("Nobody has noticed")?;
    stage.call(calendar, "POST", "/events", &create, 200)?;
    let rest = stage.bought(&secret, "event", "event.view event.update event.delete")?;
    stage.call(calendar, "GET", "/events/1", &rest, 200)?;
    stage.call(calendar, "PUT", "/events/1", &rest, 200)?;
    stage.call(calendar, "DELETE", "/events/1", &rest, 200)?;
    let view = stage.bought(&secret, "file", "file.view")?;
    stage.call(files, "GET", "/files/task-1.txt", &view, 200)?;
    if (calendar.fetches(), files.fetches()) != (1, 1) || rest.kid == create.kid {
        return Err(failed("the next key was not known before it signed"));
    }
    says(
        "the token of before is good, and so are new ones, for services that fetched the key set before the rotation",
    );

    stage.act(
        "Rotated again at once, a service that holds the old key set would refuse good tokens: so it waits",
    )?;
    stage.runtime.block_on(stage.keeper.rotate(Origin::of("demo")))?;
    let view = stage.view()?;
    let ring = view.rings.first().ok_or_else(|| failed("there are no keys"))?;
    says(&view.next(ring));
    if ring.signing().map(|kid| short(kid.as_str())) != Some(signs) {
        return Err(failed("the second rotation did not wait"));
    }
    Ok(())
}
