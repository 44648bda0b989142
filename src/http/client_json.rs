//! A client as the SuperTokens core writes it in JSON.

pub use crate::model::audit::date_to_the_second as date;
use serde_json::{Map, Value, json};

use crate::http::error::{AdminError, Code, OAuthError};
use crate::http::token::GRANT_TYPE;
use crate::model::client::is_valid_name;
use crate::model::grants::AudienceScopes;
use crate::model::names::split_scopes;
use crate::model::restrictions::{self, Restrictions};
use crate::model::{
    Audience, Client, ClientId, ClientSecret, InvalidName, Network, ScopePattern, Settings, Span,
};

/// Scope of a client that was made without any: SuperTokens' default.
const DEFAULT_SCOPE: &str = "offline_access offline openid";

const LIFESPAN: &str = "clientCredentialsGrantAccessTokenLifespan";

/// Whether a field of a client has a meaning here, or is kept.
#[must_use]
pub fn defines(name: &str) -> bool {
    KEPT.iter().any(|(kept, ..)| *kept == name) || MEANT.contains(&name) || DROPPED.contains(&name)
}

/// What a value must look like.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Texts,
    Lifespan,
    Object,
    Flag,
}

/// Fields that are kept as they came and mean nothing here: name, type, and the JSON of one that was never set.
const KEPT: [(&str, Kind, &str); 22] = [
    ("redirectUris", Kind::Texts, "null"),
    ("postLogoutRedirectUris", Kind::Texts, ""),
    ("authorizationCodeGrantAccessTokenLifespan", Kind::Lifespan, "null"),
    ("authorizationCodeGrantIdTokenLifespan", Kind::Lifespan, "null"),
    ("authorizationCodeGrantRefreshTokenLifespan", Kind::Lifespan, "null"),
    (LIFESPAN, Kind::Lifespan, "null"),
    ("implicitGrantAccessTokenLifespan", Kind::Lifespan, "null"),
    ("implicitGrantIdTokenLifespan", Kind::Lifespan, "null"),
    ("refreshTokenGrantAccessTokenLifespan", Kind::Lifespan, "null"),
    ("refreshTokenGrantIdTokenLifespan", Kind::Lifespan, "null"),
    ("refreshTokenGrantRefreshTokenLifespan", Kind::Lifespan, "null"),
    ("tokenEndpointAuthMethod", Kind::Text, "\"client_secret_post\""),
    ("clientUri", Kind::Text, "\"\""),
    ("allowedCorsOrigins", Kind::Texts, "[]"),
    ("grantTypes", Kind::Texts, "[\"client_credentials\"]"),
    ("responseTypes", Kind::Texts, "null"),
    ("logoUri", Kind::Text, "\"\""),
    ("policyUri", Kind::Text, "\"\""),
    ("tosUri", Kind::Text, "\"\""),
    ("metadata", Kind::Object, "{}"),
    ("enableRefreshTokenRotation", Kind::Flag, "false"),
    ("owner", Kind::Text, ""),
];

/// Fields that have a meaning here.
const MEANT: [&str; 11] = [
    "clientId",
    "clientSecret",
    "clientName",
    "scope",
    "audience",
    "audienceScopes",
    "enabled",
    NETWORKS,
    NOT_BEFORE,
    NOT_AFTER,
    TOKENS,
];

const NETWORKS: &str = "sourceNetworks";
const NOT_BEFORE: &str = "notBefore";
const NOT_AFTER: &str = "notAfter";
const TOKENS: &str = "tokensPerMinute";

/// Fields that SuperTokens defines and that cannot matter to a client without users. They are taken and dropped.
const DROPPED: [&str; 4] = ["skipConsent", "createdAt", "updatedAt", "contacts"];

/// What a request that makes or changes a client may hold, as JSON Schema.
#[must_use]
pub fn described() -> Map<String, Value> {
    let meant = |name: &str| match name {
        "clientId" | "clientSecret" | "clientName" | "scope" => Kind::Text.described(),
        "audience" => Kind::Texts.described(),
        NETWORKS => json!({"type": "array", "items": {"type": "string"}}),
        "audienceScopes" => json!({
            "type": ["object", "null"],
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
        }),
        "enabled" => json!({"type": "boolean"}),
        TOKENS => json!({"type": ["integer", "null"], "minimum": 0, "maximum": u32::MAX}),
        _ => json!({"type": ["string", "null"]}),
    };
    let kept = KEPT.iter().map(|(name, kind, _)| ((*name).to_owned(), kind.described()));
    let all = MEANT.into_iter().map(|name| (name.to_owned(), meant(name))).chain(kept);
    all.chain(DROPPED.into_iter().map(|name| (name.to_owned(), json!({})))).collect()
}

