//! Verbs on a server elsewhere: they say and do what the same verbs do on the file, by `/admin/v1` and nothing else.

mod admin_keys;
mod audiences;
mod audit;
mod clients;
mod declaration;
mod keys;
mod secrets;
mod services;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use form_urlencoded::Serializer;
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;
use zeroize::Zeroizing;

use crate::cli::output::{CliError, Result};
use crate::cli::web::{self, Answer, Trust, Web};
use crate::http::error::problem::ProblemDetails;
use crate::http::v1::PATH;
use crate::http::v1::reply::segment;

pub use admin_keys::run as admin_keys;
pub use audiences::run as audiences;
pub use audit::run as audit;
pub use clients::run as clients;
pub use declaration::{apply, export, plan};
pub use keys::run as keys;
pub use secrets::run as secrets;
pub use services::run as services;

/// Where the admin key is looked for when no file is named.
pub const KEY_VARIABLE: &str = "M2MINT_ADMIN_KEY";
/// The longest admin key that is read.
const LONGEST_KEY: u64 = 4096;

/// Which server, and what lets one in there.
#[derive(Debug, Args)]
#[command(next_help_heading = "A server elsewhere, instead of the database file")]
pub struct Remote {
    // What is written here is shown on terminals too, where angle brackets would mean something else.
    #[allow(rustdoc::bare_urls)]
    /// Address of its admin API, such as https://auth.example.com
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
    /// File with an admin key, or - for standard input [default: $M2MINT_ADMIN_KEY]
    #[arg(long, global = true, value_name = "FILE", requires = "url")]
    admin_key_file: Option<PathBuf>,
    #[command(flatten)]
    trust: Trust,
}

/// A server that can be asked.
pub struct Server {
    web: Web,
    url: String,
    authorization: Zeroizing<String>,
}

impl Remote {
    /// The server, if one is named.
    ///
    /// # Errors
    /// When there is no admin key, or it would cross the network in the clear.
    pub fn server(&self) -> Result<Option<Server>> {
        let Some(url) = &self.url else { return Ok(None) };
        let parsed = Url::parse(url).map_err(|error| CliError::Usage(format!("--url: {url}: {error}")))?;
        let has_more = !parsed.username().is_empty()
            || parsed.password().is_some()
            || parsed.query().is_some()
            || parsed.fragment().is_some();
        if has_more || !matches!(parsed.scheme(), "http" | "https") {
            let reason = "--url: write the address of a server, such as https://auth.example.com";
            return Err(CliError::Usage(reason.into()));
        }
        if !web::is_protected(url) {
            return Err(CliError::Refused(format!(
                "{url} is not https: the admin key would cross the network in the clear"
            )));
        }
        let key = admin_key(self.admin_key_file.as_deref())?;
        Ok(Some(Server {
            web: self.trust.web()?,
            url: format!("{}{PATH}", url.trim_end_matches('/')),
            authorization: Zeroizing::new(format!("Bearer {}", &*key)),
        }))
    }
}

/// The admin key: never from the command line, which every user of the machine can read.
fn admin_key(file: Option<&Path>) -> Result<Zeroizing<String>> {
    let (text, from) = match file {
        Some(path) => {
            let mut text = Zeroizing::new(String::new());
            let failed = |error: std::io::Error| CliError::Failed(format!("{}: {error}", path.display()));
            if path.as_os_str() == "-" {
                std::io::stdin().lock().take(LONGEST_KEY).read_to_string(&mut text).map_err(failed)?;
            } else {
                let file = std::fs::File::open(path).map_err(failed)?;
                file.take(LONGEST_KEY).read_to_string(&mut text).map_err(failed)?;
            }
            (text, path.display().to_string())
        }
        None => {
            let text = std::env::var(KEY_VARIABLE).map_err(|_| {
                let told =
                    format!("give an admin key: --admin-key-file FILE, or the variable {KEY_VARIABLE}");
                CliError::Usage(told)
            })?;
            (Zeroizing::new(text), KEY_VARIABLE.to_owned())
        }
    };
    let key = Zeroizing::new(text.trim().to_owned());
    // One that holds anything else was none of ours, and cannot be sent in a header.
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(CliError::Usage(format!("{from} holds no admin key")));
    }
    Ok(key)
}

