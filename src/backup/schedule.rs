//! The copies that a server makes by itself: when, under which names, and which of them stay.
//!
//! One is due after `backup.every`, and as soon as the signing keys have changed: a copy from before that would not have
//! the keys that verifiers know. Older ones are removed when a new one is whole, and not before.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use m2mint_keys::time::{UnixTime, millis};
use parking_lot::Mutex;
use rusqlite::InterruptHandle;

use crate::background;
use crate::backup::{self, BackupError, Contents, Opener, remove};
use crate::clock::Clock;
use crate::config::{BackupSettings, MasterKeySource};
use crate::model::audit::date_to_the_second;
use crate::model::restrictions::parse_moment;
use crate::rotation::keeper::Keeper;
use crate::store::Store;

/// How often it is looked whether one is due.
const TICK: Duration = Duration::from_millis(500);
/// How soon one that failed is tried again, unless the next is due earlier.
const RETRY: Duration = Duration::from_secs(300);

const PREFIX: &str = "m2mint-";
const SUFFIX: &str = ".db";

/// What became of the copies so far.
#[derive(Debug, Default)]
pub struct Progress {
    made: AtomicU64,
    failed: AtomicU64,
    /// When the newest was made, in milliseconds; 0 when there is none.
    newest: AtomicI64,
    bytes: AtomicU64,
}

impl Progress {
    /// How many were made, and how many failed, since the server started.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.made.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }

    /// When the newest one was made, also by an earlier server, and how large it is.
    #[must_use]
    pub fn newest(&self) -> Option<(UnixTime, u64)> {
        let at = Some(self.newest.load(Ordering::Relaxed)).filter(|at| *at != 0);
        at.map(|at| (UnixTime::from_millis(at), self.bytes.load(Ordering::Relaxed)))
    }

    fn note_newest(&self, at: UnixTime, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
        self.newest.store(at.millis(), Ordering::Relaxed);
    }
}

/// Makes copies until it is told to stop.
#[derive(Debug)]
pub struct Schedule {
    shared: Arc<Shared>,
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

struct Shared {
    settings: ArcSwap<BackupSettings>,
    progress: Arc<Progress>,
    is_stopping: AtomicBool,
    /// Ends the copying that is under way.
    interrupt: Mutex<Option<InterruptHandle>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Schedule {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system's, when it gives no thread.
    pub fn start(
        settings: &BackupSettings,
        store: Arc<Store>,
        keeper: Keeper,
        clock: Clock,
        master_key: MasterKeySource,
        progress: Arc<Progress>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            settings: ArcSwap::from_pointee(settings.clone()),
            progress,
            is_stopping: AtomicBool::new(false),
            interrupt: Mutex::new(None),
        });
        let (stop, stopped) = mpsc::channel();
        let mut duty = Duty {
            shared: Arc::clone(&shared),
            store,
            keeper,
            clock,
            master_key,
            settings: Arc::default(),
            next: None,
            copied_keys: String::new(),
            is_failing: false,
        };
        let thread = std::thread::Builder::new().name("backups".into()).spawn(move || {
            background::give_way();
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                duty.look();
            }
        })?;
        Ok(Self { shared, stop, thread })
    }

    /// Goes by other settings from now on.
    pub fn set(&self, settings: &BackupSettings) {
        self.shared.settings.store(Arc::new(settings.clone()));
    }

    /// Ends the thread. A copy that is under way is given up.
    pub fn stop(self) {
        self.shared.is_stopping.store(true, Ordering::SeqCst);
        if let Some(interrupt) = &*self.shared.interrupt.lock() {
            interrupt.interrupt();
        }
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the thread that makes backups ended by a panic");
        }
    }
}

struct Duty {
    shared: Arc<Shared>,
    store: Arc<Store>,
    keeper: Keeper,
    clock: Clock,
    master_key: MasterKeySource,
    settings: Arc<BackupSettings>,
    /// When the next is due, on the steady clock; `None` before that was worked out.
    next: Option<i64>,
    /// The entity tag of the keys that the newest copy holds.
    copied_keys: String,
    is_failing: bool,
}

impl Duty {
    fn look(&mut self) {
        let settings = self.shared.settings.load_full();
        if settings != self.settings {
            (self.settings, self.next) = (settings, None);
        }
        let Some(every) = self.settings.every else { return };
        let reading = self.clock.read();
        let next = *self.next.get_or_insert_with(|| {
            let Some((at, path)) = copies(&self.settings.directory).ok().and_then(|mut all| all.pop()) else {
                return reading.steady;
            };
            self.shared.progress.note_newest(at, fs::metadata(path).map_or(0, |file| file.len()));
            // One from the future was made before the clock was set back: nobody knows how old it is.
            let age = reading.wall.millis_since(at).clamp(0, millis(every));
            reading.steady.saturating_add(millis(every) - age)
        });
        let keys = self.keeper.published().all.held.etag.clone();
        // Which keys are in the copy that another server made, nobody remembers; `every` is soon enough then.
        if self.copied_keys.is_empty() && reading.steady < next {
            self.copied_keys.clone_from(&keys);
        }
        let waits_for_retry = self.is_failing && reading.steady < next;
        if reading.steady >= next || (keys != self.copied_keys && !waits_for_retry) {
            self.make(every, reading.wall, keys);
        }
    }

