use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::*;

const DAY_MILLIS: i64 = 86_400_000;
const GUESSES: u32 = 1_000_000;
const START: i64 = 5_000_000;
const RIGHT: &str = "the secret that is right";

fn address(number: u32) -> Source {
    Source::Address(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number)))
}

fn limiter() -> Limiter {
    Limiter::new(Settings::default(), START)
}

/// Tries one secret, as the token endpoint does. Answers whether it was tried.
fn guess(limiter: &Limiter, id: &str, source: Source, secret: &str, now: i64) -> Result<bool, Wait> {
    let leave = limiter.admit(Door::Client(id), source, secret, || false, now)?;
    let right = secret == RIGHT;
    if right {
        limiter.right(&leave, now)
    } else {
        limiter.wrong(&leave)
    }
    Ok(right)
}

/// How many of a million guesses in a day are tried. `when` says at which part of the day each comes.
fn tried_in_a_day(from: impl Fn(u32) -> Source, when: impl Fn(f64) -> f64) -> u32 {
    let limiter = limiter();
    let mut tried = 0;
    for number in 0..GUESSES {
        let part = when(f64::from(number) / f64::from(GUESSES));
        #[allow(clippy::cast_possible_truncation)]
        let now = START + (part * DAY_MILLIS as f64) as i64;
        tried += u32::from(guess(&limiter, "victim", from(number), &format!("guess {number}"), now).is_ok());
    }
    tried
}

#[test]
fn a_million_guesses_at_one_id_in_a_day_get_at_most_two_thousand_tries() {
    let evenly = |part| part;
    let in_an_hour = |part| part / 24.0;
    let at_both_ends = |part| if part < 0.5 { part / 1e3 } else { 1.0 - (1.0 - part) / 1e3 };
    for (addresses, when) in [
        (1, evenly as fn(f64) -> f64),
        (100, evenly),
        (GUESSES, evenly),
        (GUESSES, in_an_hour),
        (GUESSES, at_both_ends),
    ] {
        let tried = tried_in_a_day(|number| address(number % addresses), when);
        assert!((100..=2000).contains(&tried), "{tried} tries from {addresses} addresses");
    }
}

#[test]
fn one_address_gets_a_few_hundred_tries_at_one_id_and_fifteen_hundred_at_all() {
    let one = tried_in_a_day(|_| address(1), |part| part);
    assert!((100..=320).contains(&one), "{one}");
    let limiter = limiter();
    let guess = |number: u32| {
        let now = START + i64::from(number) * DAY_MILLIS / i64::from(GUESSES);
        guess(&limiter, &format!("client {number}"), address(1), "wrong", now).is_ok()
    };
    let sprayed = (0..GUESSES).filter(|number| guess(*number)).count();
    assert!((1000..=1600).contains(&sprayed), "{sprayed}");
}

