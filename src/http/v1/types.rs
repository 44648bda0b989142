//! What goes over the wire: requests and answers, as plain values. Whoever speaks this API in Rust uses these too.
//!
//! Times are RFC 3339 in UTC, durations texts such as `15m`. A member that is not known is an error in requests.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use zeroize::Zeroizing;

/// What tokens can be signed with.
#[derive(ToSchema)]
#[allow(dead_code)]
enum Algorithm {
    #[schema(rename = "EdDSA")]
    EdDsa,
    #[schema(rename = "ES256")]
    Es256,
}

/// What the holder of an admin key may do.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[allow(dead_code)]
enum Role {
    Read,
    Clients,
    Keys,
    All,
}

/// A secret in the clear. Wiped when dropped, never printed.
#[derive(Clone, PartialEq, Eq, ToSchema)]
#[schema(value_type = String)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a secret.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

/// How texts in requests are written, for the description of the API.
mod grammar {
    use utoipa::ToSchema;

    macro_rules! texts {
        ($($(#[$doc:meta])* $name:ident;)+) => {
            $(#[derive(ToSchema)] $(#[$doc])* #[allow(dead_code)] pub struct $name(String);)+
        };
    }

    texts! {
        /// A client id.
        #[schema(pattern = r"^[!-~]{1,200}$", examples("task-service"))]
        ClientId;
        /// A scope (RFC 6749 §3.3); one that ends in `.*` stands for all below it.
        #[schema(pattern = r"^[!#-\[\]-~]{1,200}$", examples("event.create"))]
        Scope;
        /// The name of an audience.
        #[schema(pattern = r"^[!#-\[\]-~]{1,500}$", examples("event"))]
        AudienceName;
        /// A duration: a number and a unit. Sums such as `1h30m` are read too.
        #[schema(pattern = r"^[1-9][0-9]{0,3}[smhd]$", examples("15m"))]
        Duration;
        /// A moment in UTC.
        #[schema(pattern = r"^(19[7-9][0-9]|20[0-9]{2})-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z$", examples("2027-01-15T08:00:00Z"))]
        Time;
        /// An IP address, or a network such as `192.0.2.0/24`.
        #[schema(format = "ip-network", examples("192.0.2.0/24"))]
        Network;
        /// A secret that the caller chose.
        #[schema(pattern = r"^[ -~]{16,200}$", examples("correct-horse-battery-staple"))]
        ChosenSecret;
        /// The SHA-256 of a secret.
        #[schema(pattern = r"^[0-9a-f]{64}$", examples("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"))]
        Sha256;
        /// The name of an admin key.
        #[schema(pattern = r"^[A-Za-z0-9._-]{1,64}$", examples("deploy"))]
        AdminKeyName;
    }
}

/// Tells a member that is null from one that is not there.
fn said<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A member that is there or not, and never null: to take that for "leave it" would let somebody believe that it is gone.
fn not_null<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A list of which null is the empty one.
fn none_for_null<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default).map(Some)
}

/// A number as JSON Schema counts: `600.0` is one too.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let Some(number) = Option::<serde_json::Number>::deserialize(deserializer)? else { return Ok(None) };
    let not_one = || serde::de::Error::custom("not a whole number");
    let text = number.to_string();
    let digits = text.split_once('.').filter(|(_, rest)| rest.bytes().all(|byte| byte == b'0'));
    digits.map_or(&*text, |(digits, _)| digits).parse().map(Some).map_err(|_| not_one())
}

/// The same, of a member that may be null.
fn said_whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u32>>, D::Error> {
    whole(deserializer).map(Some)
}

