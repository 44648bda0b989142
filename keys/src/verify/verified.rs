//! What a good token says.

use serde_json::{Map, Value};

use crate::json::{Item, Members};
use crate::time::UnixTime;
use crate::token::{CANARY_CLAIM, STT_ACCESS_TOKEN};
use crate::verify::{Policy, Rejection};

/// The year 9999: beyond it is no date but an overflow waiting to happen.
const MAX_DATE: i64 = 253_402_300_799;

/// A token that passed.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// `iss`.
    pub issuer: String,
    /// `sub`: the client itself, or the user on whose behalf it acts.
    pub subject: String,
    /// The client.
    pub client_id: String,
    /// The audience for which it was accepted.
    pub audience: String,
    scope: String,
    /// `iat`.
    pub issued_at: UnixTime,
    /// `exp`.
    pub expires_at: UnixTime,
    /// `nbf`, where there is one.
    pub not_before: Option<UnixTime>,
    /// Unique id.
    pub jti: String,
    /// Every other claim.
    pub extra: Map<String, Value>,
}

impl Verified {
    /// Reads the claims of a token whose signature is good, and checks them against `policy`.
    pub(super) fn read(mut claims: Members<'_>, policy: &Policy, now: UnixTime) -> Result<Self, Rejection> {
        let dates = Dates::take(&mut claims)?;
        dates.check(policy, now)?;
        let issuer = text(&mut claims, "iss")?;
        if policy.issuer.as_ref().is_some_and(|expected| *expected != issuer) {
            return Err(Rejection::WrongIssuer);
        }
        let audience = audience(&mut claims, policy)?;
        token_type(&mut claims, STT_ACCESS_TOKEN)?;
        // Nobody who asks for a token can have one with this claim.
        if claims.get(CANARY_CLAIM).is_some() {
            return Err(Rejection::Canary);
        }
        let scope = scope(&mut claims)?;
        let (subject, client_id) = (text(&mut claims, "sub")?, text(&mut claims, "client_id")?);
        // RFC 9068 §2.2: where no user takes part, the subject is the client.
        if subject != client_id && claims.get(SESSION_HANDLE).is_none() {
            return Err(Rejection::BadClaim("sub"));
        }
        let jti = text(&mut claims, "jti")?;
        let Dates { issued_at, expires_at, not_before } = dates;
        let extra = claims.rest();
        let verified = Self {
            issuer,
            subject,
            client_id,
            audience,
            scope,
            issued_at,
            expires_at,
            not_before,
            jti,
            extra,
        };
        match policy.scopes.iter().find(|needed| !verified.allows(needed)) {
            Some(missing) => Err(Rejection::MissingScope(missing.clone())),
            None => Ok(verified),
        }
    }

    /// Checks the time once more: for a token that passed before.
    pub(super) fn check_time(&self, policy: &Policy, now: UnixTime) -> Result<(), Rejection> {
        let Self { issued_at, expires_at, not_before, .. } = *self;
        Dates { issued_at, expires_at, not_before }.check(policy, now)
    }

    /// Granted scopes.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scope.split(' ').filter(|scope| !scope.is_empty())
    }

    /// Granted scopes, separated by spaces.
    #[must_use]
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// Whether the token grants exactly `scope`.
    #[must_use]
    pub fn allows(&self, scope: &str) -> bool {
        self.scopes().any(|granted| granted == scope)
    }

    /// The session of the user on whose behalf the client acts; `None` when it acts for itself.
    #[must_use]
    pub fn session_handle(&self) -> Option<&str> {
        self.extra.get(SESSION_HANDLE)?.as_str()
    }

    /// Whether a user's session stands behind it, of whatever form its handle is.
    #[must_use]
    pub fn has_session_handle(&self) -> bool {
        self.extra.contains_key(SESSION_HANDLE)
    }

    /// All claims, as a token would write them.
    #[must_use]
    pub fn claims(&self) -> Map<String, Value> {
        let mut claims = Map::new();
        let mut claim = |name: &str, value: Value| drop(claims.insert(name.to_owned(), value));
        claim("iss", self.issuer.as_str().into());
        claim("sub", self.subject.as_str().into());
        claim("aud", self.audience.as_str().into());
        claim("client_id", self.client_id.as_str().into());
        claim("iat", self.issued_at.secs().into());
        claim("exp", self.expires_at.secs().into());
        if let Some(not_before) = self.not_before {
            claim("nbf", not_before.secs().into());
        }
        claim("jti", self.jti.as_str().into());
        claim("scope", self.scope.as_str().into());
        claim("scp", self.scopes().collect());
        claim("stt", STT_ACCESS_TOKEN.into());
        claims.extend(self.extra.clone());
        claims
    }
}

