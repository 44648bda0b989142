//! Clients that are restricted are tried from outside of what they may.

use m2mint::model::restrictions::moment;
use m2mint_keys::time::UnixTime;
use serde_json::json;

use crate::random::Random;
use crate::support::Server;
use crate::support::in_process::START;
use crate::table::{Plan, Row};
use crate::wire::{Request, Wire};

/// Nobody waits: what is tried here is another rule.
fn patient() -> Server {
    Server::with(&[
        ("limits.guesses", "1000"),
        ("limits.longest_wait", "1s"),
        ("limits.guesses_a_day", "4000000000"),
    ])
}

pub fn outside_of_its_networks_a_client_gets_nothing(plan: &Plan) -> Vec<Row> {
    let tries = plan.either(3_000, 200_000);
    let server = patient();
    let client = server
        .client(&json!({"audience": ["event"], "sourceNetworks": ["192.0.2.128/25", "2001:db8:7::/48"]}));
    let mut wire = Wire::to(&server.url);
    let mut random = Random::seeded(1);
    let (mut inside, mut outside, mut got, mut refused) = (0, 0, 0, 0);
    for _ in 0..tries {
        server.clock.pass(1000);
        // Half of them are near the borders.
        let (from, is_inside) = match random.below(4) {
            0 => {
                let last = random.below(256);
                (format!("192.0.2.{last}"), last >= 128)
            }
            1 => {
                let net = random.below(16);
                (format!("2001:db8:{net:x}::{:x}", random.below(1 << 16)), net == 7)
            }
            2 => (
                std::net::Ipv4Addr::from_bits(0x0a00_0000 | u32::try_from(random.below(1 << 24)).unwrap())
                    .to_string(),
                false,
            ),
            _ => (format!("2a00:{:x}::1", random.below(1 << 16)), false),
        };
        let status = wire.status(&Request::for_token(&client.id, &client.secret, &from));
        if is_inside {
            inside += 1;
            refused += u32::from(status != 200);
        } else {
            outside += 1;
            got += u32::from(status == 200);
        }
    }
    assert!(inside > tries / 20 && outside > tries / 2);
    vec![
        Row::new("right secrets from outside of the client's networks: got a token", outside, got, 0..=0),
        Row::new("right secrets from inside of them: were refused", inside, refused, 0..=0),
    ]
}

pub fn outside_of_its_time_a_client_gets_nothing(plan: &Plan) -> Vec<Row> {
    let tries = plan.either(2_000, 50_000);
    let server = patient();
    let at = |part: u32| moment(UnixTime::from_secs(START.secs() + i64::from(tries * part / 4)));
    let client = server.client(&json!({"audience": ["event"], "notBefore": at(1), "notAfter": at(3)}));
    let mut wire = Wire::to(&server.url);
    let (mut got, mut refused) = (0, 0);
    for second in 0..tries {
        let status = wire.status(&Request::for_token(&client.id, &client.secret, "192.0.2.1"));
        if (tries / 4..tries * 3 / 4).contains(&second) {
            refused += u32::from(status != 200);
        } else {
            got += u32::from(status == 200);
        }
        server.clock.pass(1000);
    }
    vec![
        Row::new("right secrets outside of the client's time: got a token", tries / 2, got, 0..=0),
        Row::new("right secrets inside of it: were refused", tries / 2, refused, 0..=0),
    ]
}

pub fn no_sixty_seconds_see_more_tokens_than_allowed(plan: &Plan) -> Vec<Row> {
    let tries = plan.either(5_000, 200_000);
    let server = patient();
    let limit = 25;
    let client = server.client(&json!({"audience": ["event"], "tokensPerMinute": limit}));
    let mut wire = Wire::to(&server.url);
    let request = Request::for_token(&client.id, &client.secret, "192.0.2.1");
    let mut random = Random::seeded(3);
    let (mut now, mut got) = (0_i64, Vec::new());
    for _ in 0..tries {
        let pause = [0, 50, 500, 5_000][usize::try_from(random.below(4)).unwrap()];
        server.clock.pass(pause);
        now += pause;
        if wire.status(&request) == 200 {
            got.push(now);
        }
    }
    let in_a_minute = |from: usize| got[from..].partition_point(|at| *at < got[from] + 60_000);
    let most = (0..got.len()).map(in_a_minute).max().unwrap();
    let what = "requests of a client with 25 tokens a minute: most that got one in any 60 seconds";
    vec![Row::new(what, tries, u32::try_from(most).unwrap(), limit..=limit)]
}
