//! Which call a request is, and how it ended: few values of each, whatever is sent.

use actix_web::http::StatusCode;

/// A call of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `POST /oauth/token`
    Token,
    /// The key set.
    Jwks,
    /// `POST /oauth/introspect`
    Introspect,
    /// `POST /oauth/revoke`
    Revoke,
    /// `/verify`, asked by proxies.
    Verify,
    /// RFC 8414 metadata.
    Discovery,
    /// `/health/...`, `/hello`, `/version`, `/apiversion`, `/openapi.json`, `/openapi`
    Health,
    /// `/metrics`
    Metrics,
    /// The core's call for a token.
    AdminToken,
    /// The rest of the admin API.
    Admin,
    /// Nothing that is there.
    Unknown,
}

impl Endpoint {
    /// Every one, in order.
    pub const ALL: [Self; 11] = [
        Self::Token,
        Self::Jwks,
        Self::Introspect,
        Self::Revoke,
        Self::Verify,
        Self::Discovery,
        Self::Health,
        Self::Metrics,
        Self::AdminToken,
        Self::Admin,
        Self::Unknown,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Jwks => "jwks",
            Self::Introspect => "introspect",
            Self::Revoke => "revoke",
            Self::Verify => "verify",
            Self::Discovery => "discovery",
            Self::Health => "health",
            Self::Metrics => "metrics",
            Self::AdminToken => "admin_token",
            Self::Admin => "admin",
            Self::Unknown => "unknown",
        }
    }

    /// The call at `path`, where the public API is below `base_path`.
    #[must_use]
    pub fn at(path: &str, base_path: &str) -> Self {
        let public = path.strip_prefix(base_path).and_then(|path| match path {
            "/oauth/token" => Some(Self::Token),
            "/jwt/jwks.json" => Some(Self::Jwks),
            "/oauth/introspect" => Some(Self::Introspect),
            "/oauth/revoke" => Some(Self::Revoke),
            "/verify" => Some(Self::Verify),
            path if path.starts_with("/.well-known/") => Some(Self::Discovery),
            _ => None,
        });
        match path {
            "/.well-known/jwks.json" => Self::Jwks,
            path if path.starts_with("/.well-known/") => Self::Discovery,
            _ if public.is_some() => public.unwrap_or(Self::Unknown),
            "/hello" | "/version" | "/apiversion" | "/health/live" | "/health/ready" | "/openapi.json"
            | "/openapi" => Self::Health,
            "/metrics" => Self::Metrics,
            "/recipe/jwt/jwks" => Self::Jwks,
            "/recipe/oauth/token" => Self::AdminToken,
            path if path.starts_with("/recipe/") => Self::Admin,
            path if path == "/admin" || path.starts_with("/admin/") => Self::Admin,
            _ => Self::Unknown,
        }
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With what was asked for.
    Ok,
    /// With what the caller has already (304).
    NotModified,
    /// The request makes no sense, or asks for what is not allowed, or is not there.
    Invalid,
    /// The caller was not let in.
    Denied,
    /// The caller comes too often (429).
    TooMany,
    /// More was asked for than could be done.
    Overloaded,
    /// The request did not arrive in time.
    TooSlow,
    /// The server is in trouble.
    Failed,
}

impl Outcome {
    /// Every one, in order.
    pub const ALL: [Self; 8] = [
        Self::Ok,
        Self::NotModified,
        Self::Invalid,
        Self::Denied,
        Self::TooMany,
        Self::Overloaded,
        Self::TooSlow,
        Self::Failed,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotModified => "not_modified",
            Self::Invalid => "invalid",
            Self::Denied => "denied",
            Self::TooMany => "too_many",
            Self::Overloaded => "overloaded",
            Self::TooSlow => "too_slow",
            Self::Failed => "failed",
        }
    }

    /// The outcome of an answer with this status.
    #[must_use]
    pub fn of(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_MODIFIED => Self::NotModified,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::MISDIRECTED_REQUEST => {
                Self::Denied
            }
            StatusCode::TOO_MANY_REQUESTS => Self::TooMany,
            StatusCode::REQUEST_TIMEOUT => Self::TooSlow,
            status if status.is_client_error() => Self::Invalid,
            status if status.is_server_error() => Self::Failed,
            _ => Self::Ok,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stands_where_its_number_says() {
        assert!(Endpoint::ALL.iter().enumerate().all(|(at, one)| *one as usize == at));
        assert!(Outcome::ALL.iter().enumerate().all(|(at, one)| *one as usize == at));
    }

    #[test]
    fn a_path_is_one_of_few_calls_whatever_it_is() {
        for (base_path, path, endpoint) in [
            ("/auth", "/auth/oauth/token", Endpoint::Token),
            ("", "/oauth/token", Endpoint::Token),
            ("/auth", "/oauth/token", Endpoint::Unknown),
            ("/auth", "/auth/jwt/jwks.json", Endpoint::Jwks),
            ("/auth", "/.well-known/jwks.json", Endpoint::Jwks),
            ("", "/.well-known/jwks.json", Endpoint::Jwks),
            ("/auth", "/auth/.well-known/openid-configuration", Endpoint::Discovery),
            ("/auth", "/.well-known/oauth-authorization-server/auth", Endpoint::Discovery),
            ("/auth", "/recipe/oauth/clients/list", Endpoint::Admin),
            ("/auth", "/admin/v1/clients/task/secrets", Endpoint::Admin),
            ("/auth", "/recipe/oauth/token", Endpoint::AdminToken),
            ("/auth", "/health/ready", Endpoint::Health),
            ("/auth", "/%61uth/oauth/token", Endpoint::Unknown),
            ("/auth", "", Endpoint::Unknown),
        ] {
            assert_eq!(Endpoint::at(path, base_path), endpoint, "{base_path} {path}");
        }
    }
}
