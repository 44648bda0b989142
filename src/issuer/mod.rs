//! The heart: authenticate the client, allow audience and scopes, mint. No HTTP, no SQL.
//!
//! | module | holds |
//! |---|---|
//! | [`authentication`] | whether a client is who it says |
//! | [`inspection`] | whether a token of ours is still good |

pub mod authentication;
pub mod inspection;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use m2mint_keys::crypto::CryptoError;
use m2mint_keys::time::UnixTime;
use m2mint_keys::token::{self, Claims};
use serde_json::{Map, Value};

use crate::clock::Clock;
use crate::directory::{Directory, IssuingClient};
use crate::issuer::authentication::Authenticator;
use crate::limits::{Wait, source::Source};
use crate::metrics::tokens::Tokens;
use crate::model::audit::date_to_the_second;
use crate::model::names::MAX_SCOPES;
use crate::model::service::Names;
use crate::model::{InvalidName, Scope};
use crate::rotation::keeper::Keeper;

/// How long a request waits for a clock that has jumped to be written down.
const CLOCK_PATIENCE: Duration = Duration::from_secs(2);

/// What tokens are like where neither client nor request says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `iss`.
    pub issuer: String,
    /// How long tokens live where their client says nothing.
    pub lifetime: Duration,
    /// How long any token may live.
    pub max_lifetime: Duration,
    /// Whether a request without `scope` gets every scope that the client has.
    pub all_scopes_by_default: bool,
}

/// A request for a token, as far as it was understood.
#[derive(Debug, Default)]
pub struct TokenRequest<'a> {
    /// Who asks.
    pub client_id: &'a str,
    /// For which service.
    pub audience: Option<&'a str>,
    /// For which actions; `None` when nothing was said.
    pub scopes: Option<Vec<&'a str>>,
    /// `iss` in place of the configured one.
    pub issuer: Option<&'a str>,
    /// Further claims.
    pub extra: Option<&'a Map<String, Value>>,
}

/// An issued token.
#[derive(Debug)]
pub struct Issued {
    /// The token.
    pub token: String,
    /// Seconds for which it is good.
    pub lifetime: u64,
    /// What it grants, separated by spaces.
    pub scope: String,
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not let in: nobody is told why.
    #[error("unknown client, or wrong secret")]
    InvalidClient(Denied),
    /// The client has had its tokens of a minute.
    #[error("this client may get {limit} tokens a minute")]
    TooManyTokens {
        /// How long to wait for the next one.
        wait: Wait,
        /// How many it may get.
        limit: u32,
    },
    /// A scope is not well formed, or not allowed.
    #[error("{0}")]
    InvalidScope(String),
    /// No audience, or not an allowed one.
    #[error("{0}")]
    InvalidTarget(String),
    /// Nothing can be signed, or nobody authenticated, right now.
    #[error("{0}")]
    Unavailable(&'static str),
}

/// Why a client is not let in, for the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// There is no such client, or the secret is not one of its own.
    #[error("unknown client, or wrong secret")]
    Unknown,
    /// The secret is right, but no longer good.
    #[error("the secret has expired")]
    SecretExpired,
    /// The secret is right, but the client is disabled.
    #[error("the client is disabled")]
    Disabled,
    /// The secret is right, but it comes from outside of the client's networks.
    #[error("the address is in none of the client's networks")]
    Address,
    /// The secret is right, but the client's time has not come.
    #[error("the client may get no tokens yet (not-before)")]
    TooEarly,
    /// The secret is right, but the client's time is over.
    #[error("the client may get no tokens any more (not-after)")]
    TooLate,
}

impl From<CryptoError> for Refusal {
    fn from(_: CryptoError) -> Self {
        Self::Unavailable("there are no random numbers to be had")
    }
}

/// Issues tokens.
pub struct Issuer {
    directory: Arc<Directory>,
    keeper: Keeper,
    clock: Clock,
    settings: ArcSwap<Settings>,
    authenticator: Authenticator,
    tokens: Tokens,
}

impl Issuer {
    /// An issuer for the clients of `directory`, which signs with the keys of `keeper` and is counted by `tokens`.
    ///
    /// # Errors
    /// [`CryptoError`] when there is no randomness to be had.
    pub fn new(
        directory: Arc<Directory>,
        keeper: Keeper,
        clock: Clock,
        settings: Settings,
        tokens: Tokens,
    ) -> Result<Self, CryptoError> {
        let authenticator = Authenticator::new()?;
        Ok(Self {
            directory,
            keeper,
            clock,
            settings: ArcSwap::from_pointee(settings),
            authenticator,
            tokens,
        })
    }

