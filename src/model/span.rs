//! Durations as people write them: `15m`, `25h`, `90d`, `4h0m0s`.

use std::fmt;
use std::time::Duration;

/// A duration in whole seconds or finer, with the text that people read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span(pub Duration);

/// The text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a duration: write a number and a unit, such as 90s, 15m, 25h or 90d; at most 36500d")]
pub struct InvalidSpan;

impl Span {
    /// Reads `90s`, `15m`, `25h`, `90d`, and sums such as `4h0m0s`.
    ///
    /// # Errors
    /// [`InvalidSpan`] for anything else, and for more than a hundred years. A number without a unit is refused: seconds or minutes would be a guess.
    pub fn parse(text: &str) -> Result<Self, InvalidSpan> {
        const LONGEST: Duration = Duration::from_secs(36_500 * 86_400);
        let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || c == ' ');
        let span = humantime::parse_duration(text).map_err(|_| InvalidSpan)?;
        let has_unit = text.ends_with(|c: char| c.is_ascii_alphabetic());
        // A hundred years: longer ones lead to dates that nothing can show.
        (plain && has_unit && span <= LONGEST).then_some(Self(span)).ok_or(InvalidSpan)
    }

    /// Whole seconds.
    #[must_use]
    pub const fn secs(self) -> u64 {
        self.0.as_secs()
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.0.as_secs();
        if self.0.is_zero() {
            return f.write_str("0s");
        }
        if self.0.subsec_nanos() == 0 {
            // The unit that people configure in: hours stay hours up to four days, and a minute is 60 seconds.
            for (unit, length, least) in [("d", 86_400, 4), ("h", 3600, 1), ("m", 60, 2)] {
                if secs.is_multiple_of(length) && secs / length >= least {
                    return write!(f, "{}{unit}", secs / length);
                }
            }
            return write!(f, "{secs}s");
        }
        write!(f, "{}", humantime::format_duration(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_means_more_than_a_hundred_years() {
        assert!(Span::parse("36500d").is_ok());
        assert!(Span::parse("36501d").is_err() && Span::parse("99999999999999d").is_err());
    }

    #[test]
    fn reads_what_people_and_supertokens_write() {
        for (text, secs) in
            [("90s", 90), ("15m", 900), ("25h", 90_000), ("90d", 7_776_000), ("4h0m0s", 14_400)]
        {
            assert_eq!(Span::parse(text).map(Span::secs), Ok(secs), "{text}");
        }
        for wrong in ["", "15", "m", "-15m", "15 parsecs", "1.5h", "15m!"] {
            assert_eq!(Span::parse(wrong), Err(InvalidSpan), "{wrong}");
        }
    }

    #[test]
    fn writes_what_it_reads() {
        for text in ["0s", "90s", "15m", "25h", "60s", "2m", "90d", "24h", "1h", "90m"] {
            assert_eq!(Span::parse(text).unwrap().to_string(), text);
        }
    }
}