/// A client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Client {
    /// Its id: `sub` and `client_id` of its tokens.
    pub client_id: String,
    /// A name for people.
    pub client_name: String,
    /// Whether it gets tokens.
    pub enabled: bool,
    /// Scopes that it may ask for; `file.*` allows all that begin so.
    pub scope: Vec<String>,
    /// Services that it may call.
    pub audience: Vec<String>,
    /// Scopes by service, where the client has such a map.
    pub audience_scopes: Option<BTreeMap<String, Vec<String>>>,
    /// Lifetime of its tokens, where it differs from the configured one.
    pub token_lifetime: Option<String>,
    /// Networks that it may come from; any when there are none.
    pub source_networks: Vec<String>,
    /// From when on it gets tokens.
    pub not_before: Option<String>,
    /// Until when it gets tokens, and they are good.
    pub not_after: Option<String>,
    /// How many tokens it gets in a minute.
    pub tokens_per_minute: Option<u32>,
    /// Whatever was kept with it.
    pub metadata: Map<String, Value>,
    /// Fields of the SuperTokens API that mean nothing here, as they were given there.
    pub super_tokens: Map<String, Value>,
    /// When it was made.
    pub created_at: String,
    /// When it was last changed.
    pub updated_at: String,
}

/// What is said about a client. A member that is not there leaves what is; null takes it away.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientChange {
    /// A name for people, of 200 characters at most.
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, max_length = 200)]
    pub client_name: Option<String>,
    /// Whether it gets tokens.
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = bool, required = false)]
    pub enabled: Option<bool>,
    /// Scopes that it may ask for.
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<grammar::Scope>, required = false)]
    pub scope: Option<Vec<String>>,
    /// Services that it may call.
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<grammar::AudienceName>, required = false)]
    pub audience: Option<Vec<String>>,
    /// Scopes by service: each is within `scope`, and each service within `audience`.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<grammar::AudienceName, Vec<grammar::Scope>>>)]
    pub audience_scopes: Option<Option<BTreeMap<String, Vec<String>>>>,
    /// Lifetime of its tokens, such as `15m`.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<grammar::Duration>)]
    pub token_lifetime: Option<Option<String>>,
    /// Networks that it may come from, such as `192.0.2.0/24`; none for any.
    #[serde(default, deserialize_with = "none_for_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<grammar::Network>>)]
    pub source_networks: Option<Vec<String>>,
    /// From when on it gets tokens.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<grammar::Time>)]
    pub not_before: Option<Option<String>>,
    /// Until when it gets tokens, and they are good.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<grammar::Time>)]
    pub not_after: Option<Option<String>>,
    /// How many tokens it gets in a minute.
    #[serde(default, deserialize_with = "said_whole", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 6000)]
    pub tokens_per_minute: Option<Option<u32>>,
    /// Whatever is to be kept with it.
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object, required = false)]
    pub metadata: Option<Map<String, Value>>,
}

/// A client to be made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewClient {
    /// Its id; made when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<grammar::ClientId>)]
    pub client_id: Option<String>,
    /// Its secret; made when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<grammar::ChosenSecret>)]
    pub client_secret: Option<Secret>,
    /// How long the secret is accepted, such as `90d`; for ever when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<grammar::Duration>)]
    pub secret_expires_in: Option<String>,
    /// A name for people, of 200 characters at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 200)]
    pub client_name: Option<String>,
    /// Whether it gets tokens; true when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Scopes that it may ask for; those of `audienceScopes` when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<grammar::Scope>>)]
    pub scope: Option<Vec<String>>,
    /// Services that it may call; those of `audienceScopes` when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<grammar::AudienceName>>)]
    pub audience: Option<Vec<String>>,
    /// Scopes by service: each is within `scope`, and each service within `audience`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<grammar::AudienceName, Vec<grammar::Scope>>>)]
    pub audience_scopes: Option<BTreeMap<String, Vec<String>>>,
    /// Lifetime of its tokens, such as `15m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<grammar::Duration>)]
    pub token_lifetime: Option<String>,
    /// Networks that it may come from, such as `192.0.2.0/24`; any when there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<grammar::Network>>)]
    pub source_networks: Option<Vec<String>>,
    /// From when on it gets tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<grammar::Time>)]
    pub not_before: Option<String>,
    /// Until when it gets tokens, and they are good.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<grammar::Time>)]
    pub not_after: Option<String>,
    /// How many tokens it gets in a minute.
    #[serde(default, deserialize_with = "whole", skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 6000)]
    pub tokens_per_minute: Option<u32>,
    /// Whatever is to be kept with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