impl Server {
    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.value(&self.send("GET", path, &[], None)?)
    }

    /// A value, and the entity tag of the state that it shows.
    fn get_tagged<T: DeserializeOwned>(&self, path: &str) -> Result<(T, String)> {
        let answer = self.send("GET", path, &[], None)?;
        let etag = answer.header("etag").unwrap_or("*").to_owned();
        Ok((self.value(&answer)?, etag))
    }

    /// Asks for something to be done. An answer can get lost on its way: the key lets it be asked for again, without doing
    /// the thing twice.
    fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        let body = Zeroizing::new(serde_json::to_vec(body)?);
        let key = uuid::Uuid::new_v4().to_string();
        self.value(&self.send("POST", path, &[("idempotency-key", &key)], Some(&body))?)
    }

    fn change<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        etag: Option<&str>,
        body: &impl Serialize,
    ) -> Result<T> {
        let body = Zeroizing::new(serde_json::to_vec(body)?);
        let headers: Vec<_> = etag.map(|etag| ("if-match", etag)).into_iter().collect();
        self.value(&self.send(method, path, &headers, Some(&body))?)
    }

    fn delete(&self, path: &str, etag: Option<&str>) -> Result {
        let headers: Vec<_> = etag.map(|etag| ("if-match", etag)).into_iter().collect();
        self.send("DELETE", path, &headers, None).map(drop)
    }

    fn send(&self, method: &str, path: &str, more: &[(&str, &str)], body: Option<&[u8]>) -> Result<Answer> {
        let url = format!("{}{path}", self.url);
        let mut headers = vec![("accept", "application/json"), ("authorization", &*self.authorization)];
        headers.extend(more);
        if body.is_some() {
            headers.push(("content-type", "application/json"));
        }
        let send = || self.web.send(method, &url, &headers, body.unwrap_or_default().to_vec());
        let can_be_repeated = matches!(method, "GET" | "POST");
        let answer = send().or_else(|error| if can_be_repeated { send() } else { Err(error) });
        let answer =
            answer.map_err(|error| CliError::Failed(format!("{} cannot be asked: {error}", self.url)))?;
        if (200..300).contains(&answer.status) { Ok(answer) } else { Err(self.refusal(&answer)) }
    }

    fn refusal(&self, answer: &Answer) -> CliError {
        let Ok(problem) = serde_json::from_slice::<ProblemDetails>(&answer.body) else {
            let status = answer.status;
            return CliError::Failed(format!(
                "{} answers {status}: is it the admin API of m2mint?",
                self.url
            ));
        };
        // It is shown on a terminal, and comes from elsewhere.
        let detail: String = problem.detail.chars().filter(|c| !c.is_control()).collect();
        match answer.status {
            401 => CliError::Failed(format!("{}: the admin key is not accepted", self.url)),
            408 | 429 | 500.. => CliError::Failed(format!("{}: {detail}", self.url)),
            _ => CliError::Refused(detail),
        }
    }

    fn value<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T> {
        serde_json::from_slice(&answer.body).map_err(|error| {
            // What does not fit may be a secret.
            let (line, column) = (error.line(), error.column());
            CliError::Failed(format!("{} answers what cannot be read, at {line}:{column}", self.url))
        })
    }
}

/// That a verb needs the file.
#[must_use]
pub fn here_only(verb: &str) -> CliError {
    CliError::Usage(format!(
        "{verb} works on the database file only: run it where the server is, without --url"
    ))
}

/// Asks for each page of a list, and hands it to `take`, which answers with the cursor of the next one that it wants.
fn pages<T: DeserializeOwned>(
    server: &Server,
    path: &str,
    wanted: &[(&str, &str)],
    mut take: impl FnMut(T) -> Result<Option<String>>,
) -> Result {
    let mut cursor: Option<String> = None;
    loop {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(wanted).extend_pairs(cursor.iter().map(|cursor| ("cursor", cursor)));
        cursor = take(server.get(&format!("{path}?{}", query.finish()))?)?;
        if cursor.is_none() {
            return Ok(());
        }
    }
}

/// A path from segments that may hold anything, and words that stand for themselves.
fn path(parts: &[&str]) -> String {
    parts.iter().map(|part| format!("/{}", segment(part))).collect()
}
