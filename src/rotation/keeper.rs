//! The one thread that changes keys: it watches the clock, does what is due, and answers requests.
//!
//! Every change is committed first and served after. What the file says is always right: after an error the keeper
//! rereads it before it goes on.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use m2mint_keys::jwk::Kid;
use m2mint_keys::key_ring::{Hold, KeyRing, Outlook, Transition};
use m2mint_keys::seal::MasterKey;
use m2mint_keys::time::{AttestedClock, Moment, Reading, UnixTime};
use m2mint_keys::token::Minter;
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::directory::Directory;
use crate::model::Span;
use crate::rotation::gate::{self, Gate, TOLERATED_JUMP};
use crate::rotation::keyring_file::{self, Fresh};
use crate::rotation::published::Published;
use crate::rotation::{RotationError, Settings};
use crate::store::keys::KeyRequest;
use crate::store::{Store, changes, clients, keys, revocations};

/// How often the keeper looks at the clock and at the file.
const TICK: Duration = Duration::from_millis(200);
/// How often the clock is written down, in milliseconds.
pub const HEARTBEAT: i64 = 60_000;
/// More steps than this at once do not follow from the rule.
const MOST_STEPS: usize = 16;

/// What the keeper is asked to do.
enum Command {
    Rotate(oneshot::Sender<Result<Outlook, RotationError>>),
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
    gate: Gate,
    settings: ArcSwap<Settings>,
    moment: Mutex<Moment>,
    status: Mutex<String>,
}

