//! The machine's clocks, and a clock that tests move.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use m2mint_keys::crypto;
use m2mint_keys::time::{Boot, Reading, UnixTime, millis};
use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};

/// Where time comes from.
#[derive(Clone)]
pub enum Clock {
    /// The machine.
    System(Boot),
    /// A clock that stands still until somebody moves it.
    Manual(ManualClock),
}

impl Clock {
    /// The machine's clocks.
    #[must_use]
    pub fn system() -> Self {
        Self::System(this_boot())
    }

    /// What all clocks say right now.
    #[must_use]
    pub fn read(&self) -> Reading {
        match self {
            Self::System(boot) => Reading { wall: wall(), steady: steady(), boot: *boot },
            Self::Manual(clock) => *clock.0.lock(),
        }
    }

    /// Milliseconds on the clock that only goes forward.
    #[must_use]
    pub fn steady(&self) -> i64 {
        match self {
            Self::System(_) => steady(),
            Self::Manual(clock) => clock.0.lock().steady,
        }
    }

    /// What the wall clock says right now.
    #[must_use]
    pub fn wall(&self) -> UnixTime {
        match self {
            Self::System(_) => wall(),
            Self::Manual(clock) => clock.0.lock().wall,
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.read())
    }
}

/// A clock that stands still until somebody moves it.
#[derive(Clone)]
pub struct ManualClock(Arc<Mutex<Reading>>);

impl ManualClock {
    /// A clock that stands at `wall`.
    #[must_use]
    pub fn at(wall: UnixTime) -> Self {
        Self(Arc::new(Mutex::new(Reading { wall, steady: 0, boot: Boot([1; 16]) })))
    }

    /// Lets time pass.
    pub fn pass(&self, millis: i64) {
        let mut now = self.0.lock();
        now.wall = UnixTime::from_millis(now.wall.millis() + millis);
        now.steady += millis;
    }

    /// Lets time pass in which the machine boots anew.
    pub fn reboot(&self, millis: i64) {
        let mut now = self.0.lock();
        let Boot([last, ..]) = now.boot;
        *now = Reading {
            wall: UnixTime::from_millis(now.wall.millis() + millis),
            steady: 0,
            boot: Boot([last.wrapping_add(1); 16]),
        };
    }

    /// Sets the wall clock forward or back, while no time passes.
    pub fn jump(&self, millis: i64) {
        let mut now = self.0.lock();
        now.wall = UnixTime::from_millis(now.wall.millis() + millis);
    }
}

fn wall() -> UnixTime {
    UnixTime::from_millis(match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => millis(since),
        Err(before) => -millis(before.duration()),
    })
}

fn steady() -> i64 {
    // Goes on while the machine sleeps, and nobody can set it.
    let now = clock_gettime(ClockId::Boottime);
    now.tv_sec.saturating_mul(1000).saturating_add(now.tv_nsec / 1_000_000)
}

/// Which boot the steady clock counts from. Where the system does not tell, every start counts as a boot of its own:
/// time between two runs is then not credited, which errs on the side of waiting longer.
fn this_boot() -> Boot {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    let id = id.and_then(|text| text.trim().parse::<uuid::Uuid>().ok()).map(|id| *id.as_bytes());
    Boot(id.unwrap_or_else(|| crypto::random().unwrap_or([0; 16])))
}
