//! The issuer: a file, a process that comes and goes, and the clocks that it sees. It drives the ring as the server does:
//! commit, then serve, then confirm.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use m2mint_keys::jwk::{Kid, PublicKey};
use m2mint_keys::key_ring::{KeyRecord, KeyRing, NewKey, Policy, Transition};
use m2mint_keys::signing_key::Algorithm;
use m2mint_keys::time::{Attested, AttestedClock, Boot, Reading, UnixTime, millis};

use crate::SKEW;
use crate::verifiers::Token;

/// How far the wall clock may move ahead unnoticed.
const TOLERATED_JUMP: i64 = 2_000;
/// How often the clock is written down.
const HEARTBEAT: i64 = 60_000;
/// Where true time begins.
const BEGIN: i64 = 1_800_000_000_000;

/// True time, and the clocks that show it.
#[derive(Debug, Clone)]
pub struct World {
    pub now: i64,
    /// Wall clock minus true time.
    pub offset: i64,
    boot: u8,
    booted: i64,
}

impl World {
    pub fn wall(&self) -> i64 {
        self.now + self.offset
    }

    pub fn pass(&mut self, millis: i64) {
        self.now += millis;
    }

    pub fn jump(&mut self, millis: i64) {
        // Clocks that were set wrong are put right, sooner or later.
        self.offset = if self.offset == 0 { millis } else { 0 };
    }

    fn reboot(&mut self) {
        self.boot = self.boot.wrapping_add(1);
        self.booted = self.now;
    }

    fn reading(&self) -> Reading {
        Reading {
            wall: UnixTime::from_millis(self.wall()),
            steady: self.now - self.booted,
            boot: Boot([self.boot; 16]),
        }
    }
}

/// Which ring is looked at.
#[derive(Debug, Clone, Copy)]
pub enum Which {
    /// One of those that were in the very first key set.
    First(Algorithm),
    /// One that joined when verifiers held key sets without it.
    Joined(Algorithm),
}

impl Which {
    fn algorithm(self) -> Algorithm {
        match self {
            Self::First(algorithm) | Self::Joined(algorithm) => algorithm,
        }
    }
}

/// What is durable.
struct File {
    records: Vec<KeyRecord>,
    private: HashSet<Kid>,
    attested: Attested,
    clock: Reading,
    rotation_asked: bool,
    /// Every verifier has had the time to get the ring's keys.
    known: bool,
}

/// What is in memory.
struct Running {
    ring: KeyRing,
    clock: AttestedClock,
    /// What was last written down of the clock, and what was last trusted.
    saved: Reading,
    trusted: Option<Reading>,
    jump: i64,
    signer: Kid,
    longest_lifetime: Duration,
    served: Vec<Kid>,
}

#[derive(Default)]
pub struct Happened {
    pub promotions: usize,
    pub deletions: usize,
    pub crashes: usize,
}

pub struct Issuer {
    pub world: World,
    pub policy: Policy,
    pub first_served: HashMap<Kid, i64>,
    pub happened: Happened,
    algorithm: Algorithm,
    lifetime: Duration,
    file: File,
    running: Option<Running>,
    served_since: i64,
    crash_after: Option<u32>,
    made: u32,
}

/// The process died.
struct Crashed;

impl Issuer {
    pub fn new(which: Which) -> Self {
        let world = World { now: BEGIN, offset: 0, boot: 0, booted: BEGIN - 100_000 };
        let policy = Policy {
            every: None,
            propagation: Duration::from_secs(25 * 3600),
            clock_skew: SKEW,
            held_up: Duration::ZERO,
        };
        let (lifetime, clock) = (Duration::from_secs(3600), AttestedClock::start(world.reading()));
        let algorithm = which.algorithm();
        let (active, standby) = (new_key(algorithm, 1), new_key(algorithm, 2));
        let private = [active.kid.clone(), standby.kid.clone()].into();
        let known = matches!(which, Which::First(_));
        let make = if known { KeyRing::found } else { KeyRing::join };
        let ring = make(active, standby, clock.moment(), lifetime);
        let file = File {
            records: ring.records().to_vec(),
            private,
            attested: clock.moment().attested,
            clock: clock.last(),
            rotation_asked: false,
            known,
        };
        Self {
            world,
            algorithm,
            policy,
            first_served: HashMap::new(),
            happened: Happened::default(),
            lifetime,
            file,
            running: None,
            served_since: BEGIN,
            crash_after: None,
            made: 2,
        }
    }