impl Keeper {
    /// The keys as they are now.
    #[must_use]
    pub fn published(&self) -> arc_swap::Guard<Arc<Published>> {
        self.shared.published.load()
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

    /// Steers by other numbers from now on.
    pub fn set_settings(&self, settings: Settings) {
        self.shared.settings.store(Arc::new(settings));
    }

    /// Asks for a rotation: now, or as soon as the rule allows. It is durable when this returns.
    ///
    /// # Errors
    /// [`RotationError`] when the request cannot be stored.
    pub async fn rotate(&self) -> Result<Outlook, RotationError> {
        self.ask(Command::Rotate).await
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

/// The keeper before its thread runs: the keys are open, but nobody is served yet.
pub struct Waiting {
    keeper: Keeper,
    thread: Thread,
}

/// A running keeper; ends with [`Running::stop`].
pub struct Running {
    keeper: Keeper,
    thread: JoinHandle<()>,
}

/// Opens the keys of the file.
///
/// # Errors
/// [`RotationError::WrongMasterKey`] when `master` did not seal them.
pub fn open(
    store: Arc<Store>,
    directory: Arc<Directory>,
    clock: Clock,
    master: MasterKey,
    settings: Settings,
) -> Result<Waiting, RotationError> {
    let reading = clock.read();
    let opened = keyring_file::open(&store, &master, reading, &settings)?;
    let gate = Gate::closed();
    if opened.jump == 0 {
        gate.trust(reading);
    }
    let (commands, received) = mpsc::channel();
    let shared = Arc::new(Shared {
        published: ArcSwap::from_pointee(Published::new(
            &opened.ring,
            Arc::clone(&opened.minter),
            &settings.policy,
        )),
        gate,
        settings: ArcSwap::from_pointee(settings),
        moment: Mutex::new(opened.clock.moment()),
        status: Mutex::new(String::new()),
    });
    let mut thread = Thread {
        store,
        directory,
        clock,
        master,
        shared: Arc::clone(&shared),
        received,
        attested: opened.clock,
        rotation_asked: opened.rotation_asked.is_some(),
        saved: opened.clock.last(),
        settings,
        minter: opened.minter,
        ring: opened.ring,
        unknown: false,
        clear_log: true,
        jump: opened.jump,
        failing: false,
    };
    // Before anybody is served: a key that was revoked while no server ran signs nothing and is published nowhere.
    thread.answer_requests()?;
    Ok(Waiting { keeper: Keeper { shared, commands }, thread })
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
    pub fn start(self) -> std::io::Result<Running> {
        let mut thread = self.thread;
        let thread = std::thread::Builder::new().name("keeper".into()).spawn(move || thread.run())?;
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

struct Thread {
    store: Arc<Store>,
    directory: Arc<Directory>,
    clock: Clock,
    master: MasterKey,
    shared: Arc<Shared>,
    received: mpsc::Receiver<Command>,
    attested: AttestedClock,
    settings: Settings,
    rotation_asked: bool,
    /// What was last written down of the clock.
    saved: Reading,
    ring: KeyRing,
    minter: Arc<Minter>,
    /// The file may say something else than `ring`: reread it.
    unknown: bool,
    /// Something erased may still be in the write-ahead log.
    clear_log: bool,
    /// How far the clock has jumped ahead of what is written down.
    jump: i64,
    /// Whether the last tick failed: an error is logged when it begins and when it ends.
    failing: bool,
}

impl Thread {
    fn run(&mut self) {
        loop {
            let ticked = self.tick();
            self.note_outcome(&ticked);
            let command = match self.received.recv_timeout(TICK) {
                Ok(command) => command,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => Command::Stop,
            };
            // Whoever asked may have gone: then there is nobody to tell.
            match command {
                Command::Rotate(answer) => drop(answer.send(self.rotate())),
                Command::AllowSigning(answer) => drop(answer.send(self.allow_signing())),
                Command::Reread(answer) => {
                    self.unknown = true;
                    drop(answer.send(self.tick()));
                }
                Command::Settle(answer) => drop(answer.send(self.tick())),
                Command::Stop => return self.close(),
            }
        }
    }

    fn note_outcome(&mut self, ticked: &Result<(), RotationError>) {
        match ticked {
            Err(error) if !self.failing => {
                tracing::error!(%error, "keys cannot be kept up to date; trying again")
            }
            Ok(()) if self.failing => tracing::info!("keys are kept up to date again"),
            _ => {}
        }
        self.failing = ticked.is_err();
    }

    fn tick(&mut self) -> Result<(), RotationError> {
        self.look_at_clock();
        self.take_settings()?;
        if self.directory.refresh(&self.store)? || self.unknown {
            self.reread()?;
            self.answer_requests()?;
        }
        self.do_what_is_due()?;
        self.heartbeat()?;
        self.clear_log = self.clear_log && !self.store.checkpoint();
        self.say_status();
        Ok(())
    }

    fn look_at_clock(&mut self) {
        let reading = self.clock.read();
        let jump = self.attested.observe(reading);
        if jump.abs() > TOLERATED_JUMP {
            let jumped = Span(Duration::from_millis(jump.unsigned_abs()));
            let direction = if jump > 0 { "ahead" } else { "back" };
            tracing::warn!(
                "the clock was set {direction} by {jumped}; waiting times of keys are not affected"
            );
        }
        // A jump ahead is trusted when it is written down, and that is done when somebody wants to sign. A jump back
        // lets the clock run within what is written down already.
        self.jump = self.jump.saturating_add(jump).max(0);
        if self.jump <= TOLERATED_JUMP {
            self.jump = 0;
            self.shared.gate.trust(reading);
        }
        *self.shared.moment.lock() = self.now();
    }

    /// Where the clocks stand, as far as the wall clock is trusted.
    fn now(&self) -> Moment {
        self.trusted_clock().moment()
    }

    /// The clock without the part of a jump that nobody has written down: to be stored, and to be compared with later.
    fn trusted_clock(&self) -> AttestedClock {
        let last = self.attested.last();
        let wall = UnixTime::from_millis(last.wall.millis().saturating_sub(self.jump));
        AttestedClock::resume(self.attested.moment().attested, Reading { wall, ..last })
    }

    fn take_settings(&mut self) -> Result<(), RotationError> {
        let settings = **self.shared.settings.load();
        if settings == self.settings {
            return Ok(());
        }
        // The longer lifetime is durable before the first token has it.
        self.change(|ring, _, _| {
            ring.allow_lifetime(settings.lifetime);
            Ok(None)
        })?;
        self.settings = settings;
        self.publish(None);
        Ok(())
    }

    fn allow_signing(&mut self) -> Result<(), RotationError> {
        self.look_at_clock();
        let jump = std::mem::replace(&mut self.jump, 0);
        if let Err(error) = self.save_clock() {
            self.jump = jump;
            return Err(error);
        }
        self.shared.gate.trust(self.attested.last());
        Ok(())
    }

    fn heartbeat(&mut self) -> Result<(), RotationError> {
        let (now, reading) = (self.now(), self.trusted_clock().last());
        let since =
            reading.steady.saturating_sub(self.saved.steady).max(reading.wall.millis_since(self.saved.wall));
        // Small steps of the clock, each of them tolerated, must not add up to more than a restart allows for.
        if since < HEARTBEAT && gate::jump(self.saved, reading) <= TOLERATED_JUMP {
            return Ok(());
        }
        self.save_clock()?;
        let used = self.directory.take_uses();
        let skew = m2mint_keys::time::millis(self.settings.policy.clock_skew);
        let limit = Moment { wall: UnixTime::from_millis(now.wall.millis().saturating_sub(skew)), ..now };
        let swept = self.store.write(|db| {
            clients::save_last_used(db, &used)?;
            changes::prune(db)?;
            revocations::sweep(db, limit)
        })?;
        if swept > 0 {
            self.directory.forget_swept(&self.store)?;
        }
        Ok(())
    }

    fn save_clock(&mut self) -> Result<(), RotationError> {
        self.change(|ring, now, _| {
            ring.witness(now.wall);
            Ok(None)
        })
    }

    fn rotate(&mut self) -> Result<Outlook, RotationError> {
        self.look_at_clock();
        self.ask_for_rotation(None)?;
        let outlook = self.outlook();
        self.tick()?;
        Ok(outlook)
    }

    fn ask_for_rotation(&mut self, request: Option<i64>) -> Result<(), RotationError> {
        let now = self.now().wall;
        self.unknown = true;
        self.store.write(|db| {
            keys::save_rotation_asked(db, Some(now))?;
            request.map_or(Ok(()), |id| keys::answer(db, id))
        })?;
        self.unknown = false;
        self.rotation_asked = true;
        let Outlook { promotion_in, hold } = self.outlook();
        if let Some(hold) = hold {
            tracing::info!("rotation queued, in {}: {}", in_words(promotion_in), hold.reason());
        }
        Ok(())
    }

    fn answer_requests(&mut self) -> Result<(), RotationError> {
        for (id, request) in self.store.read(keys::requests)? {
            match request {
                KeyRequest::Rotate => self.ask_for_rotation(Some(id))?,
                KeyRequest::Revoke(kid) => self.revoke(&kid, id)?,
            }
        }
        Ok(())
    }

    fn revoke(&mut self, kid: &Kid, request: i64) -> Result<(), RotationError> {
        let fresh = Fresh::make(&self.master)?;
        let settings = self.settings;
        let revoked = self.change(|ring, now, db| {
            keys::answer(db, request)?;
            ring.revoke(kid, now, Some(fresh.key.clone()), keyring_file::longest_lifetime(db, &settings)?)?;
            Ok(ring.get(&fresh.key.kid).is_some().then_some(fresh))
        });
        match revoked {
            // Nothing to revoke: the request goes, and whoever made it sees that the key is not there.
            Err(RotationError::Revoke(reason)) => {
                tracing::warn!("a request to revoke a key came to nothing: {reason}");
                Ok(self.store.write(|db| keys::answer(db, request))?)
            }
            Ok(()) => {
                self.clear_log = true;
                tracing::warn!(%kid, signing = %self.minter.kid(), "key revoked; its tokens are no longer accepted");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn do_what_is_due(&mut self) -> Result<(), RotationError> {
        for _ in 0..MOST_STEPS {
            // A step takes as long as the disk does: what is stamped after it happened after it.
            self.look_at_clock();
            let now = self.now();
            let Some(step) = self.ring.due(&self.settings.policy, now, self.rotation_asked) else {
                return Ok(());
            };
            let settings = self.settings;
            let fresh = match step {
                Transition::AddStandby | Transition::Promote => Some(Fresh::make(&self.master)?),
                Transition::ConfirmServed | Transition::Delete(_) => None,
            };
            self.change(|ring, now, db| {
                let longest = keyring_file::longest_lifetime(db, &settings)?;
                ring.apply(&step, now, fresh.as_ref().map(|fresh| fresh.key.clone()), longest);
                if step == Transition::Promote {
                    keys::save_rotation_asked(db, None)?;
                }
                Ok(fresh)
            })?;
            match &step {
                Transition::Promote => {
                    self.rotation_asked = false;
                    self.clear_log = true;
                    tracing::info!(signing = %self.minter.kid(), "keys rotated");
                }
                Transition::Delete(kid) => tracing::info!(%kid, "retired key deleted"),
                Transition::AddStandby | Transition::ConfirmServed => {}
            }
        }
        Ok(())
    }

    /// Commits a change of the ring, then serves it.
    fn change(
        &mut self,
        decide: impl FnOnce(&mut KeyRing, Moment, &Connection) -> Result<Option<Fresh>, RotationError>,
    ) -> Result<(), RotationError> {
        self.unknown = true;
        let clock = self.trusted_clock();
        let changed =
            keyring_file::change(&self.store, &self.master, &clock, Some(self.minter.kid()), decide);
        let (ring, minter) = match changed {
            Err(refused @ RotationError::Revoke(_)) => {
                self.unknown = false;
                return Err(refused);
            }
            changed => changed?,
        };
        self.unknown = false;
        self.saved = clock.last();
        if ring != self.ring || minter.is_some() {
            self.ring = ring;
            self.publish(minter);
        }
        Ok(())
    }

    fn reread(&mut self) -> Result<(), RotationError> {
        let (ring, minter) = keyring_file::read(&self.store, &self.master, Some(self.minter.kid()))?;
        let asked = self.store.read(keys::issuer)?.is_some_and(|issuer| issuer.rotation_asked.is_some());
        self.rotation_asked = asked;
        self.unknown = false;
        if ring != self.ring || minter.is_some() {
            self.clear_log = true;
            self.ring = ring;
            self.publish(minter);
        }
        Ok(())
    }

    fn publish(&mut self, minter: Option<Arc<Minter>>) {
        if let Some(minter) = minter {
            self.minter = minter;
        }
        let published = Published::new(&self.ring, Arc::clone(&self.minter), &self.settings.policy);
        self.shared.published.store(Arc::new(published));
    }

    fn outlook(&self) -> Outlook {
        self.ring.outlook(&self.settings.policy, self.now(), self.rotation_asked)
    }

    fn say_status(&self) {
        let outlook = self.outlook();
        let next = match (outlook.promotion_in, outlook.hold) {
            (None, _) => "rotates on a signal".to_owned(),
            (wait, Some(hold)) if hold != Hold::NotAsked => {
                format!("rotation queued, in {}: {}", in_words(wait), hold.reason())
            }
            (wait, _) => format!("next rotation in {}", in_words(wait)),
        };
        *self.shared.status.lock() = format!("signing with {}; {next}", self.minter.kid());
    }

    fn close(&mut self) {
        self.look_at_clock();
        let used = self.directory.take_uses();
        let saved =
            self.save_clock().and_then(|()| Ok(self.store.write(|db| clients::save_last_used(db, &used))?));
        if let Err(error) = saved {
            tracing::error!(%error, "the last use of secrets could not be saved");
        }
    }
}

/// A waiting time for people: the two largest units.
#[must_use]
pub fn in_words(wait: Option<i64>) -> String {
    let Some(wait) = wait else { return "no time that can be told".to_owned() };
    let secs = wait.max(0).unsigned_abs().div_ceil(1000);
    let units = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let mut rest = secs;
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
            (3_601_000, "1h"),
            (90_000_000, "1d 1h"),
            (7_776_000_000, "90d"),
        ] {
            assert_eq!(in_words(Some(millis)), words);
        }
    }
}
