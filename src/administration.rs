//! What administrators do to clients: checked, then stored in one transaction, with its entry of the audit log. HTTP and command line both come here.

pub mod admin_keys;
pub mod declared;
pub mod imported;
pub mod services;
pub mod unused;

use m2mint_keys::crypto::CryptoError;
use m2mint_keys::signing_key::Algorithm;
use m2mint_keys::time::{Moment, UnixTime};
use m2mint_keys::verify::Verified;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::model::audit::{Action, Entry, Origin, date};
use crate::model::grants::InvalidGrants;
use crate::model::restrictions::{self, InvalidRestrictions, Restrictions};
use crate::model::secret::InvalidSecret;
use crate::model::service::{InvalidService, MAX_SERVICES, Misfit, suggestion};
use crate::model::{
    AdminKeyName, Audience, Client, ClientId, ClientSecret, InvalidName, Network, ScopePattern, Settings,
    Span,
};
use crate::store::audiences::StoredAudience;
use crate::store::clients::{PageStart, StoredSecret};
use crate::store::keys::KeyRequest;
use crate::store::{Store, StoreError, audiences, audit, clients, keys, revocations};

/// The most secrets that a client may have at a time.
pub const MAX_SECRETS: usize = 20;

/// Why a change was refused.
#[derive(Debug, thiserror::Error)]
pub enum AdministrationError {
    /// There is no such client.
    #[error("there is no client {0}")]
    UnknownClient(String),
    /// There is no such secret.
    #[error("the client has no secret {0}")]
    UnknownSecret(i64),
    /// The id is taken.
    #[error("a client with the id {0} exists already")]
    DuplicateClient(ClientId),
    /// A name is not well formed.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// What the client may ask for contradicts itself.
    #[error(transparent)]
    Grants(#[from] InvalidGrants),
    /// From where, when and how often the client gets tokens makes no sense.
    #[error(transparent)]
    Restrictions(#[from] InvalidRestrictions),
    /// The secret is too weak.
    #[error(transparent)]
    Secret(#[from] InvalidSecret),
    /// The client has as many secrets as it may have.
    #[error("the client has {MAX_SECRETS} secrets already; remove one first")]
    TooManySecrets,
    /// Tokens would live too long.
    #[error("the lifetime {asked} is longer than token.max_lifetime = {longest}")]
    LifetimeTooLong {
        /// What was asked for.
        asked: Span,
        /// What is allowed.
        longest: Span,
    },
    /// Tokens would not live at all.
    #[error("a token must live for at least 1s")]
    LifetimeTooShort,
    /// A secret would never be accepted.
    #[error("a secret must be good for at least 1s")]
    SecretExpired,
    /// The service is not registered.
    #[error("there is no service {audience}{}", suggestion(.meant.as_deref()))]
    UnknownService {
        /// What was named.
        audience: String,
        /// What was probably meant.
        meant: Option<String>,
    },
    /// The service is registered already.
    #[error("a service {0} is registered already")]
    DuplicateService(Audience),
    /// There are as many services as there may be.
    #[error("there are {MAX_SERVICES} services already; remove one first")]
    TooManyServices,
    /// A service cannot be so.
    #[error(transparent)]
    Service(#[from] InvalidService),
    /// The client would be granted what no registered service understands.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Misfits(Vec<Misfit>),
    /// A file declares none of the clients that there are, and all others were to be removed.
    #[error(
        "the file declares none of the clients that there are: with --prune, every one of them would be removed"
    )]
    DropsEveryClient,
    /// What was to be done is no longer what was shown.
    #[error("somebody changed services or clients meanwhile; nothing was done. Run it again")]
    PlanChanged,
    /// Concerning one client of several.
    #[error("client {0}: {1}")]
    OfClient(ClientId, Box<AdministrationError>),
    /// There is no such admin key.
    #[error("there is no admin key {0}")]
    UnknownAdminKey(String),
    /// The name is taken.
    #[error("an admin key with the name {0} exists already; remove it first")]
    DuplicateAdminKey(AdminKeyName),
    /// There are as many admin keys as there may be.
    #[error("there are {max} admin keys already; remove one first", max = admin_keys::MAX_ADMIN_KEYS)]
    TooManyAdminKeys,
    /// An admin key would never be accepted.
    #[error("an admin key must be good for at least 1s")]
    AdminKeyExpired,
    /// Another rule, in words.
    #[error("{0}")]
    Other(String),
    /// There is no randomness to be had.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The file.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AdministrationError {
    /// The same, saying which client it is about. What the file says is about none.
    fn about_client(self, id: &ClientId) -> Self {
        match self {
            Self::Store(_) | Self::Crypto(_) => self,
            refused => Self::OfClient(id.clone(), Box::new(refused)),
        }
    }
}

/// Result of an administrative change.
pub type Result<T> = std::result::Result<T, AdministrationError>;

/// A client to be made.
#[derive(Debug)]
pub struct NewClient {
    /// Its id; made when not given.
    pub id: Option<ClientId>,
    /// Its secret; made when not given.
    pub secret: Option<ClientSecret>,
    /// When the secret stops being accepted.
    pub secret_expires_at: Option<UnixTime>,
    /// What it may do.
    pub settings: Settings,
}

/// Makes a client with one secret, and answers both: this is the only time that the secret is seen.
///
/// # Errors
/// [`AdministrationError`] when a rule or the file refuses it.
pub fn create_client(
    store: &Store,
    new: NewClient,
    now: UnixTime,
    longest: Span,
    origin: &Origin,
) -> Result<(Client, ClientSecret)> {
    check(&new.settings, longest)?;
    if new.secret_expires_at.is_some_and(|at| at <= now) {
        return Err(AdministrationError::SecretExpired);
    }
    let id = new.id.map_or_else(|| ClientId::parse(&format!("stcl_{}", uuid::Uuid::new_v4())), Ok)?;
    let secret = new.secret.map_or_else(ClientSecret::generate, Ok)?;
    let hash = secret.hash()?;
    let client = Client { id, settings: new.settings, created_at: now, updated_at: now };
    store.write(|db| {
        services::check_grants(db, &Settings::default(), &client.settings, now)?;
        if !clients::insert(db, &client)? {
            return Err(AdministrationError::DuplicateClient(client.id.clone()));
        }
        let secret = clients::add_secret(db, client.id.as_str(), &hash, now, new.secret_expires_at)?;
        let entry = Entry::new(now, origin, Action::ClientCreate).about(client.id.as_str());
        let entry = told_changes(entry, &Settings::default(), &client.settings);
        Ok::<_, AdministrationError>(audit::append(db, &entry.with("secret", secret))?)
    })?;
    Ok((client, secret))
}

/// Changes the settings of a client. A new secret replaces all that it has.
///
/// # Errors
/// [`AdministrationError`] when there is no such client, or a rule or the file refuses the change.
pub fn update_client<E: From<AdministrationError> + From<StoreError>>(
    store: &Store,
    id: &str,
    secret: Option<&ClientSecret>,
    now: UnixTime,
    longest: Span,
    origin: &Origin,
    change: impl FnOnce(Settings) -> std::result::Result<Settings, E>,
) -> std::result::Result<Client, E> {
    update_seen_client(store, id, secret, now, longest, origin, |client| change(client.settings.clone()))
}

/// The same for somebody who wants to see the whole client first: nobody else can change it between the two.
///
/// # Errors
/// As [`update_client`].
pub fn update_seen_client<E: From<AdministrationError> + From<StoreError>>(
    store: &Store,
    id: &str,
    secret: Option<&ClientSecret>,
    now: UnixTime,
    longest: Span,
    origin: &Origin,
    change: impl FnOnce(&Client) -> std::result::Result<Settings, E>,
) -> std::result::Result<Client, E> {
    let hash = secret.map(ClientSecret::hash).transpose().map_err(AdministrationError::from)?;
    store.write(|db| {
        let client =
            clients::get(db, id)?.ok_or_else(|| AdministrationError::UnknownClient(id.to_owned()))?;
        let before = client.settings.clone();
        let settings = change(&client)?;
        let client = Client { settings, updated_at: now.max(client.created_at), ..client };
        check_change(&before, &client.settings, longest)?;
        services::check_grants(db, &before, &client.settings, now)?;
        clients::update(db, &client)?;
        let entry = Entry::new(now, origin, Action::ClientUpdate).about(id);
        let mut entry = told_changes(entry, &before, &client.settings);
        if let Some(hash) = &hash {
            let replaced: Vec<_> = clients::secrets(db, id)?.iter().map(|secret| secret.id).collect();
            clients::remove_secrets(db, id)?;
            let secret = clients::add_secret(db, id, hash, now, None)?;
            entry = entry.changing("secrets", replaced, vec![secret]);
        }
        audit::append(db, &entry)?;
        Ok(client)
    })
}

/// Says what tokens for an audience are signed with.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn set_audience(
    store: &Store,
    audience: &StoredAudience,
    now: UnixTime,
    origin: &Origin,
) -> std::result::Result<(), StoreError> {
    store.write(|db| {
        let before = audiences::all(db)?.into_iter().find(|stored| stored.name == audience.name);
        let alg = before.map_or(Algorithm::EdDsa, |before| before.alg);
        audiences::save(db, audience)?;
        let entry = Entry::new(now, origin, Action::AudienceSet).about(audience.name.as_str());
        let entry = entry.with("alg", json!({"from": alg.name(), "to": audience.alg.name()}));
        audit::append(db, &entry.with("at_once", audience.at_once))
    })
}

/// Leaves a request for whoever serves the file: to rotate, or to revoke a key.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn ask_for_keys(
    store: &Store,
    request: &KeyRequest,
    now: UnixTime,
    origin: &Origin,
) -> std::result::Result<(), StoreError> {
    let entry = match request {
        KeyRequest::Rotate(alg) => {
            Entry::new(now, origin, Action::KeyRotationAsk).with("alg", alg.map(Algorithm::name))
        }
        KeyRequest::Revoke(kid) => Entry::new(now, origin, Action::KeyRevocationAsk).about(kid.as_str()),
    };
    store.write(|db| {
        keys::ask(db, request, now)?;
        audit::append(db, &entry)
    })
}