/// The fields of a request that makes or changes a client.
pub struct Fields(Map<String, Value>);

impl Fields {
    /// Takes the fields of a request.
    ///
    /// # Errors
    /// The name of a field that nobody defines, or of one with a value of the wrong type.
    pub fn parse(object: Map<String, Value>) -> Result<Self, AdminError> {
        for (name, value) in &object {
            if let Some((_, kind, _)) = KEPT.iter().find(|(kept, ..)| kept == name) {
                if !kind.fits(value) {
                    return Err(AdminError::invalid_field(name));
                }
            } else if !MEANT.contains(&name.as_str()) && !DROPPED.contains(&name.as_str()) {
                return Err(AdminError::unknown_field(name));
            }
        }
        Ok(Self(object))
    }

    /// The client id, if it is there.
    ///
    /// # Errors
    /// When it is not a well-formed one.
    pub fn client_id(&self) -> Result<Option<ClientId>, AdminError> {
        let text = self.text("clientId")?;
        text.map(|id| ClientId::parse(id).map_err(|error| metadata(&error))).transpose()
    }

    /// The secret that the caller chose, if any.
    ///
    /// # Errors
    /// When it is too weak.
    pub fn client_secret(&self) -> Result<Option<ClientSecret>, AdminError> {
        let text = self.text("clientSecret")?;
        text.map(|secret| ClientSecret::chosen(secret).map_err(|error| metadata(&error))).transpose()
    }

    /// Settings for a new client.
    ///
    /// # Errors
    /// When a value is not well formed.
    pub fn create(&self) -> Result<Settings, AdminError> {
        let given = |name: &str| self.0.get(name).is_some_and(|value| !value.is_null());
        let mut settings = Settings::default();
        if !given("scope") && !given("audienceScopes") {
            settings.scope = patterns(DEFAULT_SCOPE)?;
        }
        let mut settings = self.change(settings)?;
        // A map of scopes by audience says both, where they are not said by themselves.
        if let Some(map) = &settings.audience_scopes {
            if !given("audience") {
                settings.audience = map.keys().cloned().collect();
            }
            if !given("scope") {
                for scope in map.values().flatten() {
                    if !settings.scope.contains(scope) {
                        settings.scope.push(scope.clone());
                    }
                }
            }
        }
        Ok(settings)
    }

    /// Settings changed by the fields that are there.
    ///
    /// # Errors
    /// When a value is not well formed.
    pub fn change(&self, mut settings: Settings) -> Result<Settings, AdminError> {
        if let Some(name) = self.text("clientName")? {
            if !is_valid_name(name) {
                return Err(metadata(
                    &"clientName is longer than 200 characters, or holds control characters",
                ));
            }
            name.clone_into(&mut settings.name);
        }
        if let Some(scope) = self.text("scope")? {
            settings.scope = patterns(scope)?;
        }
        if let Some(audience) = self.field("audience", |value| Kind::Texts.fits(value))? {
            settings.audience = audiences(audience)?;
        }
        if let Some(map) = self.0.get("audienceScopes") {
            settings.audience_scopes = if map.is_null() { None } else { Some(audience_scopes(map)?) };
        }
        if let Some(enabled) = self.0.get("enabled") {
            settings.enabled = Some(enabled.as_bool().ok_or_else(|| AdminError::invalid_field("enabled"))?);
        }
        self.restrict(&mut settings.restrictions)?;
        for (name, kind, _) in &KEPT {
            let Some(value) = self.0.get(*name) else { continue };
            check_meaning(name, value)?;
            if *name == LIFESPAN {
                settings.token_lifetime = lifespan(value)?;
            } else if matches!(kind, Kind::Lifespan) {
                lifespan(value)?;
            }
            settings.extra.insert((*name).into(), value.clone());
        }
        Ok(settings)
    }

