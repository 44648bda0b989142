//! Whether the time of an answer tells what the answer does not: two kinds of requests in random order, Welch's t-test on
//! their times, and the same with the slowest cut off at several percentiles, as dudect does (Reparaz, Balasch and
//! Verbauwhede, 2017): above 4.5 two distributions are probably different, above 10 surely.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::random::Random;
use crate::support::{ADMIN_KEY, Client, Process};
use crate::table::{Plan, Row};
use crate::wire::{Request, Wire};

/// What shows a difference for sure.
const SURELY: f64 = 10.0;
const PROBABLY: f64 = 4.5;
/// How many times are cut off, at ever higher percentiles.
const CROPS: usize = 20;
/// Other answers than the one that is measured.
const MOST_STRAYS: u32 = 30;
/// A slow hash takes 20 ms: so many samples less are taken of it.
const SLOW: u32 = 200;
/// How often the difference that is planted is looked for again, among twice as many samples each time.
const PATIENCE: u32 = 4;
/// How much later the second of two of the same is made to seem: far less than what a request takes.
const PLANTED: Duration = Duration::from_micros(20);

/// Makes a request of the first kind, or of the second, that comes from an address.
type Make<'a> = Box<dyn Fn(bool, &str) -> Request + 'a>;

/// Two kinds of requests that get the same answer.
struct Pair<'a> {
    what: &'static str,
    status: u16,
    samples: u32,
    request: Make<'a>,
    /// How much longer the second kind is made to seem.
    planted: Duration,
}

pub fn times_tell_nothing(plan: &Plan) -> Vec<Row> {
    // Nobody waits, except where that is measured.
    let numbers = [
        ("M2MINT_LIMITS__GUESSES", "1000"),
        ("M2MINT_LIMITS__LONGEST_WAIT", "1h"),
        ("M2MINT_LIMITS__GUESSES_A_DAY", "4000000000"),
        ("M2MINT_LOG", "error"),
    ];
    let server = Process::with(&numbers);
    let made = |id: &str, secret: Option<&str>| {
        let mut fields = json!({"clientId": id, "audience": ["event"]});
        if let Some(secret) = secret {
            fields["clientSecret"] = json!(secret);
        }
        let made = server.admin("POST", "/recipe/oauth/clients", &fields).json();
        Client { id: id.into(), secret: made["clientSecret"].as_str().unwrap().into() }
    };
    // Among others, as in life.
    for number in 0..100 {
        made(&format!("timed-client-number-{number:03}"), None);
    }
    let known = made("timed-client-that-exists", None);
    let nobody = "timed-client-that-is-not";
    assert_eq!(known.id.len(), nobody.len());
    let wrong = format!("m2s_{}", "w".repeat(known.secret.len() - 4));
    // Right up to its last characters, but for which it would be let in.
    let nearly = format!("{}{}", &known.secret[..known.secret.len() - 8], "wwwwwwww");
    let nearly_key = format!("{}x", &ADMIN_KEY[..ADMIN_KEY.len() - 1]);
    let wrong_key = "x".repeat(ADMIN_KEY.len());
    let id = |first: bool| if first { &*known.id } else { nobody };
    let samples = plan.samples();
    let mut rows = Vec::new();
    println!("{}", HEAD);
    let mut measure = |mut pair: Pair<'_>, control: bool| {
        let mut found = pair.compare(&server);
        // On a machine with much else to do, a difference that is there takes more samples to be seen.
        let mut tries = if control { PATIENCE } else { 0 };
        while found <= SURELY && tries > 0 {
            pair.samples *= 2;
            found = pair.compare(&server);
            tries -= 1;
        }
        let word = if found > SURELY {
            "surely"
        } else if found > PROBABLY {
            "probably"
        } else {
            "not seen"
        };
        println!("        different: {word}");
        let (what, seen) = (format!("timing: {}: differ surely", pair.what), u32::from(found > SURELY));
        rows.push(if control {
            Row::new(format!("{what} (control: it must)"), pair.samples * 2, seen, 1..=1)
        } else if plan.long {
            Row::new(what, pair.samples * 2, seen, 0..=0)
        } else {
            Row::told(what, pair.samples * 2, seen)
        });
    };
    let pair =
        |what, status, samples, request| Pair { what, status, samples, request, planted: Duration::ZERO };
    measure(
        pair("an id that exists and one that does not, wrong secret of the server's form", 401, samples, {
            let wrong = wrong.clone();
            Box::new(move |first, from| Request::for_token(id(first), &wrong, from))
        }),
        false,
    );
    measure(
        pair("a secret right up to its last characters, and one wrong from the first", 401, samples, {
            let (id, nearly, wrong) = (known.id.clone(), nearly, wrong.clone());
            Box::new(move |first, from| Request::for_token(&id, if first { &nearly } else { &wrong }, from))
        }),
        false,
    );
    measure(
        pair("an admin key right up to its last character, and one wrong from the first", 401, samples, {
            Box::new(move |first, from| {
                Request::with_admin_key(if first { &nearly_key } else { &wrong_key }, from)
            })
        }),
        false,
    );
    measure(
        pair("an id that exists and one that does not, while nothing is tried (429)", 429, samples, {
            let wrong = wrong.clone();
            // Both have used up their tries at this address.
            let mut wire = Wire::to(&server.url);
            for first in [true, false] {
                for _ in 0..1200 {
                    wire.status(&Request::for_token(id(first), &wrong, "192.0.2.1"));
                }
            }
            Box::new(move |first, _| Request::for_token(id(first), &wrong, "192.0.2.1"))
        }),
        false,
    );
    let planted = Pair {
        planted: PLANTED,
        ..pair("two of the same, one of them 20 us later", 401, samples.min(10_000), {
            let wrong = wrong.clone();
            Box::new(move |_, from| Request::for_token(nobody, &wrong, from))
        })
    };
    measure(planted, true);
    // From now on, everybody costs a slow hash.
    let chosen = made("timed-client-that-chose.", Some("a secret that somebody chose"));
    measure(
        pair(
            "an id with a chosen secret and one that does not exist, wrong secret",
            401,
            (samples / SLOW).max(30),
            {
                let id = move |first: bool| if first { chosen.id.clone() } else { nobody.to_owned() };
                Box::new(move |first, from| Request::for_token(&id(first), "a secret that nobody has.", from))
            },
        ),
        false,
    );
    rows
}