impl NewClient {
    /// What is said about it, as a change of a client of which nothing was said.
    #[must_use]
    pub fn settings(&self) -> ClientChange {
        let this = self.clone();
        ClientChange {
            client_name: this.client_name,
            enabled: this.enabled,
            scope: this.scope,
            audience: this.audience,
            audience_scopes: this.audience_scopes.map(Some),
            token_lifetime: this.token_lifetime.map(Some),
            source_networks: this.source_networks,
            not_before: this.not_before.map(Some),
            not_after: this.not_after.map(Some),
            tokens_per_minute: this.tokens_per_minute.map(Some),
            metadata: this.metadata,
        }
    }
}

/// A client that was just made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientMade {
    /// The client.
    pub client: Client,
    /// Its secret, shown this once; not there when the caller gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<Secret>,
}

/// A page of clients, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Clients {
    /// The clients.
    pub clients: Vec<Client>,
    /// Where the next page begins; null on the last one.
    pub next_cursor: Option<String>,
}

/// Which clients to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ClientsWanted {
    /// A part of their id or name, in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
    /// How many on a page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 500, default = 100)]
    pub limit: Option<usize>,
    /// `nextCursor` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(format = "clients-cursor")]
    pub cursor: Option<String>,
}

/// A secret of a client: everything but the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretInfo {
    /// Its id, by which it is removed.
    pub id: i64,
    /// When it was made.
    pub created_at: String,
    /// When it stops being accepted; null for never.
    pub expires_at: Option<String>,
    /// When it was last accepted, to within a minute.
    pub last_used_at: Option<String>,
    /// From which address.
    pub last_used_from: Option<String>,
}

/// The secrets of a client, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Secrets {
    /// The secrets, without the secrets.
    pub secrets: Vec<SecretInfo>,
}

/// A secret to be added to those that a client has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewSecret {
    /// The secret; made when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<grammar::ChosenSecret>)]
    pub client_secret: Option<Secret>,
    /// How long it is accepted, such as `90d`; for ever when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<grammar::Duration>)]
    pub expires_in: Option<String>,
}

/// A secret that takes the place of all others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretRotation {
    /// The secret; made when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<grammar::ChosenSecret>)]
    pub client_secret: Option<Secret>,
    /// For how long the others are still accepted; `7d` when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<grammar::Duration>)]
    pub grace: Option<String>,
}

/// A secret that was just made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretMade {
    /// What is known of it.
    pub secret: SecretInfo,
    /// The secret, shown this once; not there when the caller gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<Secret>,
    /// The others that are still accepted, each until its `expiresAt`. After a rotation only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retiring: Vec<SecretInfo>,
}

/// An action of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceAction {
    /// Its name: a scope.
    #[schema(value_type = grammar::Scope)]
    pub name: String,
    /// What it does, for people, in 500 characters at most.
    #[serde(default)]
    #[schema(max_length = 500)]
    pub description: String,
}

/// A name that an action had before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServiceAlias {
    /// What the action was called.
    pub name: String,
    /// What it is called now.
    pub action: String,
    /// Until when it can be asked for by its former name as well.
    pub until: String,
}

/// A registered service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Service {
    /// Its audience: `aud` of the tokens that are for it.
    pub audience: String,
    /// What it is, for people.
    pub description: String,
    /// The actions that it understands, by name.
    pub actions: Vec<ServiceAction>,
    /// Former names of actions.
    pub aliases: Vec<ServiceAlias>,
}

/// A page of services, by audience.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Services {
    /// The services.
    pub services: Vec<Service>,
    /// Where the next page begins; null on the last one.
    pub next_cursor: Option<String>,
}

/// Which services to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ServicesWanted {
    /// How many on a page.
    #[param(minimum = 1, maximum = 500, default = 100)]
    pub limit: Option<usize>,
    /// `nextCursor` of the page before.
    #[param(value_type = Option<grammar::AudienceName>, inline)]
    pub cursor: Option<String>,
}

