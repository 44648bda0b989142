//! Reading the whole file, which takes a second or more when there are a million clients: somebody may help.
//!
//! One reads the clients in the order of their ids, and whoever helps in the opposite order, until they meet. So neither has
//! to know beforehand where the other's part begins, whatever the ids are, and who is faster reads more.
//!
//! They may see different states of the file, none older than the point in the log of changes that was noted first. Each
//! client is read in at least one of them, and what changed since is read again, because the log tells it.

use std::ops::ControlFlow;
use std::sync::OnceLock;

use parking_lot::Mutex;

use crate::directory::Directory;
use crate::store::clients::{self, Which};
use crate::store::{Result, Store, changes};

/// After so many clients, whoever reads them looks how far the other is. As many may be read twice, which changes nothing.
const STRIDE: usize = 1000;
/// A second reader begins only when so many strides are left: before that, it would have to open the file.
const WORTH_HELPING: usize = 10;

/// A whole file that is being read.
pub struct Loading<'s> {
    store: &'s Store,
    directory: Directory,
    /// How many clients there are, once anybody may read them.
    expected: OnceLock<usize>,
    reached: Mutex<Reached>,
    stride: usize,
}

/// Up to where clients were read, from the first one and from the last one.
#[derive(Default)]
struct Reached {
    upwards: Option<Box<str>>,
    downwards: Option<Box<str>>,
    /// Whether all were.
    all: bool,
}

impl<'s> Loading<'s> {
    /// Reads nothing yet.
    #[must_use]
    pub fn new(store: &'s Store) -> Self {
        Self {
            store,
            directory: Directory::empty(),
            expected: OnceLock::new(),
            reached: Mutex::default(),
            stride: STRIDE,
        }
    }

    /// Reads everything, except the clients that somebody read who helped.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError) when the file cannot be read, or makes no sense.
    pub fn read(&self) -> Result<()> {
        self.begin()?;
        self.go_on()
    }

    /// Reads clients, if many are left. Whatever it cannot read is left to [`Loading::read`].
    pub fn help(&self) {
        let left = self.expected.get().map_or(0, |all| all.saturating_sub(self.directory.count()));
        if left > self.stride * WORTH_HELPING {
            let _ = self.store.read_apart(|db| self.read_clients(db, Which::Downwards));
        }
    }

    /// What was read.
    #[must_use]
    pub fn finish(self) -> Directory {
        self.directory
    }

    fn begin(&self) -> Result<()> {
        let directory = &self.directory;
        let mut progress = directory.progress.lock();
        progress.data_version = self.store.data_version()?;
        directory.admin_keys.reload(self.store)?;
        directory.reload_renamed(self.store)?;
        let count = self.store.read(clients::count)?;
        directory.clients.pin().reserve(count);
        // Before any client, as it is with every reload.
        progress.seq = self.store.read(changes::latest)?;
        self.expected.get_or_init(|| count);
        Ok(())
    }

    fn go_on(&self) -> Result<()> {
        let read = self.store.read(|db| self.read_clients(db, Which::Upwards));
        self.reached.lock().all = true;
        read?;
        self.directory.reload_revoked(self.store)
    }

