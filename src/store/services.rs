//! Registered services.

use std::collections::{BTreeMap, HashMap};

use m2mint_keys::time::UnixTime;
use rusqlite::{Connection, Row, params};

use crate::model::service::{Alias, Names};
use crate::model::{Audience, Scope, Service};
use crate::store::{Result, StoreError};

const SERVICES: &str = "SELECT audience, description FROM services";
const ACTIONS: &str = "SELECT audience, name, description FROM service_actions";
const ALIASES: &str = "SELECT audience, name, action, ends_at FROM action_aliases";

/// All of them, by audience.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn all(db: &Connection) -> Result<BTreeMap<Audience, Service>> {
    read(db, None)
}

/// The service of `audience`, when it is registered.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn get(db: &Connection, audience: &str) -> Result<Option<Service>> {
    Ok(read(db, Some(audience))?.into_values().next())
}

/// The audiences of those that come after `after`, and of `most` of them at most.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn audiences(db: &Connection, after: &str, most: usize) -> Result<Vec<String>> {
    let mut statement =
        db.prepare_cached("SELECT audience FROM services WHERE audience > ?1 ORDER BY audience LIMIT ?2")?;
    let audiences = statement.query_map(params![after, most], |row| row.get(0))?;
    Ok(audiences.collect::<rusqlite::Result<_>>()?)
}

/// A page that holds so many bytes ends, however few services those are.
const LARGEST_PAGE: usize = 1 << 18;

/// A page of services by audience, and after which one the next page begins.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn page(db: &Connection, after: &str, size: usize) -> Result<(Vec<Service>, Option<String>)> {
    let (mut services, mut bytes, mut last) = (Vec::new(), 0, None);
    // One more than asked for tells whether there is a next page.
    for audience in audiences(db, after, size + 1)? {
        if services.len() == size || bytes >= LARGEST_PAGE {
            return Ok((services, last));
        }
        if let Some(service) = get(db, &audience)? {
            let actions = service.actions.iter().map(|(name, text)| name.as_str().len() + text.len());
            let aliases = service.aliases.keys().map(|name| name.as_str().len());
            bytes += service.description.len() + actions.chain(aliases).sum::<usize>();
            services.push(service);
        }
        last = Some(audience);
    }
    Ok((services, None))
}

fn read(db: &Connection, audience: Option<&str>) -> Result<BTreeMap<Audience, Service>> {
    let rows = |query: &str, take: &mut dyn FnMut(&Row<'_>) -> Result<()>| -> Result<()> {
        let condition = if audience.is_some() { " WHERE audience = ?1" } else { "" };
        let mut statement = db.prepare_cached(&format!("{query}{condition}"))?;
        let mut rows = statement.query(rusqlite::params_from_iter(audience))?;
        while let Some(row) = rows.next()? {
            take(row)?;
        }
        Ok(())
    };
    let mut services = BTreeMap::new();
    rows(SERVICES, &mut |row| {
        let audience = Audience::parse(&row.get::<_, String>(0)?).map_err(StoreError::corrupt)?;
        let service = Service { description: row.get(1)?, ..Service::new(audience.clone()) };
        services.insert(audience, service);
        Ok(())
    })?;
    rows(ACTIONS, &mut |row| {
        if let Some(service) = services.get_mut(row.get::<_, String>(0)?.as_str()) {
            service.actions.insert(name(row, 1)?, row.get(2)?);
        }
        Ok(())
    })?;
    rows(ALIASES, &mut |row| {
        if let Some(service) = services.get_mut(row.get::<_, String>(0)?.as_str()) {
            let alias = Alias { action: name(row, 2)?, ends_at: UnixTime::from_millis(row.get(3)?) };
            service.aliases.insert(name(row, 1)?, alias);
        }
        Ok(())
    })?;
    Ok(services)
}

/// The actions that have several names, by audience: what issuing tokens has to know.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn renamed(db: &Connection) -> Result<HashMap<Box<str>, Vec<Names>>> {
    let mut services: BTreeMap<String, Service> = BTreeMap::new();
    let mut statement = db.prepare_cached(ALIASES)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let audience: String = row.get(0)?;
        let service = Service::new(Audience::parse(&audience).map_err(StoreError::corrupt)?);
        let alias = Alias { action: name(row, 2)?, ends_at: UnixTime::from_millis(row.get(3)?) };
        services.entry(audience).or_insert(service).aliases.insert(name(row, 1)?, alias);
    }
    Ok(services.into_iter().map(|(audience, service)| (audience.into(), Names::of(&service))).collect())
}

/// How many there are.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn count(db: &Connection) -> Result<usize> {
    Ok(db.query_row("SELECT count(*) FROM services", [], |row| row.get(0))?)
}

/// Stores a service as it is now, whether it was there before or not.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn save(db: &Connection, service: &Service, now: UnixTime) -> Result<()> {
    let audience = service.audience.as_str();
    db.prepare_cached(
        "INSERT INTO services (audience, description, created_at, updated_at) VALUES (?1, ?2, ?3, ?3)
         ON CONFLICT (audience) DO UPDATE SET description = excluded.description, updated_at = excluded.updated_at",
    )?
    .execute(params![audience, service.description, now.millis()])?;
    // Its aliases go with its actions.
    db.prepare_cached("DELETE FROM service_actions WHERE audience = ?1")?.execute([audience])?;
    let mut action =
        db.prepare_cached("INSERT INTO service_actions (audience, name, description) VALUES (?1, ?2, ?3)")?;
    for (name, description) in &service.actions {
        action.execute(params![audience, name.as_str(), description])?;
    }
    let mut alias = db.prepare_cached(
        "INSERT INTO action_aliases (audience, name, action, ends_at) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for (name, is) in &service.aliases {
        alias.execute(params![audience, name.as_str(), is.action.as_str(), is.ends_at.millis()])?;
    }
    Ok(())
}

/// Removes a service. Answers whether it was there.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn remove(db: &Connection, audience: &str) -> Result<bool> {
    Ok(db.prepare_cached("DELETE FROM services WHERE audience = ?1")?.execute([audience])? == 1)
}

fn name(row: &Row<'_>, column: usize) -> Result<Scope> {
    Scope::parse(&row.get::<_, String>(column)?).map_err(StoreError::corrupt)
}
