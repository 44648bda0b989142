//! Tokens for a service that calls others.
//!
//! ```no_run
//! use m2mint_keys::client::{Secret, TokenSource};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let secret = Secret::file("/run/credentials/task.service/secret");
//! let tokens = TokenSource::new("https://auth.example.com/auth", "task", secret, "event", &["event.create"])?;
//! let calendar = tokens.client();
//! calendar.post("https://calendar.example.com/events").body("{}").send().await?.error_for_status()?;
//! # Ok(())
//! # }
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`secret`] | the secret of a client, and where it is read |
//! | [`middleware`] | puts a token on each request |

pub mod middleware;
mod request;
pub mod secret;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use zeroize::Zeroizing;

pub use crate::client::request::TokenError;
use crate::client::request::{Failure, Granted, TokenRequest};
pub use crate::client::secret::Secret;
use crate::crypto;
use crate::remote::http::{Endpoint, Http};
use crate::remote::{Clock, RemoteError, Settings};

/// The first wait after a failure. It doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The longest that an issuer may ask to wait.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);
/// How long before its end a token is no longer used: it has to arrive, at a clock that may be ahead.
const MARGIN: Duration = Duration::from_secs(30);
/// A token that is refused younger than this is not thrown away: another one would be refused as well.
const YOUNG: Duration = Duration::from_secs(5);

/// Gets access tokens for one audience, and keeps one at hand. Cheap to clone; clones share it.
#[derive(Clone)]
pub struct TokenSource(Arc<Inner>);

struct Inner {
    http: Http,
    issuer: Endpoint,
    request: TokenRequest,
    clock: Clock,
    state: RwLock<State>,
    /// Held by whoever asks for a token: one flight at a time. In it, where tokens are to be had.
    flight: Mutex<Option<Endpoint>>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    failed: Option<Failed>,
}

/// A token, and when to do what about it.
#[derive(Clone)]
struct Held {
    token: AccessToken,
    granted_at: Instant,
    refresh_at: Instant,
    good_until: Instant,
}

/// What went wrong, how often in a row, and when to try again.
struct Failed {
    error: TokenError,
    times: u32,
    again_at: Instant,
}

enum Step {
    Use(AccessToken),
    UseAndRefresh(AccessToken),
    Fetch,
    Fail(TokenError),
}

/// An access token. It is not shown by `Debug`, and wiped when the last clone is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(Arc<Zeroizing<String>>);

impl AccessToken {
    /// The token itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(..)")
    }
}

impl TokenSource {
    /// Tokens of `issuer` for `audience` with these scopes. Nothing is fetched yet.
    ///
    /// # Errors
    /// [`RemoteError`] when `issuer` is not an `https` URL, or an `http` one of this machine.
    pub fn new(
        issuer: &str,
        client_id: &str,
        secret: Secret,
        audience: &str,
        scopes: &[&str],
    ) -> Result<Self, RemoteError> {
        Self::with(issuer, client_id, secret, audience, scopes, &Settings::default())
    }

    /// The same with another time limit, or a private certificate authority.
    ///
    /// # Errors
    /// [`RemoteError`] when `issuer` is not acceptable, or a certificate is malformed.
    pub fn with(
        issuer: &str,
        client_id: &str,
        secret: Secret,
        audience: &str,
        scopes: &[&str],
        settings: &Settings,
    ) -> Result<Self, RemoteError> {
        let request = TokenRequest {
            client_id: client_id.to_owned(),
            secret,
            audience: audience.to_owned(),
            scope: scopes.join(" "),
        };
        Ok(Self(Arc::new(Inner {
            http: Http::new(settings)?,
            issuer: Endpoint::parse(issuer)?,
            request,
            clock: Arc::new(Instant::now),
            state: RwLock::default(),
            flight: Mutex::default(),
        })))
    }

