//! Every client, in memory: what the token path reads instead of the file.
//!
//! Reading takes no lock. The file's log of changes says what to reread, whether this process or another one wrote it.

pub mod admin_keys;
pub mod grant_uses;
pub mod loading;
pub mod retiring;
pub mod secret_uses;
mod shared_grants;

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use m2mint_keys::time::UnixTime;
use papaya::{HashMap, LocalGuard};
use parking_lot::Mutex;
use rusqlite::Connection;

use crate::directory::admin_keys::AdminKeys;
use crate::directory::grant_uses::{GrantUses, LastKind};
use crate::directory::retiring::{Retiring, RetiringUse};
use crate::directory::secret_uses::SecretUses;
use crate::directory::shared_grants::SharedGrants;
use crate::limits::Wait;
use crate::limits::turns::Turns;
use crate::model::service::Names;
use crate::model::{ClientId, Grants, Restrictions, SecretHash};
use crate::store::changes::{self, Change, Changes};
use crate::store::clients::{self, IssuingRow, IssuingSecret, Which};
use crate::store::{self, DataVersion, Result, Store, StoreError, revocations, services};

/// A client as the token path needs it.
#[derive(Debug)]
pub struct IssuingClient {
    /// What it may ask for; shared by all clients that may ask for the same.
    pub grants: Arc<Grants>,
    /// Its secrets.
    pub secrets: Secrets,
    /// Seconds that its tokens live, where they differ from the configured time.
    pub token_lifetime: Option<u32>,
    /// Whether it gets tokens at all.
    pub enabled: bool,
    /// Its tokens issued up to this time (milliseconds) are revoked.
    pub tokens_revoked_at: i64,
    /// What it last asked for.
    pub last_kind: LastKind,
    /// What few clients have.
    pub restricted: Option<Box<Restricted>>,
}

/// A client that gets tokens only from somewhere, at some time, or so many.
#[derive(Debug)]
pub struct Restricted {
    /// From where, when and how often.
    pub restrictions: Restrictions,
    /// When it got tokens in the last minute; shared with what the client was before it was changed.
    turns: Arc<Turns>,
}

impl IssuingClient {
    /// From where, when and how often it gets tokens, where that is restricted.
    #[must_use]
    pub fn restrictions(&self) -> Option<&Restrictions> {
        self.restricted.as_ref().map(|restricted| &restricted.restrictions)
    }

    /// Counts one more token at `now`, on a clock that only goes forward, and is looked at only where it matters.
    ///
    /// # Errors
    /// How long to wait, when it has had its tokens of a minute, and how many those are.
    pub fn take_turn(&self, now: impl FnOnce() -> i64) -> std::result::Result<(), (Wait, u32)> {
        let limit = |restricted: &'_ Restricted| restricted.restrictions.tokens_a_minute;
        match self.restricted.as_ref().and_then(|restricted| Some((restricted, limit(restricted)?))) {
            None => Ok(()),
            Some((restricted, limit)) => restricted.turns.take(limit, now()).map_err(|wait| (wait, limit)),
        }
    }
}

/// The secrets of a client. Nearly every client has exactly one.
#[derive(Debug)]
pub enum Secrets {
    /// One, without a further allocation.
    One(Secret),
    /// None, or several.
    Many(Box<[Secret]>),
}

impl Secrets {
    /// All of them.
    #[must_use]
    pub fn as_slice(&self) -> &[Secret] {
        match self {
            Self::One(secret) => std::slice::from_ref(secret),
            Self::Many(secrets) => secrets,
        }
    }
}

/// One secret of a client.
#[derive(Debug)]
pub struct Secret {
    /// Which of the client's secrets it is.
    pub id: i64,
    /// Milliseconds at which it stops being accepted; `i64::MAX` when never.
    pub expires_at: i64,
    last_used_at: AtomicI64,
    /// What a presented secret is compared with.
    pub check: SecretCheck,
}