/// A service to be registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewService {
    /// Its audience.
    #[schema(value_type = grammar::AudienceName)]
    pub audience: String,
    /// What it is, for people, in 500 characters at most.
    #[serde(default)]
    #[schema(max_length = 500)]
    pub description: String,
    /// The actions that it understands.
    #[serde(default)]
    pub actions: Vec<ServiceAction>,
}

/// What is changed of a service: actions are taken away first, then renamed, then added. What is not there stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceChange {
    /// What it is, for people, in 500 characters at most.
    #[serde(default, deserialize_with = "not_null", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false, max_length = 500)]
    pub description: Option<String>,
    /// Actions that it understands no more, each with its former names, or former names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<grammar::Scope>)]
    pub remove_actions: Vec<String>,
    /// Actions that are called by another name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rename_actions: Vec<ActionRenaming>,
    /// Actions that it understands as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add_actions: Vec<ServiceAction>,
}

/// That an action is called by another name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ActionRenaming {
    /// What it is called.
    #[schema(value_type = grammar::Scope)]
    pub from: String,
    /// What it is to be called.
    #[schema(value_type = grammar::Scope)]
    pub to: String,
    /// For how long it can be asked for by its former name as well; `90d` when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<grammar::Duration>)]
    pub alias_for: Option<String>,
}

/// Something that a client is granted and no registered service understands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Misfit {
    /// The client. It keeps what it is granted.
    pub client_id: String,
    /// The scope, or the wildcard.
    pub scope: String,
    /// The services at which it is granted.
    pub audience: Vec<String>,
    /// What was probably meant.
    pub meant: Option<String>,
}

/// A page of what clients are granted and no registered service understands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Misfits {
    /// What does not fit. There may be nothing on a page that is not the last.
    pub misfits: Vec<Misfit>,
    /// Where the next page begins; null on the last one.
    pub next_cursor: Option<String>,
}

/// Whose grants to look through.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct MisfitsWanted {
    /// What is granted at this service only.
    #[param(value_type = Option<grammar::AudienceName>, inline)]
    pub audience: Option<String>,
    /// Of how many clients on a page.
    #[param(minimum = 1, maximum = 500, default = 100)]
    pub limit: Option<usize>,
    /// `nextCursor` of the page before.
    #[param(format = "clients-cursor")]
    pub cursor: Option<String>,
}

/// What to call unused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UnusedWanted {
    /// What was not used for so long; `30d` when not given.
    #[serde(rename = "for")]
    #[param(value_type = Option<grammar::Duration>, inline)]
    pub span: Option<String>,
    /// Of how many clients on a page.
    #[param(minimum = 1, maximum = 500, default = 100)]
    pub limit: Option<usize>,
    /// `nextCursor` of the page before.
    #[param(format = "clients-cursor")]
    pub cursor: Option<String>,
}

/// Something that a client has and did not use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Unused {
    /// The client.
    pub client_id: String,
    /// `client`, all of it; or a `secret`, everything at an `audience`, a `scope`, or a `wildcard` of which only a part was used.
    pub kind: String,
    /// The id of the secret.
    pub secret: Option<i64>,
    /// The audience; null for a scope that goes with any.
    pub audience: Option<String>,
    /// The scope, or the wildcard.
    pub scope: Option<String>,
    /// What was used of the wildcard.
    pub used: Option<Vec<String>>,
    /// When it was last used, as far as that is known.
    pub last_used_at: Option<String>,
}

/// A page of what clients have and did not use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnusedPage {
    /// What was not used, by client. There may be nothing on a page that is not the last.
    pub unused: Vec<Unused>,
    /// Those of the clients whose grants were not all used, as they would be with no more than was.
    pub narrower: Vec<Client>,
    /// From when on uses count.
    pub used_before: String,
    /// Since when the uses of grants are written down; null when none is. Before that nothing is known of them.
    pub grant_uses_since: Option<String>,
    /// How many clients were changed since `usedBefore`: what they were granted then is not judged. Of those that this page is about.
    pub changed_since: usize,
    /// Where the next page begins; null on the last one.
    pub next_cursor: Option<String>,
}

/// A part of what services and clients are declared to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeclarationPage {
    /// TOML that `m2mint apply` takes: services first, then clients, without secrets. The parts follow each other in one file.
    pub toml: String,
    /// Where the next part begins; null on the last one.
    pub next_cursor: Option<String>,
}

