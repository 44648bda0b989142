//! Clients and their secrets.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::time::Duration;

use m2mint_keys::time::{UnixTime, millis};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::{Map, Value};

use crate::model::grants::AudienceScopes;
use crate::model::names::split_scopes;
use crate::model::{
    Audience, Client, ClientId, Network, Restrictions, ScopePattern, SecretHash, Settings, Span,
};
use crate::store::{Result, StoreError, keys};

/// A stored secret: everything but the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSecret {
    /// Its own id, by which it is listed and removed.
    pub id: i64,
    /// What is kept of it.
    pub hash: SecretHash,
    /// When it was made.
    pub created_at: UnixTime,
    /// When it stops being accepted.
    pub expires_at: Option<UnixTime>,
    /// When it was last accepted, to within a minute.
    pub last_used_at: Option<UnixTime>,
    /// Where it then came from; `None` when that is not known, or was a program on this machine.
    pub last_used_from: Option<IpAddr>,
}

/// What issuing tokens needs to know of a stored secret.
#[derive(Debug)]
pub struct IssuingSecret {
    /// Which of the client's secrets it is.
    pub id: i64,
    /// What is kept of it.
    pub hash: SecretHash,
    /// When it stops being accepted.
    pub expires_at: Option<UnixTime>,
    /// When it was last accepted, to within a minute.
    pub last_used_at: Option<UnixTime>,
}

/// What issuing tokens needs to know of a client, as text: parsed once, when it is loaded into memory.
pub struct IssuingRow<'a> {
    /// Client id.
    pub id: &'a str,
    /// `Some(false)` refuses every token.
    pub enabled: Option<bool>,
    /// Allowed scopes, separated by spaces.
    pub scope: &'a str,
    /// Allowed audiences, separated by spaces.
    pub audience: &'a str,
    /// JSON of scopes by audience.
    pub audience_scopes: Option<&'a str>,
    /// Own token lifetime.
    pub token_lifetime: Option<Duration>,
    /// Tokens issued up to this time are revoked.
    pub tokens_revoked_at: Option<UnixTime>,
    /// From where, when and how often it gets tokens.
    pub restrictions: Restrictions,
}

/// Client and id of a secret, and when and from where it was used.
pub type Use = ((Box<str>, i64), (UnixTime, Option<IpAddr>));

const COLUMNS: &str = "id, name, enabled, scope, audience, audience_scopes, token_lifetime, extra, created_at, \
     updated_at, networks, not_before, not_after, tokens_a_minute";
const VALUES: &str = "?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14";

/// Adds a client. Answers `false`, and changes nothing, when the id is taken.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn insert(db: &Connection, client: &Client) -> Result<bool> {
    let id = client.id.as_str();
    let insert = format!("INSERT INTO clients ({COLUMNS}) VALUES (?1, {VALUES}) ON CONFLICT DO NOTHING");
    let inserted = save(db, client, &insert)?;
    if inserted {
        // Tokens of another client that had this id are none of this one's.
        db.prepare_cached(
            "UPDATE clients SET tokens_revoked_at = removed_at FROM removed_clients AS gone
             WHERE clients.id = ?1 AND gone.id = ?1",
        )?
        .execute([id])?;
        db.prepare_cached("DELETE FROM removed_clients WHERE id = ?1")?.execute([id])?;
    }
    Ok(inserted)
}

/// Changes the settings of a client. Answers `false` when there is none.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn update(db: &Connection, client: &Client) -> Result<bool> {
    let columns = COLUMNS.replacen("id, ", "", 1);
    save(db, client, &format!("UPDATE clients SET ({columns}) = ({VALUES}) WHERE id = ?1"))
}