/// What a presented secret is compared with.
pub enum SecretCheck {
    /// SHA-256 of a secret with 256 random bits.
    Fast([u8; 32]),
    /// Argon2id of a chosen one, and, once it was presented rightly, its MAC under the key of this process.
    Slow(Box<SlowCheck>),
}

impl std::fmt::Debug for SecretCheck {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fast(_) => "Fast(..)",
            Self::Slow(_) => "Slow(..)",
        })
    }
}

/// A chosen secret.
pub struct SlowCheck {
    /// PHC string.
    pub phc: Box<str>,
    /// The MAC of the right secret, once known.
    pub remembered: OnceLock<[u8; 32]>,
}

impl Secret {
    /// When it stops being accepted, if it does.
    #[must_use]
    pub fn ends_at(&self) -> Option<UnixTime> {
        (self.expires_at != i64::MAX).then(|| UnixTime::from_millis(self.expires_at))
    }

    fn new(stored: IssuingSecret) -> Self {
        Self {
            id: stored.id,
            expires_at: stored.expires_at.map_or(i64::MAX, UnixTime::millis),
            last_used_at: AtomicI64::new(stored.last_used_at.map_or(i64::MIN, UnixTime::millis)),
            check: match stored.hash {
                SecretHash::Sha256(digest) => SecretCheck::Fast(digest),
                SecretHash::Argon2id(phc) => {
                    SecretCheck::Slow(Box::new(SlowCheck { phc, remembered: OnceLock::new() }))
                }
            },
        }
    }
}

/// Where the memory stands in the file's log of changes.
#[derive(Default)]
struct Progress {
    seq: i64,
    data_version: DataVersion,
}

/// When secrets, admin keys and grants were last used, as far as that is not written yet.
pub struct Uses {
    grants: BTreeMap<store::grant_uses::Grant, store::grant_uses::Times>,
    secrets: Vec<clients::Use>,
    admin_keys: Vec<store::admin_keys::Use>,
}

impl Uses {
    /// Writes them to the file.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be written.
    pub fn save(&self, db: &Connection) -> Result<()> {
        clients::save_last_used(db, &self.secrets)?;
        store::admin_keys::save_last_used(db, &self.admin_keys)?;
        store::grant_uses::save(db, &self.grants)
    }
}

/// The actions that have several names, by audience.
pub type Renamed = std::collections::HashMap<Box<str>, Vec<Names>>;

/// Every client, every revoked token, every admin key and every action that was renamed, in memory.
pub struct Directory {
    admin_keys: AdminKeys,
    grant_uses: GrantUses,
    renamed: ArcSwap<Renamed>,
    /// Ids are an administrator's: nobody else can choose some that share a hash.
    clients: HashMap<ClientId, IssuingClient, foldhash::quality::RandomState>,
    grants: Mutex<SharedGrants>,
    revoked: HashMap<Box<str>, i64>,
    progress: Mutex<Progress>,
    secret_uses: SecretUses,
    retiring: Retiring,
    /// Whether any client has a chosen secret: then unknown clients must cost as much as known ones.
    any_slow_secret: AtomicBool,
    /// Whether signing keys changed, or requests concerning them came, that the keeper has not taken in.
    keys_changed: AtomicBool,
}

/// How fine the time of last use is kept.
const USE_RESOLUTION: Duration = Duration::from_secs(60);

impl Directory {
    /// None, before anything is read.
    fn empty() -> Self {
        Self {
            admin_keys: AdminKeys::default(),
            grant_uses: GrantUses::default(),
            renamed: ArcSwap::default(),
            clients: HashMap::with_hasher(foldhash::quality::RandomState::default()),
            grants: Mutex::default(),
            revoked: HashMap::new(),
            progress: Mutex::default(),
            secret_uses: SecretUses::default(),
            retiring: Retiring::default(),
            any_slow_secret: AtomicBool::new(false),
            keys_changed: AtomicBool::new(false),
        }
    }

    /// Who may administer.
    #[must_use]
    pub fn admin_keys(&self) -> &AdminKeys {
        &self.admin_keys
    }

    /// The actions that have several names.
    #[must_use]
    pub fn renamed(&self) -> arc_swap::Guard<Arc<Renamed>> {
        self.renamed.load()
    }

