//! `m2mint verify`: what a token says, and what would be answered to it.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use m2mint_keys::json;
use m2mint_keys::jwk::JwkSet;
use m2mint_keys::key_ring::KeyRecord;
use m2mint_keys::time::UnixTime;
use m2mint_keys::token::{self, CANARY_CLAIM};
use m2mint_keys::verify::{DEFAULT_LEEWAY, MAX_TOKEN_BYTES, Policy, Rejection, Verified, Verifier};
use serde_json::{Map, Value, json};

use crate::cli::output::{self, CliError, Result, date};
use crate::cli::terminal::{self, GREEN, RED};
use crate::cli::{Settings, config, table};
use crate::clock::Clock;
use crate::config::Config;
use crate::model::names::split_scopes;
use crate::rotation::keeper::in_words;
use crate::store::{Store, clients, keys, revocations};

/// What is looked at, and how.
#[derive(Debug, Args)]
pub struct Verify {
    /// The token, or - to read it from standard input, where no other user sees it
    token: String,
    /// The service that would check it
    #[arg(long, value_name = "NAME")]
    audience: Option<String>,
    /// The scopes that the action would take
    #[arg(long, value_name = "SCOPES")]
    scope: Option<String>,
    /// Check with the key set in this file, or - for standard input, instead of the database
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The keys to check with, and what the database knows beside.
struct Evidence {
    set: JwkSet,
    issuer: Option<String>,
    store: Option<Store>,
    records: Vec<KeyRecord>,
}

/// Runs the verb.
///
/// # Errors
/// [`CliError::Refused`] when the token would be refused, with the reason.
pub fn run(settings: &Settings, verify: &Verify) -> Result {
    if verify.token == "-" && verify.jwks.as_deref() == Some(Path::new("-")) {
        return Err(CliError::Usage(
            "only one of the token and the key set can come from standard input".into(),
        ));
    }
    let config = config::load(settings)?;
    let given = if verify.token == "-" { read_input()? } else { verify.token.clone() };
    let token = given.trim();
    let evidence = Evidence::gather(&config, verify.jwks.as_deref())?;
    let now = Clock::system().wall();
    let policy = Policy {
        issuer: evidence.issuer.clone(),
        audience: verify.audience.clone(),
        scopes: verify.scope.iter().flat_map(|scope| split_scopes(scope)).map(str::to_owned).collect(),
        leeway: DEFAULT_LEEWAY,
        ..Policy::default()
    };
    let checked = Verifier::new(policy, &evidence.set).verify(token, now);
    let outcome = match &checked {
        Ok(verified) => match evidence.withdrawn(verified, now)? {
            None => Ok(()),
            Some(reason) => Err(reason),
        },
        Err(rejection) => Err(evidence.why(rejection, token)),
    };
    let parts = token.split('.').take(2).map(part).collect::<Vec<_>>();
    let (header, claims) = match parts.as_slice() {
        [header, claims] => (header.clone().unwrap_or_default(), claims.clone().unwrap_or_default()),
        _ => (Map::new(), Map::new()),
    };
    // A wrong signature is told before anything that the token says of itself.
    let is_signed = !matches!(
        checked,
        Err(Rejection::BadSignature | Rejection::UnknownKey | Rejection::WrongAlgorithm | Rejection::TooLong)
    );
    let signature = evidence.signature(&header, is_signed);
    if verify.json {
        output::json(&json!({
            "good": outcome.is_ok(),
            "reason": outcome.as_ref().err(),
            "signature": signature,
            "audience": verify.audience,
            "scope": verify.scope,
            "header": header,
            "claims": claims,
        }))?;
    } else {
        let mut rows: Vec<_> = header.iter().map(|(name, value)| row(name, value, now, true)).collect();
        rows.extend(claims.iter().map(|(name, value)| row(name, value, now, false)));
        if !rows.is_empty() {
            table::print(&["CLAIM", "VALUE", "WHAT IT MEANS"], &rows);
            output::line("");
        }
        output::line(&format!("signature  {signature}"));
        let answer = match &outcome {
            Ok(()) => terminal::paint_output(GREEN, &accepted(verify)),
            Err(reason) => terminal::paint_output(RED, &format!("refused: {reason}")),
        };
        output::line(&format!("answer     {answer}"));
        if verify.audience.is_none() && outcome.is_ok() {
            output::line("           add --audience, and --scope, to see what a service would answer");
        }
    }
    outcome.map_err(|reason| CliError::Refused(format!("the token is refused: {reason}")))
}

fn accepted(verify: &Verify) -> String {
    match (&verify.audience, &verify.scope) {
        (Some(audience), Some(scope)) => format!("accepted at {audience}, for {scope}"),
        (Some(audience), None) => format!("accepted at {audience}"),
        (None, Some(scope)) => format!("good, and allows {scope} at the audience that it names"),
        (None, None) => "good, at the audience that it names".into(),
    }
}

fn read_input() -> Result<String> {
    let mut text = String::new();
    let limit = u64::try_from(MAX_TOKEN_BYTES * 8).unwrap_or(u64::MAX);
    std::io::stdin().lock().take(limit).read_to_string(&mut text)?;
    Ok(text)
}

/// A part of a token, for people: what it says, whether it is to be believed or not.
fn part(text: &str) -> Option<Map<String, Value>> {
    json::object(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

impl Evidence {
    fn gather(config: &Config, jwks: Option<&Path>) -> Result<Self> {
        if let Some(path) = jwks {
            let text = if path == Path::new("-") { read_input()? } else { std::fs::read_to_string(path)? };
            let set = JwkSet::parse(text.as_bytes())
                .map_err(|error| CliError::Failed(format!("{}: {error}", path.display())))?;
            return Ok(Self { set, issuer: config.issuer.clone(), store: None, records: Vec::new() });
        }
        let store = Store::open(&config.database, None)?;
        let rings = store.read(keys::rings)?;
        let set = JwkSet::new(rings.iter().flat_map(|ring| ring.keys.published()).map(|key| &key.public));
        let records = rings.iter().flat_map(|ring| ring.keys.records()).cloned().collect();
        Ok(Self { set, issuer: config.issuer.clone(), store: Some(store), records })
    }

    /// With which key it is signed, in words.
    fn signature(&self, header: &Map<String, Value>, is_signed: bool) -> String {
        let Some(kid) = header.get("kid").and_then(Value::as_str) else {
            return "not checked: the token names no key".into();
        };
        let shown = table::visible(kid);
        let record = self.records.iter().find(|key| key.kid.as_str() == kid);
        let known = self.set.keys.iter().any(|key| key.kid == kid);
        match (record.map(KeyRecord::state), known, is_signed) {
            (Some(state), true, true) => format!("good, by the {} key {shown}", state.name()),
            (None, true, true) => format!("good, by {shown}"),
            (_, true, false) => {
                format!("wrong: not by {shown}, which it names. Believe nothing that it says")
            }
            (Some(state), false, _) => {
                format!("not accepted: the key {shown} is {}. Believe nothing that it says", state.name())
            }
            (None, false, _) => {
                format!("not checked: no key {shown} is published. Believe nothing that it says")
            }
        }
    }

    /// Why the database says no to a token that is good in itself.
    fn withdrawn(&self, token: &Verified, now: UnixTime) -> Result<Option<String>> {
        let Some(store) = &self.store else { return Ok(None) };
        let offline =
            "introspection refuses it; a service that checks it offline accepts it until it expires";
        if store.read(|db| revocations::get(db, &token.jti))?.is_some() {
            return Ok(Some(format!("it was revoked ({offline})")));
        }
        // The verifier's leeway is for clocks that differ. This is the clock that set the time.
        if now >= token.expires_at {
            let leeway = in_words(Some(m2mint_keys::time::millis(DEFAULT_LEEWAY)));
            return Ok(Some(format!(
                "it has expired; a service may accept it for {leeway} more, as clocks differ"
            )));
        }
        let id = &token.client_id;
        let mut reason = Some(format!("the client {id} is gone ({offline})"));
        // Of a token id that does not tell its time, the whole second in which it was issued counts.
        let issued_at = token::jti_time(&token.jti).unwrap_or(token.issued_at);
        store.read(|db| {
            clients::for_issuing(db, Some(id), |client, _| {
                reason = if client.tokens_revoked_at.is_some_and(|at| issued_at <= at) {
                    Some(format!("every token of {id} from before was revoked ({offline})"))
                } else if client.enabled == Some(false) {
                    Some(format!("the client {id} is disabled ({offline})"))
                } else if !client.restrictions.is_time(now) {
                    Some(format!("it is not the time of the client {id} ({offline})"))
                } else {
                    None
                };
                Ok(())
            })
        })?;
        Ok(reason)
    }

    /// Why a token is refused, with what was expected where that helps.
    fn why(&self, rejection: &Rejection, token: &str) -> String {
        let claims = token.split('.').nth(1).and_then(part).unwrap_or_default();
        let said =
            |name: &str| claims.get(name).map(|value| table::visible(&value.to_string())).unwrap_or_default();
        match rejection {
            Rejection::WrongIssuer => {
                format!(
                    "{rejection}: {}, and not {}",
                    said("iss"),
                    self.issuer.as_deref().unwrap_or_default()
                )
            }
            Rejection::WrongAudience | Rejection::SharedAudience => format!("{rejection}: {}", said("aud")),
            Rejection::MissingScope(_) => format!("{rejection}; it allows {}", said("scope")),
            _ => rejection.to_string(),
        }
    }
}

/// A claim, and what it means.
fn row(name: &str, value: &Value, now: UnixTime, in_header: bool) -> Vec<String> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let seconds = value.as_i64();
    let time = |future: &str, past: &str| {
        let Some(at) = seconds else { return "no time at all".to_owned() };
        let wait = UnixTime::from_secs(at).millis().saturating_sub(now.millis());
        let shown = date(UnixTime::from_secs(at));
        if wait > 0 {
            format!("{future} in {}, at {shown}", in_words(Some(wait)))
        } else {
            format!("{past} {} ago, at {shown}", in_words(Some(wait.saturating_neg())))
        }
    };
    let meaning = match (in_header, name) {
        (true, "alg") => "what it is signed with".into(),
        (true, "typ") if text.eq_ignore_ascii_case("at+jwt") => "an access token (RFC 9068)".into(),
        (true, "typ") => "not an access token: that would be at+jwt".into(),
        (true, "kid") => "the key that signed it".into(),
        (true, _) => "of the header".into(),
        (false, "iss") => "who issued it".into(),
        (false, "sub") => "on whose behalf: the client itself".into(),
        (false, "client_id") => "the client that asked for it".into(),
        (false, "aud") => "the service that it is for, and no other".into(),
        (false, "scope") => "what it allows".into(),
        (false, "scp") => "the same, as a list".into(),
        (false, "jti") => "its own id".into(),
        (false, "iat") => time("issued in the future,", "issued"),
        (false, "nbf") => time("good only", "good since"),
        (false, "exp") => time("expires", "expired"),
        (false, CANARY_CLAIM) => "a canary: the standby signed it, and it allows nothing".into(),
        (false, "stt") => match seconds {
            Some(0) => "a session token, which no service takes for an access token".into(),
            Some(1) => "an access token".into(),
            Some(2) => "an ID token, which no service takes for an access token".into(),
            _ => "no kind of token that is known".into(),
        },
        (false, _) => "an extra claim".into(),
    };
    vec![name.to_owned(), text, meaning]
}