fn save(db: &Connection, client: &Client, statement: &str) -> Result<bool> {
    let settings = &client.settings;
    let restrictions = &settings.restrictions;
    let saved = db.prepare_cached(statement)?.execute(params![
        client.id.as_str(),
        settings.name,
        settings.enabled,
        join(settings.scope.iter().map(ScopePattern::as_str)),
        join(settings.audience.iter().map(Audience::as_str)),
        settings.audience_scopes.as_ref().map(audience_scopes_json),
        settings.token_lifetime.map(|lifetime| millis(lifetime.0)),
        Value::Object(settings.extra.clone()).to_string(),
        client.created_at.millis(),
        client.updated_at.millis(),
        (!restrictions.networks.is_empty())
            .then(|| { restrictions.networks.iter().map(Network::to_string).collect::<Vec<_>>().join(" ") }),
        restrictions.not_before.map(UnixTime::millis),
        restrictions.not_after.map(UnixTime::millis),
        restrictions.tokens_a_minute,
    ])?;
    if let Some(lifetime) = settings.token_lifetime {
        keys::allow_lifetime(db, lifetime.0)?;
    }
    Ok(saved == 1)
}

/// Removes a client with its secrets. Answers whether it was there. Its tokens stay revoked, whoever gets its id.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn remove(db: &Connection, id: &str, now: UnixTime) -> Result<bool> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO removed_clients (id, removed_at)
         SELECT id, max(?2, coalesce(tokens_revoked_at, ?2)) FROM clients WHERE id = ?1",
    )?
    .execute(params![id, now.millis()])?;
    Ok(db.prepare_cached("DELETE FROM clients WHERE id = ?1")?.execute([id])? == 1)
}

/// How long it is known that a client was removed: longer than any of its tokens can live.
const REMOVED_KEPT: Duration = Duration::from_secs(2 * 366 * 86_400);

/// Forgets clients that were removed long ago.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn sweep_removed(db: &Connection, now: UnixTime) -> Result<()> {
    let before = now.millis().saturating_sub(millis(REMOVED_KEPT));
    db.prepare_cached("DELETE FROM removed_clients WHERE removed_at < ?1")?.execute([before])?;
    Ok(())
}

/// The client `id`.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn get(db: &Connection, id: &str) -> Result<Option<Client>> {
    let mut statement = db.prepare_cached(&format!("SELECT {COLUMNS} FROM clients WHERE id = ?1"))?;
    let row = statement.query_row([id], |row| Ok(client(row))).optional()?;
    row.transpose()
}

/// Where a page of clients begins: after the client with this creation time and id.
pub type PageStart = (i64, String);

/// Which clients are on a page.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    /// All.
    All,
    /// Those with this name.
    Named(&'a str),
    /// Those with this in their id or name, in any case of ASCII letters.
    Like(&'a str),
    /// Those with this in their id, name, audiences or scopes, in any case of ASCII letters.
    About(&'a str),
    /// Those that may ask for tokens for this audience.
    At(&'a str),
}

/// A page of clients, oldest first, and where the next one begins.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn page(
    db: &Connection,
    after: Option<&PageStart>,
    size: usize,
    name: Option<&str>,
) -> Result<(Vec<Client>, Option<PageStart>)> {
    page_of(db, after, size, name.map_or(Wanted::All, Wanted::Named))
}

/// A page that holds so many bytes ends, however few clients that are: each may come with as much as a request may bring.
const LARGEST_PAGE: usize = 1 << 20;

/// The same of the clients that are wanted.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn page_of(
    db: &Connection,
    after: Option<&PageStart>,
    size: usize,
    wanted: Wanted<'_>,
) -> Result<(Vec<Client>, Option<PageStart>)> {
    let (created_at, id) = after.map_or((i64::MIN, ""), |(created_at, id)| (*created_at, id.as_str()));
    let (condition, text) = match wanted {
        Wanted::All => ("?3 IS NULL", None),
        Wanted::Named(name) => ("name = ?3", Some(name)),
        Wanted::Like(text) => {
            ("(instr(lower(id), lower(?3)) > 0 OR instr(lower(name), lower(?3)) > 0)", Some(text))
        }
        // Between them, what no name holds.
        Wanted::About(text) => (
            "instr(lower(id || char(10) || name || char(10) || audience || char(10) || scope), lower(?3)) > 0",
            Some(text),
        ),
        Wanted::At(audience) => ("instr(' ' || audience || ' ', ' ' || ?3 || ' ') > 0", Some(audience)),
    };
    let mut statement = db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM clients WHERE (created_at, id) > (?1, ?2) AND {condition}
         ORDER BY created_at, id LIMIT ?4"
    ))?;
    // One more than asked for tells whether there is a next page.
    let mut rows = statement.query(params![created_at, id, text, size + 1])?;
    let (mut clients, mut bytes, mut more) = (Vec::new(), 0, false);
    while let Some(row) = rows.next()? {
        more = clients.len() >= size || bytes >= LARGEST_PAGE;
        if more {
            break;
        }
        bytes += row_bytes(row);
        clients.push(client(row)?);
    }
    let next = clients.last().filter(|_| more);
    let next = next.map(|client| (client.created_at.millis(), client.id.as_str().to_owned()));
    Ok((clients, next))
}

