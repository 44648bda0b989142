//! Files that rot: bytes that flip, ends that are missing.
//!
//! A damaged file is opened as a server opens it. It is refused in words, or all that it gives is right: no key that was
//! not there before, no signature that the old key set does not check, no client that is another than it was.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use m2mint::clock::{Clock, ManualClock};
use m2mint::config::{self, Config, Sources};
use m2mint::startup;
use m2mint::store::{Store, clients, keys};
use m2mint_keys::time::UnixTime;
use m2mint_keys::token::Claims;
use serde_json::{Value, json};

use crate::random::Random;
use crate::support::token::verify;
use crate::support::{ADMIN_KEY, Server, get};
use crate::table::{Plan, Row};

/// A file with everything in it, and what is true of it.
struct Original {
    bytes: Vec<u8>,
    master_key: Vec<u8>,
    /// By kid.
    published: BTreeMap<String, Value>,
    jwks: String,
    truth: Truth,
    now: UnixTime,
}

/// What the file says of clients and keys.
#[derive(Debug, PartialEq, Eq)]
struct Truth {
    clients: Vec<String>,
    keys: String,
}

impl Truth {
    /// `None` when a part of it cannot be read: then the server refuses too.
    fn read(store: &Store) -> Option<Self> {
        let read = store.read(|db| {
            let (all, _) = clients::page(db, None, 1000, None)?;
            let one = |client: &m2mint::model::Client| {
                Ok(format!("{client:?} {:?}", clients::secrets(db, client.id.as_str())?))
            };
            let clients = all.iter().map(one).collect::<m2mint::store::Result<_>>()?;
            let rings = keys::rings(db)?;
            // A start notes how long the active key may have signed; all else stays.
            let records = rings.iter().flat_map(|ring| ring.keys.records());
            let keys =
                records.map(|key| m2mint_keys::key_ring::KeyRecord { signed_until: None, ..key.clone() });
            Ok(Self { clients, keys: format!("{:?}", keys.collect::<Vec<_>>()) })
        });
        read.ok()
    }
}

fn published(jwks: &str) -> BTreeMap<String, Value> {
    let set: Value = serde_json::from_str(jwks).unwrap();
    let keys = set["keys"].as_array().unwrap().iter();
    keys.map(|key| (key["kid"].as_str().unwrap().to_owned(), key.clone())).collect()
}

fn original() -> Original {
    let mut server = Server::start();
    for number in 0..40 {
        server.client(&json!({"clientId": format!("client-{number}"), "clientName": format!("Client {number}"),
            "scope": "event.view event.create file.*", "audience": ["event", "file"], "metadata": {"n": number}}));
    }
    let client = server.task_service();
    for _ in 0..3 {
        let token = server.token(&client);
        server.admin("POST", "/recipe/oauth/token/revoke", &json!({"token": token}));
        server.pass(100_000);
        server.rotate();
    }
    let jwks = get(&server.endpoint("/auth/jwt/jwks.json")).body;
    let (database, now) = (server.database(), Clock::Manual(server.clock.clone()).wall());
    server.stop();
    let truth = Truth::read(&Store::open(&database, None).unwrap()).unwrap();
    let mut master_key = database.clone().into_os_string();
    master_key.push(".key");
    Original {
        bytes: std::fs::read(&database).unwrap(),
        master_key: std::fs::read(PathBuf::from(master_key)).unwrap(),
        published: published(&jwks),
        jwks,
        truth,
        now,
    }
}

/// What came of opening a damaged file.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    /// It was refused, in these words.
    Refused(String),
    /// Keys and clients are what they were.
    Right,
    /// It was taken, though a field of a client, or a date of a key, is another than it was.
    Silent(String),
    /// This must never be.
    Wrong(String),
}

fn configuration(directory: &Path) -> Config {
    let flags = [
        ("listen", "127.0.0.1:0".to_owned()),
        ("database", directory.join("m2mint.db").display().to_string()),
    ];
    let flags = flags.into_iter().map(|(key, value)| ("--set".into(), key.into(), value)).collect();
    let environment = [("M2MINT_API_KEY".to_owned(), ADMIN_KEY.to_owned())].into();
    config::load(&Sources { flags, environment, ..Sources::default() }).unwrap().config
}

