//! Secrets and admin keys are guessed at, from one address and from a million.

use serde_json::json;

use crate::random::Random;
use crate::support::{ADMIN_KEY, Process, Server};
use crate::table::{Plan, Row};
use crate::wire::{Request, Wire};

const DAY: i64 = 86_400_000;
/// What a day of guesses at one id may get, from however many addresses.
const MOST: u32 = 2000;

/// The `number`th of many addresses.
fn address(number: u32) -> String {
    std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).to_string()
}

/// The `number`th guess: half of them look like secrets that the server makes.
fn guess(number: u32) -> String {
    if number.is_multiple_of(2) {
        format!("a guess of no form {number:08}")
    } else {
        format!("m2s_{number:049}")
    }
}

/// Lets a day pass in so many steps.
fn step(server: &Server, number: u32, of: u32) {
    let at = |number: u32| DAY * i64::from(number) / i64::from(of);
    server.clock.pass(at(number + 1) - at(number));
}

pub fn a_day_of_guesses_at_one_id_gets_few_tries(plan: &Plan) -> Vec<Row> {
    let guesses = plan.either(10_000, 1_000_000);
    let rows = [1, 100, u32::MAX].map(|addresses| {
        ["exists", "does not exist"].map(|existence| {
            let server = Server::start();
            let id = if existence == "exists" { server.task_service().id } else { "nobody".into() };
            let mut wire = Wire::to(&server.url);
            let mut tried = 0;
            for number in 0..guesses {
                step(&server, number, guesses);
                match wire.status(&Request::for_token(&id, &guess(number), &address(number % addresses))) {
                    401 => tried += 1,
                    429 => {}
                    other => panic!("{other}"),
                }
            }
            let from = if addresses == u32::MAX { "as many".into() } else { addresses.to_string() };
            let what =
                format!("guesses in a day at an id that {existence}, from {from} addresses: were tried");
            Row::new(what, guesses, tried, 100..=MOST)
        })
    });
    rows.into_iter().flatten().collect()
}

pub fn a_client_is_served_while_others_guess_at_its_id(plan: &Plan) -> Vec<Row> {
    let guesses = plan.either(10_000, 1_000_000);
    let server = Server::start();
    let client = server.client(&json!({"audience": ["event"]}));
    let own = ["192.0.2.1", "2001:db8::1"];
    let mut wire = Wire::to(&server.url);
    let right = own.map(|from| Request::for_token(&client.id, &client.secret, from));
    right.iter().for_each(|right| assert_eq!(wire.status(right), 200));
    let (mut asked, mut refused) = (0, 0);
    for number in 0..guesses {
        step(&server, number, guesses);
        let elsewhere = address(number);
        let from = if number.is_multiple_of(3) { own[0] } else { &elsewhere };
        assert_ne!(wire.status(&Request::for_token(&client.id, &guess(number), from)), 200);
        if number.is_multiple_of(guesses / 1000) {
            for right in &right {
                asked += 1;
                refused += u32::from(wire.status(right) != 200);
            }
        }
    }
    vec![Row::new(
        "right secrets from usual addresses, while others guess there and elsewhere: were refused",
        asked,
        refused,
        0..=0,
    )]
}

pub fn one_address_gets_few_tries_at_many_ids(plan: &Plan) -> Vec<Row> {
    let guesses = plan.either(10_000, 1_000_000);
    let server = Server::start();
    let mut wire = Wire::to(&server.url);
    let tried = (0..guesses).filter(|number| {
        step(&server, *number, guesses);
        wire.status(&Request::for_token(&format!("client-{number}"), &guess(*number), "192.0.2.1")) == 401
    });
    let tried = u32::try_from(tried.count()).unwrap();
    vec![Row::new(
        "guesses in a day at as many ids, from one address: were tried",
        guesses,
        tried,
        100..=MOST,
    )]
}

pub fn a_day_of_guesses_at_the_admin_key_gets_few_tries(plan: &Plan) -> Vec<Row> {
    let guesses = plan.either(10_000, 1_000_000);
    let server = Server::start();
    let mut wire = Wire::to(&server.url);
    assert_eq!(wire.status(&Request::with_admin_key(ADMIN_KEY, "192.0.2.1")), 200);
    let (mut tried, mut asked, mut refused) = (0, 0, 0);
    for number in 0..guesses {
        step(&server, number, guesses);
        match wire.status(&Request::with_admin_key(&guess(number).replace(' ', "-"), "192.0.2.1")) {
            401 => tried += 1,
            429 => {}
            other => panic!("{other}"),
        }
        if number.is_multiple_of(guesses / 1000) {
            asked += 1;
            refused += u32::from(wire.status(&Request::with_admin_key(ADMIN_KEY, "192.0.2.1")) != 200);
        }
    }
    vec![
        Row::new(
            "guesses in a day at the admin key, from one address: were tried",
            guesses,
            tried,
            100..=MOST,
        ),
        Row::new("right admin keys from the same address: were refused", asked, refused, 0..=0),
    ]
}

pub fn a_forged_address_gets_no_more_tries(plan: &Plan) -> Vec<Row> {
    let guesses = plan.either(2_000, 50_000);
    let mut random = Random::seeded(7);
    let rows = [("none", "%"), ("loopback", "%, 192.0.2.1"), ("loopback", "192.0.2.1, %, unknown")];
    let rows = rows.map(|(trusted, form)| {
        let server = Server::with(&[("trusted_proxies", trusted)]);
        let mut wire = Wire::to(&server.url);
        let tried = (0..guesses).filter(|number| {
            let from = form.replace('%', &address(u32::try_from(random.below(1 << 24)).unwrap()));
            wire.status(&Request::for_token("victim", &guess(*number), &from)) == 401
        });
        let tried = u32::try_from(tried.count()).unwrap();
        let what = format!("guesses at once with X-Forwarded-For: {form}, trusting {trusted}: were tried");
        Row::new(what, guesses, tried, 1..=10)
    });
    rows.into()
}

pub fn a_million_ids_and_addresses_take_little_memory(plan: &Plan) -> Vec<Row> {
    let ids = plan.either(20_000, 1_000_000);
    let server = Process::start();
    let resident = || u32::try_from(server.resident_kib() / 1024).unwrap();
    let mut wire = Wire::to(&server.url);
    for _ in 0..1000 {
        wire.status(&Request::for_token("warm", "up", "192.0.2.1"));
    }
    let before = resident();
    for number in 0..ids {
        let request = Request::for_token(&format!("client-{number}"), "m2s_wrong", &address(number));
        assert_eq!(wire.status(&request), 401);
    }
    let grown = resident().saturating_sub(before);
    vec![Row::new("ids and addresses that failed once: MiB that the server grew by", ids, grown, 0..=32)]
}
