//! How long things took.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Durations, counted by how long they were.
#[derive(Debug)]
pub struct Histogram {
    /// In microseconds, ascending: each bucket holds what took no longer, and longer than the one before.
    bounds: &'static [u64],
    /// One more than there are bounds.
    buckets: Box<[AtomicU64]>,
    nanoseconds: AtomicU64,
}

/// What a histogram held when it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Upper bounds in seconds, and how many took no longer than each. The last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
    /// How many there were.
    pub count: u64,
    /// How long all of them took together, in seconds.
    pub sum: f64,
}

impl Histogram {
    /// One with these bounds, in microseconds.
    #[must_use]
    pub fn new(bounds: &'static [u64]) -> Self {
        Self {
            bounds,
            buckets: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            nanoseconds: AtomicU64::new(0),
        }
    }

    /// Counts one that took so long.
    pub fn observe(&self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let at = self.bounds.partition_point(|bound| bound.saturating_mul(1000) < nanoseconds);
        if let Some(bucket) = self.buckets.get(at) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// What it holds now.
    #[must_use]
    pub fn read(&self) -> Reading {
        let mut count = 0;
        let bounds = self.bounds.iter().map(|bound| Duration::from_micros(*bound).as_secs_f64());
        let bounds = bounds.chain([f64::INFINITY]);
        let buckets = bounds.zip(&self.buckets).map(|(bound, bucket)| {
            count += bucket.load(Ordering::Relaxed);
            (bound, count)
        });
        let buckets = buckets.collect();
        let sum = Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)).as_secs_f64();
        Reading { buckets, count, sum }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_counts_what_took_no_longer_than_its_bound() {
        let histogram = Histogram::new(&[1_000, 10_000]);
        for micros in [1, 1_000, 1_001, 10_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let reading = histogram.read();
        assert_eq!(reading.buckets, [(0.001, 2), (0.01, 3), (f64::INFINITY, 4)]);
        assert_eq!(reading.count, 4);
        assert!((reading.sum - 0.012_003).abs() < 1e-9);
    }
}