fn opens(original: &Original, directory: &Path, config: &Config, bytes: &[u8]) -> Came {
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = directory.join("m2mint.db");
    for entry in std::fs::read_dir(directory).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    std::fs::write(&file, bytes).unwrap();
    let mut key = std::fs::OpenOptions::new();
    let mut key = key.write(true).create_new(true).mode(0o600).open(directory.join("m2mint.db.key")).unwrap();
    std::io::Write::write_all(&mut key, &original.master_key).unwrap();
    let clock = ManualClock::at(original.now);
    let opened = catch_unwind(AssertUnwindSafe(|| startup::open(config, &Clock::Manual(clock))));
    let open = match opened {
        Err(_) => return Came::Wrong("it panicked".into()),
        Ok(Err(error)) => return Came::Refused(error.to_string()),
        Ok(Ok(open)) => open,
    };
    let keeper = open.keeper.keeper();
    let now_published = keeper.published();
    let set = String::from_utf8(now_published.all.body.to_vec()).unwrap();
    if let Some((kid, _)) =
        published(&set).iter().find(|(kid, key)| original.published.get(*kid) != Some(key))
    {
        return Came::Wrong(format!("the key {kid} was not there before"));
    }
    for audience in ["event", "file"] {
        let claims = Claims {
            issuer: "http://127.0.0.1:1/auth",
            client_id: "client-1",
            audience: "event",
            scopes: &["event.view"],
            issued_at: original.now,
            lifetime: 60,
            jti: "1",
            extra: None,
        };
        let minted = now_published.signer(audience).minter.mint(&claims);
        let token = match minted {
            Ok(token) => token,
            Err(error) => return Came::Wrong(format!("it cannot sign: {error}")),
        };
        if let Err(error) = verify(&token, &original.jwks, original.now) {
            return Came::Wrong(format!("what it signs does not verify: {error}"));
        }
    }
    match Truth::read(&open.store) {
        None => Came::Refused("what cannot be read is answered with 503".into()),
        Some(truth) if truth == original.truth => Came::Right,
        Some(truth) => {
            let other = truth.clients.iter().zip(&original.truth.clients).find(|(one, other)| one != other);
            Came::Silent(other.map_or_else(
                || "keys, or the number of clients".into(),
                |(one, other)| {
                    let at = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
                    format!("{} for {}", excerpt(one, at), excerpt(other, at))
                },
            ))
        }
    }
}

fn excerpt(text: &str, at: usize) -> String {
    String::from_utf8_lossy(&text.as_bytes()[at.saturating_sub(30)..(at + 30).min(text.len())]).into_owned()
}

fn count(what: &str, all: &[Came], rows: &mut Vec<Row>) {
    let refused = all.iter().filter(|came| matches!(came, Came::Refused(_))).count();
    let right = all.iter().filter(|came| **came == Came::Right).count();
    let wrong: Vec<_> = all.iter().filter(|came| matches!(came, Came::Wrong(_))).collect();
    let silent: Vec<_> = all.iter().filter(|came| matches!(came, Came::Silent(_))).collect();
    for came in &wrong {
        println!("{what}: {came:?}");
    }
    assert!(silent.len() * 20 < all.len(), "{what}: {silent:?}");
    rows.push(Row::new(
        format!("{what}: {refused} refused, {right} taken and right; no panic, no wrong key"),
        all.len(),
        wrong.len(),
    ));
    rows.push(Row::limit(
        format!("{what}: another text, number or date in a row, which nothing tells"),
        all.len(),
        silent.len(),
    ));
}

pub fn a_damaged_file_is_refused_or_right(plan: &Plan) -> Vec<Row> {
    let original = original();
    let place = tempfile::tempdir_in(crate::power::memory()).unwrap();
    let config = configuration(place.path());
    assert_eq!(opens(&original, place.path(), &config, &original.bytes), Came::Right);
    let mut random = Random::seeded(7);
    let length = original.bytes.len() as u64;
    let mut below = |end: u64| usize::try_from(random.below(end)).unwrap();
    // A panic is looked for, and is told by its count: its text would fill the screen.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let flips: Vec<_> = (0..plan.rounds * 10)
        .map(|_| {
            let mut bytes = original.bytes.clone();
            bytes[below(length)] ^= u8::try_from(1 + below(255)).unwrap();
            opens(&original, place.path(), &config, &bytes)
        })
        .collect();
    let cuts: Vec<_> = (0..plan.rounds * 2)
        .map(|_| opens(&original, place.path(), &config, &original.bytes[..below(length)]))
        .collect();
    std::panic::set_hook(hook);
    let mut rows = Vec::new();
    count("bytes flipped, one at a time", &flips, &mut rows);
    count("files cut off", &cuts, &mut rows);
    rows
}
