//! Public keys of another issuer that are published beside ours until its last token has expired.
//!
//! They are there for services that check tokens of both. m2mint itself accepts no token that they verify.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use m2mint_keys::jwk::{Jwk, JwkSet, Kid};
use m2mint_keys::time::UnixTime;
use parking_lot::Mutex;
use serde_json::Value;
use ureq::Agent;

use crate::model::key_source::{Others, Source};
use crate::outgoing;
use crate::rotation::published::{KeySet, Published};
use crate::tls;

/// The most keys that are published for others: many verifiers keep few.
const MOST_KEYS: usize = 8;
/// The largest set that is read.
const MAX_BYTES: u64 = 64 * 1024;
/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a URL is asked again, in looks.
const FETCH_EVERY: u32 = 150;
/// How often it is looked whether a file has changed.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Members that only a private or a secret key has (RFC 7518 §6).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// What is known of one source.
#[derive(Default)]
struct Known {
    keys: Vec<Jwk>,
    changed: Option<SystemTime>,
    looks: u32,
    failing: bool,
}

/// Our keys with those of others, ready to send.
pub struct Combined {
    of: Arc<Published>,
    with: Arc<Vec<Jwk>>,
    /// Every key.
    pub all: KeySet,
    /// The same with `"status":"OK"`.
    pub with_status: Bytes,
}

/// Keys of others.
pub struct Also {
    others: Others,
    known: Mutex<HashMap<usize, Known>>,
    keys: ArcSwap<Vec<Jwk>>,
    combined: ArcSwapOption<Combined>,
}

impl Also {
    /// The keys that `others` name, read for the first time. As long as it is in use, they are kept up to date.
    #[must_use]
    pub fn start(others: Others) -> Arc<Self> {
        let also = Arc::new(Self {
            others,
            known: Mutex::default(),
            keys: ArcSwap::default(),
            combined: ArcSwapOption::empty(),
        });
        if !also.others.sources.is_empty() {
            also.look();
            let weak = Arc::downgrade(&also);
            let spawned = std::thread::Builder::new().name("jwks.also".into()).spawn(move || keep(&weak));
            if let Err(error) = spawned {
                tracing::error!(%error, "the keys of jwks.also are not kept up to date");
            }
        }
        also
    }

    /// Ours together with those of others, while there are any at `now`.
    pub fn with(&self, published: &Arc<Published>, now: UnixTime) -> Option<Arc<Combined>> {
        if self.others.sources.is_empty() || self.others.until.is_none_or(|until| now >= until) {
            return None;
        }
        let keys = self.keys.load_full();
        if keys.is_empty() {
            return None;
        }
        let known = self.combined.load_full();
        let is_it =
            |known: &Arc<Combined>| Arc::ptr_eq(&known.of, published) && Arc::ptr_eq(&known.with, &keys);
        if let Some(known) = known.filter(is_it) {
            return Some(known);
        }
        let (all, with_status) = published.with_others(&keys);
        let made = Arc::new(Combined { of: Arc::clone(published), with: keys, all, with_status });
        self.combined.store(Some(Arc::clone(&made)));
        Some(made)
    }

    /// Reads what is due. What cannot be read stays as it was.
    fn look(&self) {
        let mut known = self.known.lock();
        for (at, source) in self.others.sources.iter().enumerate() {
            let known = known.entry(at).or_default();
            let changed = match source {
                Source::File(path) => std::fs::metadata(path).and_then(|file| file.modified()).ok(),
                Source::Url(_) => None,
            };
            let is_due = match source {
                Source::File(_) => known.looks == 0 || changed != known.changed || known.failing,
                // One that fails is asked ten times as often.
                Source::Url(_) => {
                    known.looks.is_multiple_of(if known.failing { FETCH_EVERY / 10 } else { FETCH_EVERY })
                }
            };
            known.looks = known.looks.wrapping_add(1);
            if !is_due {
                continue;
            }
            known.changed = changed;
            match read(source).and_then(|bytes| take(&bytes)) {
                Ok((keys, refused)) => {
                    if known.failing || keys != known.keys {
                        tracing::info!(%source, keys = keys.len(), "keys of another issuer are published");
                        for reason in refused {
                            tracing::warn!(%source, reason, "a key of another issuer is left out");
                        }
                    }
                    (known.keys, known.failing) = (keys, false);
                }
                Err(reason) => {
                    if !known.failing {
                        tracing::warn!(%source, reason, kept = known.keys.len(), "the keys of another issuer cannot be read");
                    }
                    known.failing = true;
                }
            }
        }
        let mut keys: Vec<Jwk> = Vec::new();
        for at in 0..self.others.sources.len() {
            for key in known.get(&at).into_iter().flat_map(|known| &known.keys) {
                if keys.len() < MOST_KEYS && keys.iter().all(|other| other.kid != key.kid) {
                    keys.push(key.clone());
                }
            }
        }
        drop(known);
        if keys != **self.keys.load() {
            self.keys.store(Arc::new(keys));
        }
    }
}