#[test]
fn waits_double_up_to_the_longest_and_a_right_secret_ends_them() {
    let limiter = limiter();
    let (mut now, mut waits) = (START, Vec::new());
    for number in 0..22 {
        match guess(&limiter, "victim", address(1), &format!("guess {number}"), now) {
            Ok(_) => assert!(number < 10 || !waits.is_empty()),
            Err(wait) => {
                waits.push(wait.seconds());
                now += i64::try_from(wait.seconds()).unwrap() * 1000;
                assert!(guess(&limiter, "victim", address(1), "now", now - 1).is_err(), "too early");
                assert_eq!(guess(&limiter, "victim", address(1), "now", now), Ok(false), "in time");
            }
        }
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
    now += 300_000;
    assert_eq!(guess(&limiter, "victim", address(1), RIGHT, now), Ok(true));
    assert_eq!(guess(&limiter, "victim", address(1), "wrong", now), Ok(false), "all of it is forgiven");
}

#[test]
fn a_secret_that_was_right_here_is_served_whatever_others_do() {
    let limiter = limiter();
    let home = address(7);
    assert_eq!(guess(&limiter, "victim", home, RIGHT, START), Ok(true));
    for number in 0..100_000 {
        let now = START + i64::from(number) * 100;
        // From the client's own address, from elsewhere, at its id and at others.
        let _ = guess(&limiter, "victim", home, &format!("guess {number}"), now);
        let _ = guess(&limiter, "victim", address(1000 + number), &format!("guess {number}"), now);
        let _ = guess(&limiter, &format!("other {number}"), home, "wrong", now);
        assert_eq!(guess(&limiter, "victim", home, RIGHT, now), Ok(true), "{number}");
    }
}

#[test]
fn guesses_from_one_address_do_not_lock_the_client_out_at_another_that_is_new() {
    let limiter = limiter();
    for number in 0..GUESSES {
        let now = START + i64::from(number) * DAY_MILLIS / i64::from(GUESSES);
        let _ = guess(&limiter, "victim", address(1), &format!("guess {number}"), now);
        if number % 10_000 == 0 {
            assert_eq!(guess(&limiter, "victim", address(100 + number), RIGHT, now), Ok(true), "{number}");
        }
    }
}

#[test]
fn a_new_secret_at_a_usual_address_is_served_while_a_thousand_addresses_guess() {
    let limiter = limiter();
    assert_eq!(guess(&limiter, "victim", address(7), RIGHT, START), Ok(true));
    for number in 0..50_000 {
        let _ = guess(&limiter, "victim", address(1000 + number % 1000), "wrong", START + i64::from(number));
    }
    let now = START + 50_000;
    assert!(
        limiter.admit(Door::Client("victim"), address(8), "rotated", || false, now).is_err(),
        "a stranger waits"
    );
    assert!(limiter.admit(Door::Client("victim"), address(7), "rotated", || false, now).is_ok());
    assert!(
        limiter.admit(Door::Client("victim"), address(9), "rotated", || true, now).is_ok(),
        "where it is expected"
    );
}

#[test]
fn a_secret_that_was_right_and_no_longer_is_counts_as_wrong() {
    let limiter = limiter();
    assert_eq!(guess(&limiter, "victim", address(7), RIGHT, START), Ok(true));
    let tried = (0..1000).filter(|_| {
        let leave = limiter.admit(Door::Client("victim"), address(7), RIGHT, || false, START);
        leave.is_ok_and(|leave| {
            limiter.wrong(&leave);
            true
        })
    });
    assert_eq!(tried.count(), 11, "once as usual, and then as any other");
}

#[test]
fn many_guesses_at_the_same_moment_are_charged_before_the_first_is_answered() {
    let limiter = limiter();
    let admitted: Vec<_> = (0..1000)
        .filter_map(|_| limiter.admit(Door::Client("victim"), address(1), "wrong", || false, START).ok())
        .collect();
    assert_eq!(admitted.len(), 10);
    admitted.iter().for_each(|leave| limiter.untried(leave, START));
    assert!(
        limiter.admit(Door::Client("victim"), address(1), "wrong", || false, START).is_ok(),
        "nothing was tried"
    );
}

#[test]
fn whoever_knocks_for_another_shares_the_budget_of_the_id_and_not_the_fate_of_the_address() {
    let limiter = limiter();
    let through_core =
        |id: &str, now| limiter.admit(Door::ClientOfAnother(id), address(1), "wrong", || false, now).is_ok();
    assert_eq!((0..1000).filter(|number| through_core(&format!("client {number}"), START)).count(), 1000);
    assert!(limiter.admit(Door::Client("new"), address(1), "wrong", || false, START).is_ok());
    let one = (0..100).filter(|_| through_core("victim", START)).count();
    let other = (0..100).filter(|_| guess(&limiter, "victim", address(1), "wrong", START).is_ok()).count();
    assert_eq!((one, other), (10, 0));
}

#[test]
fn a_million_ids_from_a_million_addresses_take_no_more_than_32_mib() {
    let limiter = limiter();
    let before = limiter.bytes();
    for number in 0..GUESSES {
        let (id, now) = (format!("client {number}"), START + i64::from(number));
        let _ = guess(&limiter, &id, address(number), "wrong", now);
        let _ = guess(&limiter, &id, address(number), RIGHT, now);
    }
    assert_eq!(limiter.bytes(), before);
    assert!(before <= 32 << 20, "{before}");
}

#[test]
fn a_flood_of_other_ids_does_not_make_room_for_more_guesses() {
    let limiter = limiter();
    let drained = |now| {
        (0..10_000).filter(|number| guess(&limiter, "victim", address(*number), "x", now).is_ok()).count()
    };
    let at_once = drained(START);
    for number in 0..GUESSES {
        let _ = guess(&limiter, &format!("client {number}"), address(100_000 + number), "wrong", START + 1);
    }
    let more = drained(START + 2);
    assert_eq!((at_once > 400, more), (true, 0), "{at_once} at once");
}

#[test]
fn a_subscriber_has_one_64_and_ipv4_inside_of_ipv6_is_ipv4() {
    let limiter = limiter();
    let v6 = |low: u16, net: u16| Source::of(Some(Ipv6Addr::new(0x2001, 0xdb8, 0, net, 0, 0, 0, low).into()));
    assert_eq!(
        (0..100).filter(|low| guess(&limiter, "victim", v6(*low, 1), "wrong", START).is_ok()).count(),
        10
    );
    assert!(guess(&limiter, "victim", v6(0, 2), "wrong", START).is_ok());
    let v4 = |low: u8| Source::of(Some(Ipv4Addr::new(192, 0, 2, low).into()));
    let mapped = Source::of(Some("::ffff:192.0.2.1".parse().unwrap()));
    assert_eq!((0..100).filter(|_| guess(&limiter, "other", mapped, "wrong", START).is_ok()).count(), 10);
    assert!(guess(&limiter, "other", v4(1), "wrong", START).is_err());
    assert!(guess(&limiter, "other", v4(2), "wrong", START).is_ok());
}

#[test]
fn admin_keys_are_guessed_at_by_address_alone() {
    let limiter = limiter();
    let try_key = |number, key: &str| limiter.admit(Door::Admin, address(number), key, || false, START);
    assert_eq!((0..100).filter(|_| try_key(1, "wrong").is_ok()).count(), 10);
    let elsewhere = try_key(2, RIGHT).unwrap();
    limiter.right(&elsewhere, START);
    assert_eq!((0..100).filter(|_| try_key(2, "wrong").is_ok()).count(), 10);
    assert!(try_key(2, RIGHT).is_ok());
}

#[test]
fn a_clock_that_goes_back_locks_nobody_out() {
    let limiter = limiter();
    for _ in 0..1000 {
        let _ = guess(&limiter, "victim", address(1), "wrong", START);
    }
    let wait = guess(&limiter, "victim", address(1), "wrong", 0).unwrap_err();
    assert!(wait.seconds() <= 300, "{wait:?}");
}
