//! Signs of life of the threads that serve and of the one that keeps the keys.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How often a worker shows that it is not stuck.
const BEAT: Duration = Duration::from_secs(1);

/// When a thread last showed that it is not stuck, in milliseconds since this process began to count.
#[derive(Debug)]
pub struct Beat(AtomicU64);

impl Default for Beat {
    fn default() -> Self {
        Self(AtomicU64::new(since_start()))
    }
}

impl Beat {
    /// Shows it.
    pub fn show(&self) {
        self.0.store(since_start(), Ordering::Relaxed);
    }

    /// Whether it was shown within `limit`.
    #[must_use]
    pub fn is_within(&self, limit: Duration) -> bool {
        let oldest = since_start().saturating_sub(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        self.0.load(Ordering::Relaxed) >= oldest
    }
}

/// The beats of the workers.
#[derive(Default)]
pub struct Beats(Mutex<Vec<Arc<Beat>>>);

impl Beats {
    /// Makes the worker on whose thread this runs show it from now on. A worker makes several apps.
    pub fn join(&self) {
        thread_local!(static JOINED: Cell<bool> = const { Cell::new(false) });
        if JOINED.replace(true) {
            return;
        }
        let beat = Arc::new(Beat::default());
        self.0.lock().push(Arc::clone(&beat));
        actix_web::rt::spawn(async move {
            loop {
                beat.show();
                tokio::time::sleep(BEAT).await;
            }
        });
    }

    /// Whether every worker has shown it within `limit`.
    #[must_use]
    pub fn all_within(&self, limit: Duration) -> bool {
        self.0.lock().iter().all(|beat| beat.is_within(limit))
    }

    /// How many have shown it within `limit`, and how many there are.
    #[must_use]
    pub fn count(&self, limit: Duration) -> (usize, usize) {
        let beats = self.0.lock();
        (beats.iter().filter(|beat| beat.is_within(limit)).count(), beats.len())
    }
}

/// Milliseconds on a clock that only goes forward.
fn since_start() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX)
}
