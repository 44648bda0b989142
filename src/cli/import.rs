//! `m2mint import supertokens`: clients of a SuperTokens core, read through its own API.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::administration::AdministrationError;
use crate::administration::imported::{Became, Import, import_client};
use crate::cli::apply::file_name;
use crate::cli::beside::Beside;
use crate::cli::output::{self, CliError, Result};
use crate::cli::web::{self, Trust, Web};
use crate::cli::{Settings, config, table};
use crate::clock::Clock;
use crate::http::client_json::{Fields, defines};
use crate::http::token::GRANT_TYPE;
use crate::model::audit::Origin;
use crate::model::{ClientId, ClientSecret, Settings as ClientSettings, Span};
use crate::store::Store;

/// Where the key of the core is looked for when no file is named.
const KEY_VARIABLE: &str = "SUPERTOKENS_API_KEY";
/// How many clients are asked for at a time.
const PAGE: usize = 50;
/// More pages than this are none that a core gives.
const MOST_PAGES: usize = 100_000;
/// The version of the core's API whose shapes these are.
const CDI_VERSION: &str = "5.2";

/// From where to import.
#[derive(Debug, Subcommand)]
pub enum From {
    /// The machine clients of a SuperTokens core, with their ids, settings and, where it gives them, secrets
    #[command(
        after_help = "The key of the core comes from the variable SUPERTOKENS_API_KEY, or from --api-key-file; none is sent without.\n\
                      It can be run again: what is here as it is there is left alone, and nothing is removed.\n\
                      A client or a secret that was removed here comes back as long as it is there.\n\n\
                      Example: m2mint import supertokens --url http://127.0.0.1:3567 --dry-run"
    )]
    Supertokens(Supertokens),
}

/// How to import from a SuperTokens core.
#[derive(Debug, Args)]
pub struct Supertokens {
    /// The core, as `connectionURI` names it
    #[arg(long, value_name = "URL")]
    url: String,
    /// File with the key of its API
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Folder with the secrets that the core does not give: a file for each, named as the client id
    #[arg(long, value_name = "DIR")]
    secrets_dir: Option<PathBuf>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Whose certificate the core may show
    #[command(flatten)]
    trust: Trust,
}

/// What became of one client, and what of it could not be carried over.
struct Told {
    id: String,
    became: &'static str,
    lost: Vec<String>,
}

/// Runs the verb.
///
/// # Errors
/// When the core cannot be read, or a client could not be carried over at all.
pub fn run(settings: &Settings, from: &From, as_json: bool) -> Result {
    let From::Supertokens(arguments) = from;
    let config = config::load(settings)?;
    let store = Beside::open(&config.database)?;
    let core = Core::of(arguments, config.plain_http)?;
    let origin = Origin::command_line();
    let import = Import {
        from: &core.url,
        now: Clock::system().wall(),
        longest: Span(config.max_lifetime),
        origin: &origin,
        dry_run: arguments.dry_run,
    };
    let mut told = Vec::new();
    for client in core.clients()? {
        told.push(carry_over(&store, client, arguments.secrets_dir.as_deref(), &import)?);
    }
    if !arguments.dry_run {
        store.settle();
    }
    let left = told.iter().filter(|client| client.became == LEFT).count();
    if as_json {
        let clients = told.iter().map(
            |client| json!({"clientId": client.id, "became": client.became, "notCarriedOver": client.lost}),
        );
        output::json(&json!({"clients": clients.collect::<Vec<_>>(), "dryRun": arguments.dry_run}))?;
    } else {
        print(&told, arguments.dry_run);
    }
    match left {
        0 => Ok(()),
        left => Err(CliError::Refused(format!("{left} of {} clients could not be carried over", told.len()))),
    }
}

/// What is told of a client that stays behind.
const LEFT: &str = "left out";

fn print(told: &[Told], dry_run: bool) {
    if told.is_empty() {
        return output::line("the core has no clients");
    }
    let rows: Vec<_> = told
        .iter()
        .map(|client| vec![client.id.clone(), client.became.to_owned(), client.lost.join("; ")])
        .collect();
    table::print(&["CLIENT ID", "BECAME", "NOT CARRIED OVER"], &rows);
    if dry_run {
        output::line("nothing was changed: this was a dry run");
    }
}