/// What the texts of a row take.
fn row_bytes(row: &Row<'_>) -> usize {
    let columns = 0..row.as_ref().column_count();
    let texts = columns.filter_map(|column| row.get_ref(column).ok()?.as_bytes().ok().map(<[u8]>::len));
    texts.sum()
}

/// The ids of `limit` clients at most, for suggestions.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn some_ids(db: &Connection, limit: usize) -> Result<Vec<String>> {
    let mut statement = db.prepare_cached("SELECT id FROM clients LIMIT ?1")?;
    let ids = statement.query_map([limit], |row| row.get(0))?;
    Ok(ids.collect::<rusqlite::Result<_>>()?)
}

/// How many clients there are.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn count(db: &Connection) -> Result<usize> {
    Ok(db.query_row("SELECT count(*) FROM clients", [], |row| row.get(0))?)
}

/// Marks every token of the client issued up to `now` as revoked. Answers whether the client exists.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn revoke_tokens(db: &Connection, id: &str, now: UnixTime) -> Result<bool> {
    let mut statement = db.prepare_cached("UPDATE clients SET tokens_revoked_at = ?2 WHERE id = ?1")?;
    Ok(statement.execute(params![id, now.millis()])? == 1)
}

/// The longest lifetime that any client has of its own.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn longest_lifetime(db: &Connection) -> Result<Option<Duration>> {
    let longest: Option<u64> =
        db.query_row("SELECT max(token_lifetime) FROM clients", [], |row| row.get(0))?;
    Ok(longest.map(Duration::from_millis))
}

/// Adds a secret to a client and answers its id.
///
/// # Errors
/// [`StoreError`] when the file cannot be written, or there is no such client.
pub fn add_secret(
    db: &Connection,
    client_id: &str,
    hash: &SecretHash,
    now: UnixTime,
    expires_at: Option<UnixTime>,
) -> Result<i64> {
    let (kind, bytes): (&str, &[u8]) = match hash {
        SecretHash::Sha256(digest) => ("sha256", digest),
        SecretHash::Argon2id(phc) => ("argon2id", phc.as_bytes()),
    };
    let id = db
        .prepare_cached(
            "UPDATE clients SET secrets_made = secrets_made + 1 WHERE id = ?1 RETURNING secrets_made",
        )?
        .query_row([client_id], |row| row.get(0))?;
    db.prepare_cached(
        "INSERT INTO client_secrets (client_id, id, kind, hash, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![client_id, id, kind, bytes, now.millis(), expires_at.map(UnixTime::millis)])?;
    Ok(id)
}

/// The secrets of a client, oldest first.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn secrets(db: &Connection, client_id: &str) -> Result<Vec<StoredSecret>> {
    let mut statement = db.prepare_cached(
        "SELECT id, kind, hash, created_at, expires_at, last_used_at, last_used_from FROM client_secrets
         WHERE client_id = ?1 ORDER BY id",
    )?;
    let rows = statement.query_map([client_id], secret)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// A secret that stops being accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndingSecret {
    /// Whose it is.
    pub client: String,
    /// Which of the client's.
    pub id: i64,
    /// When it ends.
    pub expires_at: UnixTime,
    /// When it was last accepted.
    pub last_used_at: Option<UnixTime>,
    /// When the client got the latest of those that are accepted for longer.
    pub succeeded_at: Option<UnixTime>,
}