    /// The same source by another steady clock. For tests, before it is used.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.clock = Arc::new(clock);
        }
        self
    }

    /// A token that is good for a while. Usually the one at hand; a new one is fetched in the background when three
    /// quarters of its time have passed.
    ///
    /// # Errors
    /// [`TokenError`] when there is no good one and none to be had. While an issuer that failed is given time to recover,
    /// the same error is told again.
    pub async fn token(&self) -> Result<AccessToken, TokenError> {
        match self.next_step() {
            Step::Use(token) => Ok(token),
            Step::UseAndRefresh(token) => {
                let source = self.clone();
                tokio::spawn(async move {
                    // Whoever fetches already does it for all.
                    if let Ok(mut flight) = source.0.flight.try_lock() {
                        source.fetch(&mut flight).await;
                    }
                });
                Ok(token)
            }
            Step::Fail(error) => Err(error),
            Step::Fetch => {
                let mut flight = self.0.flight.lock().await;
                // Somebody else may have fetched one meanwhile.
                if matches!(self.next_step(), Step::Fetch) {
                    self.fetch(&mut flight).await;
                }
                match self.next_step() {
                    Step::Use(token) | Step::UseAndRefresh(token) => Ok(token),
                    Step::Fail(error) => Err(error),
                    Step::Fetch => Err(TokenError::Malformed("the token has expired already".into())),
                }
            }
        }
    }

    /// Throws `token` away because a service refused it: its key or its client may have been revoked. One that was
    /// fetched just now is kept.
    pub fn invalidate(&self, token: &AccessToken) {
        let now = (self.0.clock)();
        let mut state = self.state_mut();
        if state.held.as_ref().is_some_and(|held| held.token == *token && now - held.granted_at >= YOUNG) {
            state.held = None;
        }
    }

    fn next_step(&self) -> Step {
        let now = (self.0.clock)();
        let state = self.0.state.read().unwrap_or_else(PoisonError::into_inner);
        let resting = state.failed.as_ref().filter(|failed| now < failed.again_at);
        match &state.held {
            Some(held) if now < held.refresh_at => Step::Use(held.token.clone()),
            Some(held) if now < held.good_until && resting.is_some() => Step::Use(held.token.clone()),
            Some(held) if now < held.good_until => Step::UseAndRefresh(held.token.clone()),
            _ => resting.map_or(Step::Fetch, |failed| Step::Fail(failed.error.clone())),
        }
    }

    async fn fetch(&self, flight: &mut Option<Endpoint>) {
        let Inner { http, issuer, request, .. } = &*self.0;
        let asked_at = (self.0.clock)();
        let granted = match Self::found(http, issuer, flight).await {
            Ok(endpoint) => request.send(http, &endpoint).await,
            Err(error) => Err(Failure { error: TokenError::Unavailable(error), retry_after: None }),
        };
        let now = (self.0.clock)();
        let mut state = self.state_mut();
        match granted {
            Ok(Granted { token, lifetime }) => {
                // Counted from before the request was sent: the token is no older than that.
                let good_for = lifetime.saturating_sub(MARGIN.min(lifetime / 10));
                let refresh_after = lifetime.mul_f64(0.7 + 0.1 * chance());
                state.held = Some(Held {
                    token: AccessToken(Arc::new(token)),
                    granted_at: now,
                    refresh_at: asked_at + refresh_after,
                    good_until: asked_at + good_for,
                });
                state.failed = None;
            }
            Err(Failure { error, retry_after }) => {
                if matches!(error, TokenError::Unavailable(_)) {
                    // The issuer may have moved it.
                    *flight = None;
                }
                let times = state.failed.as_ref().map_or(0, |failed| failed.times);
                let wait = FIRST_WAIT.saturating_mul(1 << times.min(16)).min(LONGEST_WAIT);
                let wait = wait
                    .mul_f64(0.5 + 0.5 * chance())
                    .max(retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER));
                state.failed = Some(Failed { error, times: times.saturating_add(1), again_at: now + wait });
            }
        }
    }

    async fn found(
        http: &Http,
        issuer: &Endpoint,
        known: &mut Option<Endpoint>,
    ) -> Result<Endpoint, RemoteError> {
        if let Some(endpoint) = known {
            return Ok(endpoint.clone());
        }
        let metadata = http.metadata(issuer).await?;
        let url = metadata.token_endpoint.ok_or(RemoteError::NoSuchEndpoint("token_endpoint"))?;
        Ok(known.insert(Endpoint::parse(&url)?).clone())
    }

    fn state_mut(&self) -> std::sync::RwLockWriteGuard<'_, State> {
        self.0.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number between 0 and 1, so that many clients do not all come at the same time.
fn chance() -> f64 {
    crypto::random().map_or(0.5, |[byte]: [u8; 1]| f64::from(byte) / 255.0)
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TokenRequest { client_id, audience, scope, .. } = &self.0.request;
        write!(f, "TokenSource({client_id} at {audience} for {scope:?})")
    }
}