/// Which part of the declaration to show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeclarationWanted {
    /// How many services or clients in a part.
    #[param(minimum = 1, maximum = 500, default = 100)]
    pub limit: Option<usize>,
    /// `nextCursor` of the part before.
    #[param(format = "clients-cursor")]
    pub cursor: Option<String>,
}

/// What services and clients are to be. All files together have room for 1 MiB.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Declaration {
    /// The files.
    pub files: Vec<DeclarationFile>,
    /// Whether services and clients that are not declared are removed.
    #[serde(default)]
    pub prune: bool,
    /// SHA-256 of a secret that m2mint made, for declared clients that are to have it. A new client without one gets a
    /// secret that is made here.
    #[serde(default)]
    #[schema(value_type = BTreeMap<grammar::ClientId, grammar::Sha256>, required = false)]
    pub secret_sha256: BTreeMap<String, String>,
}

/// A file that declares services and clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclarationFile {
    /// The name by which mistakes in it are told.
    pub name: String,
    /// TOML, as `m2mint apply` takes it.
    pub text: String,
}

/// What is done, or would be, to make services and clients what is declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Changes {
    /// Each step, in the order in which it is done; none when all is as declared.
    pub changes: Vec<Change>,
    /// Whether it is done.
    pub applied: bool,
    /// The secrets that were made, by client, shown this once.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub client_secrets: BTreeMap<String, Secret>,
}

/// One step from what is to what is declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// `add`, `change` or `remove`.
    pub action: String,
    /// `service` or `client`.
    pub kind: String,
    /// Which.
    pub name: String,
    /// What is different after it. Of secrets only the number is told.
    pub fields: Vec<FieldChange>,
}

/// A field that is different after a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldChange {
    /// Its name in the file.
    pub field: String,
    /// Its value before, as the file writes it; null when there was none.
    pub from: Option<String>,
    /// Its value after.
    pub to: Option<String>,
}

/// A signing key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    /// Its id: RFC 7638 thumbprint.
    pub kid: String,
    /// Its algorithm.
    pub alg: String,
    /// `standby`, `active`, `retired` or `revoked`.
    pub state: String,
    /// Since when.
    pub since: String,
    /// Until when it signs, as far as can be told.
    pub signs_until: Option<String>,
    /// Until when it is published, as far as can be told.
    pub published_until: Option<String>,
    /// The longest lifetime of a token that it may have signed.
    pub longest_lifetime_seconds: u64,
    /// What would happen if it was revoked, in words; null when it is.
    pub on_revocation: Option<String>,
}

/// What comes next for the keys of an algorithm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Transition {
    /// `rotate`
    pub transition: String,
    /// The algorithm.
    pub alg: String,
    /// In how many seconds; null when nothing will cause it.
    pub in_seconds: Option<i64>,
    /// When.
    pub at: Option<String>,
    /// What it waits for; null when for nothing.
    pub reason: Option<String>,
    /// Whether a rotation was asked for that has not happened.
    pub asked: bool,
    /// All of it in words.
    pub in_words: String,
}

/// That the clock of the server was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClockSet {
    /// When that was seen.
    pub at: String,
    /// By how much, if ahead.
    pub ahead_by: Option<String>,
    /// By how much, if back.
    pub back_by: Option<String>,
}

/// The signing keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Keys {
    /// Every key, by algorithm; the signing one first.
    pub keys: Vec<Key>,
    /// The next transition.
    pub next: Option<Transition>,
    /// The last time that the clock was set.
    pub clock_set: Option<ClockSet>,
    /// The next transition of each algorithm.
    pub next_by_alg: Vec<Transition>,
    /// Who has the standby of each algorithm.
    pub verifiers: Vec<RingVerifiers>,
}