fn carry_over(
    store: &Store,
    mut client: Map<String, Value>,
    folder: Option<&Path>,
    import: &Import<'_>,
) -> Result<Told> {
    let id = client.get("clientId").and_then(Value::as_str).unwrap_or_default().to_owned();
    let left = |lost: String| Told { id: id.clone(), became: LEFT, lost: vec![lost] };
    let Ok(client_id) = ClientId::parse(&id) else {
        return Ok(left("its id is not one that a client can have".into()));
    };
    let mut lost = Vec::new();
    let grants: Vec<_> = texts(&client, "grantTypes").map(str::to_owned).collect();
    if !grants.iter().any(|grant| grant == GRANT_TYPE) {
        return Ok(left(format!("it may not use {GRANT_TYPE}, and there is nothing else here")));
    }
    if grants.len() > 1 {
        let others: Vec<_> = grants.iter().map(String::as_str).filter(|grant| *grant != GRANT_TYPE).collect();
        lost.push(format!("grant types {}", others.join(", ")));
        client.insert("grantTypes".into(), json!([GRANT_TYPE]));
    }
    let method = client.get("tokenEndpointAuthMethod").and_then(Value::as_str).unwrap_or_default();
    if !matches!(method, "" | "client_secret_post" | "client_secret_basic") {
        lost.push(format!("tokenEndpointAuthMethod {method}: it has to show a secret here"));
        client.remove("tokenEndpointAuthMethod");
    }
    let given = client.remove("clientSecret").map(|secret| match secret {
        Value::String(text) => Zeroizing::new(text),
        _ => Zeroizing::default(),
    });
    let secret = match given.filter(|secret| !secret.is_empty()) {
        Some(secret) => Some(secret),
        None => secret_in(folder, &client_id)?,
    };
    let secret = match secret.map(|secret| ClientSecret::chosen(&secret)).transpose() {
        Ok(secret) => secret,
        Err(error) => {
            lost.push(format!("its secret: {error}"));
            None
        }
    };
    let is_plain = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    };
    client.retain(|name, value| {
        let is_known = defines(name);
        if !is_known && !is_plain(value) && !WITHOUT_MEANING.contains(&name.as_str()) {
            lost.push(name.clone());
        }
        is_known
    });
    let change = |settings: ClientSettings| {
        let fields = Fields::parse(client).and_then(|fields| fields.change(settings));
        fields.map_err(|error| AdministrationError::Other(error.to_string()))
    };
    let became = match import_client(store, &client_id, secret.as_ref(), import, change) {
        Ok(Became::Added) => "added",
        Ok(Became::Changed) => "changed",
        Ok(Became::Unchanged) => "unchanged",
        Err(error @ (AdministrationError::Store(_) | AdministrationError::Crypto(_))) => {
            return Err(error.into());
        }
        Err(refused) => return Ok(left(refused.to_string())),
    };
    if secret.is_none() && became == "added" {
        lost.push(format!("its secret: m2mint secrets add {id}"));
    }
    Ok(Told { id, became, lost })
}

/// What a core says of every client, and what nothing is lost with.
const WITHOUT_MEANING: [&str; 4] = ["status", "accessTokenStrategy", "subjectType", "clientSecretExpiresAt"];

fn texts<'a>(client: &'a Map<String, Value>, name: &str) -> impl Iterator<Item = &'a str> {
    client.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// The secret of a client, where somebody has put it.
fn secret_in(folder: Option<&Path>, id: &ClientId) -> Result<Option<Zeroizing<String>>> {
    let Some(folder) = folder else { return Ok(None) };
    let path = folder.join(file_name(id));
    match fs::read_to_string(&path) {
        Ok(text) => {
            let text = Zeroizing::new(text);
            Ok(Some(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned())))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CliError::Failed(format!("{} cannot be read: {error}", path.display()))),
    }
}

/// A SuperTokens core.
struct Core {
    web: Web,
    url: String,
    key: Option<Zeroizing<String>>,
}