/// The secrets of enabled clients that stop being accepted after `now` and by `until`, soonest first.
///
/// # Errors
/// [`StoreError`] when the file cannot be read.
pub fn ending_secrets(db: &Connection, now: UnixTime, until: UnixTime) -> Result<Vec<EndingSecret>> {
    let mut statement = db.prepare_cached(
        "SELECT client_id, s.id, expires_at, last_used_at, (
             SELECT max(created_at) FROM client_secrets other
             WHERE other.client_id = s.client_id AND (other.expires_at IS NULL OR other.expires_at > ?2))
         FROM client_secrets s JOIN clients c ON c.id = s.client_id
         WHERE expires_at > ?1 AND expires_at <= ?2 AND coalesce(c.enabled, 1)
         ORDER BY expires_at",
    )?;
    let rows = statement.query_map(params![now.millis(), until.millis()], |row| {
        Ok(EndingSecret {
            client: row.get(0)?,
            id: row.get(1)?,
            expires_at: UnixTime::from_millis(row.get(2)?),
            last_used_at: row.get::<_, Option<i64>>(3)?.map(UnixTime::from_millis),
            succeeded_at: row.get::<_, Option<i64>>(4)?.map(UnixTime::from_millis),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Sets when one secret of a client stops being accepted.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn expire_secret(db: &Connection, client_id: &str, id: i64, at: UnixTime) -> Result<()> {
    let mut statement =
        db.prepare_cached("UPDATE client_secrets SET expires_at = ?3 WHERE client_id = ?1 AND id = ?2")?;
    statement.execute(params![client_id, id, at.millis()])?;
    Ok(())
}

/// Removes one secret of a client, and answers whether it was there.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn remove_secret(db: &Connection, client_id: &str, id: i64) -> Result<bool> {
    let mut statement = db.prepare_cached("DELETE FROM client_secrets WHERE client_id = ?1 AND id = ?2")?;
    Ok(statement.execute(params![client_id, id])? == 1)
}

/// Removes all secrets of a client.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn remove_secrets(db: &Connection, client_id: &str) -> Result<()> {
    db.prepare_cached("DELETE FROM client_secrets WHERE client_id = ?1")?.execute([client_id])?;
    Ok(())
}

/// Remembers when secrets were last accepted.
///
/// # Errors
/// [`StoreError`] when the file cannot be written.
pub fn save_last_used(db: &Connection, used: &[Use]) -> Result<()> {
    let mut statement = db.prepare_cached(
        "UPDATE client_secrets SET last_used_at = ?3, last_used_from = ?4
         WHERE client_id = ?1 AND id = ?2 AND (last_used_at IS NULL OR last_used_at < ?3)",
    )?;
    for ((client_id, id), (at, from)) in used {
        statement.execute(params![client_id, id, at.millis(), from.map(|from| from.to_string())])?;
    }
    Ok(())
}

/// Which clients are read for issuing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which<'a> {
    /// The one with this id.
    One(&'a str),
    /// All, in the order of their ids.
    Upwards,
    /// All, in the opposite order.
    Downwards,
}

/// Takes a client and its secrets, and says whether it wants more.
pub type Load<'l> = dyn FnMut(&IssuingRow<'_>, &mut Vec<IssuingSecret>) -> Result<ControlFlow<()>> + 'l;

/// Hands clients, each with its secrets, to `load`, until it breaks off.
///
/// # Errors
/// [`StoreError`] when the file cannot be read, `load` cannot make sense of what is in it, or, of all clients, a secret is
/// met that is of none.
pub fn for_issuing(db: &Connection, which: Which<'_>, load: &mut Load<'_>) -> Result<()> {
    // Reading a column takes longer than finding out that it is empty, and most are, of most clients.
    const QUERY: &str = "SELECT id, scope, audience, coalesce(enabled, audience_scopes, token_lifetime, \
         tokens_revoked_at, networks, not_before, not_after, tokens_a_minute), enabled, audience_scopes, token_lifetime, \
         tokens_revoked_at, networks, not_before, not_after, tokens_a_minute FROM clients";
    const SECRETS: &str = "SELECT id, kind, hash, expires_at, last_used_at, client_id FROM client_secrets";
    // Both in the order of client ids, so that one pass over each is enough.
    let (of_clients, of_secrets, id) = match which {
        Which::One(id) => ("WHERE id = ?1", "WHERE client_id = ?1 ORDER BY id", Some(id)),
        Which::Upwards => ("ORDER BY id", "ORDER BY client_id, id", None),
        Which::Downwards => ("ORDER BY id DESC", "ORDER BY client_id DESC, id DESC", None),
    };
    let of_nobody = || StoreError::Corrupt("a secret belongs to no client".into());
    let snapshot = db.unchecked_transaction()?;
    let mut clients = snapshot.prepare_cached(&format!("{QUERY} {of_clients}"))?;
    let mut all_secrets = snapshot.prepare_cached(&format!("{SECRETS} {of_secrets}"))?;
    let mut clients = clients.query(rusqlite::params_from_iter(id))?;
    let mut all_secrets = all_secrets.query(rusqlite::params_from_iter(id))?;
    let mut next_secret = all_secrets.next()?;
    let mut secrets = Vec::new();
    while let Some(row) = clients.next()? {
        let text = |column: usize| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
        let mut client = IssuingRow {
            id: text(0)?,
            enabled: None,
            scope: text(1)?,
            audience: text(2)?,
            audience_scopes: None,
            token_lifetime: None,
            tokens_revoked_at: None,
            restrictions: Restrictions::default(),
        };
        if row.get_ref(3)? != ValueRef::Null {
            client.enabled = row.get(4)?;
            client.audience_scopes = row.get_ref(5)?.as_str_or_null().map_err(rusqlite::Error::from)?;
            client.token_lifetime = row.get::<_, Option<u64>>(6)?.map(Duration::from_millis);
            client.tokens_revoked_at = moment(row, 7)?;
            client.restrictions = restrictions(row, 8)?;
        }
        secrets.clear();
        while let Some(row) = next_secret {
            let owner = row.get_ref(5)?.as_bytes().map_err(rusqlite::Error::from)?;
            let order = owner.cmp(client.id.as_bytes());
            match if which == Which::Downwards { order.reverse() } else { order } {
                Ordering::Less => return Err(of_nobody()),
                Ordering::Equal => {}
                Ordering::Greater => break,
            }
            secrets.push(IssuingSecret {
                id: row.get(0)?,
                hash: secret_hash(row)?,
                expires_at: moment(row, 3)?,
                last_used_at: moment(row, 4)?,
            });
            next_secret = all_secrets.next()?;
        }
        if which == Which::Downwards {
            secrets.reverse();
        }
        if load(&client, &mut secrets)?.is_break() {
            return Ok(());
        }
    }
    match next_secret {
        Some(_) if id.is_none() => Err(of_nobody()),
        _ => Ok(()),
    }
}

/// Scopes by audience, from their JSON.
///
/// # Errors
/// [`StoreError::Corrupt`] when it is not what m2mint writes.
pub fn parse_audience_scopes(json: &str) -> Result<AudienceScopes> {
    let map: BTreeMap<String, Vec<String>> = serde_json::from_str(json).map_err(StoreError::corrupt)?;
    let entry = |(audience, scopes): (String, Vec<String>)| {
        let scopes =
            scopes.iter().map(|scope| ScopePattern::parse(scope)).collect::<std::result::Result<_, _>>();
        Ok((Audience::parse(&audience).map_err(StoreError::corrupt)?, scopes.map_err(StoreError::corrupt)?))
    };
    map.into_iter().map(entry).collect()
}

fn audience_scopes_json(map: &AudienceScopes) -> String {
    let entry = |(audience, scopes): (&Audience, &Vec<ScopePattern>)| {
        (audience.as_str().to_owned(), scopes.iter().map(|scope| scope.as_str()).collect::<Value>())
    };
    Value::Object(map.iter().map(entry).collect()).to_string()
}

fn client(row: &Row<'_>) -> Result<Client> {
    let (id, scope, audience): (String, String, String) = (row.get(0)?, row.get(3)?, row.get(4)?);
    let extra: Map<String, Value> =
        serde_json::from_str(&row.get::<_, String>(7)?).map_err(StoreError::corrupt)?;
    let scope = split_scopes(&scope).map(ScopePattern::parse).collect::<std::result::Result<_, _>>();
    let audience = split_scopes(&audience).map(Audience::parse).collect::<std::result::Result<_, _>>();
    let audience_scopes: Option<String> = row.get(5)?;
    Ok(Client {
        id: ClientId::parse(&id).map_err(StoreError::corrupt)?,
        settings: Settings {
            name: row.get(1)?,
            enabled: row.get(2)?,
            scope: scope.map_err(StoreError::corrupt)?,
            audience: audience.map_err(StoreError::corrupt)?,
            audience_scopes: audience_scopes.as_deref().map(parse_audience_scopes).transpose()?,
            token_lifetime: row.get::<_, Option<u64>>(6)?.map(Duration::from_millis).map(Span),
            restrictions: restrictions(row, 10)?,
            extra,
        },
        created_at: UnixTime::from_millis(row.get(8)?),
        updated_at: UnixTime::from_millis(row.get(9)?),
    })
}

/// The restrictions, whose columns begin at `first`.
fn restrictions(row: &Row<'_>, first: usize) -> Result<Restrictions> {
    let networks = row.get_ref(first)?.as_str_or_null().map_err(rusqlite::Error::from)?.unwrap_or_default();
    let networks: std::result::Result<_, _> = split_scopes(networks).map(Network::parse).collect();
    Ok(Restrictions {
        networks: networks.map_err(StoreError::corrupt)?,
        not_before: moment(row, first + 1)?,
        not_after: moment(row, first + 2)?,
        tokens_a_minute: row.get(first + 3)?,
    })
}

fn secret(row: &Row<'_>) -> rusqlite::Result<StoredSecret> {
    Ok(StoredSecret {
        id: row.get(0)?,
        hash: secret_hash(row)?,
        created_at: UnixTime::from_millis(row.get(3)?),
        expires_at: moment(row, 4)?,
        last_used_at: moment(row, 5)?,
        last_used_from: row.get_ref(6)?.as_str_or_null()?.and_then(|from| from.parse().ok()),
    })
}

/// What is kept of a secret, from the columns 1 and 2.
fn secret_hash(row: &Row<'_>) -> rusqlite::Result<SecretHash> {
    Ok(if row.get_ref(1)?.as_bytes()? == b"sha256" {
        SecretHash::Sha256(row.get(2)?)
    } else {
        SecretHash::Argon2id(String::from_utf8_lossy(row.get_ref(2)?.as_blob()?).into())
    })
}

fn moment(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<UnixTime>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(UnixTime::from_millis))
}

fn join<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(" ")
}
