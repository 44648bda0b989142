//! The one thread that changes keys: it watches the clock, does what is due, and answers requests.
//!
//! Every change is committed first and served after. What the file says is always right: after an error the keeper
//! rereads it before it goes on.

mod duty;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use m2mint_keys::seal::MasterKey;
use m2mint_keys::time::Moment;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::audit::refusals::Refusals;
use crate::background;
use crate::beats::Beat;
use crate::clock::Clock;
use crate::directory::Directory;
use crate::model::audit::Origin;
use crate::rotation::gate::Gate;
use crate::rotation::keeper::duty::Duty;
use crate::rotation::keyring_file;
use crate::rotation::published::Published;
use crate::rotation::rings;
use crate::rotation::standing::Standing;
use crate::rotation::verifiers::Verifiers;
use crate::rotation::{RotationError, Settings};
use crate::store::{Store, audiences, audit, verifiers};
use crate::traces::Traces;
use crate::witness::{Keys, Witness};

/// How often the clock is written down, in milliseconds.
pub const HEARTBEAT: i64 = 60_000;

/// What the keeper is asked to do.
enum Command {
    Rotate(Origin, oneshot::Sender<Result<(), RotationError>>),
    AllowSigning(oneshot::Sender<Result<(), RotationError>>),
    /// Read the keys, and requests concerning them, anew.
    Reread(oneshot::Sender<Result<(), RotationError>>),
    /// Do what is due, and answer when it is done.
    Settle(oneshot::Sender<Result<(), RotationError>>),
    Stop,
}

/// What everybody else holds of the keeper.
#[derive(Clone)]
pub struct Keeper {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
}

struct Shared {
    published: ArcSwap<Published>,
    first_set: FirstSet,
    gate: Gate,
    settings: ArcSwap<Settings>,
    moment: Mutex<Moment>,
    status: Mutex<String>,
    refusals: Refusals,
    verifiers: Verifiers,
    beat: Beat,
    standing: ArcSwap<Standing>,
    /// How often the wall clock was set ahead, and back.
    set_ahead: AtomicU64,
    set_back: AtomicU64,
}

impl Keeper {
    /// The keys as they are now.
    #[must_use]
    pub fn published(&self) -> arc_swap::Guard<Arc<Published>> {
        self.shared.published.load()
    }

    /// The keys as they are now, for somebody who keeps them.
    #[must_use]
    pub fn hand_out(&self) -> arc_swap::Guard<Arc<Published>> {
        self.shared.first_set.note_handed_out();
        self.published()
    }

    /// Whether, and at what time, may be signed.
    #[must_use]
    pub fn gate(&self) -> &Gate {
        &self.shared.gate
    }

    /// The latest look at the clock.
    #[must_use]
    pub fn moment(&self) -> Moment {
        *self.shared.moment.lock()
    }

    /// The keys and what comes next, in a line.
    #[must_use]
    pub fn status(&self) -> String {
        self.shared.status.lock().clone()
    }

