//! Whether a client is who it says.
//!
//! Unknown clients and wrong secrets get the same answer after the same work. A secret that this server made is compared
//! by SHA-256: its 256 random bits leave a slow hash nothing to add. One that a person may have chosen costs an Argon2id
//! once, away from the threads that serve, and a MAC from then on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use m2mint_keys::crypto::{self, CryptoError};
use m2mint_keys::time::UnixTime;
use tokio::sync::Semaphore;

use crate::background;
use crate::directory::{Directory, IssuingClient, Secret, SecretCheck};
use crate::issuer::{Denied, Refusal};
use crate::limits::source::Source;
use crate::model::secret::{MAX_LENGTH, has_generated_form, slow_hash_matches};

/// How many requests may wait for a slow hash. One takes about 20 ms and 19 MiB, and only one runs at a time.
const MOST_WAITING: usize = 64;

/// A hash that no secret has, to be tried for clients that do not exist. It costs what a real one costs.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bTJtaW50IG5vYm9keSBoZXJl$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

const UNKNOWN: Refusal = Refusal::InvalidClient(Denied::Unknown);

/// Checks client secrets.
pub struct Authenticator {
    /// Of this process alone: what it authenticates is worthless elsewhere.
    memory_key: [u8; 32],
    slow: Semaphore,
    waiting: AtomicUsize,
}

enum Check {
    /// By a secret that ends then, if it does.
    Passed(Option<UnixTime>),
    Failed(Denied),
    /// These slow hashes have to be tried.
    Slow(Vec<Arc<str>>),
}

impl Authenticator {
    /// With a key of its own.
    ///
    /// # Errors
    /// [`CryptoError`] when there is no randomness to be had.
    pub fn new() -> Result<Self, CryptoError> {
        Ok(Self { memory_key: crypto::random()?, slow: Semaphore::new(1), waiting: AtomicUsize::new(0) })
    }

    /// Checks that `presented` is a live secret of a client that may use it, there and now. Answers when it stops being
    /// accepted, if it does.
    ///
    /// # Errors
    /// [`Refusal::InvalidClient`], whatever is wrong; [`Refusal::Unavailable`] when too many slow checks are waiting.
    pub async fn authenticate(
        &self,
        directory: &Directory,
        client_id: &str,
        presented: &str,
        source: Source,
        now: UnixTime,
    ) -> Result<Option<UnixTime>, Refusal> {
        if presented.len() > MAX_LENGTH {
            return Err(UNKNOWN);
        }
        let hashes = match self.check(directory, client_id, presented, source, now) {
            Check::Passed(end) => return Ok(end),
            Check::Failed(denied) => return Err(Refusal::InvalidClient(denied)),
            Check::Slow(hashes) => hashes,
        };
        // On the heap: nobody else's request carries what few wait for.
        match Box::pin(self.try_slowly(hashes, presented)).await? {
            Some(phc) => self.remember(directory, client_id, presented, &phc, source, now),
            None => Err(UNKNOWN),
        }
    }

    fn check(
        &self,
        directory: &Directory,
        client_id: &str,
        presented: &str,
        source: Source,
        now: UnixTime,
    ) -> Check {
        let guard = directory.guard();
        let client = directory.client(client_id, &guard);
        let secrets = client.map_or(&[][..], |client| client.secrets.as_slice());
        let found = if has_generated_form(presented) {
            let digest = crypto::sha256(presented.as_bytes());
            secrets.iter().find(|secret| match &secret.check {
                SecretCheck::Fast(expected) => crypto::digests_equal(expected, &digest),
                SecretCheck::Slow(_) => false,
            })
        } else {
            let mac = self.mac(client_id, presented);
            let slow = |secret: &&Secret| match &secret.check {
                SecretCheck::Slow(slow) => {
                    slow.remembered.get().is_some_and(|known| crypto::digests_equal(known, &mac))
                }
                SecretCheck::Fast(_) => false,
            };
            let found = secrets.iter().find(slow);
            // A right secret that is not accepted costs what a wrong one costs: nobody learns that it was right.
            let accepted = client
                .zip(found)
                .is_some_and(|(client, secret)| accepts(client, secret, source, now).is_ok());
            if !accepted && directory.any_slow_secret() {
                return Check::Slow(slow_hashes(secrets));
            }
            found
        };
        match (client, found) {
            (Some(client), Some(secret)) => accept(directory, client_id, client, secret, source, now),
            _ => Check::Failed(Denied::Unknown),
        }
    }

