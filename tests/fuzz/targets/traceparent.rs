//! `traceparent`: any header, and any `tracestate` beside it. What is read has the form that W3C Trace Context gives it, part by
//! part, and is what was sent.

use m2mint::traces::parent::{LONGEST_STATE, Parent};

pub fn check(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let sent = lines.next().unwrap_or_default();
    let states: Vec<_> = lines.collect();
    let read = |parents: &[&[u8]]| {
        let parent = Parent::read(parents.iter().copied(), || states.iter().copied());
        parent.map(|parent| (parent.traceparent.to_owned(), parent.tracestate.into_owned()))
    };
    assert_eq!(read(&[sent, sent]), None, "two are none");
    let Some((parent, state)) = read(&[sent]) else { return };
    assert_eq!(parent.as_bytes(), sent.trim_ascii());
    let parts: Vec<_> = parent.split('-').collect();
    let [version, trace, span, flags, later @ ..] = parts.as_slice() else { panic!("{parent}") };
    for (part, digits) in [(version, 2), (trace, 32), (span, 16), (flags, 2)] {
        let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        assert!(part.len() == digits && part.chars().all(is_digit), "{parent}");
    }
    assert!(*version != "ff" && (*version != "00" || later.is_empty()), "{parent}");
    assert!(u128::from_str_radix(trace, 16).unwrap() != 0 && u64::from_str_radix(span, 16).unwrap() != 0);
    assert!(state.is_empty() || state.as_bytes() == states.join(&b','));
    assert!(state.len() <= LONGEST_STATE, "{state}");
}
