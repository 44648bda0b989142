//! `m2mint token`: a token, bought as a client buys it.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use form_urlencoded::{Serializer, byte_serialize};
use m2mint_keys::json;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::cli::output::{self, CliError, Result};
use crate::cli::web::{self, Answer, Trust, Web};
use crate::cli::{Settings, config, table};
use crate::http::token::GRANT_TYPE;
use crate::model::secret::MAX_LENGTH;
use crate::rotation::keeper::in_words;

/// Where the secret is looked for when no file is named.
pub const SECRET_VARIABLE: &str = "M2MINT_CLIENT_SECRET";

/// What is asked for, by whom.
#[derive(Debug, Args)]
pub struct Token {
    /// Client id
    #[arg(allow_hyphen_values = true)]
    client: String,
    /// The service that the token is for [default: the client's only one]
    #[arg(long, value_name = "NAME")]
    audience: Option<String>,
    /// What the token should allow, such as "event.view event.create"
    #[arg(long, value_name = "SCOPES")]
    scope: Option<String>,
    /// File with the secret, or - for standard input [default: the variable M2MINT_CLIENT_SECRET]
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Where tokens are sold, instead of what the issuer's discovery document says
    #[arg(long, value_name = "URL")]
    token_endpoint: Option<String>,
    #[command(flatten)]
    trust: Trust,
    /// Say on standard error what is asked and what is answered
    #[arg(long, short)]
    verbose: bool,
    /// Print the whole answer
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
///
/// # Errors
/// [`CliError::Refused`] when the issuer says no, with what to look at.
pub fn run(settings: &Settings, token: &Token) -> Result {
    let config = config::load(settings)?;
    let secret = secret(token.secret_file.as_deref())?;
    let web = token.trust.web()?;
    let protected = |url: &str| {
        if config.plain_http || web::is_protected(url) {
            return Ok(());
        }
        Err(CliError::Refused(format!(
            "{} is not https: whoever is on the way could get the secret. Use an https URL, or add --set insecure=true",
            table::visible(url)
        )))
    };
    let endpoint = match &token.token_endpoint {
        Some(endpoint) => endpoint.clone(),
        None => {
            let issuer = config::issuer(&config)?;
            // Who can answer in its place says where the secret is sent.
            protected(&issuer)?;
            discover(&web, &issuer)?
        }
    };
    protected(&endpoint)?;
    // RFC 6749 §2.3.1: both are form-encoded before they are put together.
    let encoded = |text: &str| Zeroizing::new(byte_serialize(text.as_bytes()).collect::<String>());
    let pair = Zeroizing::new(format!("{}:{}", &*encoded(&token.client), &*encoded(&secret)));
    let authorization = Zeroizing::new(format!("Basic {}", &*Zeroizing::new(STANDARD.encode(&*pair))));
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", GRANT_TYPE);
    let asked = [("audience", &token.audience), ("scope", &token.scope)];
    for (name, value) in asked.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
        form.append_pair(name, value);
    }
    let form = form.finish();
    if token.verbose {
        let fields: Vec<_> = form.split('&').map(|field| format!(" -d {field}")).collect();
        eprintln!(
            "> curl '{}' -u \"{}:${SECRET_VARIABLE}\"{}",
            table::visible(&endpoint),
            table::visible(&token.client),
            fields.concat()
        );
    }
    let answer = web.post_form(&endpoint, &authorization, &form);
    let answer = answer.map_err(|error| {
        CliError::Failed(format!("{} cannot be asked: {error}", table::visible(&endpoint)))
    })?;
    let body = json::object(&answer.body).unwrap_or_default();
    if token.verbose {
        explain(&answer, &body);
    }
    if answer.status != 200 {
        if token.json && !body.is_empty() {
            output::json(&Value::Object(body.clone()))?;
        }
        return Err(refusal(&token.client, &endpoint, &answer, &body));
    }
    let bought = body.get("access_token").and_then(Value::as_str);
    let bought = bought.ok_or_else(|| {
        CliError::Failed(format!(
            "{} answers, but not with a token: is it the token endpoint?",
            table::visible(&endpoint)
        ))
    })?;
    if token.json {
        return output::json(&Value::Object(body.clone()));
    }
    // One that holds anything else would do something to the terminal or the shell that reads it.
    if !bought.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(CliError::Failed(format!(
            "{} answers with a token that is none",
            table::visible(&endpoint)
        )));
    }
    output::line(bought);
    Ok(())
}

