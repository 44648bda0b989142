//! What the keeper's thread does: look at the clock and the file, do what is due, answer requests.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use m2mint_keys::jwk::Kid;
use m2mint_keys::key_ring::{Hold, Outlook, Policy, RevokeError, Transition};
use m2mint_keys::seal::MasterKey;
use m2mint_keys::signing_key::Algorithm;
use m2mint_keys::time::{AttestedClock, Moment, Reading, UnixTime, millis};
use rusqlite::Connection;

use super::{Command, FindMaster, HEARTBEAT, Shared, in_words};
use crate::audit::heads;
use crate::clock::Clock;
use crate::directory::Directory;
use crate::model::Span;
use crate::model::audit::{Action, Entry, Origin, date_to_the_second};
use crate::rotation::gate::{self, TOLERATED_JUMP};
use crate::rotation::keyring_file::{self, EarlierSet, Fresh, Minters, SERVER};
use crate::rotation::published::Published;
use crate::rotation::rings::{self, DEFAULT, Rings, Wish};
use crate::rotation::standing::Standing;
use crate::rotation::{RotationError, Settings};
use crate::store::audiences::StoredAudience;
use crate::store::keys::{KeyRequest, Ring, Sealed};
use crate::store::waits::{self, Wait};
use crate::store::{Store, audiences, audit, changes, clients, keys, revocations};
use crate::traces;
use crate::witness::{Keys, Witness};

/// How often the keeper looks at the clock and at the file.
const TICK: Duration = Duration::from_millis(200);
/// More steps than this at once do not follow from the rule.
const MOST_STEPS: usize = 16;

/// How many verifiers that lack a key are named in the log.
const MOST_TOLD: usize = 20;

/// How often the audit log is signed, in milliseconds.
const SIGN_EVERY: i64 = 3_600_000;

/// What the thread holds.
pub(super) struct Duty {
    pub(super) store: Arc<Store>,
    pub(super) directory: Arc<Directory>,
    pub(super) clock: Clock,
    pub(super) master: MasterKey,
    pub(super) find_master: FindMaster,
    pub(super) shared: Arc<Shared>,
    pub(super) received: mpsc::Receiver<Command>,
    pub(super) attested: AttestedClock,
    pub(super) settings: Settings,
    /// What was last written down of the clock.
    pub(super) saved: Reading,
    pub(super) rings: Rings,
    pub(super) minters: Minters,
    pub(super) stored_audiences: Vec<StoredAudience>,
    /// The file may say something else than `rings`, or hold requests: reread it, and do not stop before all is answered.
    pub(super) unknown: bool,
    /// Who waits until this server acts by what it has read.
    pub(super) waiting: Option<Wait>,
    /// Something erased may still be in the write-ahead log.
    pub(super) clear_log: bool,
    /// How far the clock has jumped ahead of what is written down.
    pub(super) jump: i64,
    /// What outside the file knows of its keys.
    pub(super) witness: Witness,
    /// What was last written there.
    pub(super) witnessed: Option<Keys>,
    /// When the file was made.
    pub(super) created: UnixTime,
    /// Whether it could not be written: that is logged when it begins and when it ends.
    pub(super) witness_failing: bool,
    /// By how many milliseconds the wall clock was set since that was last written to the audit log: back, when negative.
    pub(super) was_set: i64,
    /// When that was last written.
    pub(super) set_told: Option<Moment>,
    /// Whether the last tick failed: an error is logged when it begins and when it ends.
    pub(super) failing: bool,
    /// Whether the master key was rotated to one that cannot be found: that is said once.
    pub(super) master_missing: bool,
    /// The newest entry of the audit log that the log of the process has been told of, with its hash.
    pub(super) told: (i64, Vec<u8>),
    /// Whether that entry is there no more, or another stands in its place.
    pub(super) log_changed: bool,
    /// When the audit log was last looked at to be signed.
    pub(super) signed: Moment,
}