    /// The restrictions that are there; null takes one away.
    fn restrict(&self, restrictions: &mut Restrictions) -> Result<(), AdminError> {
        if let Some(value) = self.0.get(NETWORKS) {
            let texts = Kind::Texts.fits(value).then(|| value.as_array().into_iter().flatten());
            let texts = texts.ok_or_else(|| AdminError::invalid_field(NETWORKS))?.filter_map(Value::as_str);
            let networks: Result<Vec<_>, _> = texts.map(Network::parse).collect();
            restrictions.networks = without_repetitions(networks.map_err(|error| metadata(&error))?);
        }
        for (name, moment) in
            [(NOT_BEFORE, &mut restrictions.not_before), (NOT_AFTER, &mut restrictions.not_after)]
        {
            match self.0.get(name) {
                None => {}
                Some(Value::Null) => *moment = None,
                Some(value) => {
                    let text = value.as_str().ok_or_else(|| AdminError::invalid_field(name))?;
                    let parsed = restrictions::parse_moment(text);
                    *moment = Some(parsed.map_err(|reason| metadata(&format!("{name}: {reason}")))?);
                }
            }
        }
        match self.0.get(TOKENS) {
            None => {}
            Some(Value::Null) => restrictions.tokens_a_minute = None,
            Some(value) => {
                let tokens = value.as_u64().ok_or_else(|| AdminError::invalid_field(TOKENS))?;
                // What does not fit is refused with all that are too many.
                restrictions.tokens_a_minute = Some(u32::try_from(tokens).unwrap_or(u32::MAX));
            }
        }
        Ok(())
    }

    fn text(&self, name: &str) -> Result<Option<&str>, AdminError> {
        Ok(self.field(name, Value::is_string)?.and_then(Value::as_str))
    }

    /// A field that is not null.
    fn field(&self, name: &str, fits: impl Fn(&Value) -> bool) -> Result<Option<&Value>, AdminError> {
        let value = self.0.get(name).filter(|value| !value.is_null());
        value
            .map(|value| fits(value).then_some(value).ok_or_else(|| AdminError::invalid_field(name)))
            .transpose()
    }
}

impl Kind {
    fn described(self) -> Value {
        match self {
            Self::Text | Self::Lifespan => json!({"type": ["string", "null"]}),
            Self::Texts => json!({"type": ["array", "null"], "items": {"type": "string"}}),
            Self::Object => json!({"type": ["object", "null"]}),
            Self::Flag => json!({"type": ["boolean", "null"]}),
        }
    }

    fn fits(self, value: &Value) -> bool {
        value.is_null()
            || match self {
                Self::Text | Self::Lifespan => value.is_string(),
                Self::Texts => value.as_array().is_some_and(|all| all.iter().all(Value::is_string)),
                Self::Object => value.is_object(),
                Self::Flag => value.is_boolean(),
            }
    }
}

/// A client as the core answers it: 27 fields, and the secret when it was just made or set.
#[must_use]
pub fn render(client: &Client, secret: Option<&ClientSecret>) -> Map<String, Value> {
    let settings = &client.settings;
    let mut json = Map::new();
    json.insert("clientId".into(), client.id.as_str().into());
    if let Some(secret) = secret {
        json.insert("clientSecret".into(), secret.expose().into());
    }
    json.insert("clientName".into(), settings.name.as_str().into());
    json.insert("scope".into(), join(settings.scope.iter().map(ScopePattern::as_str)).into());
    json.insert("audience".into(), settings.audience.iter().map(Audience::as_str).collect());
    for (name, _, unset) in KEPT {
        if name == "owner" {
            continue;
        }
        if let Some(value) = settings.extra.get(name) {
            json.insert(name.into(), value.clone());
        } else if name == LIFESPAN && settings.token_lifetime.is_some() {
            json.insert(name.into(), settings.token_lifetime.map(|span| span.to_string()).into());
        } else if !unset.is_empty() {
            // The text stands in this file: it is well-formed JSON.
            json.insert(name.into(), serde_json::from_str(unset).unwrap_or_default());
        }
    }
    json.insert("createdAt".into(), date(client.created_at).into());
    json.insert("updatedAt".into(), date(client.updated_at).into());
    if let Some(enabled) = settings.enabled {
        json.insert("enabled".into(), enabled.into());
    }
    if let Some(map) = &settings.audience_scopes {
        let entry = |(audience, scopes): (&Audience, &Vec<ScopePattern>)| {
            (audience.to_string(), scopes.iter().map(ScopePattern::as_str).collect::<Value>())
        };
        json.insert("audienceScopes".into(), Value::Object(map.iter().map(entry).collect()));
    }
    let restrictions = &settings.restrictions;
    if !restrictions.networks.is_empty() {
        json.insert(NETWORKS.into(), restrictions.networks.iter().map(Network::to_string).collect());
    }
    for (name, moment) in [(NOT_BEFORE, restrictions.not_before), (NOT_AFTER, restrictions.not_after)] {
        if let Some(moment) = moment {
            json.insert(name.into(), restrictions::moment(moment).into());
        }
    }
    if let Some(tokens) = restrictions.tokens_a_minute {
        json.insert(TOKENS.into(), tokens.into());
    }
    json
}