    /// What it steers by.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        self.shared.settings.load_full()
    }

    /// Where the keys stood at the keeper's last look.
    #[must_use]
    pub fn standing(&self) -> arc_swap::Guard<Arc<Standing>> {
        self.shared.standing.load()
    }

    /// How often the wall clock was set ahead, and how often back, since the server started.
    #[must_use]
    pub fn clock_jumps(&self) -> (u64, u64) {
        (self.shared.set_ahead.load(Ordering::Relaxed), self.shared.set_back.load(Ordering::Relaxed))
    }

    /// Whether the keeper has looked within `limit`.
    #[must_use]
    pub fn is_alive(&self, limit: Duration) -> bool {
        self.shared.beat.is_within(limit)
    }

    /// Who was not let in. The keeper writes it down when it writes down the clock.
    #[must_use]
    pub fn refusals(&self) -> &Refusals {
        &self.shared.refusals
    }

    /// Who fetches the key set. The keeper writes it down.
    #[must_use]
    pub fn verifiers(&self) -> &Verifiers {
        &self.shared.verifiers
    }

    /// Steers by other numbers from now on.
    pub fn set_settings(&self, settings: Settings) {
        self.shared.settings.store(Arc::new(settings));
    }

    /// Asks, for `origin`, for a rotation in every ring: now, or as soon as the rule allows. It is durable when this returns.
    ///
    /// # Errors
    /// [`RotationError`] when the request cannot be stored.
    pub async fn rotate(&self, origin: Origin) -> Result<(), RotationError> {
        self.ask(|answer| Command::Rotate(origin, answer)).await
    }

    /// Asks for the clock, which has jumped, to be written down so that signing can go on.
    ///
    /// # Errors
    /// [`RotationError`] when it cannot be stored.
    pub async fn allow_signing(&self) -> Result<(), RotationError> {
        self.ask(Command::AllowSigning).await
    }

    /// Takes in what this process has just changed about keys.
    ///
    /// # Errors
    /// [`RotationError`] when the file cannot be read.
    pub async fn reread(&self) -> Result<(), RotationError> {
        self.ask(Command::Reread).await
    }

    /// Does everything that is due.
    ///
    /// # Errors
    /// [`RotationError`] when that does not work.
    pub async fn settle(&self) -> Result<(), RotationError> {
        self.ask(Command::Settle).await
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, RotationError>>) -> Command,
    ) -> Result<T, RotationError> {
        let (answer, answered) = oneshot::channel();
        self.commands.send(command(answer)).map_err(|_| RotationError::Stopping)?;
        answered.await.map_err(|_| RotationError::Stopping)?
    }

    fn stop(&self) {
        // An error means that it has stopped already.
        let _ = self.commands.send(Command::Stop);
    }
}

/// Whether anybody can hold a key set of this issuer. As long as nobody does, a new ring has nobody to wait for.
struct FirstSet {
    unseen: AtomicBool,
    /// Held while a ring joins: nobody is handed a set without it meanwhile.
    joining: Mutex<()>,
}

impl FirstSet {
    fn note_handed_out(&self) {
        if self.unseen.load(Ordering::Acquire) {
            let _joining = self.joining.lock();
            self.unseen.store(false, Ordering::Release);
        }
    }
}

/// The keeper before its thread runs: the keys are open, but nobody is served yet.
pub struct Waiting {
    keeper: Keeper,
    duty: Duty,
}

/// A running keeper; ends with [`Running::stop`].
pub struct Running {
    keeper: Keeper,
    thread: JoinHandle<()>,
}

/// Finds the master key that passes a check, after it was rotated.
pub type FindMaster = Box<dyn Fn(&[u8]) -> Option<MasterKey> + Send>;