/// Removes a client, and answers whether it was there.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn remove_client(
    store: &Store,
    id: &str,
    now: UnixTime,
    origin: &Origin,
) -> std::result::Result<bool, StoreError> {
    store.write(|db| {
        let existed = clients::remove(db, id, now)?;
        if existed {
            audit::append(db, &Entry::new(now, origin, Action::ClientRemove).about(id))?;
        }
        Ok(existed)
    })
}

/// Removes a client that `may` agrees to have removed: nobody else can change it between the two.
///
/// # Errors
/// Whatever `may` says; [`AdministrationError`] when there is no such client, or the file cannot be written.
pub fn remove_seen_client<E: From<AdministrationError> + From<StoreError>>(
    store: &Store,
    id: &str,
    now: UnixTime,
    origin: &Origin,
    may: impl FnOnce(&Client) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    store.write(|db| {
        let client = clients::get(db, id)?;
        may(&client.ok_or_else(|| AdministrationError::UnknownClient(id.to_owned()))?)?;
        clients::remove(db, id, now)?;
        Ok(audit::append(db, &Entry::new(now, origin, Action::ClientRemove).about(id))?)
    })
}

/// Adds a secret beside those that the client has: that is how a secret is rotated.
///
/// # Errors
/// [`AdministrationError`] when there is no such client, or it has too many.
pub fn add_secret(
    store: &Store,
    id: &str,
    secret: &ClientSecret,
    now: UnixTime,
    expires_at: Option<UnixTime>,
    origin: &Origin,
) -> Result<StoredSecret> {
    if expires_at.is_some_and(|at| at <= now) {
        return Err(AdministrationError::SecretExpired);
    }
    let hash = secret.hash()?;
    store.write(|db| {
        require_client(db, id)?;
        if clients::secrets(db, id)?.len() >= MAX_SECRETS {
            return Err(AdministrationError::TooManySecrets);
        }
        let secret_id = clients::add_secret(db, id, &hash, now, expires_at)?;
        let entry = Entry::new(now, origin, Action::SecretAdd).about(id).with("secret", secret_id);
        audit::append(db, &entry.with("expires_at", expires_at.map(date)))?;
        Ok(StoredSecret {
            id: secret_id,
            hash,
            created_at: now,
            expires_at,
            last_used_at: None,
            last_used_from: None,
        })
    })
}

