//! How many tokens a client got in the last minute: exactly, in any 60 seconds.

use std::collections::VecDeque;

use parking_lot::Mutex;

use crate::limits::Wait;

const MINUTE: i64 = 60_000;

/// When a client got its last tokens: no more of them than it may get in a minute.
#[derive(Debug, Default)]
pub struct Turns(Mutex<VecDeque<i64>>);

impl Turns {
    /// Takes one of `limit` a minute, at `now` in milliseconds.
    ///
    /// # Errors
    /// How long to [`Wait`] for the next one.
    pub fn take(&self, limit: u32, now: i64) -> Result<(), Wait> {
        let mut turns = self.0.lock();
        // A moment that is still to come is of another clock.
        turns.retain(|turn| (0..MINUTE).contains(&now.saturating_sub(*turn)));
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        // The limit may have been lowered meanwhile: as many have to be a minute old as are too many.
        let too_many = (turns.len() + 1).checked_sub(limit).filter(|too_many| *too_many > 0);
        match too_many.and_then(|too_many| turns.get(too_many - 1)) {
            Some(turn) => Err(Wait::of(turn.saturating_add(MINUTE).saturating_sub(now))),
            None => {
                turns.push_back(now);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_sixty_seconds_see_more_than_the_limit_and_whoever_waits_as_told_is_served() {
        let (turns, limit) = (Turns::default(), 7);
        let (mut now, mut got) = (1_000_000, Vec::new());
        for step in 0..10_000 {
            now += [10, 3_000, 500, 20_000, 0][step % 5];
            match turns.take(limit, now) {
                Ok(()) => got.push(now),
                Err(wait) => {
                    now += i64::try_from(wait.seconds()).unwrap() * 1000;
                    assert_eq!(turns.take(limit, now), Ok(()));
                    got.push(now);
                }
            }
        }
        let most =
            got.iter().map(|from| got.iter().filter(|at| (*from..from + MINUTE).contains(at)).count()).max();
        assert_eq!(most, Some(7));
    }

    #[test]
    fn a_limit_that_was_lowered_counts_what_was_taken_before() {
        let turns = Turns::default();
        (0..10).for_each(|at| turns.take(10, at * 1000).unwrap());
        assert_eq!(turns.take(2, 10_000).unwrap_err().seconds(), 58);
        assert!(turns.take(2, 67_999).is_err());
        assert_eq!(turns.take(2, 68_000), Ok(()));
    }
}