/// Names the session of the user for whom a token was issued.
pub(super) const SESSION_HANDLE: &str = "sessionHandle";

/// When a token is good.
pub(super) struct Dates {
    pub(super) issued_at: UnixTime,
    pub(super) expires_at: UnixTime,
    pub(super) not_before: Option<UnixTime>,
}

impl Dates {
    pub(super) fn take(claims: &mut Members<'_>) -> Result<Self, Rejection> {
        let mut date = |name: &'static str| match claims.take(name) {
            None => Err(Rejection::MissingClaim(name)),
            Some(Item::Integer(secs)) if (0..=MAX_DATE).contains(&secs) => Ok(UnixTime::from_secs(secs)),
            Some(_) => Err(Rejection::BadClaim(name)),
        };
        let (issued_at, expires_at) = (date("iat")?, date("exp")?);
        let not_before = match date("nbf") {
            Err(Rejection::MissingClaim(_)) => None,
            not_before => Some(not_before?),
        };
        Ok(Self { issued_at, expires_at, not_before })
    }

    pub(super) fn check(&self, policy: &Policy, now: UnixTime) -> Result<(), Rejection> {
        let leeway = crate::time::millis(policy.leeway);
        if now.millis_since(self.expires_at) >= leeway {
            return Err(Rejection::Expired);
        }
        if self.issued_at.millis_since(now) > leeway {
            return Err(Rejection::IssuedInFuture);
        }
        if self.not_before.is_some_and(|begin| begin.millis_since(now) > leeway) {
            return Err(Rejection::NotYetValid);
        }
        Ok(())
    }
}

pub(super) fn text(claims: &mut Members<'_>, name: &'static str) -> Result<String, Rejection> {
    match claims.take(name) {
        Some(Item::Text(text)) => Ok(text.into_owned()),
        Some(_) => Err(Rejection::BadClaim(name)),
        None => Err(Rejection::MissingClaim(name)),
    }
}

pub(super) fn token_type(claims: &mut Members<'_>, expected: u8) -> Result<(), Rejection> {
    match claims.take("stt") {
        Some(Item::Integer(stt)) if stt == i64::from(expected) => Ok(()),
        Some(_) => Err(Rejection::WrongTokenType),
        None => Err(Rejection::MissingClaim("stt")),
    }
}

/// RFC 7519 §4.1.3: one string, or a list of them.
fn audience(claims: &mut Members<'_>, policy: &Policy) -> Result<String, Rejection> {
    let named = match claims.take("aud") {
        Some(Item::Text(audience)) => vec![audience],
        Some(Item::Texts(audiences)) if !audiences.is_empty() => audiences,
        Some(_) => return Err(Rejection::BadClaim("aud")),
        None => return Err(Rejection::MissingClaim("aud")),
    };
    let expected = policy.audience.as_deref();
    let others = named.len() > 1;
    let mut matching =
        named.into_iter().filter(|audience| expected.is_none_or(|expected| expected == audience));
    match matching.next() {
        None => Err(Rejection::WrongAudience),
        Some(_) if others && !policy.shared_audience => Err(Rejection::SharedAudience),
        Some(audience) => Ok(audience.into_owned()),
    }
}

/// `scope` (RFC 9068 §2.2.3), or SuperTokens' `scp`; where there are both, they say the same.
fn scope(claims: &mut Members<'_>) -> Result<String, Rejection> {
    let listed = match claims.take("scp") {
        None => None,
        Some(Item::Texts(scopes)) => Some(scopes),
        Some(_) => return Err(Rejection::BadClaim("scp")),
    };
    match (text(claims, "scope"), listed) {
        (Ok(scope), Some(listed)) => {
            let same =
                scope.split(' ').filter(|scope| !scope.is_empty()).eq(listed.iter().map(AsRef::as_ref));
            if same { Ok(scope) } else { Err(Rejection::BadClaim("scp")) }
        }
        (Err(Rejection::MissingClaim(_)), Some(listed)) => Ok(listed.join(" ")),
        (scope, _) => scope,
    }
}
