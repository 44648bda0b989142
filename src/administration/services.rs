//! What administrators say of services, and whether clients are granted what those understand.

use std::collections::BTreeMap;

use m2mint_keys::time::UnixTime;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::administration::{AdministrationError, Result, each_client};
use crate::model::audit::{Action, Entry, Origin, date};
use crate::model::service::{MAX_SERVICES, Misfit, misfits};
use crate::model::spelling::nearest;
use crate::model::{Audience, ClientId, Scope, Service, Settings};
use crate::store::clients::PageStart;
use crate::store::{self, Store, StoreError, audit, services};

/// A client that is granted what no registered service understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// The client.
    pub client: ClientId,
    /// What does not fit.
    pub misfits: Vec<Misfit>,
}

/// The service of `audience`, or that it is not registered, and which one was probably meant.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn require(db: &Connection, audience: &str) -> std::result::Result<Result<Service>, StoreError> {
    if let Some(service) = services::get(db, audience)? {
        return Ok(Ok(service));
    }
    let known = services::audiences(db, "", MAX_SERVICES)?;
    let meant = nearest(audience, known.iter().map(String::as_str)).map(str::to_owned);
    Ok(Err(AdministrationError::UnknownService { audience: audience.to_owned(), meant }))
}

/// Registers a service.
///
/// # Errors
/// [`AdministrationError`] when it is registered already, or a rule or the file refuses it.
pub fn add_service(store: &Store, service: &Service, now: UnixTime, origin: &Origin) -> Result<()> {
    store.write(|db| {
        if services::get(db, service.audience.as_str())?.is_some() {
            return Err(AdministrationError::DuplicateService(service.audience.clone()));
        }
        save(db, None, service, now, origin)
    })
}

/// Changes a registered service, and answers what it is then.
///
/// # Errors
/// [`AdministrationError`] when it is not registered, or a rule or the file refuses the change.
pub fn update_service(
    store: &Store,
    audience: &str,
    now: UnixTime,
    origin: &Origin,
    change: impl FnOnce(&mut Service) -> Result<()>,
) -> Result<Service> {
    update_seen_service(store, audience, now, origin, change)
}

/// The same for somebody who wants to see the service first: nobody else can change it between the two.
///
/// # Errors
/// As [`update_service`], and whatever `change` says.
pub fn update_seen_service<E: From<AdministrationError> + From<StoreError>>(
    store: &Store,
    audience: &str,
    now: UnixTime,
    origin: &Origin,
    change: impl FnOnce(&mut Service) -> std::result::Result<(), E>,
) -> std::result::Result<Service, E> {
    store.write(|db| {
        let before = require(db, audience)??;
        let mut after = before.clone();
        change(&mut after)?;
        if after != before {
            save(db, Some(&before), &after, now, origin)?;
        }
        Ok(after)
    })
}

/// Registers or changes a service within a transaction.
///
/// # Errors
/// [`AdministrationError`] when a rule or the file refuses it.
pub fn save(
    db: &Connection,
    before: Option<&Service>,
    after: &Service,
    now: UnixTime,
    origin: &Origin,
) -> Result<()> {
    after.check()?;
    if before.is_none() && services::count(db)? >= MAX_SERVICES {
        return Err(AdministrationError::TooManyServices);
    }
    services::save(db, after, now)?;
    let action = if before.is_some() { Action::ServiceUpdate } else { Action::ServiceCreate };
    let nothing = Service::new(after.audience.clone());
    let entry = Entry::new(now, origin, action).about(after.audience.as_str());
    Ok(audit::append(db, &told_changes(entry, before.unwrap_or(&nothing), after))?)
}

/// Forgets a service, and answers whether it was registered. Clients keep what they are granted there.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn remove_service(
    store: &Store,
    audience: &str,
    now: UnixTime,
    origin: &Origin,
) -> std::result::Result<bool, StoreError> {
    store.write(|db| remove(db, audience, now, origin))
}