/// Which known verifiers have the next key of an algorithm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RingVerifiers {
    /// The algorithm.
    pub alg: String,
    /// The next key.
    pub standby: Option<String>,
    /// How many verifiers are known: they fetch the key set, and came back.
    pub known: usize,
    /// How many of them have it.
    pub have_standby: usize,
    /// That in words, with the names of some that lack it; null where none is known.
    pub in_words: Option<String>,
    /// Each of them, those first that lack it.
    pub verifiers: Vec<KnownVerifier>,
}

/// Somebody who fetches the key set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KnownVerifier {
    /// Its address; null when it comes by the Unix socket.
    pub address: Option<String>,
    /// Its `User-Agent`.
    pub user_agent: String,
    /// The algorithm whose keys alone it asks for.
    pub only_alg: Option<String>,
    /// Whether it has the next key.
    pub has_standby: bool,
    /// When it first came.
    pub first_seen: String,
    /// When it last came.
    pub last_seen: String,
    /// The entity tag of the key set that it holds.
    pub etag: String,
    /// The keys in it.
    pub kids: Vec<String>,
}

/// How far to look ahead.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PlanWanted {
    /// For how many rotations.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 20, default = 2)]
    pub rotations: Option<u8>,
}

/// What happened to the keys, and what will.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Plan {
    /// The time of the server.
    pub now: String,
    /// The keys of each algorithm.
    pub rings: Vec<RingPlan>,
}

/// What happened to the keys of an algorithm, and what will.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RingPlan {
    /// The algorithm.
    pub alg: String,
    /// What happened, oldest first.
    pub past: Vec<KeyEvent>,
    /// The key that signs.
    pub signs: Option<String>,
    /// The keys that are published.
    pub published: Vec<String>,
    /// What the rule will do by itself, soonest first.
    pub future: Vec<KeyEvent>,
    /// Whether anything rotates without being asked.
    pub rotates_by_itself: bool,
    /// When a rotation happens that is asked for now.
    pub signal_now: SignalNow,
}

/// Something in the life of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyEvent {
    /// When.
    pub at: String,
    /// To which key, if it exists.
    pub kid: Option<String>,
    /// To which of those that will be made, counted from 1.
    pub new_key: Option<usize>,
    /// `founded`, `published`, `signs`, `retired`, `deleted` or `revoked`.
    pub what: String,
    /// The same in words.
    pub in_words: String,
}

/// When a rotation happens that is asked for now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignalNow {
    /// In how many seconds.
    pub in_seconds: Option<i64>,
    /// When.
    pub at: Option<String>,
    /// What it waits for; null when for nothing.
    pub reason: Option<String>,
    /// Whether one is asked for already.
    pub asked_already: bool,
    /// All of it in words.
    pub in_words: String,
}

/// Which keys to rotate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RotationWanted {
    /// Those of this algorithm only; all when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Algorithm>)]
    pub alg: Option<String>,
}

/// What asking for a rotation came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rotation {
    /// For the keys of each algorithm that was asked about.
    pub rings: Vec<RingRotation>,
    /// The keys as they are now.
    pub keys: Keys,
}

/// What it came to for the keys of an algorithm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RingRotation {
    /// The algorithm.
    pub alg: String,
    /// Whether the standby took over; else the rotation is queued, and `next` says for when and why.
    pub rotated: bool,
    /// The key that signs.
    pub signs: Option<String>,
    /// What comes next.
    pub next: Transition,
}

/// What the revocation of a key came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revocation {
    /// The key, neither published nor accepted any more.
    pub kid: String,
    /// The key that signs.
    pub signs: Option<String>,
    /// Whether that one took over from the one that was revoked.
    pub took_over: bool,
    /// The keys as they are now.
    pub keys: Keys,
}

/// What tokens for an audience are signed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Audience {
    /// The audience.
    pub audience: String,
    /// The algorithm that it wants.
    pub alg: String,
    /// The algorithm that its tokens are signed with now.
    pub signed_with: String,
    /// In how many seconds that is the one that it wants; null while no server has made the keys.
    pub in_seconds: Option<i64>,
    /// When that is.
    pub at: Option<String>,
    /// Whether the configuration says so: then it cannot be changed here.
    pub configured: bool,
}

/// The audiences whose tokens are not signed with EdDSA as all others are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Audiences {
    /// The audiences, by name.
    pub audiences: Vec<Audience>,
}