    /// What tokens are like right now.
    pub fn settings(&self) -> arc_swap::Guard<Arc<Settings>> {
        self.settings.load()
    }

    /// What was issued, by client and audience.
    pub const fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// From now on, tokens are like this.
    pub fn set_settings(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }

    /// Checks that `secret` is one of the client's, and that it may be used there and now. Answers when it stops being
    /// accepted, if it does.
    ///
    /// # Errors
    /// [`Refusal::InvalidClient`], whatever is wrong.
    pub fn authenticate<'a>(
        &'a self,
        client_id: &'a str,
        secret: &'a str,
        source: Source,
    ) -> impl Future<Output = Result<Option<UnixTime>, Refusal>> + 'a {
        self.authenticator.authenticate(&self.directory, client_id, secret, source, self.clock.wall())
    }

    /// Whether the client `id` is said to come from there.
    #[must_use]
    pub fn expects(&self, client_id: &str, source: Source) -> bool {
        let guard = self.directory.guard();
        let restrictions = self.directory.client(client_id, &guard).and_then(IssuingClient::restrictions);
        restrictions.is_some_and(|restrictions| restrictions.expect(source.address()))
    }

    /// Issues a token to a client that has been authenticated.
    ///
    /// # Errors
    /// A [`Refusal`] that says what to ask for instead.
    pub async fn issue(&self, request: &TokenRequest<'_>) -> Result<Issued, Refusal> {
        let now = match self.keeper.gate().now(&self.clock) {
            Ok(now) => now,
            Err(_) => self.wait_for_clock().await?,
        };
        let guard = self.directory.guard();
        let client = self.directory.client(request.client_id, &guard);
        let client = client.ok_or(Refusal::InvalidClient(Denied::Unknown))?;
        authentication::is_open(client, now).map_err(Refusal::InvalidClient)?;
        self.mint(client, request, now)
    }

    fn mint(
        &self,
        client: &IssuingClient,
        request: &TokenRequest<'_>,
        now: UnixTime,
    ) -> Result<Issued, Refusal> {
        let settings = self.settings.load();
        let audience = audience(client, request.audience)?;
        let renamed = self.directory.renamed();
        let names = renamed.get(audience).map_or(&[][..], Vec::as_slice);
        let asked = Asked { client, audience, names, now };
        let scopes = asked.scopes(request.scopes.as_deref(), settings.all_scopes_by_default)?;
        let published = self.keeper.published();
        let signer = published.signer(audience);
        let lifetime =
            client.token_lifetime.map_or(settings.lifetime, |secs| Duration::from_secs(secs.into()));
        let mut lifetime = lifetime.min(settings.max_lifetime).min(signer.longest_lifetime).as_secs();
        if let Some(end) = client.restrictions().and_then(|restrictions| restrictions.not_after) {
            // Whole seconds: not one beyond the end.
            let left = end.secs().saturating_sub(now.secs());
            lifetime = lifetime.min(u64::try_from(left).unwrap_or(0));
            if lifetime == 0 {
                return Err(Refusal::InvalidClient(Denied::TooLate));
            }
        }
        client
            .take_turn(|| self.clock.steady())
            .map_err(|(wait, limit)| Refusal::TooManyTokens { wait, limit })?;
        let token = signer.minter.mint(&Claims {
            issuer: request.issuer.unwrap_or(&settings.issuer),
            client_id: request.client_id,
            audience,
            scopes: &scopes,
            issued_at: now,
            lifetime,
            jti: &token::new_jti(now)?,
            extra: request.extra,
        })?;
        self.tokens.count(request.client_id, audience);
        let scope = scopes.join(" ");
        let asked = request.scopes.as_deref();
        self.directory.grant_uses().note(request.client_id, &client.last_kind, audience, &scope, asked, now);
        Ok(Issued { token, lifetime, scope })
    }

    async fn wait_for_clock(&self) -> Result<UnixTime, Refusal> {
        const REFUSAL: Refusal =
            Refusal::Unavailable("the clock of this server was set ahead; try again shortly");
        // The keeper may have been told already, or may be busy: whatever it says, the gate decides.
        let _ = tokio::time::timeout(CLOCK_PATIENCE, self.keeper.allow_signing()).await;
        self.keeper.gate().now(&self.clock).map_err(|_| REFUSAL)
    }
}