/// Adds a secret, and lets all others that are still accepted expire at `until`, or when they would have anyway. Answers
/// the new one and those.
///
/// # Errors
/// [`AdministrationError`] when there is no such client, it has too many secrets, or the others would not be accepted at all.
pub fn rotate_secrets(
    store: &Store,
    id: &str,
    secret: &ClientSecret,
    now: UnixTime,
    until: UnixTime,
    origin: &Origin,
) -> Result<(StoredSecret, Vec<StoredSecret>)> {
    if until <= now {
        return Err(AdministrationError::SecretExpired);
    }
    let hash = secret.hash()?;
    store.write(|db| {
        require_client(db, id)?;
        let mut retiring = clients::secrets(db, id)?;
        if retiring.len() >= MAX_SECRETS {
            return Err(AdministrationError::TooManySecrets);
        }
        retiring.retain(|secret| secret.expires_at.is_none_or(|at| at > now));
        for secret in &mut retiring {
            let at = secret.expires_at.map_or(until, |at| at.min(until));
            clients::expire_secret(db, id, secret.id, at)?;
            secret.expires_at = Some(at);
        }
        let secret_id = clients::add_secret(db, id, &hash, now, None)?;
        let entry = Entry::new(now, origin, Action::SecretRotate).about(id).with("secret", secret_id);
        let ids: Vec<_> = retiring.iter().map(|secret| secret.id).collect();
        audit::append(db, &entry.with("retiring", ids).with("retiring_until", date(until)))?;
        let new = StoredSecret {
            id: secret_id,
            hash,
            created_at: now,
            expires_at: None,
            last_used_at: None,
            last_used_from: None,
        };
        Ok((new, retiring))
    })
}