const HEAD: &str = "
  samples   mean of 1st   mean of 2nd   difference   t, all   t, cropped (where it is greatest)";

impl Pair<'_> {
    /// Measures, prints, and says the greatest t.
    fn compare(&self, server: &Process) -> f64 {
        let mut wire = Wire::to(&server.url);
        let mut random = Random::seeded(11);
        let mut times = [Vec::new(), Vec::new()];
        let wanted = usize::try_from(self.samples).unwrap();
        let warm_up = wanted / 20;
        let (mut number, mut strays) = (0_u32, 0);
        while times.iter().any(|times| times.len() < wanted + warm_up) {
            let first = random.below(2) == 0;
            // Always as many characters, and never from the same address for long.
            let from = format!(
                "10.{}.{}.{}",
                100 + number % 100,
                100 + number / 100 % 100,
                100 + number / 10_000 % 100
            );
            number += 1;
            let request = (self.request)(first, &from);
            let (status, mut time) = wire.timed(&request);
            if status != self.status {
                // Whoever waits may try again now and then, in steps that double.
                strays += 1;
                assert!(strays < MOST_STRAYS, "{status}, not {}: {}", self.status, self.what);
                continue;
            }
            if !first && !self.planted.is_zero() {
                let begun = Instant::now();
                while begun.elapsed() < self.planted {}
                time += begun.elapsed();
            }
            let times = &mut times[usize::from(!first)];
            if times.len() < wanted + warm_up {
                times.push(time.as_secs_f64() * 1e6);
            }
        }
        let [first, second] = times.map(|times| times[warm_up..].to_vec());
        let mut all: Vec<f64> = first.iter().chain(&second).copied().collect();
        all.sort_by(f64::total_cmp);
        let crop = |number: usize| {
            #[allow(clippy::cast_precision_loss)]
            let percentile = 1.0 - 0.5_f64.powf(10.0 * (number + 1) as f64 / CROPS as f64);
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let limit = all[((all.len() - 1) as f64 * percentile) as usize];
            let below =
                |times: &[f64]| times.iter().copied().filter(|time| *time <= limit).collect::<Vec<_>>();
            (welch(&below(&first), &below(&second)), percentile)
        };
        let (cropped, percentile) =
            (0..CROPS).map(crop).max_by(|(a, _), (b, _)| a.abs().total_cmp(&b.abs())).unwrap();
        let t = welch(&first, &second);
        let (a, b) = (mean(&first), mean(&second));
        println!(
            "{:>9}   {a:>8.2} us   {b:>8.2} us   {:>7.3} us   {t:>6.2}   {cropped:>6.2} (fastest {:.1} %)   {}",
            first.len(),
            b - a,
            percentile * 100.0,
            self.what
        );
        t.abs().max(cropped.abs())
    }
}

#[allow(clippy::cast_precision_loss)]
fn mean(times: &[f64]) -> f64 {
    times.iter().sum::<f64>() / times.len() as f64
}

/// Welch's t: how many standard errors the means are apart. 0 where there is too little to tell.
#[allow(clippy::cast_precision_loss)]
fn welch(first: &[f64], second: &[f64]) -> f64 {
    let error = |times: &[f64]| {
        let mean = mean(times);
        let squares: f64 = times.iter().map(|time| (time - mean).powi(2)).sum();
        squares / (times.len() as f64 - 1.0) / times.len() as f64
    };
    if first.len() < 10 || second.len() < 10 {
        return 0.0;
    }
    let errors = (error(first) + error(second)).sqrt();
    if errors == 0.0 { 0.0 } else { (mean(first) - mean(second)) / errors }
}
