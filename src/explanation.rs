//! What a token says, and what would be answered to it: in words, for people.

use std::ops::ControlFlow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use m2mint_keys::json;
use m2mint_keys::jwk::JwkSet;
use m2mint_keys::key_ring::KeyRecord;
use m2mint_keys::time::UnixTime;
use m2mint_keys::token::{self, CANARY_CLAIM};
use m2mint_keys::verify::{DEFAULT_LEEWAY, Policy, Rejection, Verified, Verifier};
use serde_json::{Map, Value};

use crate::model::audit::date_to_the_second as date;
use crate::model::names::split_scopes;
use crate::rotation::keeper::in_words;
use crate::store::clients::Which;
use crate::store::{Result, Store, clients, keys, revocations};

/// The keys to check with, and what is known beside.
pub struct Evidence<'a> {
    /// The published keys.
    pub set: JwkSet,
    /// `iss`, where it is known.
    pub issuer: Option<String>,
    /// The database, where there is one.
    pub store: Option<&'a Store>,
    /// Every key of it, published or not.
    pub records: Vec<KeyRecord>,
}

/// A claim, and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Its name.
    pub name: String,
    /// What it says. It may be anything.
    pub value: String,
    /// What that means.
    pub meaning: String,
}

/// What a token says, and what would be answered to it. The token may be anything, and so may each text.
#[derive(Debug)]
pub struct Explanation {
    /// Its header; empty where it cannot be read.
    pub header: Map<String, Value>,
    /// Its claims; empty where they cannot be read.
    pub claims: Map<String, Value>,
    /// The members of the header and the claims, each in words.
    pub told: Vec<Claim>,
    /// With which key it is signed, in words.
    pub signature: String,
    /// Whether it would be accepted, or why not.
    pub outcome: std::result::Result<(), String>,
}

impl<'a> Evidence<'a> {
    /// What a database knows.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] when the file cannot be read.
    pub fn of(store: &'a Store, issuer: Option<String>) -> Result<Self> {
        let rings = store.read(keys::rings)?;
        let set = JwkSet::new(rings.iter().flat_map(|ring| ring.keys.published()).map(|key| &key.public));
        let records = rings.iter().flat_map(|ring| ring.keys.records()).cloned().collect();
        Ok(Self { set, issuer, store: Some(store), records })
    }

    /// Explains `token`, as a service of the name `audience` would take it for an action that takes `scope`.
    ///
    /// # Errors
    /// [`crate::store::StoreError`] when the file cannot be read.
    pub fn explain(
        &self,
        token: &str,
        audience: Option<&str>,
        scope: Option<&str>,
        now: UnixTime,
    ) -> Result<Explanation> {
        let policy = Policy {
            issuer: self.issuer.clone(),
            audience: audience.map(str::to_owned),
            scopes: scope.into_iter().flat_map(split_scopes).map(str::to_owned).collect(),
            leeway: DEFAULT_LEEWAY,
            ..Policy::default()
        };
        let checked = Verifier::new(policy, &self.set).verify(token, now);
        let outcome = match &checked {
            Ok(verified) => self.withdrawn(verified, now)?.map_or(Ok(()), Err),
            Err(rejection) => Err(self.why(rejection, token)),
        };
        let parts = token.split('.').take(2).map(part).collect::<Vec<_>>();
        let (header, claims) = match parts.as_slice() {
            [header, claims] => (header.clone().unwrap_or_default(), claims.clone().unwrap_or_default()),
            _ => (Map::new(), Map::new()),
        };
        let signature = self.signature(&header, is_signed(checked.as_ref().err()));
        let mut told: Vec<_> = header.iter().map(|(name, value)| claim(name, value, now, true)).collect();
        told.extend(claims.iter().map(|(name, value)| claim(name, value, now, false)));
        Ok(Explanation { header, claims, told, signature, outcome })
    }

    /// With which key it is signed, in words.
    fn signature(&self, header: &Map<String, Value>, is_signed: Option<bool>) -> String {
        let Some(kid) = header.get("kid").and_then(Value::as_str) else {
            return "not checked: the token names no key".into();
        };
        let shown = kid;
        let record = self.records.iter().find(|key| key.kid.as_str() == kid);
        let known = self.set.keys.iter().any(|key| key.kid == kid);
        match (record.map(KeyRecord::state), known, is_signed) {
            (Some(state), true, Some(true)) => format!("good, by the {} key {shown}", state.name()),
            (None, true, Some(true)) => format!("good, by {shown}"),
            (_, true, Some(false)) => {
                format!("wrong: not by {shown}, which it names. Believe nothing that it says")
            }
            (_, true, None) => {
                "not checked: the token is refused before that. Believe nothing that it says".into()
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
        let Some(store) = self.store else { return Ok(None) };
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
            clients::for_issuing(db, Which::One(id), &mut |client, _| {
                reason = if client.tokens_revoked_at.is_some_and(|at| issued_at <= at) {
                    Some(format!("every token of {id} from before was revoked ({offline})"))
                } else if client.enabled == Some(false) {
                    Some(format!("the client {id} is disabled ({offline})"))
                } else if !client.restrictions.is_time(now) {
                    Some(format!("it is not the time of the client {id} ({offline})"))
                } else {
                    None
                };
                Ok(ControlFlow::Break(()))
            })
        })?;
        Ok(reason)
    }

    /// Why a token is refused, with what was expected where that helps.
    fn why(&self, rejection: &Rejection, token: &str) -> String {
        let claims = token.split('.').nth(1).and_then(part).unwrap_or_default();
        let said = |name: &str| claims.get(name).map(Value::to_string).unwrap_or_default();
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

/// Whether the key that a token names has signed it, by the reason for which it is refused, if it is; `None` when that was not
/// looked at.
const fn is_signed(rejection: Option<&Rejection>) -> Option<bool> {
    match rejection {
        Some(Rejection::BadSignature | Rejection::WrongAlgorithm) => Some(false),
        // Of the header, which is read first, or of the payload: nobody knows.
        Some(
            Rejection::TooLong
            | Rejection::NotThreeParts
            | Rejection::BadEncoding
            | Rejection::BadJson
            | Rejection::DuplicateMember
            | Rejection::WrongType
            | Rejection::CriticalExtension
            | Rejection::UnknownKey,
        ) => None,
        // A rejection that comes one day is no reason to believe anything.
        Some(
            Rejection::MissingClaim(_)
            | Rejection::BadClaim(_)
            | Rejection::Expired
            | Rejection::NotYetValid
            | Rejection::IssuedInFuture
            | Rejection::WrongIssuer
            | Rejection::WrongAudience
            | Rejection::SharedAudience
            | Rejection::WrongTokenType
            | Rejection::MissingScope(_)
            | Rejection::Canary
            | Rejection::Revoked,
        )
        | None => Some(true),
        Some(_) => None,
    }
}

/// A part of a token, for people: what it says, whether it is to be believed or not.
fn part(text: &str) -> Option<Map<String, Value>> {
    json::object(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

fn claim(name: &str, value: &Value, now: UnixTime, in_header: bool) -> Claim {
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
    Claim { name: name.to_owned(), value: text, meaning }
}
