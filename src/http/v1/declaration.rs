//! `/admin/v1/declaration`: services and clients as files declare them.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Call;
use super::clients::after;
use super::idempotency::once;
use super::reply::{Expected, Reply, etag, page_size, read};
use super::types::{Change, Changes, Declaration, DeclarationPage, DeclarationWanted, FieldChange, Secret};
use crate::administration::declared::{self, Kind as StepKind, Rules, Step};
use crate::administration::{AdministrationError, Result as Administered};
use crate::http::clients::{DEFAULT_PAGE, LARGEST_PAGE, longest_lifetime, page_token};
use crate::http::error::problem::{Kind, Problem};
use crate::http::{State, client_json};
use crate::model::declaration::read::digest;
use crate::model::declaration::{self, Declared, write};
use crate::model::{ClientId, ClientSecret, Settings};
use crate::store::{clients, services};

/// The largest declaration: it is read into memory.
pub const LARGEST: usize = 1 << 20;
/// What stands before a service in a cursor, where a client has the time at which it was made.
const SERVICE: &str = "service ";

type Result<T> = std::result::Result<T, Problem>;

/// `GET /admin/v1/declaration`
///
/// # Errors
/// When a parameter makes no sense, or the file cannot be read.
pub async fn get(call: Call) -> Result<Reply> {
    let wanted: DeclarationWanted = call.query()?;
    let Call { state, .. } = call;
    let size = page_size(wanted.limit, DEFAULT_PAGE, LARGEST_PAGE)?;
    let cursor = wanted.cursor;
    let decoded = cursor.as_deref().and_then(|cursor| URL_SAFE_NO_PAD.decode(cursor).ok());
    let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
    let service = decoded.as_deref().and_then(|text| text.strip_prefix(SERVICE)).map(str::to_owned);
    let page = if cursor.is_none() || service.is_some() {
        let look = move |db: &_| services::page(db, service.as_deref().unwrap_or_default(), size);
        let (page, next) = state.look(move |store| store.read(look)).await?;
        let next = next.map_or_else(
            // From the first client on.
            || page_token(&(i64::MIN, String::new())),
            |audience| URL_SAFE_NO_PAD.encode(format!("{SERVICE}{audience}")),
        );
        part(page.iter().map(write::service).collect(), Some(next))
    } else {
        let after = after(cursor.as_deref())?;
        let look = move |db: &_| clients::page(db, after.as_ref(), size, None);
        let (page, next) = state.look(move |store| store.read(look)).await?;
        let texts = page.iter().map(|client| write::client(&client.id, &client.settings, &[])).collect();
        part(texts, next.as_ref().map(page_token))
    };
    Reply::ok(&page)
}

fn part(texts: Vec<String>, next_cursor: Option<String>) -> DeclarationPage {
    DeclarationPage { toml: texts.join("\n"), next_cursor }
}

/// `POST /admin/v1/declaration/plan`: sees that every step could be done, and does nothing.
///
/// # Errors
/// When a file has mistakes, or a rule refuses a step.
pub async fn post_plan(call: Call) -> Result<Reply> {
    let Call { caller, body, state, .. } = call;
    let (declared, rules) = wanted(&body.bytes()?, &state)?;
    let tried = state.change(move |store| declared::try_out(store, &declared, rules, &caller.0));
    let changes = render(&tried.await?);
    let tag = tag(&changes);
    Ok(Reply::ok(&Changes { changes, applied: false, client_secrets: BTreeMap::new() })?.tagged(tag))
}

/// `POST /admin/v1/declaration`: does all of it in one transaction, or nothing.
///
/// # Errors
/// When a file has mistakes, a rule refuses a step, or the plan is not the one that was seen; when the request does not say
/// which one that is.
pub async fn post(call: Call) -> Result<Reply> {
    let Call { caller, request, body, state } = call;
    let (body, expected) = (body.bytes()?, Expected::of(&request)?);
    let (declared, rules) = wanted(&body, &state)?;
    let (origin, here) = (caller.0.clone(), state.clone());
    let work = async move {
        let done = here.change(move |store| {
            let mut client_secrets = BTreeMap::new();
            let mut made = |id: &ClientId| {
                let secret = ClientSecret::generate()?;
                client_secrets.insert(id.to_string(), Secret::new(secret.expose()));
                Administered::Ok(secret.hash()?)
            };
            let may = |steps: &[Step]| {
                let seen = expected.check(&tag(&render(steps)));
                seen.map_err(|problem| {
                    Problem::new(problem.kind, AdministrationError::PlanChanged.to_string())
                })
            };
            let steps = declared::apply_seen::<Problem>(store, &declared, rules, &origin, may, &mut made)?;
            Ok::<_, Problem>(Changes { changes: render(&steps), applied: true, client_secrets })
        });
        Reply::ok(&done.await?)
    };
    once(&state, &request, &caller.0, &body, work).await
}

/// What a request declares, and by which rules it is followed.
fn wanted(body: &[u8], state: &State) -> Result<(Declared, Rules)> {
    let invalid = |detail: String| Problem::new(Kind::InvalidDeclaration, detail);
    let Declaration { files, prune, secret_sha256 } = read(body)?;
    let files: Vec<_> = files.into_iter().map(|file| (file.name, file.text)).collect();
    let mut declared = parse(&files).map_err(|problems| invalid(problems.join("\n")))?;
    for (id, hash) in secret_sha256 {
        let hash = digest(&hash).map_err(|error| Problem::invalid_field("secretSha256", error))?;
        let client = declared.clients.get_mut(id.as_str());
        client.ok_or_else(|| invalid(format!("secretSha256: {id} is not declared")))?.secrets.push(hash);
    }
    let rules = Rules { prune, longest: longest_lifetime(state), now: state.clock.wall() };
    Ok((declared, rules))
}

/// Reads files, each with the name by which mistakes in it are told.
///
/// # Errors
/// All of them.
pub fn parse(files: &[(String, String)]) -> std::result::Result<Declared, Vec<String>> {
    let declared = declaration::read(files)?;
    for (id, client) in &declared.clients {
        kept(&client.settings).map_err(|reason| vec![format!("clients.{id}.supertokens: {reason}")])?;
    }
    Ok(declared)
}

/// Whether the fields that are kept for SuperTokens are such fields, by the code that takes them over HTTP.
fn kept(settings: &Settings) -> std::result::Result<(), String> {
    let fields = client_json::Fields::parse(settings.extra.clone()).map_err(|error| error.to_string())?;
    let read = fields.change(Settings::default()).map_err(|error| error.to_string())?;
    let only = Settings {
        extra: settings.extra.clone(),
        token_lifetime: read.token_lifetime,
        ..Settings::default()
    };
    if read == only { Ok(()) } else { Err("what has a key of its own is not said there".into()) }
}

/// A plan as it is answered.
#[must_use]
pub fn render(steps: &[Step]) -> Vec<Change> {
    let change = |step: &Step| {
        let (kind, name) = step.subject();
        let action = match step.kind() {
            StepKind::Add => "add",
            StepKind::Change => "change",
            StepKind::Remove => "remove",
        };
        let fields = step.differences().into_iter().map(|(field, from, to)| FieldChange { field, from, to });
        Change { action: action.into(), kind: kind.into(), name: name.into(), fields: fields.collect() }
    };
    steps.iter().map(change).collect()
}

/// The tag of a plan.
fn tag(changes: &[Change]) -> String {
    // Texts: there is nothing in it that could fail to serialize.
    etag(&serde_json::to_vec(changes).unwrap_or_default())
}