/// The secrets of a client, without the secrets.
///
/// # Errors
/// [`AdministrationError`] when there is no such client.
pub fn secrets(store: &Store, id: &str) -> Result<Vec<StoredSecret>> {
    store
        .read(|db| Ok(clients::get(db, id)?.map(|_| clients::secrets(db, id))))?
        .ok_or_else(|| AdministrationError::UnknownClient(id.to_owned()))?
        .map_err(Into::into)
}

/// Removes one secret of a client.
///
/// # Errors
/// [`AdministrationError`] when there is no such client or secret.
pub fn remove_secret(store: &Store, id: &str, secret: i64, now: UnixTime, origin: &Origin) -> Result<()> {
    store.write(|db| {
        require_client(db, id)?;
        let removed = clients::remove_secret(db, id, secret)?;
        removed.then_some(()).ok_or(AdministrationError::UnknownSecret(secret))?;
        let entry = Entry::new(now, origin, Action::SecretRemove).about(id);
        Ok(audit::append(db, &entry.with("secret", secret))?)
    })
}

/// Revokes one token.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn revoke_token(
    store: &Store,
    token: &Verified,
    now: Moment,
    origin: &Origin,
) -> std::result::Result<(), StoreError> {
    store.write(|db| {
        revocations::add(db, &token.jti, token.expires_at, now)?;
        let entry = Entry::new(now.wall, origin, Action::TokenRevoke).about(&*token.client_id);
        audit::append(db, &entry.with("jti", &*token.jti))
    })
}

/// Revokes every token of a client that was issued until now.
///
/// # Errors
/// [`AdministrationError`] when there is no such client.
pub fn revoke_all_tokens(store: &Store, id: &str, now: UnixTime, origin: &Origin) -> Result<()> {
    store.write(|db| {
        let known = clients::revoke_tokens(db, id, now)?;
        known.then_some(()).ok_or_else(|| AdministrationError::UnknownClient(id.to_owned()))?;
        Ok(audit::append(db, &Entry::new(now, origin, Action::TokensRevoke).about(id))?)
    })
}