/// What tokens for an audience are to be signed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AudienceChange {
    /// The algorithm.
    #[schema(value_type = Algorithm)]
    pub alg: String,
    /// Wait for nobody: no service checks tokens for this audience yet.
    #[serde(default)]
    pub at_once: bool,
}

/// An admin key: everything but the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdminKey {
    /// Its name, as the audit log tells it.
    pub name: String,
    /// What it may do: `read`, `clients`, `keys`, `all`.
    pub roles: Vec<String>,
    /// When it was made.
    pub created_at: String,
    /// When it stops being accepted; null for never.
    pub expires_at: Option<String>,
    /// When it was last accepted, to within a minute.
    pub last_used_at: Option<String>,
    /// Whether it is the key of the first start, and the configuration has keys now: then it is not accepted.
    pub replaced_by_configuration: bool,
}

/// The admin keys that are stored, oldest first. Those of the configuration are not among them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdminKeys {
    /// The keys, without the keys.
    pub admin_keys: Vec<AdminKey>,
}

/// An admin key to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewAdminKey {
    /// Its name.
    #[schema(value_type = grammar::AdminKeyName)]
    pub name: String,
    /// What it may do: `read`, `clients`, `keys`, `all`; each includes reading.
    #[schema(value_type = Vec<Role>, min_items = 1)]
    pub roles: Vec<String>,
    /// How long it is accepted, such as `90d`; for ever when not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<grammar::Duration>)]
    pub expires_in: Option<String>,
}

/// An admin key that was just made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdminKeyMade {
    /// What is known of it.
    pub admin_key: AdminKey,
    /// The key, shown this once.
    pub key: Secret,
}

/// An entry of the audit log.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct AuditEntry {
    /// Its number.
    pub seq: i64,
    /// When.
    pub at: String,
    /// Who: an admin key by its name, a user of the machine, a client, a signal, the timer.
    pub actor: String,
    /// From where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// With which request: `x-request-id` of its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// What, such as `client.create`.
    pub action: String,
    /// The client, or the key, that it was done to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// `done`, `asked`, `refused` or `seen`.
    pub outcome: String,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Facts that belong to it; a value that was another one before as `from` and `to`.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub changed: Map<String, Value>,
    /// Its hash, over the entry and the hash before it.
    pub hash: String,
}

/// A page of the audit log, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditPage {
    /// The entries. With a filter that fits few there may be none on a page that is not the last.
    pub entries: Vec<AuditEntry>,
    /// Where the next page begins; null on the last one.
    pub next_cursor: Option<String>,
}

/// Which entries of the audit log to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditWanted {
    /// Not before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<grammar::Time>, inline)]
    pub since: Option<String>,
    /// Before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<grammar::Time>, inline)]
    pub until: Option<String>,
    /// About this client, or by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// An action, or the beginning of one: `client`, `key.rotate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// How many on a page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 500, default = 100)]
    pub limit: Option<usize>,
    /// `nextCursor` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(format = "audit-cursor")]
    pub cursor: Option<String>,
}

/// A signed head of the audit log, to be kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditHead {
    /// How far it says that the log reaches.
    pub seq: i64,
    /// The signed text.
    pub head: String,
}

/// What to check the audit log against.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditCheck {
    /// A head that was kept elsewhere: the log must still contain it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
}

/// Whether anything in the audit log was changed, cut out or moved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AuditReport {
    /// Whether each entry follows from the one before it, and every signed head agrees.
    pub ok: bool,
    /// The first bad entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<i64>,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The number of the oldest entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<i64>,
    /// The number of the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<i64>,
    /// Its hash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// How many signed heads the log agrees with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heads: Option<usize>,
    /// The newest of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest_head: Option<NewestHead>,
}

/// The newest signed head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewestHead {
    /// How far it says that the log reaches.
    pub seq: i64,
    /// When it was signed.
    pub at: String,
    /// The key that signed it.
    pub kid: String,
    /// Whether that is known to be a key of this server: only the holder of the master key can have made it.
    pub key_proven: bool,
}
