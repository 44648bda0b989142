//! The trace that a request belongs to: W3C Trace Context, `traceparent` and `tracestate`.

use std::borrow::Cow;

/// The longest `tracestate` that is taken, in bytes: what vendors are sure to have passed on (§3.3.1.5). With spans waiting for
/// a collector, what strangers send takes so much memory and no more.
pub const LONGEST_STATE: usize = 512;

/// Where a trace comes from, as the caller wrote it: well-formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent<'a> {
    /// `traceparent`: the trace, the caller's span, and whether it is recorded.
    pub traceparent: &'a str,
    /// `tracestate`: what vendors keep there. It may be anything.
    pub tracestate: Cow<'a, str>,
}

impl<'a> Parent<'a> {
    /// Reads the values of the two headers. `None` when there is no `traceparent`, several, or a malformed one, which begins
    /// a new trace (W3C Trace Context §3.2.2.3, §4.3).
    pub fn read<I: Iterator<Item = &'a [u8]>>(
        mut traceparents: impl Iterator<Item = &'a [u8]>,
        tracestates: impl FnOnce() -> I,
    ) -> Option<Self> {
        let traceparent = std::str::from_utf8(traceparents.next()?.trim_ascii()).ok()?;
        if traceparents.next().is_some() || !is_well_formed(traceparent.as_bytes()) {
            return None;
        }
        // Several headers are one list (§3.3.1.1). What is no text makes all of it worthless, and nothing else.
        let states: Result<Vec<_>, _> = tracestates().map(std::str::from_utf8).collect();
        let tracestate = match states.unwrap_or_default().as_slice() {
            [] => Cow::Borrowed(""),
            [one] => Cow::Borrowed(*one),
            several => Cow::Owned(several.join(",")),
        };
        let tracestate = if tracestate.len() <= LONGEST_STATE { tracestate } else { Cow::Borrowed("") };
        Some(Self { traceparent, tracestate })
    }
}

/// Whether a `traceparent` has the form of its version: lower-case hexadecimal digits in their places (§3.2.2), with more
/// behind them in versions that come after this one.
fn is_well_formed(text: &[u8]) -> bool {
    let (Some(known), rest) = (text.get(..55), text.get(55..).unwrap_or_default()) else { return false };
    let placed = known.iter().enumerate().all(|(at, byte)| match at {
        2 | 35 | 52 => *byte == b'-',
        _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
    });
    let part = |from: usize, to: usize| known.get(from..to).unwrap_or_default();
    let is_zero = |part: &[u8]| part.iter().all(|digit| *digit == b'0');
    let version = part(0, 2);
    let ends = rest.is_empty() || (version != b"00" && rest.starts_with(b"-"));
    placed && ends && version != b"ff" && !is_zero(part(3, 35)) && !is_zero(part(36, 52))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn read(traceparents: &[&'static str], tracestates: &[&'static [u8]]) -> Option<String> {
        let parents = traceparents.iter().map(|text| text.as_bytes());
        let parent = Parent::read(parents, || tracestates.iter().copied())?;
        Some(format!("{} {}", parent.traceparent, parent.tracestate))
    }

    #[test]
    fn a_well_formed_parent_is_taken_with_all_of_its_state() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(read(&[parent], &[]), Some(format!("{parent} ")));
        assert_eq!(read(&[parent], &[b"a=1", b"b=2"]), Some(format!("{parent} a=1,b=2")));
        assert_eq!(read(&[parent], &[b"a=1", b"\xff"]), Some(format!("{parent} ")));
        assert_eq!(read(&[parent], &[&[b'a'; LONGEST_STATE + 1]]), Some(format!("{parent} ")));
        assert!(is_well_formed(format!("01-{TRACE}-{SPAN}-01-what-comes-later").as_bytes()));
        assert!(is_well_formed(format!("cc-{TRACE}-{SPAN}-ff").as_bytes()));
    }

    #[test]
    fn a_malformed_parent_is_none() {
        for wrong in [
            String::new(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("01-{TRACE}-{SPAN}-01more"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0-{TRACE}-{SPAN}-001"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-{}-01", SPAN.to_uppercase()),
            format!("00-{TRACE}-{SPAN}-0A"),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-+{}-{SPAN}-01", &TRACE[1..]),
            format!("00_{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}{SPAN}--01"),
            format!("00-{TRACE}-{SPAN}-é"),
        ] {
            assert!(!is_well_formed(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn two_parents_are_none() {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(read(&[parent, parent], &[]), None);
        assert_eq!(read(&[], &[b"a=1"]), None);
    }
}
