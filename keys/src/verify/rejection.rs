//! Why a token was refused.

use crate::bearer::BearerError;
use crate::verify::MAX_TOKEN_BYTES;

/// Why a token was refused. Nothing of the token itself is in it but the names of its claims.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// Longer than [`MAX_TOKEN_BYTES`].
    #[error("the token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// Not a header, a payload and a signature, with a dot between each (RFC 7515 §3.1).
    #[error("not a JWT: it must have three parts")]
    NotThreeParts,
    /// A part is not base64url in its only canonical form, without padding (RFC 7515 §2, RFC 4648 §3.5).
    #[error("not a JWT: a part is not canonical base64url")]
    BadEncoding,
    /// The header or the payload is not a JSON object.
    #[error("not a JWT: a part is not a JSON object")]
    BadJson,
    /// A member of a JSON object appears twice: two readers could see two things.
    #[error("a member appears twice")]
    DuplicateMember,
    /// `typ` is not `at+jwt`: an ID token, a session token, or anything else that is no access token (RFC 9068 §4).
    #[error("not an access token: typ must be at+jwt")]
    WrongType,
    /// `alg` is missing, or not the algorithm of the key.
    #[error("the algorithm is not the key's")]
    WrongAlgorithm,
    /// The header demands an extension that is not understood (RFC 7515 §4.1.11).
    #[error("the token demands an extension that is not supported")]
    CriticalExtension,
    /// No published key has this `kid`, or there is none.
    #[error("signed with a key that is not published")]
    UnknownKey,
    /// The signature is not the key's.
    #[error("the signature is wrong")]
    BadSignature,
    /// A claim is missing.
    #[error("the claim {0} is missing")]
    MissingClaim(&'static str),
    /// A claim is not what it must be: of another JSON type, out of range, or at odds with another claim.
    #[error("the claim {0} is malformed")]
    BadClaim(&'static str),
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` has not come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iat` has not come.
    #[error("the token was issued in the future: a clock is wrong")]
    IssuedInFuture,
    /// `iss` is not the expected one.
    #[error("issued by somebody else")]
    WrongIssuer,
    /// `aud` is not the expected one.
    #[error("meant for another audience")]
    WrongAudience,
    /// `aud` names others beside the expected one.
    #[error("meant for other audiences too")]
    SharedAudience,
    /// `stt` is not that of the expected kind of token: 0 session token, 1 access token, 2 ID token.
    #[error("not the expected kind of token: stt is wrong")]
    WrongTokenType,
    /// A required scope is missing.
    #[error("the scope {0} is missing")]
    MissingScope(String),
    /// A canary: its signature is good, so the key that will sign next is known here. That is all that it is for.
    #[error("a canary: the next key is known here, and nothing else is asked for")]
    Canary,
    /// A notice of its revocation came.
    #[error("the token was revoked")]
    Revoked,
}

impl Rejection {
    /// The error of RFC 6750 §3.1 that it is to a caller.
    #[must_use]
    pub const fn error(&self) -> BearerError {
        match self {
            Self::MissingScope(_) | Self::Canary => BearerError::InsufficientScope,
            _ => BearerError::InvalidToken,
        }
    }
}