/// Looks again and again, until nobody needs it any more.
fn keep(also: &Weak<Also>) {
    loop {
        std::thread::sleep(LOOK_EVERY);
        let Some(also) = also.upgrade() else { return };
        also.look();
    }
}

fn read(source: &Source) -> Result<Vec<u8>, String> {
    match source {
        Source::File(path) => {
            let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
            if length > MAX_BYTES {
                return Err("it is too large for a key set".into());
            }
            std::fs::read(path).map_err(|error| error.to_string())
        }
        Source::Url(url) => {
            let agent = agent()?;
            let request = agent.get(url.as_str()).header("accept", "application/json");
            let mut answer = request.call().map_err(|error| error.to_string())?;
            if answer.status() != 200 {
                return Err(format!("it answers {}", answer.status()));
            }
            let body = answer.body_mut().with_config().limit(MAX_BYTES).read_to_vec();
            body.map_err(|error| error.to_string())
        }
    }
}

/// The keys are those of the place that was named: no redirect leads elsewhere.
fn agent() -> Result<Agent, String> {
    let roots = match tls::trusted_authorities() {
        None => Vec::new(),
        Some(path) => outgoing::authorities(&path).map_err(|error| format!("{}: {error}", path.display()))?,
    };
    Ok(outgoing::agent(&roots, PATIENCE))
}

/// The public keys of a set, and why others are left out.
///
/// A set with a private key in it is refused as a whole: whoever publishes it has to hear of it, and nobody should go on
/// trusting its keys.
fn take(bytes: &[u8]) -> Result<(Vec<Jwk>, Vec<String>), String> {
    let raw: Value = serde_json::from_slice(bytes).map_err(|_| "it is no JSON".to_owned())?;
    let entries = raw.get("keys").and_then(Value::as_array).ok_or("it is no key set")?;
    if entries.iter().any(|key| PRIVATE.iter().any(|member| key.get(member).is_some())) {
        return Err(
            "there is a private key in it: all of it is refused. That key is known to others now".into()
        );
    }
    let set = JwkSet::parse(bytes).map_err(|error| error.to_string())?;
    let (mut keys, mut refused) = (Vec::new(), Vec::new());
    for jwk in set.keys {
        match usable(jwk) {
            Ok(jwk) => keys.push(jwk),
            Err(reason) => refused.push(reason),
        }
    }
    if keys.len() > MOST_KEYS {
        keys.truncate(MOST_KEYS);
        refused.push(format!("only the first {MOST_KEYS} keys are published"));
    }
    Ok((keys, refused))
}

/// A key that can be told from ours.
fn usable(jwk: Jwk) -> Result<Jwk, String> {
    let kid = jwk.kid.clone();
    let plain = kid.len() <= 200 && kid.bytes().all(|byte| byte.is_ascii_graphic());
    if !plain {
        return Err("its kid is not one that can be published".into());
    }
    let key = jwk.public_key().map_err(|error| format!("{kid}: {error}"))?;
    // Ours are named by their thumbprints: nobody else may name another key so.
    match Kid::parse(&kid) {
        Some(kid) if key.thumbprint() != kid => Err(format!("{kid} looks like a kid of ours, and is none")),
        _ => Ok(jwk),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str =
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"KID"}"#;

    fn set(keys: &[String]) -> Vec<u8> {
        format!(r#"{{"keys":[{}]}}"#, keys.join(",")).into_bytes()
    }

    fn key(kid: &str) -> String {
        OURS.replace("KID", kid)
    }

    #[test]
    fn a_key_under_a_name_that_could_be_ours_has_to_be_that_key() {
        let own = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
        let other = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4l";
        let (keys, refused) = take(&set(&[key(own), key(other), key("d-1730000"), key("")])).unwrap();
        assert_eq!(keys.iter().map(|key| &*key.kid).collect::<Vec<_>>(), [own, "d-1730000"]);
        assert!(
            refused.len() == 2 && refused.iter().any(|reason| reason.contains("kid of ours")),
            "{refused:?}"
        );
    }

    #[test]
    fn a_set_with_a_private_key_is_refused_as_a_whole() {
        for member in PRIVATE {
            let private = key("b").replace("\"kid\"", &format!("\"{member}\":\"AQAB\",\"kid\""));
            let reason = take(&set(&[key("a"), private])).unwrap_err();
            assert!(reason.contains("private key") && !reason.contains("AQAB"), "{reason}");
        }
        for nonsense in ["", "[]", "{}", r#"{"keys":1}"#] {
            assert!(take(nonsense.as_bytes()).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn no_more_keys_are_taken_than_verifiers_keep() {
        let many: Vec<_> = (0..20).map(|number| key(&format!("k{number}"))).collect();
        assert_eq!(take(&set(&many)).unwrap().0.len(), MOST_KEYS);
    }
}
