//! Clients that come from another server.

use m2mint_keys::time::UnixTime;

use crate::administration::{self, AdministrationError, MAX_SECRETS, Result, services, told_changes};
use crate::model::audit::{Action, Entry, Origin};
use crate::model::secret::slow_hash_matches;
use crate::model::{Client, ClientId, ClientSecret, SecretHash, Settings, Span};
use crate::store::{Store, audit, clients};

/// What became of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    /// It was made.
    Added,
    /// It was here, and something was changed.
    Changed,
    /// It was here as it is there.
    Unchanged,
}

/// What has to be known about an import.
#[derive(Debug)]
pub struct Import<'a> {
    /// The other server, for the audit log.
    pub from: &'a str,
    /// When it happens.
    pub now: UnixTime,
    /// The longest lifetime of a token.
    pub longest: Span,
    /// Who does it.
    pub origin: &'a Origin,
    /// Whether nothing is to be changed.
    pub dry_run: bool,
}

/// A client that is not changed after all: the transaction ends without it.
enum End {
    Dry(Became),
    Refused(AdministrationError),
}

impl<E: Into<AdministrationError>> From<E> for End {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

/// Makes a client with the id that it has elsewhere, or changes it to what it is there. Its secret, where that is known,
/// is accepted besides those that it has here. A client whose secret is not known has none until it gets one.
///
/// # Errors
/// [`AdministrationError`] when a rule or the file refuses it.
pub fn import_client(
    store: &Store,
    id: &ClientId,
    secret: Option<&ClientSecret>,
    import: &Import<'_>,
    change: impl FnOnce(Settings) -> Result<Settings>,
) -> Result<Became> {
    let &Import { from, now, longest, origin, dry_run } = import;
    // A slow hash is not made within a transaction.
    let known = store.read(|db| clients::secrets(db, id.as_str()))?;
    let hash = match secret {
        Some(secret) if !known.iter().any(|stored| is_of(&stored.hash, secret)) => Some(secret.hash()?),
        _ => None,
    };
    let imported = store.write(|db| -> std::result::Result<Became, End> {
        let before = clients::get(db, id.as_str())?;
        let old = before.as_ref().map_or_else(Settings::default, |client| client.settings.clone());
        let settings = change(old.clone())?;
        administration::check(&settings, longest)?;
        services::check_grants(db, &old, &settings, now)?;
        let became = match &before {
            None => Became::Added,
            Some(client) if client.settings == settings && hash.is_none() => Became::Unchanged,
            Some(_) => Became::Changed,
        };
        if became == Became::Unchanged {
            return Ok(became);
        }
        let created_at = before.as_ref().map_or(now, |client| client.created_at);
        let client = Client { id: id.clone(), settings, created_at, updated_at: now.max(created_at) };
        let action = if before.is_some() {
            clients::update(db, &client)?;
            Action::ClientUpdate
        } else {
            clients::insert(db, &client)?;
            Action::ClientCreate
        };
        let entry = Entry::new(now, origin, action).about(id.as_str()).with("imported_from", from);
        let mut entry = told_changes(entry, &old, &client.settings);
        if let Some(hash) = &hash {
            if clients::secrets(db, id.as_str())?.len() >= MAX_SECRETS {
                return Err(AdministrationError::TooManySecrets.into());
            }
            entry = entry.with("secret", clients::add_secret(db, id.as_str(), hash, now, None)?);
        }
        audit::append(db, &entry)?;
        if dry_run { Err(End::Dry(became)) } else { Ok(became) }
    });
    match imported {
        Ok(became) | Err(End::Dry(became)) => Ok(became),
        Err(End::Refused(error)) => Err(error),
    }
}

/// Whether a stored hash is that of a secret.
fn is_of(hash: &SecretHash, secret: &ClientSecret) -> bool {
    match hash {
        // The hash of a generated secret is made anew each time the same; that of a chosen one has salt.
        SecretHash::Sha256(_) => secret.hash().is_ok_and(|made| made == *hash),
        SecretHash::Argon2id(phc) => slow_hash_matches(phc, secret.expose()),
    }
}