    pub fn start(&mut self, reboot: bool) {
        if self.running.is_some() {
            return;
        }
        if reboot {
            self.world.reboot();
        }
        let reading = self.world.reading();
        let last = self.file.clock;
        let same_boot = last.boot == reading.boot;
        let steady = if same_boot { (reading.steady - last.steady).max(0) } else { 0 };
        let ahead = reading.wall.millis_since(last.wall) - steady;
        let jump = if ahead > TOLERATED_JUMP { ahead } else { 0 };
        let since = if same_boot { steady } else { HEARTBEAT };
        let may_have_signed = UnixTime::from_millis(last.wall.millis() + since + TOLERATED_JUMP);
        let mut clock = AttestedClock::resume(self.file.attested, last);
        clock.observe(reading);
        let ring = KeyRing::from_records(self.file.records.clone()).unwrap();
        let signer = ring.active().unwrap().kid.clone();
        let trusted = (jump == 0).then_some(reading);
        let longest_lifetime = ring.active().unwrap().longest_lifetime;
        let running =
            Running { ring, clock, saved: last, trusted, jump, signer, longest_lifetime, served: Vec::new() };
        self.running = Some(running);
        let lifetime = self.lifetime;
        let opened = self.commit(|ring, _| {
            ring.allow_lifetime(lifetime);
            ring.witness(may_have_signed);
            None
        });
        if opened.is_ok() {
            self.settle();
        }
    }

    pub fn kill(&mut self) {
        self.happened.crashes += usize::from(self.running.is_some());
        self.running = None;
        self.crash_after = None;
    }

    pub fn crash_after(&mut self, writes: u32) {
        self.crash_after = Some(writes);
    }

    /// A write, or a switch of what is served, after which the process may die.
    fn step_done(&mut self) -> Result<(), Crashed> {
        match self.crash_after {
            Some(0) => {
                self.kill();
                Err(Crashed)
            }
            left => {
                self.crash_after = left.map(|left| left - 1);
                Ok(())
            }
        }
    }

    /// Changes the ring in the file, then what is served.
    fn commit(
        &mut self,
        decide: impl FnOnce(&mut KeyRing, m2mint_keys::time::Moment) -> Option<NewKey>,
    ) -> Result<(), Crashed> {
        let running = self.running.as_mut().ok_or(Crashed)?;
        let last = running.clock.last();
        let wall = UnixTime::from_millis(last.wall.millis().saturating_sub(running.jump));
        let stored = AttestedClock::resume(running.clock.moment().attested, Reading { wall, ..last });
        let mut ring = KeyRing::from_records(self.file.records.clone()).unwrap();
        let fresh = decide(&mut ring, stored.moment());
        self.file.private.extend(fresh.map(|key| key.kid));
        self.file.private.retain(|kid| ring.get(kid).is_some_and(KeyRecord::has_private_half));
        self.file.records = ring.records().to_vec();
        self.file.attested = stored.moment().attested;
        self.file.clock = stored.last();
        running.saved = stored.last();
        self.step_done()?;
        let running = self.running.as_mut().ok_or(Crashed)?;
        let active = ring.active().unwrap();
        assert!(self.file.private.contains(&active.kid), "the active key can sign");
        running.signer = active.kid.clone();
        running.longest_lifetime = active.longest_lifetime;
        let served: Vec<Kid> = ring.published().map(|key| key.kid.clone()).collect();
        if served != running.served {
            self.served_since = self.world.now;
        }
        for kid in &served {
            self.first_served.entry(kid.clone()).or_insert(self.world.now);
        }
        running.served = served;
        running.ring = ring;
        self.step_done()
    }

    fn look_at_clock(&mut self) {
        let reading = self.world.reading();
        let Some(running) = self.running.as_mut() else { return };
        let jump = running.clock.observe(reading);
        running.jump = running.jump.saturating_add(jump).max(0);
        if running.jump <= TOLERATED_JUMP {
            running.jump = 0;
            running.trusted = Some(reading);
        }
    }

    /// One look of the keeper.
    pub fn settle(&mut self) {
        // An error means that the process has died: then there is nothing more to do.
        let _ = self.try_settle();
    }

