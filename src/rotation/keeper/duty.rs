//! What the keeper's thread does: look at the clock and the file, do what is due, answer requests.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use m2mint_keys::jwk::Kid;
use m2mint_keys::key_ring::{Hold, KeyRing, Outlook, Transition};
use m2mint_keys::seal::MasterKey;
use m2mint_keys::time::{AttestedClock, Moment, Reading, UnixTime, millis};
use m2mint_keys::token::Minter;
use rusqlite::Connection;

use super::{Command, HEARTBEAT, Shared, in_words};
use crate::clock::Clock;
use crate::directory::Directory;
use crate::model::Span;
use crate::rotation::gate::{self, TOLERATED_JUMP};
use crate::rotation::keyring_file::{self, Fresh};
use crate::rotation::published::Published;
use crate::rotation::{RotationError, Settings};
use crate::store::keys::KeyRequest;
use crate::store::{Store, changes, clients, keys, revocations};

/// How often the keeper looks at the clock and at the file.
const TICK: Duration = Duration::from_millis(200);
/// More steps than this at once do not follow from the rule.
const MOST_STEPS: usize = 16;

/// What the thread holds.
pub(super) struct Duty {
    pub(super) store: Arc<Store>,
    pub(super) directory: Arc<Directory>,
    pub(super) clock: Clock,
    pub(super) master: MasterKey,
    pub(super) shared: Arc<Shared>,
    pub(super) received: mpsc::Receiver<Command>,
    pub(super) attested: AttestedClock,
    pub(super) settings: Settings,
    pub(super) rotation_asked: bool,
    /// What was last written down of the clock.
    pub(super) saved: Reading,
    pub(super) ring: KeyRing,
    pub(super) minter: Arc<Minter>,
    /// The file may say something else than `ring`: reread it.
    pub(super) unknown: bool,
    /// Something erased may still be in the write-ahead log.
    pub(super) clear_log: bool,
    /// How far the clock has jumped ahead of what is written down.
    pub(super) jump: i64,
    /// Whether the last tick failed: an error is logged when it begins and when it ends.
    pub(super) failing: bool,
}

impl Duty {
    pub(super) fn run(&mut self) {
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
        let skew = millis(self.settings.policy.clock_skew);
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

    pub(super) fn answer_requests(&mut self) -> Result<(), RotationError> {
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
