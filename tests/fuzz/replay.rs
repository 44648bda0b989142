//! The fuzz targets of the server and of `keys/` without a fuzzer: every file of their corpora, then random changes of them.
//!
//! `FUZZ_SECONDS` says how long each target is tried (2). `tests/fuzz/run` does the same with coverage to guide it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test may panic"
)]

#[path = "../../keys/fuzz/targets/mod.rs"]
mod keys;
#[path = "targets/mod.rs"]
mod server;

use std::panic::catch_unwind;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// No input grows beyond this.
const LONGEST: usize = 4096;

macro_rules! targets {
    ($($folder:literal $crate_:ident: $($name:ident)*;)*) => {$($(
        #[test]
        fn $name() {
            replay(concat!($folder, "/corpus/", stringify!($name)), $crate_::$name::check);
        }
    )*)*};
}

targets! {
    "keys/fuzz" keys: bearer claims jwks master_key sealed token;
    "tests/fuzz" server: basic client_json configuration rule token_request traceparent;
}

fn replay(folder: &str, check: fn(&[u8])) {
    let seed = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    let try_on = |input: &[u8]| {
        if catch_unwind(|| check(input)).is_err() {
            let input = input.escape_ascii();
            panic!("a promise is broken by b\"{input}\" (seed {seed}); keep it as a file in {folder}");
        }
    };
    let mut corpus = corpus(folder);
    assert!(!corpus.is_empty(), "{folder} is empty");
    corpus.iter().for_each(|input| try_on(input));
    let seconds =
        std::env::var("FUZZ_SECONDS").map_or(2, |text| text.parse().expect("FUZZ_SECONDS is a number"));
    let (started, mut random, mut tried) = (Instant::now(), Random(seed), 0_u64);
    corpus.push(Vec::new());
    while started.elapsed() < Duration::from_secs(seconds) {
        let mut input = random.one_of(&corpus).clone();
        for _ in 0..=random.below(4) {
            change(&mut input, &corpus, &mut random);
        }
        input.truncate(LONGEST);
        try_on(&input);
        tried += 1;
    }
    println!("{folder}: {} files, {tried} changes of them", corpus.len() - 1);
}

fn corpus(folder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// One change: a byte, a character that means something to a parser, a part left out, doubled, or taken from elsewhere.
fn change(input: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    const TELLING: &[u8] = b"\"\\{}[],:;=&%+ \n\r\t\0/.*?#@-_<>0129aAKzZ\x7f\xc3\xff";
    let at = random.below(input.len() + 1);
    let end = at + random.below((input.len() - at).min(32) + 1);
    match random.below(7) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = *random.one_of(TELLING),
        2 => drop(input.drain(at..end)),
        3 => {
            let part = input[at..end].to_vec();
            input.splice(at..at, part);
        }
        4 => {
            let other = random.one_of(corpus);
            let from = random.below(other.len() + 1);
            let to = from + random.below(other.len() - from + 1);
            input.splice(at..end, other[from..to].iter().copied());
        }
        5 => input.truncate(at),
        _ => input.insert(at, *random.one_of(TELLING)),
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}
