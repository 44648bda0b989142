//! Key sets that are fetched from their issuer and kept up to date.
//!
//! A set is used without asking for as long as the issuer allows, and refreshed in the background in the last quarter of
//! that time. A set that has become stale is asked for again before it is used; when the issuer cannot be reached, it
//! stays in use for [`Settings::stale_limit`]. A token that names an unknown key makes for one more request, at most once
//! in [`Settings::cooldown`].
//!
//! ```no_run
//! use m2mint_keys::remote::{RemoteJwks, RemoteVerifier};
//! use m2mint_keys::{time::UnixTime, verify::Policy};
//!
//! # async fn example(token: &str, now: UnixTime) -> Result<(), Box<dyn std::error::Error>> {
//! let issuer = "https://auth.example.com/auth";
//! let verifier = RemoteVerifier::new(RemoteJwks::discover(issuer)?, Policy::new(issuer, "event"));
//! let caller = verifier.verify(token, now).await?;
//! assert!(caller.allows("event.create"));
//! # Ok(())
//! # }
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`http`] | what is fetched, from where, and how much of it |
//! | [`verifier`] | verifiers that follow a set |

pub mod http;
pub mod verifier;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::jwk::JwkSet;
pub use crate::remote::http::RemoteError;
use crate::remote::http::{Answer, Endpoint, Fetched, Http, Metadata};
pub use crate::remote::verifier::{RemoteRejection, RemoteSessionVerifier, RemoteVerifier};

/// How a set is kept up to date.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The least time between two requests for unknown keys, and between two attempts to reach an issuer that is down.
    pub cooldown: Duration,
    /// For how long a set is used after the last time that the issuer confirmed it.
    pub stale_limit: Duration,
    /// How long a request may take.
    pub timeout: Duration,
    /// Certificates of private authorities, in DER, that are trusted beside those of the system.
    pub root_certificates: Vec<Vec<u8>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cooldown: Duration::from_secs(30),
            stale_limit: Duration::from_secs(24 * 3600),
            timeout: Duration::from_secs(5),
            root_certificates: Vec::new(),
        }
    }
}

/// A key set, wherever it comes from. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct RemoteJwks(Arc<Inner>);

struct Inner {
    source: Source,
    settings: Settings,
    clock: Clock,
    known: RwLock<Known>,
    /// Held by whoever fetches: one flight at a time. In it, where the set was last found.
    flight: Mutex<Option<Endpoint>>,
}

/// A steady clock.
pub(crate) type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

enum Source {
    Fixed,
    Url(Http, Endpoint),
    Issuer(Http, Endpoint),
}

/// What is known of the set.
#[derive(Default)]
struct Known {
    current: Option<Current>,
    etag: Option<String>,
    /// When the issuer last said that this is the set, and for how long it said so.
    confirmed: Option<(Instant, Duration)>,
    /// When somebody was last sent to look for an unknown key.
    looked: Option<Instant>,
    /// The last attempt that failed, if none has succeeded since.
    failed: Option<(Instant, RemoteError)>,
}

/// One state of the set.
#[derive(Clone)]
pub(crate) struct Current {
    pub(crate) set: Arc<JwkSet>,
    /// Counts the states.
    pub(crate) version: u64,
}

/// What there is to say about a set, for health checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// How many keys it has.
    pub keys: usize,
    /// How old it is.
    pub freshness: Freshness,
    /// Why the last attempt to fetch it failed, if none has succeeded since.
    pub last_error: Option<RemoteError>,
}

/// How old a set is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It was never fetched.
    Never,
    /// The issuer confirmed it recently enough, or it is a fixed one.
    Fresh,
    /// It would have to be confirmed. It stays in use until the stale limit.
    Stale(Duration),
}

/// What to do about the set before it is used.
enum Step {
    Use(Current),
    UseAndRefresh(Current),
    Fetch,
    Fail(RemoteError),
}