/// The secret: never from the command line, which every user of the machine can read.
fn secret(file: Option<&Path>) -> Result<Zeroizing<String>> {
    let limit = u64::try_from(MAX_LENGTH * 2).unwrap_or(u64::MAX);
    let (text, from) = match file {
        Some(path) => {
            let mut text = Zeroizing::new(String::with_capacity(MAX_LENGTH * 2));
            let read = if path == Path::new("-") {
                std::io::stdin().lock().take(limit).read_to_string(&mut text)
            } else {
                std::fs::File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text))
            };
            read.map_err(|error| CliError::Failed(format!("--secret-file {}: {error}", path.display())))?;
            (text, format!("--secret-file {}", path.display()))
        }
        None => {
            let text = std::env::var(SECRET_VARIABLE).map(Zeroizing::new).map_err(|_| {
                CliError::Usage(format!(
                    "where is the secret? Set {SECRET_VARIABLE}, or add --secret-file FILE, or --secret-file - and send it to \
                     standard input"
                ))
            })?;
            (text, SECRET_VARIABLE.to_owned())
        }
    };
    let secret = text.trim();
    if secret.is_empty() {
        Err(CliError::Usage(format!("{from} is empty")))
    } else {
        Ok(Zeroizing::new(secret.to_owned()))
    }
}

/// The token endpoint, as the issuer's metadata says it (OpenID Connect Discovery 1.0 §4, RFC 8414 §3.3).
fn discover(web: &Web, issuer: &str) -> Result<String> {
    let url = format!("{issuer}/.well-known/openid-configuration");
    let failed =
        |why: &str| CliError::Failed(format!("{url} {why}. Is --issuer right? Or name --token-endpoint"));
    let answer = web.get(&url).map_err(|error| failed(&format!("cannot be asked: {error}")))?;
    if answer.status != 200 {
        return Err(failed(&format!("answers with status {}", answer.status)));
    }
    let document = json::object(&answer.body).map_err(|_| failed("is no discovery document"))?;
    let text = |name: &str| document.get(name).and_then(Value::as_str);
    if text("issuer") != Some(issuer) {
        let other = table::visible(text("issuer").unwrap_or("nobody"));
        return Err(failed(&format!("names another issuer, {other}")));
    }
    Ok(text("token_endpoint").ok_or_else(|| failed("names no token endpoint"))?.to_owned())
}

/// What was answered, in words, on standard error; the token itself is not in it.
fn explain(answer: &Answer, body: &Map<String, Value>) {
    eprintln!("< status {}", answer.status);
    for (name, value) in body.iter().filter(|(name, _)| *name != "access_token") {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let note = match (name.as_str(), value.parse::<i64>()) {
            ("expires_in", Ok(seconds)) => format!(" ({})", in_words(seconds.checked_mul(1000))),
            _ => String::new(),
        };
        eprintln!("< {}: {}{note}", table::visible(name), table::visible(&value));
    }
}

fn refusal(client: &str, endpoint: &str, answer: &Answer, body: &Map<String, Value>) -> CliError {
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(table::visible);
    let client = table::visible(client);
    let Some(error) = text("error") else {
        return CliError::Failed(format!(
            "{} answers with status {}, and no token",
            table::visible(endpoint),
            answer.status
        ));
    };
    let description = text("error_description").map(|text| format!(": {text}")).unwrap_or_default();
    let hint = match (answer.status, error.as_str()) {
        (429 | 503, _) => {
            let wait = answer.header("retry-after").and_then(|value| value.parse::<i64>().ok());
            let wait = wait.map(|seconds| format!(" in {}", in_words(seconds.checked_mul(1000))));
            format!("Try again{}", wait.unwrap_or_default())
        }
        (_, "invalid_client") => format!(
            "An unknown client, a wrong or expired secret, a disabled client, the wrong network and the wrong time all get \
             this one answer. Where the database is, these tell which it is:\n  m2mint clients show {client}\n  \
             m2mint secrets list {client}\n  m2mint audit --client {client}"
        ),
        (_, "invalid_scope" | "invalid_target") => {
            format!("What it may ask for, where the database is:\n  m2mint clients show {client}")
        }
        _ => String::new(),
    };
    let message = format!("no token: {error}{description}\n{hint}").trim_end().to_owned();
    if answer.status < 500 { CliError::Refused(message) } else { CliError::Failed(message) }
}