    fn try_settle(&mut self) -> Result<(), Crashed> {
        for _ in 0..16 {
            self.look_at_clock();
            let Some(running) = self.running.as_ref() else { return Ok(()) };
            let last = running.clock.last();
            let wall = UnixTime::from_millis(last.wall.millis().saturating_sub(running.jump));
            let now =
                AttestedClock::resume(running.clock.moment().attested, Reading { wall, ..last }).moment();
            if !self.file.known && running.ring.known_in(&self.policy, now) == 0 {
                self.file.known = true;
                self.step_done()?;
                continue;
            }
            let Some(step) = running.ring.due(&self.policy, now, self.file.rotation_asked) else { break };
            let fresh = matches!(step, Transition::AddStandby | Transition::Promote).then(|| {
                self.made += 1;
                new_key(self.algorithm, self.made)
            });
            if step == Transition::Promote {
                self.file.rotation_asked = false;
                self.happened.promotions += 1;
            }
            self.happened.deletions += usize::from(matches!(step, Transition::Delete(_)));
            let lifetime = self.lifetime;
            self.commit(|ring, now| {
                ring.apply(&step, now, fresh.clone(), lifetime);
                fresh
            })?;
        }
        self.heartbeat()
    }

    fn heartbeat(&mut self) -> Result<(), Crashed> {
        let Some(running) = self.running.as_ref() else { return Ok(()) };
        let (saved, last) = (running.saved, running.clock.last());
        let wall = last.wall.millis().saturating_sub(running.jump);
        let ahead = wall - saved.wall.millis() - (last.steady - saved.steady).max(0);
        if last.steady - saved.steady < HEARTBEAT
            && wall - saved.wall.millis() < HEARTBEAT
            && ahead <= TOLERATED_JUMP
        {
            return Ok(());
        }
        self.commit(|ring, now| {
            ring.witness(now.wall);
            None
        })
    }

    pub fn mint(&mut self) -> Option<Token> {
        // Until then the ring of another algorithm signs.
        if !self.file.known {
            return None;
        }
        let reading = self.world.reading();
        let running = self.running.as_ref()?;
        let plausible = running.trusted.is_some_and(|trusted| {
            let attested =
                if trusted.boot == reading.boot { (reading.steady - trusted.steady).max(0) } else { 0 };
            reading.wall.millis_since(trusted.wall) - attested <= TOLERATED_JUMP
        });
        if !plausible {
            self.look_at_clock();
            self.running.as_mut()?.jump = 0;
            self.commit(|ring, now| {
                ring.witness(now.wall);
                None
            })
            .ok()?;
            self.running.as_mut()?.trusted = Some(self.world.reading());
        }
        let running = self.running.as_ref()?;
        let lifetime = self.lifetime.min(running.longest_lifetime);
        let expires_at = self.world.wall() + millis(lifetime);
        Some(Token::new(running.signer.clone(), expires_at, &self.world))
    }

    pub fn ask_for_rotation(&mut self) {
        self.file.rotation_asked |= self.running.is_some();
    }

    pub fn revoke(&mut self, kid: &Kid) {
        self.made += 1;
        let (fresh, lifetime) = (new_key(self.algorithm, self.made), self.lifetime);
        self.look_at_clock();
        let _ = self.commit(|ring, now| {
            // Unknown or revoked already: nothing changes.
            let _ = ring.revoke(kid, now, Some(fresh.clone()), lifetime);
            ring.get(&fresh.kid).is_some().then_some(fresh)
        });
    }

    pub fn set_lifetime(&mut self, lifetime: Duration) {
        self.look_at_clock();
        let raised = self.commit(|ring, _| {
            ring.allow_lifetime(lifetime);
            None
        });
        // Durable before the first token has it; a server that is down reads it when it starts.
        if raised.is_ok() || self.running.is_none() {
            self.lifetime = lifetime;
        }
    }

    pub fn kids(&self) -> Vec<Kid> {
        self.file.records.iter().map(|key| key.kid.clone()).collect()
    }

    pub fn file_ring(&self) -> KeyRing {
        KeyRing::from_records(self.file.records.clone()).unwrap()
    }

    pub fn has_private_half(&self, kid: &Kid) -> bool {
        self.file.private.contains(kid)
    }

    pub fn running_state(&self) -> Option<(&KeyRing, &Kid, &[Kid])> {
        self.running.as_ref().map(|running| (&running.ring, &running.signer, &*running.served))
    }

    pub fn served(&self) -> Option<&[Kid]> {
        self.running.as_ref().map(|running| &*running.served)
    }

    pub fn served_since(&self) -> i64 {
        self.served_since
    }
}

fn new_key(algorithm: Algorithm, number: u32) -> NewKey {
    let mut bytes = vec![0; if algorithm == Algorithm::EdDsa { 32 } else { 65 }];
    if algorithm == Algorithm::Es256 {
        // Uncompressed (SEC 1 §2.3.3). Nobody asks whether it is on the curve before something is to be verified.
        bytes[0] = 4;
    }
    bytes[4..8].copy_from_slice(&number.to_be_bytes());
    let public = PublicKey::from_bytes(algorithm, &bytes).unwrap();
    NewKey { kid: public.thumbprint(), public }
}