    /// The hash that `presented` matches. All are tried, right or wrong.
    async fn try_slowly(&self, hashes: Vec<Arc<str>>, presented: &str) -> Result<Option<Arc<str>>, Refusal> {
        const BUSY: Refusal = Refusal::Unavailable("too many secrets are being checked; try again shortly");
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= MOST_WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(BUSY);
        }
        let waiting = Waiting(&self.waiting);
        let permit = self.slow.acquire().await.map_err(|_| BUSY)?;
        let presented = zeroize::Zeroizing::new(presented.to_owned());
        let tried = background::run(move || {
            let matching: Vec<_> =
                hashes.into_iter().filter(|phc| slow_hash_matches(phc, &presented)).collect();
            matching.into_iter().next()
        });
        let found = tried.await.map_err(|_| BUSY)?;
        drop((permit, waiting));
        Ok(found)
    }

    /// Accepts a secret that a slow hash has matched, and remembers it. The client may have changed meanwhile.
    fn remember(
        &self,
        directory: &Directory,
        client_id: &str,
        presented: &str,
        phc: &str,
        source: Source,
        now: UnixTime,
    ) -> Result<Option<UnixTime>, Refusal> {
        let guard = directory.guard();
        let client = directory.client(client_id, &guard).ok_or(UNKNOWN)?;
        let mut refusal = UNKNOWN;
        for secret in client.secrets.as_slice() {
            if let SecretCheck::Slow(slow) = &secret.check
                && *slow.phc == *phc
            {
                slow.remembered.get_or_init(|| self.mac(client_id, presented));
                match accept(directory, client_id, client, secret, source, now) {
                    Check::Passed(end) => return Ok(end),
                    Check::Failed(denied) => refusal = Refusal::InvalidClient(denied),
                    // Not again.
                    Check::Slow(_) => {}
                }
            }
        }
        Err(refusal)
    }

    fn mac(&self, client_id: &str, presented: &str) -> [u8; 32] {
        crypto::hmac_sha256(&self.memory_key, &[client_id.as_bytes(), &[0], presented.as_bytes()])
    }
}

fn accept(
    directory: &Directory,
    id: &str,
    client: &IssuingClient,
    secret: &Secret,
    source: Source,
    now: UnixTime,
) -> Check {
    match accepts(client, secret, source, now) {
        Ok(()) => {
            directory.note_use(id, client, secret, source.address(), now);
            Check::Passed(secret.ends_at())
        }
        Err(denied) => Check::Failed(denied),
    }
}

/// Whether a secret that is right may be used, there and now.
fn accepts(client: &IssuingClient, secret: &Secret, source: Source, now: UnixTime) -> Result<(), Denied> {
    if now.millis() >= secret.expires_at {
        return Err(Denied::SecretExpired);
    }
    if client.restrictions().is_some_and(|restrictions| !restrictions.admit(source.address())) {
        return Err(Denied::Address);
    }
    is_open(client, now)
}

/// Whether a client gets tokens now, and those that it got are good.
///
/// # Errors
/// Why not.
pub fn is_open(client: &IssuingClient, now: UnixTime) -> Result<(), Denied> {
    let (begin, end) = client
        .restrictions()
        .map_or((None, None), |restrictions| (restrictions.not_before, restrictions.not_after));
    if !client.enabled {
        Err(Denied::Disabled)
    } else if begin.is_some_and(|begin| now < begin) {
        Err(Denied::TooEarly)
    } else if end.is_some_and(|end| now >= end) {
        Err(Denied::TooLate)
    } else {
        Ok(())
    }
}

fn slow_hashes(secrets: &[Secret]) -> Vec<Arc<str>> {
    let hashes = secrets.iter().filter_map(|secret| match &secret.check {
        SecretCheck::Slow(slow) => Some(Arc::from(&*slow.phc)),
        SecretCheck::Fast(_) => None,
    });
    let hashes: Vec<_> = hashes.collect();
    // Whoever has no slow secret, or does not exist, must not be told by the time that it takes.
    if hashes.is_empty() { vec![Arc::from(NOBODY)] } else { hashes }
}

/// Counts one request less when it is dropped, however the request ends.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::secret::is_slow_hash;

    #[test]
    fn the_hash_of_nobody_costs_what_a_real_one_costs() {
        assert!(is_slow_hash(NOBODY));
        assert!(!slow_hash_matches(NOBODY, ""));
    }
}