    fn read_clients(&self, db: &rusqlite::Connection, which: Which<'_>) -> Result<()> {
        let mut read = 0;
        clients::for_issuing(db, which, &mut |row, secrets| {
            self.directory.take_in(row, secrets)?;
            read += 1;
            let looks = read % self.stride == 0;
            let met = looks && self.reached.lock().meet(which, row.id);
            Ok(if met { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
    }
}

impl Reached {
    /// Notes that all clients up to this one were read. Answers whether the others were read by the other.
    fn meet(&mut self, which: Which<'_>, id: &str) -> bool {
        let met = match which {
            Which::Upwards => self.downwards.as_deref().is_some_and(|other| id >= other),
            _ => self.upwards.as_deref().is_some_and(|other| id <= other),
        };
        *(if which == Which::Upwards { &mut self.upwards } else { &mut self.downwards }) = Some(id.into());
        met || self.all
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::params;

    use super::*;
    use crate::directory::SecretCheck;
    use crate::store::{StoreError, schema};

    /// Ids as m2mint makes them, and ones that administrators chose, up to the first and the last that there can be.
    fn ids() -> Vec<String> {
        let made = (0..40).map(|i| format!("stcl_{i:02}"));
        let chosen =
            ["!", "~", "~~~~", "A", "Z", "billing", "billing-2", "stcl_", "stcl_19!", "stcl_2", "zz"];
        made.chain(chosen.map(str::to_owned)).collect()
    }

    /// Each of them with none, one, two or three secrets; and more statements.
    fn file_with(ids: &[String], more: &str) -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("m2mint.db");
        schema::create_private(&path).unwrap();
        let store = Store::open(&path, None).unwrap();
        let fill = |db: &rusqlite::Transaction<'_>| -> Result<()> {
            for (i, id) in (0_u8..).zip(ids) {
                let audience = ["event", "mail", "event mail"][usize::from(i) % 3];
                db.execute(
                    "INSERT INTO clients (id, name, enabled, scope, audience, extra, created_at, updated_at)
                     VALUES (?1, 'one', ?2, 'event.view', ?3, '{}', 1, 1)",
                    params![id, [None, Some(true), Some(false)][usize::from(i / 3) % 3], audience],
                )?;
                for secret in 1..=i % 4 {
                    db.execute(
                        "INSERT INTO client_secrets (client_id, id, kind, hash, created_at) VALUES (?1, ?2, 'sha256', ?3, 1)",
                        params![id, secret, [i, secret].repeat(16)],
                    )?;
                }
            }
            Ok(())
        };
        store.write(fill).unwrap();
        let by_hand = rusqlite::Connection::open(&path).unwrap();
        by_hand.execute_batch(&format!("PRAGMA foreign_keys = OFF; {more}")).unwrap();
        by_hand.close().unwrap();
        (directory, store)
    }

    /// Each looks after every other client, so that there is something to help with.
    fn loading(store: &Store) -> Loading<'_> {
        Loading { stride: 2, ..Loading::new(store) }
    }

    /// What is known of all clients, by id.
    fn known(directory: &Directory) -> Vec<(String, String)> {
        let hash = |check: &SecretCheck| match check {
            SecretCheck::Fast(hash) => *hash,
            SecretCheck::Slow(_) => panic!("nobody chose a secret"),
        };
        let mut known: Vec<_> = directory
            .clients
            .pin()
            .iter()
            .map(|(id, client)| {
                let hashes: Vec<_> =
                    client.secrets.as_slice().iter().map(|secret| hash(&secret.check)).collect();
                (id.as_str().to_owned(), format!("{client:?} {hashes:?}"))
            })
            .collect();
        known.sort_unstable();
        known
    }

    #[test]
    fn whoever_helps_leaves_the_same_clients_and_secrets_wherever_the_two_meet() {
        let mut ids = ids();
        let (_directory, store) = file_with(&ids, "");
        let alone = Loading::new(&store);
        alone.help();
        alone.read().unwrap();
        alone.help();
        let alone = alone.finish();
        ids.sort_unstable();
        let expected = known(&alone);
        assert!(expected.iter().map(|(id, _)| id).eq(&ids), "{expected:?}");
        assert_eq!(expected.iter().map(|(_, client)| client.matches("Fast").count()).sum::<usize>(), 75);

        for meets_at in &ids {
            let loading = loading(&store);
            loading.begin().unwrap();
            // As if the other were there already.
            loading.reached.lock().upwards = Some(meets_at.as_str().into());
            loading.help();
            let helped = loading.directory.count();
            let beyond = ids.iter().filter(|id| *id > meets_at).count();
            assert!((beyond + 1..=beyond + 2).contains(&helped), "{meets_at}: {helped} of {beyond}");
            loading.go_on().unwrap();
            assert_eq!(known(&loading.finish()), expected, "{meets_at}");
        }
    }

    #[test]
    fn two_who_read_at_once_read_everything() {
        let ids: Vec<_> = (0..250).map(|i| format!("client-{}", i * 7919 % 1000)).collect();
        let (_directory, store) = file_with(&ids, "");
        let alone = Loading::new(&store);
        alone.read().unwrap();
        let expected = known(&alone.finish());
        assert_eq!(expected.len(), ids.len());
        for _ in 0..20 {
            let loading = loading(&store);
            loading.begin().unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| loading.help());
                loading.go_on().unwrap();
            });
            let grants =
                loading.directory.clients.pin().values().map(|client| &raw const *client.grants).collect();
            let grants: std::collections::HashSet<_> = grants;
            assert_eq!(grants.len(), 3, "each is there once, whoever read it");
            assert_eq!(known(&loading.finish()), expected);
        }
    }

    #[test]
    fn what_changes_while_two_read_is_read_again() {
        let ids = ids();
        let (_directory, store) = file_with(&ids, "");
        let loading = loading(&store);
        loading.begin().unwrap();
        let change = |statements: &str| {
            store.write(|db| -> Result<()> { Ok(db.execute_batch(statements)?) }).unwrap();
        };
        // Once before anybody reads, and once between the two.
        loading.reached.lock().upwards = Some("m".into());
        change("UPDATE clients SET enabled = 0; DELETE FROM clients WHERE id IN ('A', 'zz')");
        loading.help();
        change("DELETE FROM clients WHERE id IN ('Z', '~'); UPDATE clients SET enabled = 1");
        loading.go_on().unwrap();
        let directory = loading.finish();
        directory.refresh(&store).unwrap();
        let known = known(&directory);
        assert_eq!(known.len(), ids.len() - 4);
        assert!(known.iter().all(|(_, client)| client.contains("enabled: true")), "{known:?}");
    }

    #[test]
    fn a_secret_of_nobody_is_met_wherever_it_is() {
        for owner in [" ", "B", "stcl_19#", "stcl_39~", "~~~~~"] {
            let orphan = format!(
                "INSERT INTO client_secrets (client_id, id, kind, hash, created_at) VALUES ('{owner}', 1, 'sha256', zeroblob(32), 1)"
            );
            let (_directory, store) = file_with(&ids(), &orphan);
            for meets_at in [None, Some("!"), Some("m"), Some("~")] {
                let loading = loading(&store);
                loading.begin().unwrap();
                loading.reached.lock().upwards = meets_at.map(Into::into);
                loading.help();
                let read = loading.go_on();
                assert!(matches!(read, Err(StoreError::Corrupt(_))), "{owner} {meets_at:?}: {read:?}");
            }
        }
    }
}
