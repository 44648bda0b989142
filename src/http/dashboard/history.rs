//! What was counted in the last hour, for the graphs of the overview.

use std::collections::VecDeque;

use parking_lot::Mutex;

/// Milliseconds between two samples.
pub const STEP: i64 = 30_000;
/// How many are kept: an hour and the one before.
const KEPT: usize = 121;

/// Counters at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    /// When, in steady milliseconds.
    pub at: i64,
    /// Tokens that were ever issued.
    pub tokens: u64,
    /// Requests that were ever refused.
    pub refused: u64,
}

/// The last hour.
#[derive(Default)]
pub struct History(Mutex<VecDeque<Sample>>);

/// What happened from one sample to the next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Step {
    /// Milliseconds.
    pub millis: i64,
    /// Tokens issued.
    pub tokens: u64,
    /// Requests refused.
    pub refused: u64,
}

impl History {
    /// To be called often: takes what `count` says, when it is time for another sample.
    pub fn look(&self, now: i64, count: impl FnOnce() -> (u64, u64)) {
        let mut samples = self.0.lock();
        if samples.back().is_some_and(|last| now.saturating_sub(last.at) < STEP) {
            return;
        }
        let (tokens, refused) = count();
        samples.push_back(Sample { at: now, tokens, refused });
        if samples.len() > KEPT {
            samples.pop_front();
        }
    }

    /// Every step, oldest first; the last one is under way, and reaches to `now`.
    #[must_use]
    pub fn steps(&self, now: Sample) -> Vec<Step> {
        let samples = self.0.lock();
        let later = samples.iter().skip(1).copied().chain([now]);
        let step = |(before, after): (&Sample, Sample)| Step {
            millis: after.at.saturating_sub(before.at),
            tokens: after.tokens.saturating_sub(before.tokens),
            refused: after.refused.saturating_sub(before.refused),
        };
        samples.iter().zip(later).map(step).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_kept_in_steps() {
        let history = History::default();
        for second in 0..7200_u64 {
            let now = i64::try_from(second).unwrap() * 1000;
            history.look(now, || (second * 2, second));
        }
        let steps = history.steps(Sample { at: 7_200_000, tokens: 14_400, refused: 7200 });
        assert_eq!(steps.len(), KEPT);
        assert!(
            steps.iter().all(|step| *step == Step { millis: STEP, tokens: 60, refused: 30 }),
            "{steps:?}"
        );
    }

    #[test]
    fn what_is_under_way_counts_from_the_last_sample() {
        let history = History::default();
        history.look(0, || (5, 1));
        let steps = history.steps(Sample { at: 2000, tokens: 9, refused: 1 });
        assert_eq!(steps, [Step { millis: 2000, tokens: 4, refused: 0 }]);
        assert_eq!(History::default().steps(Sample::default()), []);
    }
}