    /// They are few: they are read whenever anything changed.
    fn reload_renamed(&self, store: &Store) -> Result<()> {
        let renamed = store.read(services::renamed)?;
        if renamed != **self.renamed.load() {
            self.renamed.store(Arc::new(renamed));
        }
        Ok(())
    }

    /// Looks up the client `id`. The guard keeps what it finds alive.
    pub fn client<'g>(&self, id: &str, guard: &'g LocalGuard<'_>) -> Option<&'g IssuingClient> {
        self.clients.get(id, guard)
    }

    /// How many clients there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.clients.len()
    }

    /// A guard for [`Directory::client`]. It must not be held across an `await`.
    pub fn guard(&self) -> LocalGuard<'_> {
        self.clients.guard()
    }

    /// Whether any client has a chosen, slowly hashed secret.
    #[must_use]
    pub fn any_slow_secret(&self) -> bool {
        self.any_slow_secret.load(Ordering::Relaxed)
    }

    /// Whether the token `jti` is revoked by itself.
    #[must_use]
    pub fn is_revoked(&self, jti: &str) -> bool {
        self.revoked.pin().contains_key(jti)
    }

    /// Secrets that are used although they will not be accepted much longer.
    #[must_use]
    pub const fn retiring(&self) -> &Retiring {
        &self.retiring
    }

    /// Notes that a secret of the client `id` was accepted, from there. Written to the file later, in batches.
    pub fn note_use(
        &self,
        id: &str,
        client: &IssuingClient,
        secret: &Secret,
        from: Option<IpAddr>,
        now: UnixTime,
    ) {
        let last = secret.last_used_at.load(Ordering::Relaxed);
        let fresh = now.millis().saturating_sub(last) < m2mint_keys::time::millis(USE_RESOLUTION);
        if !fresh
            && secret
                .last_used_at
                .compare_exchange(last, now.millis(), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            self.secret_uses.note(((id.into(), secret.id), (now, from)));
            if let Some(ends_at) = secret.ends_at() {
                let is_later = |other: &Secret| other.id > secret.id && other.expires_at > now.millis();
                let is_replaced = client.secrets.as_slice().iter().any(is_later);
                let used = RetiringUse { client: id, secret: secret.id, ends_at, is_replaced, from };
                self.retiring.note(&used, now);
            }
        }
    }

    /// What clients ask for and get.
    #[must_use]
    pub const fn grant_uses(&self) -> &GrantUses {
        &self.grant_uses
    }

    /// Takes the uses that have not been written yet.
    #[must_use]
    pub fn take_uses(&self) -> Uses {
        Uses {
            secrets: self.secret_uses.take(),
            admin_keys: self.admin_keys.take_uses(),
            grants: self.grant_uses.take(),
        }
    }

    /// Takes back what could not be written, for the next write.
    pub fn put_back_uses(&self, uses: Uses) {
        self.admin_keys.put_back_uses(uses.admin_keys);
        self.grant_uses.put_back(uses.grants);
        self.secret_uses.put_back(uses.secrets);
    }

    /// Whether signing keys changed, or requests concerning them came, since the last call that answered so.
    pub fn take_keys_changed(&self) -> bool {
        self.keys_changed.swap(false, Ordering::AcqRel)
    }

    /// Forgets the revoked tokens that the file has forgotten.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read.
    pub fn forget_swept(&self, store: &Store) -> Result<()> {
        // Under the same lock as `refresh`, which alone adds any: what is revoked meanwhile is added after.
        let _progress = self.progress.lock();
        let kept: HashSet<String> = store.read(revocations::all)?.into_iter().map(|(jti, _)| jti).collect();
        self.revoked.pin().retain(|jti, _| kept.contains(&**jti));
        Ok(())
    }

    /// Takes in what changed in the file, if anything did. Signing keys, and requests concerning them, are only noted, for
    /// [`Directory::take_keys_changed`]. Answers whether any wait for the keeper.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be read, or makes no sense.
    pub fn refresh(&self, store: &Store) -> Result<bool> {
        let mut progress = self.progress.lock();
        let data_version = store.data_version()?;
        if progress.data_version == data_version {
            return Ok(self.keys_changed.load(Ordering::Acquire));
        }
        self.admin_keys.reload(store)?;
        self.reload_renamed(store)?;
        let keys = match store.read(|db| changes::since(db, progress.seq))? {
            Changes::Everything => {
                self.reload(store, &mut progress)?;
                true
            }
            Changes::These(changes, newest) => {
                for change in &changes {
                    match change {
                        Change::Client(id) => self.reload_client(store, id)?,
                        Change::Token(jti) => {
                            let expires_at = store.read(|db| revocations::get(db, jti))?;
                            if let Some(expires_at) = expires_at {
                                self.revoked.pin().insert(jti.as_str().into(), expires_at.millis());
                            }
                        }
                        Change::Keys => {}
                    }
                }
                progress.seq = newest;
                changes.contains(&Change::Keys)
            }
        };
        // Only now: had anything above failed, the next call must look again. Whoever looks, the keeper has to hear of keys.
        if keys {
            self.keys_changed.store(true, Ordering::Release);
        }
        progress.data_version = data_version;
        Ok(self.keys_changed.load(Ordering::Acquire))
    }

    fn reload(&self, store: &Store, progress: &mut Progress) -> Result<()> {
        // The log is read first: what changes meanwhile is then seen twice rather than never.
        progress.seq = store.read(changes::latest)?;
        let mut seen = HashSet::<Box<str>>::new();
        store.read(|db| {
            clients::for_issuing(db, Which::Upwards, &mut |row, secrets| {
                self.take_in(row, secrets)?;
                seen.insert(row.id.into());
                Ok(ControlFlow::Continue(()))
            })
        })?;
        self.clients.pin().retain(|id, _| seen.contains(id.as_str()));
        self.reload_revoked(store)
    }

    fn reload_client(&self, store: &Store, id: &str) -> Result<()> {
        let mut found = false;
        store.read(|db| {
            clients::for_issuing(db, Which::One(id), &mut |row, secrets| {
                found = true;
                self.take_in(row, secrets).map(ControlFlow::Break)
            })
        })?;
        if !found {
            self.clients.pin().remove(id);
        }
        Ok(())
    }

    fn reload_revoked(&self, store: &Store) -> Result<()> {
        for (jti, expires_at) in store.read(revocations::all)? {
            self.revoked.pin().insert(jti.into(), expires_at.millis());
        }
        Ok(())
    }

    /// Takes in a client as the file has it.
    fn take_in(&self, row: &IssuingRow<'_>, secrets: &mut Vec<IssuingSecret>) -> Result<()> {
        let secrets = match secrets.pop() {
            Some(only) if secrets.is_empty() => Secrets::One(Secret::new(only)),
            last => Secrets::Many(secrets.drain(..).chain(last).map(Secret::new).collect()),
        };
        if secrets.as_slice().iter().any(|secret| matches!(secret.check, SecretCheck::Slow(_))) {
            self.any_slow_secret.store(true, Ordering::Relaxed);
        }
        let restricted = row.restrictions.any().then(|| {
            let guard = self.guard();
            let before = self.client(row.id, &guard).and_then(|client| client.restricted.as_ref());
            let turns = before.map(|before| Arc::clone(&before.turns)).unwrap_or_default();
            Box::new(Restricted { restrictions: row.restrictions.clone(), turns })
        });
        let client = IssuingClient {
            last_kind: LastKind::default(),
            restricted,
            grants: self.grants.lock().of(row)?,
            secrets,
            token_lifetime: row.token_lifetime.map(|span| u32::try_from(span.as_secs()).unwrap_or(u32::MAX)),
            enabled: row.enabled != Some(false),
            tokens_revoked_at: row.tokens_revoked_at.map_or(i64::MIN, UnixTime::millis),
        };
        self.clients.pin().insert(ClientId::parse(row.id).map_err(StoreError::corrupt)?, client);
        Ok(())
    }
}