/// Opens the keys of the file, of which `witness` knows so much. `unseen` says that they were made just now, so that nobody can have seen them.
///
/// # Errors
/// [`RotationError::WrongMasterKey`] when `master` did not seal them.
pub fn open(
    store: Arc<Store>,
    directory: Arc<Directory>,
    clock: Clock,
    (master, find_master): (MasterKey, FindMaster),
    settings: Settings,
    (witness, witnessed): (Witness, Option<Keys>),
    unseen: bool,
) -> Result<Waiting, RotationError> {
    let reading = clock.read();
    let told = store.read(audit::last)?.map_or((0, Vec::new()), |(seq, hash)| (seq, hash.to_vec()));
    let opened = keyring_file::open(&store, &master, reading, &settings)?;
    let stored_audiences = store.read(audiences::all)?;
    let gate = Gate::closed();
    if opened.jump == 0 {
        gate.trust(reading);
    }
    let (commands, received) = mpsc::channel();
    let shared = Arc::new(Shared {
        published: ArcSwap::from_pointee(Published::new(
            &opened.rings,
            &opened.minters,
            &rings::wishes(&settings.audiences, &stored_audiences),
            &settings.policy,
        )),
        first_set: FirstSet { unseen: AtomicBool::new(unseen), joining: Mutex::default() },
        gate,
        settings: ArcSwap::from_pointee(settings.clone()),
        moment: Mutex::new(opened.clock.moment()),
        status: Mutex::new(String::new()),
        refusals: Refusals::default(),
        verifiers: Verifiers::known(store.read(verifiers::all)?),
        beat: Beat::default(),
        standing: ArcSwap::default(),
        set_ahead: AtomicU64::new(0),
        set_back: AtomicU64::new(0),
    });
    let mut duty = Duty {
        store,
        directory,
        clock,
        master,
        find_master,
        shared: Arc::clone(&shared),
        received,
        attested: opened.clock,
        saved: opened.clock.last(),
        settings,
        minters: opened.minters,
        rings: opened.rings,
        stored_audiences,
        unknown: false,
        waiting: None,
        clear_log: true,
        jump: opened.jump,
        witness,
        witnessed,
        created: opened.created,
        witness_failing: false,
        was_set: 0,
        set_told: None,
        failing: false,
        master_missing: false,
        told,
        log_changed: false,
        signed: opened.clock.moment(),
    };
    duty.note_clock_set(opened.was_set);
    // Before anybody is served: a key that was revoked while no server ran signs nothing and is published nowhere.
    duty.keep_witness();
    duty.answer_requests()?;
    duty.keep_rings()?;
    duty.note_standing(&Ok(()));
    Ok(Waiting { keeper: Keeper { shared, commands }, duty })
}

impl Waiting {
    /// What everybody else holds of the keeper.
    #[must_use]
    pub fn keeper(&self) -> Keeper {
        self.keeper.clone()
    }

    /// Starts the thread. The server listens by now: what is published from here on is served.
    ///
    /// # Errors
    /// The system's, when it gives no thread.
    pub fn start(self, traces: Traces) -> std::io::Result<Running> {
        let mut duty = self.duty;
        let thread = std::thread::Builder::new().name("keeper".into()).spawn(move || {
            background::give_way();
            traces.enter(|| duty.run());
        })?;
        Ok(Running { keeper: self.keeper, thread })
    }
}

impl Running {
    /// Writes down what has not been, and ends the thread.
    pub fn stop(self) {
        self.keeper.stop();
        if self.thread.join().is_err() {
            tracing::error!("the key keeper ended by a panic");
        }
    }
}

/// A waiting time for people: the two largest units, rounded up, so that nobody comes too early.
#[must_use]
pub fn in_words(wait: Option<i64>) -> String {
    let Some(wait) = wait else { return "no time that can be told".to_owned() };
    let secs = wait.max(0).unsigned_abs().div_ceil(1000);
    let units = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let told_by = match secs {
        86_400.. => 3600,
        3600.. => 60,
        _ => 1,
    };
    let mut rest = secs.next_multiple_of(told_by);
    let parts = units.into_iter().map(|(length, unit)| {
        let count = rest / length;
        rest %= length;
        (count, unit)
    });
    let parts: Vec<_> =
        parts.skip_while(|(count, _)| *count == 0).take(2).filter(|(count, _)| *count > 0).collect();
    match parts.as_slice() {
        [] => "0s".into(),
        parts => parts.iter().map(|(count, unit)| format!("{count}{unit}")).collect::<Vec<_>>().join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_times_are_told_in_two_units() {
        for (millis, words) in [
            (0, "0s"),
            (1, "1s"),
            (59_000, "59s"),
            (60_000, "1m"),
            (90_000, "1m 30s"),
            (3_599_001, "1h"),
            (3_601_000, "1h 1m"),
            (86_399_000, "1d"),
            (89_000_000, "1d 1h"),
            (90_000_000, "1d 1h"),
            (7_776_000_000, "90d"),
        ] {
            assert_eq!(in_words(Some(millis)), words);
        }
    }
}