impl RemoteJwks {
    /// The set of an issuer, found by its metadata (RFC 8414, or OpenID Connect Discovery). Nothing is fetched yet.
    ///
    /// # Errors
    /// [`RemoteError`] when `issuer` is not an `https` URL, or an `http` one of this machine.
    pub fn discover(issuer: &str) -> Result<Self, RemoteError> {
        Self::discover_with(issuer, Settings::default())
    }

    /// The same with other settings.
    ///
    /// # Errors
    /// [`RemoteError`] when `issuer` is not acceptable, or a certificate is malformed.
    pub fn discover_with(issuer: &str, settings: Settings) -> Result<Self, RemoteError> {
        let http = Http::new(&settings)?;
        Ok(Self::of(Source::Issuer(http, Endpoint::parse(issuer)?), settings))
    }

    /// The set at this URL. Nothing is fetched yet.
    ///
    /// # Errors
    /// [`RemoteError`] when `url` is not an `https` URL, or an `http` one of this machine.
    pub fn at(url: &str) -> Result<Self, RemoteError> {
        Self::at_with(url, Settings::default())
    }

    /// The same with other settings.
    ///
    /// # Errors
    /// [`RemoteError`] when `url` is not acceptable, or a certificate is malformed.
    pub fn at_with(url: &str, settings: Settings) -> Result<Self, RemoteError> {
        let http = Http::new(&settings)?;
        Ok(Self::of(Source::Url(http, Endpoint::parse(url)?), settings))
    }

    /// A set that is never fetched: keys that are pinned, or a test's.
    #[must_use]
    pub fn fixed(set: JwkSet) -> Self {
        let mut jwks = Self::of(Source::Fixed, Settings::default());
        let known = Known { current: Some(Current { set: Arc::new(set), version: 1 }), ..Known::default() };
        if let Some(inner) = Arc::get_mut(&mut jwks.0) {
            inner.known = RwLock::new(known);
        }
        jwks
    }