/// What a step of the rotation is called in traces.
fn step_name(step: &Transition) -> &'static str {
    match step {
        Transition::ConfirmServed => "confirm served",
        Transition::AddStandby => "add standby",
        Transition::Promote => "promote standby",
        Transition::Delete(_) => "delete retired key",
    }
}

impl Duty {
    pub(super) fn run(&mut self) {
        loop {
            // What went wrong is logged there.
            let _ = self.tick();
            let command = match self.received.recv_timeout(TICK) {
                Ok(command) => command,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => Command::Stop,
            };
            // Whoever asked may have gone: then there is nobody to tell.
            match command {
                Command::Rotate(origin, answer) => drop(answer.send(self.rotate(&origin))),
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
        let ticked = self.keep();
        self.note_outcome(&ticked);
        self.note_standing(&ticked);
        ticked
    }

    /// Tells whoever watches.
    pub(super) fn note_standing(&self, ticked: &Result<(), RotationError>) {
        self.shared.beat.show();
        let wall = self.attested.last().wall;
        let error = ticked.as_ref().err();
        let now = self.now();
        let (policy, verifiers) = (&self.settings.policy, &self.shared.verifiers);
        let standing = Standing::new(&self.rings, policy, verifiers, now, wall, error);
        self.shared.standing.store(Arc::new(standing));
    }

    fn keep(&mut self) -> Result<(), RotationError> {
        self.look_at_clock();
        self.store.settle()?;
        self.take_settings()?;
        self.store.probe();
        self.directory.refresh(&self.store)?;
        self.unknown |= self.directory.take_keys_changed();
        if self.unknown {
            self.waiting = self.store.read(waits::latest)?;
            // What the last of them had written before is taken in too.
            self.directory.refresh(&self.store)?;
            self.reread()?;
            self.answer_requests()?;
            self.unknown = false;
        }
        // A master key that cannot be found holds up new keys, and nothing else.
        let done = self.keep_rings().and_then(|()| self.do_what_is_due());
        self.heartbeat()?;
        self.save_verifiers(false)?;
        self.tell_clock_set()?;
        self.keep_witness();
        self.tell_log()?;
        self.clear_log = self.clear_log && !self.store.checkpoint();
        self.say_status();
        done?;
        if let Some(waiting) = self.waiting {
            self.store.write(|db| waits::end(db, waiting))?;
            self.waiting = None;
        }
        Ok(())
    }

    fn look_at_clock(&mut self) {
        let reading = self.clock.read();
        let jump = self.attested.observe(reading);
        self.note_clock_set(jump);
        // A jump ahead is trusted when it is written down, and that is done when somebody wants to sign. A jump back
        // lets the clock run within what is written down already.
        self.jump = self.jump.saturating_add(jump).max(0);
        if self.jump <= TOLERATED_JUMP {
            self.jump = 0;
            self.shared.gate.trust(reading);
        }
        *self.shared.moment.lock() = self.now();
    }

    /// Logs that the clock was set, and keeps it for the audit log.
    pub(super) fn note_clock_set(&mut self, by: i64) {
        if by.abs() <= TOLERATED_JUMP {
            return;
        }
        let span = Span(Duration::from_millis(by.unsigned_abs()));
        let direction = if by > 0 { "ahead" } else { "back" };
        tracing::warn!("the clock was set {direction} by {span}; waiting times of keys are not affected");
        let counter = if by > 0 { &self.shared.set_ahead } else { &self.shared.set_back };
        counter.fetch_add(1, Ordering::Relaxed);
        self.was_set = self.was_set.saturating_add(by);
    }

    /// Writes to the audit log that the clock was set. A clock that is set all the time is told of once a minute.
    fn tell_clock_set(&mut self) -> Result<(), RotationError> {
        let now = self.now();
        let told = |at: Moment| now.attested.millis_since(at.attested) < HEARTBEAT;
        if self.was_set == 0 || self.set_told.is_some_and(told) {
            return Ok(());
        }
        let by = Span(Duration::from_millis(self.was_set.unsigned_abs())).to_string();
        let direction = if self.was_set > 0 { "ahead_by" } else { "back_by" };
        let entry = Entry::new(now.wall, &Origin::of(SERVER), Action::ClockJump).with(direction, by);
        self.store.write(|db| audit::append(db, &entry))?;
        (self.was_set, self.set_told) = (0, Some(now));
        Ok(())
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
        let settings = Settings::clone(&self.shared.settings.load());
        if settings == self.settings {
            return Ok(());
        }
        // The longer lifetime is durable before the first token has it.
        self.change(|rings, _, _| {
            for ring in rings.iter_mut() {
                ring.keys.allow_lifetime(settings.lifetime);
            }
            Ok(Vec::new())
        })?;
        self.settings = settings;
        self.publish();
        Ok(())
    }

    fn allow_signing(&mut self) -> Result<(), RotationError> {
        self.look_at_clock();
        let jump = std::mem::replace(&mut self.jump, 0);
        let saved = self.change(|rings, now, db| {
            for ring in rings.iter_mut() {
                ring.keys.witness(now.wall);
            }
            if jump > 0 {
                let ahead_by = Span(Duration::from_millis(jump.unsigned_abs())).to_string();
                let entry = Entry::new(now.wall, &Origin::of(SERVER), Action::ClockTrust);
                audit::append(db, &entry.with("ahead_by", ahead_by))?;
            }
            Ok(Vec::new())
        });
        if let Err(error) = saved {
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
        self.save_verifiers(true)?;
        self.sign_log()?;
        let used = self.directory.take_uses();
        let refused = self.shared.refusals.take();
        let skew = millis(self.settings.policy.clock_skew);
        let limit = Moment { wall: UnixTime::from_millis(now.wall.millis().saturating_sub(skew)), ..now };
        let swept = self.store.write(|db| {
            used.save(db)?;
            refused.entries(reading.wall).iter().try_for_each(|entry| audit::append(db, entry))?;
            changes::prune(db)?;
            clients::sweep_removed(db, now.wall)?;
            revocations::sweep(db, limit)
        });
        let swept = match swept {
            Ok(swept) => swept,
            Err(error) => {
                self.shared.refusals.put_back(refused);
                self.directory.put_back_uses(used);
                return Err(error.into());
            }
        };
        if swept > 0 {
            self.directory.forget_swept(&self.store)?;
        }
        Ok(())
    }

    /// Writes down who has fetched which keys: what is new soon, or else `everything`.
    fn save_verifiers(&self, everything: bool) -> Result<(), RotationError> {
        let verifiers = &self.shared.verifiers;
        let Some(unsaved) = verifiers.take_unsaved(&self.settings.policy, self.now(), everything) else {
            return Ok(());
        };
        let saved = self.store.write(|db| unsaved.save(db));
        if saved.is_err() {
            verifiers.put_back(unsaved);
        }
        Ok(saved?)
    }

    /// The numbers to go by in `ring`: who lacks its standby holds up a promotion.
    fn policy(&self, ring: &Ring, now: UnixTime) -> Policy {
        self.shared.verifiers.policy(ring, &self.settings.policy, now)
    }

    fn save_clock(&mut self) -> Result<(), RotationError> {
        self.change(|rings, now, _| {
            for ring in rings.iter_mut() {
                ring.keys.witness(now.wall);
            }
            Ok(Vec::new())
        })
    }

    /// Signs how far the audit log has come, and forgets what is old, once an hour.
    fn sign_log(&mut self) -> Result<(), RotationError> {
        let now = self.now();
        if now.attested.millis_since(self.signed.attested) < SIGN_EVERY {
            return Ok(());
        }
        if self.log_changed {
            return Ok(());
        }
        let (key, keep) = (self.minters.default.key(), self.settings.audit_keep);
        self.store.write(|db| heads::prune_and_sign(db, key, now, keep))?;
        self.signed = now;
        Ok(())
    }

    /// Repeats in the log of the process what the audit log tells, whichever process wrote it.
    fn tell_log(&mut self) -> Result<(), RotationError> {
        let lost = self.told.0;
        let told = &mut self.told;
        let is_there = self.store.read(|db| {
            let is_there = told.0 == 0 || audit::get(db, told.0)?.is_some_and(|entry| entry.hash == told.1);
            audit::for_each(db, told.0, |entry| {
                tracing::info!(target: "audit", "audit {}", entry.line);
                *told = (entry.seq, entry.hash);
                true
            })?;
            Ok(is_there)
        })?;
        if is_there || std::mem::replace(&mut self.log_changed, true) {
            return Ok(());
        }
        heads::complain("an entry that this server has seen is there no more");
        let last = self.store.read(audit::last)?;
        self.told = last.map_or((0, Vec::new()), |(seq, hash)| (seq, hash.to_vec()));
        // What was noticed outlives this process.
        let entry = Entry::new(self.now().wall, &Origin::of(SERVER), Action::AuditBreak).with("entry", lost);
        Ok(self.store.write(|db| audit::append(db, &entry))?)
    }

    fn rotate(&mut self, origin: &Origin) -> Result<(), RotationError> {
        self.look_at_clock();
        let entry = Entry::new(self.now().wall, origin, Action::KeyRotationAsk);
        self.ask_for_rotation(None, |db| Ok(audit::append(db, &entry)?))?;
        self.tick()
    }

    /// Remembers that a rotation was asked for; `also` joins the same transaction.
    fn ask_for_rotation(
        &mut self,
        algorithm: Option<Algorithm>,
        also: impl FnOnce(&Connection) -> Result<(), RotationError>,
    ) -> Result<(), RotationError> {
        let concerned = |ring: &Ring| algorithm.is_none_or(|algorithm| ring.algorithm() == algorithm);
        self.change(|rings, now, db| {
            for ring in rings.iter_mut().filter(|ring| concerned(ring)) {
                ring.rotation_asked = ring.rotation_asked.or(Some(now.wall));
            }
            also(db)?;
            Ok(Vec::new())
        })?;
        for ring in self.rings.iter().filter(|ring| concerned(ring)) {
            let Outlook { promotion_in, hold } = self.outlook(ring);
            if let Some(hold) = hold {
                let (alg, wait) = (ring.algorithm().name(), in_words(promotion_in));
                tracing::info!(alg, "rotation queued, in {wait}: {}", hold.reason());
            }
        }
        Ok(())
    }

    pub(super) fn answer_requests(&mut self) -> Result<(), RotationError> {
        for (id, request) in self.store.read(keys::requests)? {
            match request {
                KeyRequest::Rotate(algorithm) => {
                    self.ask_for_rotation(algorithm, |db| Ok(keys::answer(db, id)?))?;
                }
                KeyRequest::Revoke(kid) => self.revoke(&kid, id)?,
            }
        }
        Ok(())
    }

    fn revoke(&mut self, kid: &Kid, request: i64) -> Result<(), RotationError> {
        let algorithm = self.rings.holding(kid).map_or(DEFAULT, |keys| keys.algorithm());
        let fresh = Fresh::make(&self.master, algorithm)?;
        let settings = self.settings.clone();
        let signing = self.signing(algorithm).map(str::to_owned);
        let revoked = self.change(|rings, now, db| {
            keys::answer(db, request)?;
            let longest = keyring_file::longest_lifetime(db, &settings)?;
            let keys = rings.holding(kid).ok_or_else(|| RevokeError::Unknown(kid.clone()))?;
            keys.revoke(kid, now, Some(fresh.key.clone()), longest)?;
            let used = keys.get(&fresh.key.kid).is_some();
            let active = keys.active().map(|key| key.kid.to_string());
            let entry = Entry::new(now.wall, &Origin::of("request"), Action::KeyRevoke).about(kid.as_str());
            audit::append(db, &entry.with("alg", algorithm.name()).changing("signing", signing, active))?;
            Ok(if used { vec![fresh.sealed] } else { Vec::new() })
        });
        match revoked {
            // Nothing to revoke: the request goes, and whoever made it sees that the key is not there.
            Err(RotationError::Revoke(reason)) => {
                tracing::warn!("a request to revoke a key came to nothing: {reason}");
                Ok(self.store.write(|db| keys::answer(db, request))?)
            }
            Ok(()) => {
                self.clear_log = true;
                let signing = self.signing(algorithm);
                tracing::warn!(%kid, signing, "key revoked; its tokens are no longer accepted");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The key that signs, for the log.
    fn signing(&self, algorithm: Algorithm) -> Option<&str> {
        let minter = self.minters.iter().find(|minter| minter.algorithm() == algorithm)?;
        Some(minter.kid().as_str())
    }

    /// Makes the rings that audiences want, and notes which of them every verifier can know by now.
    pub(super) fn keep_rings(&mut self) -> Result<(), RotationError> {
        let wanted = |algorithm: &Algorithm| {
            self.rings.get(*algorithm).is_none() && self.wishes().iter().any(|wish| wish.alg == *algorithm)
        };
        let missing: Vec<_> = Algorithm::SIGNING.into_iter().filter(wanted).collect();
        for algorithm in missing {
            self.join_ring(algorithm)?;
        }
        let (policy, now) = (self.settings.policy, self.now());
        let became_known = |ring: &Ring| !ring.known && ring.keys.known_in(&policy, now) == 0;
        if self.rings.iter().any(became_known) {
            self.change(|rings, _, _| {
                for ring in rings.iter_mut().filter(|ring| became_known(ring)) {
                    ring.known = true;
                }
                Ok(Vec::new())
            })?;
        }
        Ok(())
    }

    fn join_ring(&mut self, algorithm: Algorithm) -> Result<(), RotationError> {
        let shared = Arc::clone(&self.shared);
        let _joining = shared.first_set.joining.lock();
        let earlier = if shared.first_set.unseen.load(Ordering::Acquire) {
            EarlierSet::HeldByNobody
        } else {
            EarlierSet::MayBeHeld
        };
        let settings = self.settings.clone();
        let longest = self.store.read(|db| keyring_file::longest_lifetime(db, &settings))?;
        let (ring, fresh) = keyring_file::new_ring(&self.master, algorithm, self.now(), longest, earlier)?;
        let known = ring.known;
        self.change(|rings, now, db| {
            if rings.get(algorithm).is_some() {
                return Ok(Vec::new());
            }
            keyring_file::tell_founding(db, &ring, now.wall)?;
            rings.add(ring);
            Ok(fresh)
        })?;
        let (alg, signing) = (algorithm.name(), self.signing(algorithm));
        if known {
            tracing::info!(alg, signing, "keys made for audiences that want this algorithm");
        } else {
            let wait = in_words(i64::try_from(settings.policy.propagation.as_millis()).ok());
            tracing::info!(
                alg,
                signing,
                "keys made for audiences that want this algorithm; they sign in {wait}: \
                 verifiers may still cache a key set without them"
            );
        }
        Ok(())
    }

    fn do_what_is_due(&mut self) -> Result<(), RotationError> {
        let algorithms: Vec<_> = self.rings.iter().map(Ring::algorithm).collect();
        algorithms.into_iter().try_for_each(|algorithm| self.do_what_is_due_in(algorithm))
    }

    fn do_what_is_due_in(&mut self, algorithm: Algorithm) -> Result<(), RotationError> {
        for _ in 0..MOST_STEPS {
            // A step takes as long as the disk does: what is stamped after it happened after it.
            self.look_at_clock();
            let now = self.now();
            let due =
                |ring: &Ring| ring.keys.due(&self.policy(ring, now.wall), now, ring.rotation_asked.is_some());
            let Some(step) = self.rings.get(algorithm).and_then(due) else {
                return Ok(());
            };
            let traced = traces::task(step_name(&step));
            traced.note("m2mint.alg", algorithm.name());
            let lacking = self
                .rings
                .get(algorithm)
                .filter(|_| step == Transition::Promote)
                .map(|ring| self.shared.verifiers.reach(ring, &self.settings.policy, now.wall).lacking);
            let settings = self.settings.clone();
            let signing = self.signing(algorithm).map(str::to_owned);
            let fresh = match step {
                Transition::AddStandby | Transition::Promote => Some(Fresh::make(&self.master, algorithm)?),
                Transition::ConfirmServed | Transition::Delete(_) => None,
            };
            self.change(|rings, now, db| {
                let longest = keyring_file::longest_lifetime(db, &settings)?;
                let Some(ring) = rings.get_mut(algorithm) else { return Ok(Vec::new()) };
                let actor = if ring.rotation_asked.is_some() { "request" } else { "timer" };
                ring.keys.apply(&step, now, fresh.as_ref().map(|fresh| fresh.key.clone()), longest);
                if step == Transition::Promote {
                    ring.rotation_asked = None;
                }
                let made = fresh.as_ref().map(|fresh| fresh.key.kid.to_string());
                let entry = |actor, action| Entry::new(now.wall, &Origin::of(actor), action);
                let entry = match &step {
                    Transition::ConfirmServed => None,
                    Transition::AddStandby => {
                        Some(entry(SERVER, Action::KeyStandby).about(made.unwrap_or_default()))
                    }
                    Transition::Promote => {
                        let active = ring.keys.active().map(|key| key.kid.to_string()).unwrap_or_default();
                        let entry = entry(actor, Action::KeyRotate).about(&*active);
                        Some(entry.changing("signing", signing, active).with("standby", made))
                    }
                    Transition::Delete(kid) => Some(entry("timer", Action::KeyDelete).about(kid.as_str())),
                };
                if let Some(entry) = entry {
                    audit::append(db, &entry.with("alg", algorithm.name()))?;
                }
                Ok(fresh.map(|fresh| fresh.sealed).into_iter().collect())
            })?;
            match &step {
                Transition::Promote => {
                    self.clear_log = true;
                    let signing = self.signing(algorithm);
                    tracing::info!(alg = algorithm.name(), signing, "keys rotated");
                    for verifier in lacking.iter().flatten().take(MOST_TOLD) {
                        let (who, seen) = (&verifier.who, date_to_the_second(verifier.last_seen));
                        tracing::warn!(%who, last_seen = seen, "a known verifier does not have the key that signs now");
                    }
                }
                Transition::Delete(kid) => tracing::info!(%kid, "retired key deleted"),
                Transition::AddStandby | Transition::ConfirmServed => {}
            }
        }
        Ok(())
    }

    /// Commits a change of the rings, then serves it.
    fn change(
        &mut self,
        decide: impl FnOnce(&mut Rings, Moment, &Connection) -> Result<Vec<Sealed>, RotationError>,
    ) -> Result<(), RotationError> {
        // What was to be looked at before stays so: a change that works answers no request.
        let unknown = std::mem::replace(&mut self.unknown, true);
        let clock = self.trusted_clock();
        let minters = Some(&self.minters);
        let changed =
            keyring_file::change(&self.store, &self.master, &clock, minters, !self.log_changed, decide);
        let (rings, minters) = match changed {
            Err(refused @ RotationError::Revoke(_)) => {
                self.unknown = unknown;
                return Err(refused);
            }
            changed => changed?,
        };
        self.unknown = unknown;
        self.saved = clock.last();
        self.take(rings, minters);
        Ok(())
    }

    /// Takes over a master key that was rotated, if it can be read.
    fn follow_master(&mut self, check: &[u8]) {
        if self.master.passes(check) {
            return;
        }
        match (self.find_master)(check) {
            Some(master) => {
                self.master = master;
                self.master_missing = false;
                // What was sealed under the old one may still be in the log.
                self.clear_log = true;
                tracing::info!("the master key was rotated; the new one is in use");
            }
            None if std::mem::replace(&mut self.master_missing, true) => {}
            None => tracing::error!(
                "the master key was rotated, and the new one is not where this server reads it: give it to the server and restart it. Until then tokens are issued, and signing keys stay as they are"
            ),
        }
    }

    fn reread(&mut self) -> Result<(), RotationError> {
        if let Some(issuer) = self.store.read(keys::issuer)? {
            self.follow_master(&issuer.master_check);
        }
        let (rings, minters) = keyring_file::read(&self.store, &self.master, Some(&self.minters))?;
        let stored_audiences = self.store.read(audiences::all)?;
        self.clear_log |= rings != self.rings;
        let audiences_changed = stored_audiences != self.stored_audiences;
        self.stored_audiences = stored_audiences;
        if !self.take(rings, minters) && audiences_changed {
            self.publish();
        }
        Ok(())
    }

    /// Serves these keys, if they are others than before. Answers whether they are.
    fn take(&mut self, rings: Rings, minters: Minters) -> bool {
        // A ring tells which key is active, and so which minters there are.
        let differ = rings != self.rings;
        if differ {
            (self.rings, self.minters) = (rings, minters);
            self.keep_witness();
            self.publish();
        }
        differ
    }

    /// Writes down outside the file which keys there are, before anybody sees them. What cannot be written does not hold up
    /// keys: it is tried again.
    pub(super) fn keep_witness(&mut self) {
        let keys = Keys::of(&self.rings);
        if self.witnessed.as_ref() == Some(&keys) {
            return;
        }
        let last = match self.store.read(audit::last) {
            Ok(Some(last)) => last,
            Ok(None) => return,
            // Whatever holds up reading is logged elsewhere.
            Err(_) => return,
        };
        match self.witness.write(self.created, (last.0, &last.1), &keys) {
            Ok(()) => {
                self.witnessed = Some(keys);
                if std::mem::take(&mut self.witness_failing) {
                    tracing::info!("changes of keys are noted outside the database again");
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.witness_failing, true) {
                    tracing::error!(
                        %error,
                        "changes of keys cannot be noted outside the database: an old copy of it would not be recognised"
                    );
                }
            }
        }
    }

    fn publish(&mut self) {
        let wishes = self.wishes();
        let published = Published::new(&self.rings, &self.minters, &wishes, &self.settings.policy);
        self.shared.published.store(Arc::new(published));
    }

    fn wishes(&self) -> Vec<Wish> {
        rings::wishes(&self.settings.audiences, &self.stored_audiences)
    }

    fn outlook(&self, ring: &Ring) -> Outlook {
        let now = self.now();
        ring.keys.outlook(&self.policy(ring, now.wall), now, ring.rotation_asked.is_some())
    }

    fn say_status(&self) {
        let of_ring = |ring: &Ring| {
            let outlook = self.outlook(ring);
            let next = match (outlook.promotion_in, outlook.hold) {
                (None, _) => "rotates on a signal".to_owned(),
                (wait, Some(hold)) if hold != Hold::NotAsked => {
                    format!("rotation queued, in {}: {}", in_words(wait), hold.reason())
                }
                (wait, _) => format!("next rotation in {}", in_words(wait)),
            };
            format!("signing with {}; {next}", self.signing(ring.algorithm()).unwrap_or_default())
        };
        let rings: Vec<_> = self.rings.iter().map(of_ring).collect();
        *self.shared.status.lock() = rings.join("; ");
    }

    fn close(&mut self) {
        self.look_at_clock();
        let (used, refused, now) = (self.directory.take_uses(), self.shared.refusals.take(), self.now());
        let saved = self.save_clock().and_then(|()| self.save_verifiers(true)).and_then(|()| {
            self.store.write(|db| {
                used.save(db)?;
                refused.entries(now.wall).iter().try_for_each(|entry| audit::append(db, entry))?;
                audit::append(db, &Entry::new(now.wall, &Origin::of(SERVER), Action::ServerStop))?;
                if !self.log_changed {
                    heads::sign(db, self.minters.default.key(), now)?;
                }
                Ok(())
            })
        });
        if let Err(error) = saved.and_then(|()| self.tell_log()) {
            tracing::error!(%error, "the last use of secrets, and the end of this run, could not be saved");
        }
    }
}