/// Forgets a service that `may` agrees to have forgotten: nobody else can change it between the two.
///
/// # Errors
/// Whatever `may` says; [`AdministrationError`] when it is not registered, or the file cannot be written.
pub fn remove_seen_service<E: From<AdministrationError> + From<StoreError>>(
    store: &Store,
    audience: &str,
    now: UnixTime,
    origin: &Origin,
    may: impl FnOnce(&Service) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    store.write(|db| {
        may(&require(db, audience)??)?;
        Ok(remove(db, audience, now, origin).map(drop)?)
    })
}

/// Forgets a service within a transaction, and answers whether it was registered.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn remove(
    db: &Connection,
    audience: &str,
    now: UnixTime,
    origin: &Origin,
) -> std::result::Result<bool, StoreError> {
    let existed = services::remove(db, audience)?;
    if existed {
        audit::append(db, &Entry::new(now, origin, Action::ServiceRemove).about(audience))?;
    }
    Ok(existed)
}

/// The entry, with what is different.
fn told_changes(entry: Entry, before: &Service, after: &Service) -> Entry {
    let actions = |service: &Service| {
        Value::from(service.actions.keys().map(Scope::as_str).collect::<Vec<_>>().join(" "))
    };
    let aliases = |service: &Service| {
        let told = service.aliases.iter().map(|(former, alias)| {
            (former.to_string(), json!({"action": alias.action.as_str(), "until": date(alias.ends_at)}))
        });
        Value::Object(told.collect())
    };
    entry
        .changing("description", before.description.as_str(), after.description.as_str())
        .changing("actions", actions(before), actions(after))
        .changing("aliases", aliases(before), aliases(after))
}

/// Every client that is granted what no registered service understands at `now`; only those that may ask for `audience`,
/// when one is named.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn unfit(
    store: &Store,
    audience: Option<&Audience>,
    now: UnixTime,
) -> std::result::Result<Vec<Unfit>, StoreError> {
    Ok(some_unfit(store, audience, now, None, usize::MAX, usize::MAX)?.0)
}

/// The same of the clients after `after`, until `enough` of them are found or `most` were looked at; and after which one to
/// go on.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn some_unfit(
    store: &Store,
    audience: Option<&Audience>,
    now: UnixTime,
    after: Option<PageStart>,
    enough: usize,
    most: usize,
) -> std::result::Result<(Vec<Unfit>, Option<PageStart>), StoreError> {
    let registered = store.read(services::all)?;
    let mut found = Vec::new();
    if registered.is_empty() {
        return Ok((found, None));
    }
    let next = each_client(store, after, most, &mut |client| {
        if audience.is_none_or(|audience| client.settings.audience.contains(audience)) {
            let mut misfits = misfits(&registered, &client.settings, now);
            misfits.retain(|misfit| audience.is_none_or(|audience| misfit.audiences.contains(audience)));
            if !misfits.is_empty() {
                found.push(Unfit { client: client.id, misfits });
            }
        }
        Ok(found.len() >= enough)
    })?;
    Ok((found, next))
}

/// Whether what the client is granted anew is understood by the registered services. What it was granted before stays.
///
/// # Errors
/// [`AdministrationError::Misfits`], or that of the file.
pub fn check_grants(db: &Connection, before: &Settings, after: &Settings, now: UnixTime) -> Result<()> {
    let same = (&before.scope, &before.audience, &before.audience_scopes)
        == (&after.scope, &after.audience, &after.audience_scopes);
    if same {
        return Ok(());
    }
    let mut registered = BTreeMap::new();
    for audience in &after.audience {
        if let Some(service) = store::services::get(db, audience.as_str())? {
            registered.insert(audience.clone(), service);
        }
    }
    let old = misfits(&registered, before, now);
    let mut new = misfits(&registered, after, now);
    new.retain(|misfit| !old.contains(misfit));
    if new.is_empty() { Ok(()) } else { Err(AdministrationError::Misfits(new)) }
}