/// The entry, with what is different. Of fields that mean nothing here only the names are told: nobody knows what is in
/// them.
fn told_changes(entry: Entry, before: &Settings, after: &Settings) -> Entry {
    let scope = |settings: &Settings| Value::from(joined(&settings.scope, ScopePattern::as_str));
    let audience = |settings: &Settings| Value::from(joined(&settings.audience, Audience::as_str));
    let by_audience = |settings: &Settings| {
        let map = settings.audience_scopes.as_ref()?.iter();
        let texts = map.map(|(audience, scopes)| {
            (audience.to_string(), Value::from(joined(scopes, ScopePattern::as_str)))
        });
        Some(Value::Object(texts.collect()))
    };
    let lifetime = |settings: &Settings| settings.token_lifetime.map(|lifetime| lifetime.to_string());
    let networks = |settings: &Settings| {
        let networks: Vec<_> = settings.restrictions.networks.iter().map(Network::to_string).collect();
        Value::from(networks.join(" "))
    };
    let moment = |which: fn(&Restrictions) -> Option<UnixTime>, settings: &Settings| {
        which(&settings.restrictions).map(restrictions::moment)
    };
    let entry = entry
        .changing("name", before.name.as_str(), after.name.as_str())
        .changing("enabled", before.enabled, after.enabled)
        .changing("scope", scope(before), scope(after))
        .changing("audience", audience(before), audience(after))
        .changing("audience_scopes", by_audience(before), by_audience(after))
        .changing("lifetime", lifetime(before), lifetime(after))
        .changing("networks", networks(before), networks(after))
        .changing("not_before", moment(|it| it.not_before, before), moment(|it| it.not_before, after))
        .changing("not_after", moment(|it| it.not_after, before), moment(|it| it.not_after, after))
        .changing("tokens_a_minute", before.restrictions.tokens_a_minute, after.restrictions.tokens_a_minute);
    let mut others: Vec<_> = before.extra.keys().chain(after.extra.keys()).cloned().collect();
    others.retain(|name| before.extra.get(name) != after.extra.get(name));
    others.sort();
    others.dedup();
    if others.is_empty() { entry } else { entry.with("others", others) }
}

fn joined<T>(names: &[T], text: impl Fn(&T) -> &str) -> String {
    names.iter().map(text).collect::<Vec<_>>().join(" ")
}

/// How many clients are read at a time.
const PAGE: usize = 500;

/// Shows clients to `look`, oldest first, from `after` on, until it answers that it has enough or `most` of them were shown.
/// Answers after which one to go on, unless that was the last.
///
/// # Errors
/// [`StoreError`] when the file cannot be read, and whatever `look` says.
pub fn each_client(
    store: &Store,
    mut after: Option<PageStart>,
    most: usize,
    look: &mut dyn FnMut(Client) -> std::result::Result<bool, StoreError>,
) -> std::result::Result<Option<PageStart>, StoreError> {
    let mut shown = 0;
    loop {
        let (page, next) = store.read(|db| clients::page(db, after.as_ref(), PAGE, None))?;
        shown += page.len();
        for client in page {
            let here = (client.created_at.millis(), client.id.to_string());
            if look(client)? {
                return Ok(Some(here));
            }
        }
        after = next;
        if after.is_none() || shown >= most {
            return Ok(after);
        }
    }
}

fn require_client(db: &Connection, id: &str) -> Result<()> {
    clients::get(db, id)?.map(|_| ()).ok_or_else(|| AdministrationError::UnknownClient(id.to_owned()))
}

/// A lifetime that is longer than what became allowed since may stay: tokens are cut to that, and nothing may keep anybody
/// from disabling a client.
fn check_change(before: &Settings, after: &Settings, longest: Span) -> Result<()> {
    let longest =
        after.token_lifetime.filter(|_| before.token_lifetime == after.token_lifetime).unwrap_or(longest);
    check(after, longest)
}

fn check(settings: &Settings, longest: Span) -> Result<()> {
    settings.grants()?;
    settings.restrictions.check()?;
    match settings.token_lifetime {
        Some(asked) if asked > longest => Err(AdministrationError::LifetimeTooLong { asked, longest }),
        Some(asked) if asked.secs() == 0 => Err(AdministrationError::LifetimeTooShort),
        _ => Ok(()),
    }
}