fn check_meaning(name: &str, value: &Value) -> Result<(), AdminError> {
    let texts = || value.as_array().into_iter().flatten().filter_map(Value::as_str);
    match name {
        "grantTypes"
            if texts().any(|grant| grant != GRANT_TYPE) || value.as_array().is_some_and(Vec::is_empty) =>
        {
            Err(metadata(
                &"grantTypes may hold client_credentials only: this server issues tokens to machines, not to users",
            ))
        }
        "tokenEndpointAuthMethod"
            if !value.is_null()
                && !matches!(value.as_str(), Some("client_secret_post" | "client_secret_basic")) =>
        {
            Err(metadata(&"tokenEndpointAuthMethod must be client_secret_post or client_secret_basic"))
        }
        // RFC 6749 §3.1.2.
        "redirectUris" if texts().any(|uri| uri.contains('#')) => {
            Err(OAuthError::new(Code::InvalidRedirectUri, "a redirect URI must not have a fragment").into())
        }
        _ => Ok(()),
    }
}

fn lifespan(value: &Value) -> Result<Option<Span>, AdminError> {
    value.as_str().map(|text| Span::parse(text).map_err(|error| metadata(&error))).transpose()
}

fn patterns(scope: &str) -> Result<Vec<ScopePattern>, AdminError> {
    let parsed: Result<Vec<_>, InvalidName> = split_scopes(scope).map(ScopePattern::parse).collect();
    Ok(without_repetitions(parsed.map_err(|error| metadata(&error))?))
}

fn audiences(value: &Value) -> Result<Vec<Audience>, AdminError> {
    let texts = value.as_array().into_iter().flatten().filter_map(Value::as_str);
    let parsed: Result<Vec<_>, InvalidName> = texts.map(Audience::parse).collect();
    Ok(without_repetitions(parsed.map_err(|error| metadata(&error))?))
}

fn audience_scopes(value: &Value) -> Result<AudienceScopes, AdminError> {
    let invalid = || AdminError::invalid_field("audienceScopes");
    let map = value.as_object().ok_or_else(invalid)?;
    let entry = |(audience, scopes): (&String, &Value)| {
        let audience = Audience::parse(audience).map_err(|error| metadata(&error))?;
        let scopes = scopes.as_array().ok_or_else(invalid)?;
        let scope = |scope: &Value| {
            ScopePattern::parse(scope.as_str().ok_or_else(invalid)?).map_err(|error| metadata(&error))
        };
        Ok((audience, without_repetitions(scopes.iter().map(scope).collect::<Result<_, AdminError>>()?)))
    };
    map.iter().map(entry).collect()
}

fn without_repetitions<T: PartialEq>(names: Vec<T>) -> Vec<T> {
    let mut kept = Vec::with_capacity(names.len());
    for name in names {
        if !kept.contains(&name) {
            kept.push(name);
        }
    }
    kept
}

fn metadata(reason: &impl ToString) -> AdminError {
    OAuthError::new(Code::InvalidClientMetadata, reason.to_string()).into()
}

fn join<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(" ")
}

/// `{"status":"OK", ..}`
#[must_use]
pub fn ok(mut fields: Map<String, Value>) -> Value {
    let mut json = Map::new();
    json.insert("status".into(), json!("OK"));
    json.append(&mut fields);
    Value::Object(json)
}