fn audience<'a>(client: &'a IssuingClient, asked: Option<&'a str>) -> Result<&'a str, Refusal> {
    let choices = || client.grants.audiences().collect::<Vec<_>>().join(", ");
    match asked {
        Some(asked) if client.grants.allows_audience(asked) => Ok(asked),
        Some(_) => Err(Refusal::InvalidTarget(match choices() {
            none if none.is_empty() => "this client may not ask for any audience".into(),
            choices => format!("this client may not ask for that audience; it may ask for: {choices}"),
        })),
        None => {
            let mut audiences = client.grants.audiences();
            match (audiences.next(), audiences.next()) {
                (Some(only), None) => Ok(only),
                (None, _) => {
                    Err(Refusal::InvalidTarget("this client has no audience to ask a token for".into()))
                }
                _ => {
                    Err(Refusal::InvalidTarget(format!("say which audience the token is for: {}", choices())))
                }
            }
        }
    }
}

/// What a client may be granted at an audience.
struct Asked<'a> {
    client: &'a IssuingClient,
    audience: &'a str,
    /// The audience's actions that have several names.
    names: &'a [Names],
    now: UnixTime,
}

impl<'a> Asked<'a> {
    fn scopes(&self, asked: Option<&[&'a str]>, all_by_default: bool) -> Result<Vec<&'a str>, Refusal> {
        let Some(asked) = asked else {
            let mut scopes = Vec::new();
            if all_by_default {
                self.client.grants.all_scopes(self.audience).for_each(|scope| self.add(scope, &mut scopes));
            }
            return Ok(scopes);
        };
        if asked.len() > MAX_SCOPES {
            return Err(Refusal::InvalidScope(format!("a token can have at most {MAX_SCOPES} scopes")));
        }
        let mut scopes = Vec::with_capacity(asked.len());
        for &scope in asked {
            // A wildcard says how a scope begins; what a scope is, the grammar says. Only what follows it is repeated.
            Scope::check(scope).map_err(|error| Refusal::InvalidScope(match error {
                InvalidName::TooLong(..) => error.to_string(),
                _ => "scopes are separated by single spaces and hold visible ASCII without quotes and backslashes".into(),
            }))?;
            self.check(scope)?;
            self.add(scope, &mut scopes);
        }
        Ok(scopes)
    }

    /// The names of the action that `scope` is, where it has several.
    fn names_of(&self, scope: &str) -> Option<&'a Names> {
        self.names.iter().find(|names| names.contain(scope))
    }

    /// The names by which the client has the action.
    fn granted(&self, names: &'a Names) -> impl Iterator<Item = &'a str> {
        let (grants, audience) = (&self.client.grants, self.audience);
        names.granted(
            self.now,
            |name| grants.names_scope(name, audience),
            |name| grants.allows_scope(name, audience),
        )
    }

    fn check(&self, scope: &str) -> Result<(), Refusal> {
        let grants = &self.client.grants;
        let (audience, now) = (self.audience, self.now);
        let refused =
            || Refusal::InvalidScope(format!("this client may not ask for the scope {scope} at {audience}"));
        let Some(names) = self.names_of(scope) else {
            return if grants.allows_scope(scope, audience) { Ok(()) } else { Err(refused()) };
        };
        let mut granted = self.granted(names).peekable();
        if granted.peek().is_none() {
            return Err(refused());
        }
        if names.can_be_asked_for(scope, now) {
            return if granted.any(|name| name == scope) { Ok(()) } else { Err(refused()) };
        }
        let since = names.former.iter().find(|(name, _)| name.as_str() == scope);
        let since = since.map(|(_, at)| date_to_the_second(*at)).unwrap_or_default();
        Err(Refusal::InvalidScope(format!(
            "{scope} is called {} at {audience}, and by the former name it cannot be asked for since {since}",
            names.action
        )))
    }

    /// Adds a scope by every name that the called service may know it by.
    fn add(&self, scope: &'a str, scopes: &mut Vec<&'a str>) {
        let mut push = |scope| {
            if !scopes.contains(&scope) {
                scopes.push(scope);
            }
        };
        match self.names_of(scope) {
            None => push(scope),
            Some(names) => {
                // What was asked for first, then what it is called besides.
                if names.can_be_asked_for(scope, self.now) {
                    push(scope);
                }
                self.granted(names).for_each(push);
            }
        }
    }
}