    /// The same set by another steady clock. For tests, before the set is used.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.clock = Arc::new(clock);
        }
        self
    }

    fn of(source: Source, settings: Settings) -> Self {
        let (known, flight) = (RwLock::default(), Mutex::default());
        Self(Arc::new(Inner { source, settings, clock: Arc::new(Instant::now), known, flight }))
    }

    /// Fetches the set now if it was not yet: for a service that wants to know at its start whether it can work.
    ///
    /// # Errors
    /// [`RemoteError`] when there is no set to be had.
    pub async fn prefetch(&self) -> Result<(), RemoteError> {
        self.current().await.map(drop)
    }

    /// How the set stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let now = (self.0.clock)();
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        let freshness = match (&self.0.source, known.confirmed) {
            (Source::Fixed, _) => Freshness::Fresh,
            (_, None) => Freshness::Never,
            (_, Some((at, fresh_for))) => match since(now, at).checked_sub(fresh_for) {
                None => Freshness::Fresh,
                Some(stale_for) => Freshness::Stale(stale_for),
            },
        };
        Status {
            keys: known.current.as_ref().map_or(0, |current| current.set.keys.len()),
            freshness,
            last_error: known.failed.as_ref().map(|(_, error)| error.clone()),
        }
    }

    /// The set to check a token by.
    pub(crate) async fn current(&self) -> Result<Current, RemoteError> {
        match self.next_step() {
            Step::Use(current) => Ok(current),
            Step::UseAndRefresh(current) => {
                let jwks = self.clone();
                tokio::spawn(async move {
                    // Whoever fetches already does it for all; and it may have been done before this task ran.
                    if let Ok(mut flight) = jwks.0.flight.try_lock()
                        && matches!(jwks.next_step(), Step::UseAndRefresh(_))
                    {
                        jwks.fetch(&mut flight).await;
                    }
                });
                Ok(current)
            }
            Step::Fail(error) => Err(error),
            Step::Fetch => {
                let mut flight = self.0.flight.lock().await;
                // Somebody else may have fetched it meanwhile.
                if matches!(self.next_step(), Step::Fetch) {
                    self.fetch(&mut flight).await;
                }
                match self.next_step() {
                    Step::Use(current) | Step::UseAndRefresh(current) => Ok(current),
                    Step::Fail(error) => Err(error),
                    Step::Fetch => Err(RemoteError::Unreachable("the key set is out of date".into())),
                }
            }
        }
    }

    /// The set after one more look for a key that `seen` does not have. Without one when somebody looked lately.
    pub(crate) async fn look_again(&self, seen: &Current) -> Current {
        let newer = || {
            let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
            known.current.clone().filter(|current| current.version != seen.version)
        };
        if let Some(newer) = newer() {
            return newer;
        }
        if matches!(self.0.source, Source::Fixed) || self.looked_lately() {
            return seen.clone();
        }
        let mut flight = self.0.flight.lock().await;
        if newer().is_none() && !self.looked_lately() {
            self.0.known.write().unwrap_or_else(PoisonError::into_inner).looked = Some((self.0.clock)());
            self.fetch(&mut flight).await;
        }
        newer().unwrap_or_else(|| seen.clone())
    }

    fn looked_lately(&self) -> bool {
        let now = (self.0.clock)();
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        let failed = known.failed.as_ref().map(|(at, _)| *at);
        [known.looked, failed].into_iter().flatten().any(|at| since(now, at) < self.0.settings.cooldown)
    }

    fn next_step(&self) -> Step {
        let now = (self.0.clock)();
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        let failed = known.failed.as_ref().filter(|(at, _)| since(now, *at) < self.0.settings.cooldown);
        let Some(current) = known.current.clone() else {
            return failed.map_or(Step::Fetch, |(_, error)| Step::Fail(error.clone()));
        };
        let Some((confirmed, fresh_for)) = known.confirmed else { return Step::Use(current) };
        let age = since(now, confirmed);
        match failed {
            _ if age < fresh_for - fresh_for / 4 => Step::Use(current),
            None if age < fresh_for => Step::UseAndRefresh(current),
            None => Step::Fetch,
            Some(_) if age < self.0.settings.stale_limit.max(fresh_for) => Step::Use(current),
            Some((_, error)) => Step::Fail(error.clone()),
        }
    }

    async fn fetch(&self, flight: &mut Option<Endpoint>) {
        let etag = self.0.known.read().unwrap_or_else(PoisonError::into_inner).etag.clone();
        let fetched = match &self.0.source {
            Source::Fixed => return,
            Source::Url(http, url) => http.jwks(url, etag.as_deref()).await,
            Source::Issuer(http, issuer) => match Self::found(http, issuer, flight).await {
                Ok(url) => http.jwks(&url, etag.as_deref()).await,
                Err(error) => Err(error),
            },
        };
        if fetched.is_err() {
            // The issuer may have moved it.
            *flight = None;
        }
        let now = (self.0.clock)();
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        match fetched {
            Ok(Fetched { answer, fresh_for }) => {
                // Asked for less often than this, an unknown key costs no more than a stale set.
                known.confirmed = Some((now, fresh_for.max(self.0.settings.cooldown)));
                known.failed = None;
                if let Answer::Set { set, etag } = answer {
                    known.etag = etag;
                    let version = known.current.as_ref().map_or(1, |current| current.version + 1);
                    if known.current.as_ref().is_none_or(|current| *current.set != set) {
                        known.current = Some(Current { set: Arc::new(set), version });
                    }
                }
            }
            Err(error) => known.failed = Some((now, error)),
        }
    }

    async fn found(
        http: &Http,
        issuer: &Endpoint,
        known: &mut Option<Endpoint>,
    ) -> Result<Endpoint, RemoteError> {
        if let Some(url) = known {
            return Ok(url.clone());
        }
        let Metadata { jwks_uri, .. } = http.metadata(issuer).await?;
        let url = Endpoint::parse(&jwks_uri.ok_or(RemoteError::NoSuchEndpoint("jwks_uri"))?)?;
        Ok(known.insert(url).clone())
    }
}

/// A clock that goes back stands still.
fn since(now: Instant, then: Instant) -> Duration {
    now.saturating_duration_since(then)
}

impl fmt::Debug for RemoteJwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RemoteJwks").field(&self.status()).finish()
    }
}