impl Core {
    fn of(arguments: &Supertokens, plain_http: bool) -> Result<Self> {
        let url = arguments.url.trim_end_matches('/').to_owned();
        if !plain_http && !web::is_protected(&url) {
            return Err(CliError::Refused(format!(
                "{url} is not https: its key and secrets would cross the network in the clear. Use an https URL, or add --set insecure=true"
            )));
        }
        let key = match &arguments.api_key_file {
            Some(path) => {
                let read = fs::read_to_string(path).map(Zeroizing::new);
                let read = read.map_err(|error| {
                    CliError::Failed(format!("{} cannot be read: {error}", path.display()))
                })?;
                Some(Zeroizing::new(read.trim().to_owned()))
            }
            None => std::env::var(KEY_VARIABLE).ok().filter(|key| !key.is_empty()).map(Zeroizing::new),
        };
        Ok(Self { web: arguments.trust.web()?, url, key })
    }

    /// Every client, once, with what the list says of it and what it says when it is asked for alone.
    fn clients(&self) -> Result<Vec<Map<String, Value>>> {
        let mut all: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
        let mut token: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("pageSize", &PAGE.to_string());
            if let Some(token) = &token {
                // The core takes it out of a link, and leaves it encoded as it stood there.
                let decoded = percent_encoding::percent_decode_str(token).decode_utf8_lossy();
                query.append_pair("pageToken", &decoded);
            }
            let mut page = self.get(&format!("/recipe/oauth/clients/list?{}", query.finish()))?;
            let clients = page.remove("clients").and_then(|clients| match clients {
                Value::Array(clients) => Some(clients),
                _ => None,
            });
            let clients = clients.ok_or_else(|| self.strange("its list of clients is none"))?;
            let mut is_new = false;
            for client in clients {
                let Value::Object(client) = client else {
                    return Err(self.strange("a client in its list is none"));
                };
                let id = client.get("clientId").and_then(Value::as_str).unwrap_or_default().to_owned();
                is_new |= all.insert(id, client).is_none();
            }
            let next = page.get("nextPaginationToken").and_then(Value::as_str).map(str::to_owned);
            if next.is_none() {
                return self.with_details(all);
            }
            // Some of a page may be of other apps, and left out; but no page comes twice.
            if next == token && !is_new {
                break;
            }
            token = next;
        }
        Err(self.strange("its list of clients has no end"))
    }

    fn with_details(&self, all: BTreeMap<String, Map<String, Value>>) -> Result<Vec<Map<String, Value>>> {
        let mut clients = Vec::with_capacity(all.len());
        for (id, mut client) in all {
            let query = form_urlencoded::Serializer::new(String::new()).append_pair("clientId", &id).finish();
            client.append(&mut self.get(&format!("/recipe/oauth/clients?{query}"))?);
            clients.push(client);
        }
        Ok(clients)
    }

    fn get(&self, path: &str) -> Result<Map<String, Value>> {
        let mut headers = vec![("cdi-version", CDI_VERSION), ("rid", "oauth")];
        headers.extend(self.key.as_ref().map(|key| ("api-key", key.as_str())));
        let answer = self.web.get_with(&format!("{}{path}", self.url), &headers);
        let answer = answer.map_err(|why| CliError::Failed(format!("{} cannot be read: {why}", self.url)))?;
        if answer.status != 200 {
            return Err(self.strange(&match answer.status {
                401 => format!(
                    "it does not take the key: set {KEY_VARIABLE}, or name a file with --api-key-file"
                ),
                status => format!("it answers {status}"),
            }));
        }
        let body: Map<String, Value> =
            serde_json::from_slice(&answer.body).map_err(|_| self.strange("its answer is no JSON object"))?;
        match body.get("status").and_then(Value::as_str) {
            Some("OK") => Ok(body),
            // Of what else it says, nothing is repeated but the kind.
            other => Err(self.strange(&format!("it answers {}", other.unwrap_or("without a status")))),
        }
    }

    fn strange(&self, what: &str) -> CliError {
        CliError::Failed(format!("{} cannot be read: {what}", self.url))
    }
}