    fn make(&mut self, every: Duration, wall: UnixTime, keys: String) {
        let to = self.settings.directory.join(name(wall));
        if to.exists() {
            // Made within this second: the next has another name.
            return;
        }
        let progress = &self.shared.progress;
        let made = self.copy(&to);
        let wait = match made {
            Ok(contents) => {
                progress.made.fetch_add(1, Ordering::Relaxed);
                progress.note_newest(wall, contents.bytes);
                if self.is_failing {
                    tracing::info!("backups can be made again");
                }
                if !contents.opened {
                    tracing::warn!("the master key was not at hand to try it on {}", to.display());
                }
                tracing::info!("backup made: {}, {} bytes", to.display(), contents.bytes);
                self.is_failing = false;
                self.copied_keys = keys;
                if let Err(error) = remove_old(&self.settings, &to) {
                    tracing::warn!(%error, "old backups in {} could not be removed", self.settings.directory.display());
                }
                every
            }
            Err(error)
                if backup::was_interrupted(&error) && self.shared.is_stopping.load(Ordering::SeqCst) =>
            {
                every
            }
            Err(error) => {
                progress.failed.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "no backup could be made; trying again");
                self.is_failing = true;
                every.min(RETRY)
            }
        };
        self.next = Some(self.clock.steady().saturating_add(millis(wait)));
    }

    fn copy(&self, to: &Path) -> Result<Contents, BackupError> {
        let directory = &self.settings.directory;
        make_private(directory).map_err(|error| BackupError::unwritable(directory, error))?;
        remove_partial(directory).map_err(|error| BackupError::unwritable(directory, error))?;
        let opener = Opener { source: &self.master_key, database: self.store.path() };
        let made = backup::make(&self.store, to, opener, |handle| {
            let mut slot = self.shared.interrupt.lock();
            // The server may have begun to stop before there was anything to interrupt.
            if self.shared.is_stopping.load(Ordering::SeqCst) {
                handle.interrupt();
            }
            *slot = Some(handle);
        });
        *self.shared.interrupt.lock() = None;
        made
    }
}

/// The folder, readable by nobody else, where there is none.
fn make_private(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().mode(0o700).create(directory)
}

/// The file name of a copy: its time, without what some file systems forbid.
fn name(at: UnixTime) -> String {
    format!("{PREFIX}{}{SUFFIX}", date_to_the_second(at).replace(':', ""))
}

/// When the copy with this name was made, if it is the name of one.
fn made_at(name: &str) -> Option<UnixTime> {
    let date = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let (hour, minute, second) = (date.get(..13)?, date.get(13..15)?, date.get(15..)?);
    let at = parse_moment(&format!("{hour}:{minute}:{second}")).ok()?;
    (self::name(at) == name).then_some(at)
}

/// The copies in a folder, the newest last.
fn copies(directory: &Path) -> io::Result<Vec<(UnixTime, PathBuf)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if let Some(at) = entry.file_name().to_str().and_then(made_at) {
            all.push((at, entry.path()));
        }
    }
    all.sort();
    Ok(all)
}

/// Removes all but the newest; `made` stays, whatever the clock says.
fn remove_old(settings: &BackupSettings, made: &Path) -> io::Result<()> {
    let mut others = copies(&settings.directory)?;
    others.retain(|(_, path)| path != made);
    let surplus = (others.len() + 1).saturating_sub(settings.keep);
    others.iter().take(surplus).try_for_each(|(_, path)| fs::remove_file(path))
}

/// Removes what a server that was killed left half written.
fn remove_partial(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().and_then(|name| name.strip_suffix(".partial")).and_then(made_at).is_some() {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_when_and_others_are_left_alone() {
        let at = UnixTime::from_secs(1_800_000_000);
        assert_eq!(name(at), "m2mint-2027-01-15T080000Z.db");
        assert_eq!(made_at(&name(at)), Some(at));
        for other in ["m2mint.db", "m2mint-2027.db", "m2mint-2027-01-15T080000Z.db.partial", "m2mint-é.db"] {
            assert_eq!(made_at(other), None, "{other}");
        }
    }

    #[test]
    fn what_was_just_made_stays_though_a_clock_that_was_wrong_made_others_look_newer() {
        let directory = tempfile::tempdir().unwrap();
        let file = |secs| directory.path().join(name(UnixTime::from_secs(secs)));
        for secs in [10, 20, 30, 40] {
            fs::write(file(secs), b"").unwrap();
        }
        fs::write(directory.path().join("mine.db"), b"").unwrap();
        let settings = BackupSettings { every: None, keep: 2, directory: directory.path().to_owned() };
        remove_old(&settings, &file(10)).unwrap();
        let left: Vec<_> = copies(directory.path()).unwrap().into_iter().map(|(_, path)| path).collect();
        assert_eq!(left, [file(10), file(40)]);
        assert!(directory.path().join("mine.db").exists());
    }
}
