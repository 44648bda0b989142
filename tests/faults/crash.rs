//! `kill -9` at random points, under writes of every kind, by HTTP and by the command line.
//!
//! Each writer knows what was acknowledged, and the one change that may have happened or not. After each kill the file has
//! to hold exactly the one or the other, audit entries included.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::random::Random;
use crate::support::process::command;
use crate::support::token::{claims, now, verify};
use crate::support::{ADMIN_KEY, Client, Process};
use crate::table::{Plan, Row};

/// Tokens that outlive a round, and keys that may be rotated every second.
const SETTINGS: [(&str, &str); 6] = [
    ("M2MINT_ROTATION__PROPAGATION", "1s"),
    ("M2MINT_ROTATION__CLOCK_SKEW", "0s"),
    ("M2MINT_ROTATION__EVERY", "never"),
    ("M2MINT_TOKEN__LIFETIME", "3s"),
    ("M2MINT_TOKEN__MAX_LIFETIME", "3s"),
    ("M2MINT_WORKERS", "2"),
];

/// The longest time that writers have before the kill, in milliseconds.
const LONGEST: u64 = 150;

/// How many kills one file lives through.
const A_LIFE: u32 = 100;

/// What the file has to hold of what one writer did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct World {
    clients: BTreeMap<String, Known>,
    /// Audiences with ES256.
    audiences: BTreeSet<String>,
    revoked_tokens: BTreeSet<String>,
    /// By client or audience: what the audit log tells, oldest first.
    told: BTreeMap<String, Vec<String>>,
}

/// A client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Known {
    scope: String,
    secrets: BTreeSet<i64>,
    tokens_revoked: bool,
}

impl World {
    /// What the file holds of everything whose name begins with `prefix`.
    fn read(db: &Connection, prefix: &str) -> Self {
        let mut world = Self::default();
        let like = format!("{prefix}%");
        let mut clients = db
            .prepare("SELECT id, scope, tokens_revoked_at IS NOT NULL FROM clients WHERE id LIKE ?1")
            .unwrap();
        let rows = clients.query_map([&like], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        for (id, scope, tokens_revoked) in rows.map(Result::unwrap) {
            world.clients.insert(id, Known { scope, secrets: BTreeSet::new(), tokens_revoked });
        }
        let mut secrets =
            db.prepare("SELECT client_id, id FROM client_secrets WHERE client_id LIKE ?1").unwrap();
        let rows = secrets.query_map([&like], |row| Ok((row.get::<_, String>(0)?, row.get(1)?))).unwrap();
        for (id, secret) in rows.map(Result::unwrap) {
            world.clients.get_mut(&id).unwrap().secrets.insert(secret);
        }
        let mut audiences =
            db.prepare("SELECT name FROM audiences WHERE name LIKE ?1 AND alg = 'ES256'").unwrap();
        let rows = audiences.query_map([&like], |row| row.get(0)).unwrap();
        world.audiences = rows.map(Result::unwrap).collect();
        let mut entries = db.prepare("SELECT entry FROM audit WHERE entry LIKE ?1 ORDER BY seq").unwrap();
        let told =
            entries.query_map([format!("%\"subject\":\"{prefix}%")], |row| row.get::<_, String>(0)).unwrap();
        let all: String = db
            .query_row("SELECT coalesce(group_concat(jti, ' '), '') FROM revoked_tokens", [], |row| {
                row.get(0)
            })
            .unwrap();
        let all: BTreeSet<&str> = all.split(' ').collect();
        for entry in told.map(Result::unwrap) {
            let entry: Value = serde_json::from_str(&entry).unwrap();
            let action = entry["action"].as_str().unwrap().to_owned();
            if let Some(jti) = entry["changed"]["jti"].as_str() {
                assert!(all.contains(jti), "told to be revoked, and is not: {entry}");
                world.revoked_tokens.insert(jti.to_owned());
            }
            world.told.entry(entry["subject"].as_str().unwrap().to_owned()).or_default().push(action);
        }
        world
    }

    fn client(&mut self, id: &str) -> &mut Known {
        self.clients.entry(id.to_owned()).or_default()
    }

    fn tell(&mut self, subject: &str, action: &str) {
        self.told.entry(subject.to_owned()).or_default().push(action.to_owned());
    }
}

/// What one writer did in one round.
#[derive(Debug, Default)]
struct Ledger {
    prefix: String,
    acknowledged: World,
    /// What the file holds if it took the change that nobody acknowledged.
    possible: Option<World>,
    changes: usize,
    /// A secret that has to work.
    secret: Option<Client>,
    rotations: usize,
    rotation_possible: bool,
}

impl Ledger {
    /// Makes one change. Answers whether it was acknowledged.
    fn change(&mut self, change: impl FnOnce(&mut World), act: impl FnOnce() -> bool) -> bool {
        let mut next = self.acknowledged.clone();
        change(&mut next);
        self.possible = Some(next);
        let done = act();
        if done {
            self.acknowledged = self.possible.take().unwrap();
            self.changes += 1;
        }
        done
    }

    fn check(&self, db: &Connection) {
        let found = World::read(db, &self.prefix);
        assert!(
            found == self.acknowledged || Some(&found) == self.possible.as_ref(),
            "the file holds {found:#?}\nacknowledged is {:#?}\nand possible {:#?}",
            self.acknowledged,
            self.possible
        );
    }
}

fn text(json: &Value, name: &str) -> String {
    json[name].as_str().unwrap_or_default().to_owned()
}

/// Writes by HTTP until the server is gone.
fn write_by_http(url: &str, ledger: &mut Ledger, mut random: Random) {
    let call = |method: &str, path: &str, body: &Value| {
        let headers = [("api-key", ADMIN_KEY), ("content-type", "application/json")];
        let answer = crate::support::http::try_call(
            method,
            &format!("{url}{path}"),
            &headers,
            body.to_string().as_bytes(),
        );
        let answer = answer.ok().filter(|answer| answer.status == 200)?;
        let json: Value = serde_json::from_str(&answer.body).ok()?;
        (json["status"] == "OK").then_some(json)
    };
    let prefix = ledger.prefix.clone();
    for number in 0.. {
        let id = format!("{prefix}{number}");
        let mut secret = String::new();
        let create = json!({"clientId": id, "scope": "event.create", "audience": ["event"]});
        let made = ledger.change(
            |world| {
                *world.client(&id) =
                    Known { scope: "event.create".into(), secrets: [1].into(), tokens_revoked: false };
                world.tell(&id, "client.create");
            },
            || {
                let made = call("POST", "/recipe/oauth/clients", &create);
                secret = made.as_ref().map(|made| text(made, "clientSecret")).unwrap_or_default();
                made.is_some()
            },
        );
        if !made {
            return;
        }
        ledger.secret = Some(Client { id: id.clone(), secret: secret.clone() });
        for _ in 0..1 + random.below(4) {
            let done = match random.below(6) {
                0 => {
                    let scope = format!("event.create event.x{}", random.below(1000));
                    ledger.change(
                        |world| {
                            world.client(&id).scope.clone_from(&scope);
                            world.tell(&id, "client.update");
                        },
                        || {
                            let body = json!({"clientId": id, "scope": scope});
                            call("PUT", "/recipe/oauth/clients", &body).is_some()
                        },
                    )
                }
                1 => {
                    let made = ledger.acknowledged.told[&id].iter().filter(|told| *told == "client.update");
                    // Another secret only comes with an update whose number is not known here: a chosen one, once.
                    if made.count() > 0 || ledger.acknowledged.clients[&id].secrets != [1].into() {
                        continue;
                    }
                    let chosen = format!("m2mint-{id}-{:016x}", random.next());
                    let done = ledger.change(
                        |world| {
                            world.client(&id).secrets = [2].into();
                            world.tell(&id, "client.update");
                        },
                        || {
                            let body = json!({"clientId": id, "clientSecret": chosen});
                            call("PUT", "/recipe/oauth/clients", &body).is_some()
                        },
                    );
                    ledger.secret = None;
                    if done {
                        ledger.secret = Some(Client { id: id.clone(), secret: chosen });
                    }
                    done
                }
                2 => {
                    let body = json!({"client_id": id});
                    ledger.change(
                        |world| {
                            world.client(&id).tokens_revoked = true;
                            world.tell(&id, "tokens.revoke");
                        },
                        || call("POST", "/recipe/oauth/tokens/revoke", &body).is_some(),
                    )
                }
                3 => {
                    let input = json!({"grant_type": "client_credentials", "client_id": id,
                        "client_secret": ledger.secret.as_ref().map(|client| &client.secret), "audience": "event"});
                    let body = json!({"iss": "http://127.0.0.1/auth", "inputBody": input});
                    let Some(token) = call("POST", "/recipe/oauth/token", &body) else { return };
                    let token = text(&token, "access_token");
                    let jti = text(&claims(&token), "jti");
                    ledger.change(
                        |world| {
                            world.revoked_tokens.insert(jti);
                            world.tell(&id, "token.revoke");
                        },
                        || call("POST", "/recipe/oauth/token/revoke", &json!({"token": token})).is_some(),
                    )
                }
                4 => {
                    let body = json!({"audience": id, "alg": "ES256", "atOnce": true});
                    if ledger.acknowledged.audiences.contains(&id) {
                        continue;
                    }
                    ledger.change(
                        |world| {
                            world.audiences.insert(id.clone());
                            world.tell(&id, "audience.set");
                        },
                        || call("PUT", "/recipe/oauth/audiences", &body).is_some(),
                    )
                }
                _ => {
                    let removed = ledger.change(
                        |world| {
                            world.clients.remove(&id);
                            world.tell(&id, "client.remove");
                        },
                        || {
                            let gone = call("POST", "/recipe/oauth/clients/remove", &json!({"clientId": id}));
                            gone.is_some_and(|gone| gone["didExist"] == true)
                        },
                    );
                    ledger.secret = None;
                    if removed {
                        break;
                    }
                    removed
                }
            };
            if !done {
                return;
            }
        }
    }
}

/// The verb that runs, to be killed.
type Running = Mutex<(bool, Option<Child>)>;

/// Runs a verb unless the round is over. Answers whether it ended well.
fn verb(directory: &Path, arguments: &[&str], running: &Running) -> bool {
    {
        let mut slot = running.lock();
        if slot.0 {
            return false;
        }
        let mut verb = command(directory);
        let verb = verb.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        slot.1 = Some(verb.spawn().unwrap());
    }
    loop {
        if let Some(status) = running.lock().1.as_mut().unwrap().try_wait().unwrap() {
            return status.success();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Writes by the command line until it is killed.
fn write_by_command_line(directory: &Path, ledger: &mut Ledger, running: &Running, mut random: Random) {
    let prefix = ledger.prefix.clone();
    for number in 0.. {
        let id = format!("{prefix}{number}");
        let made = ledger.change(
            |world| {
                *world.client(&id) =
                    Known { scope: "event.view".into(), secrets: [1].into(), tokens_revoked: false };
                world.tell(&id, "client.create");
            },
            || {
                let create =
                    ["clients", "create", "--id", &id, "--scope", "event.view", "--audience", "event"];
                verb(directory, &create, running)
            },
        );
        if !made {
            return;
        }
        for _ in 0..1 + random.below(3) {
            let done = match random.below(6) {
                0 => ledger.change(
                    |world| {
                        let known = world.client(&id);
                        let next = known.secrets.last().unwrap_or(&1) + 1;
                        known.secrets.insert(next);
                        world.tell(&id, "secret.add");
                    },
                    || verb(directory, &["secrets", "add", &id], running),
                ),
                1 => {
                    let known = &ledger.acknowledged.clients[&id];
                    // The ids go on counting: the newest stays, so that the next one is known.
                    if known.secrets.len() < 2 {
                        continue;
                    }
                    let oldest = *known.secrets.first().unwrap();
                    ledger.change(
                        |world| {
                            world.client(&id).secrets.remove(&oldest);
                            world.tell(&id, "secret.remove");
                        },
                        || {
                            let remove = ["secrets", "remove", &id, &oldest.to_string(), "--yes"];
                            verb(directory, &remove, running)
                        },
                    )
                }
                2 => ledger.change(
                    |world| {
                        world.client(&id).scope = "file.view".into();
                        world.tell(&id, "client.update");
                    },
                    || verb(directory, &["clients", "update", &id, "--scope", "file.view"], running),
                ),
                3 => {
                    let removed = ledger.change(
                        |world| {
                            world.clients.remove(&id);
                            world.tell(&id, "client.remove");
                        },
                        || verb(directory, &["clients", "remove", &id, "--yes"], running),
                    );
                    if removed {
                        break;
                    }
                    removed
                }
                4 => {
                    ledger.rotation_possible = true;
                    let done = verb(directory, &["keys", "rotate"], running);
                    if done {
                        ledger.rotations += 1;
                        ledger.rotation_possible = false;
                    }
                    done
                }
                _ => verb(directory, &["audit", "verify"], running),
            };
            if !done {
                return;
            }
        }
    }
}

/// What the audit log tells of rotations that the command line asked for.
fn rotations_asked(db: &Connection) -> usize {
    let query = "SELECT count(*) FROM audit WHERE entry LIKE '%\"actor\":\"command line%key.rotation_ask%'";
    db.query_row(query, [], |row| row.get(0)).unwrap()
}

fn open_whole(file: &Path) -> Connection {
    let db = Connection::open(file).unwrap();
    let check: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let orphans: i64 =
        db.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0)).unwrap();
    assert_eq!(orphans, 0);
    db
}

/// One key signs and one stands by in each ring, all that are kept are in the key set, and no more than four. Answers the
/// key set and the keys that sign.
fn check_keys(server: &Process) -> (String, Vec<String>) {
    let mut found = None;
    // A rotation that waited may happen between two looks.
    server.wait_until("the key set and the file agree", || {
        let (all, jwks) = (server.verb_json(&["keys", "--json"]), server.jwks());
        let keys = all["keys"].as_array().unwrap();
        let agree = keys.iter().all(|key| jwks.contains(key["kid"].as_str().unwrap()));
        found = Some((keys.clone(), jwks));
        agree
    });
    let (all, jwks) = found.unwrap();
    let mut signing = Vec::new();
    for alg in ["EdDSA", "ES256"] {
        let keys: Vec<_> = all.iter().filter(|key| key["alg"] == alg).collect();
        if keys.is_empty() && alg == "ES256" {
            continue;
        }
        let in_state = |state: &str| keys.iter().filter(|key| key["state"] == state).count();
        assert_eq!((in_state("active"), in_state("standby")), (1, 1), "{all:?}");
        assert!(keys.len() <= 4, "{all:?}");
        let active = keys.iter().find(|key| key["state"] == "active").unwrap();
        signing.push(active["kid"].as_str().unwrap().to_owned());
    }
    (jwks, signing)
}

/// What happened in all lives.
#[derive(Debug, Default)]
struct Totals {
    by_http: usize,
    by_verb: usize,
    in_doubt: usize,
    took_place: usize,
    signed: BTreeSet<String>,
}

/// One file, from its first start on, through so many kills.
fn live(rounds: Range<u32>, totals: &mut Totals) {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let file = directory.path().join("m2mint.db");
    let (mut asked, mut tokens) = (0, Vec::<String>::new());
    let mut settled: Vec<Ledger> = Vec::new();
    let mut client = None;
    for round in rounds {
        let mut random = Random::seeded(u64::from(round) + 1);
        let server = Process::again(Arc::clone(&directory), &SETTINGS);
        let client: &Client = client.get_or_insert_with(|| server.client());
        let (jwks, signing) = check_keys(&server);
        totals.signed.extend(signing);
        for token in &tokens {
            let good = verify(token, &jwks, now()).is_ok();
            assert!(good || claims(token)["exp"].as_i64().unwrap() <= now().secs(), "round {round}");
        }
        tokens.retain(|token| claims(token)["exp"].as_i64().unwrap() > now().secs());
        tokens.push(server.token(client));
        // Memory agrees with the file: what was acknowledged before the kill works.
        if let Some(acknowledged) = settled.last().and_then(|ledger| ledger.secret.as_ref()) {
            server.token(acknowledged);
        }

        let ledger = |name: &str| Ledger { prefix: format!("r{round}{name}-"), ..Ledger::default() };
        let mut ledgers = [ledger("v"), ledger("w"), ledger("x")];
        let running = Running::default();
        let (path, url) = (directory.path(), server.url.clone());
        std::thread::scope(|scope| {
            let [command_line, first, second] = &mut ledgers;
            let seed = |random: &mut Random| Random::seeded(random.next());
            let seeds = [seed(&mut random), seed(&mut random), seed(&mut random)];
            let [verbs, some, others] = seeds;
            let (url, running) = (&url, &running);
            scope.spawn(move || write_by_http(url, first, some));
            scope.spawn(move || write_by_http(url, second, others));
            scope.spawn(move || write_by_command_line(path, command_line, running, verbs));
            if round % 2 == 0 {
                server.signal(Signal::USR1);
            }
            std::thread::sleep(Duration::from_micros(random.below(LONGEST * 1000)));
            let kill_verb = || {
                let mut slot = running.lock();
                slot.0 = true;
                if let Some(verb) = slot.1.as_mut() {
                    // It may have ended.
                    let _ = verb.kill();
                }
            };
            // Either may go first.
            if round % 3 == 0 {
                kill_verb();
                std::thread::sleep(Duration::from_micros(random.below(5000)));
            }
            server.kill();
            if round % 3 == 1 {
                std::thread::sleep(Duration::from_micros(random.below(60_000)));
            }
            kill_verb();
        });
        let db = open_whole(&file);
        for ledger in &ledgers {
            ledger.check(&db);
            totals.in_doubt += usize::from(ledger.possible.is_some());
            totals.took_place += usize::from(Some(World::read(&db, &ledger.prefix)) == ledger.possible);
        }
        let [command_line, ..] = &ledgers;
        let (before, most) = (asked + command_line.rotations, usize::from(command_line.rotation_possible));
        asked = rotations_asked(&db);
        assert!(
            asked >= before && asked <= before + most,
            "round {round}: {asked} rotations, {before} known"
        );
        drop(db);
        let verified = command(directory.path()).args(["audit", "verify"]).output().unwrap();
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
        totals.by_verb += ledgers[0].changes + ledgers[0].rotations;
        totals.by_http += ledgers[1].changes + ledgers[2].changes;
        // What was in doubt is settled: the file said what became of it.
        let db = open_whole(&file);
        settled.extend(ledgers.into_iter().map(|ledger| {
            let acknowledged = World::read(&db, &ledger.prefix);
            let secret = ledger.secret.filter(|client| acknowledged.clients.contains_key(&client.id));
            // Whether a secret was replaced is not known when that was the change in doubt.
            let secret = secret.filter(|_| ledger.possible.is_none());
            Ledger { acknowledged, possible: None, secret, ..ledger }
        }));
    }
    let db = open_whole(&file);
    // Nothing of an earlier round was lost in a later one; tokens may have expired and been forgotten.
    for ledger in &settled {
        let found = World::read(&db, &ledger.prefix);
        assert_eq!(found, ledger.acknowledged);
    }
}

pub fn acknowledged_writes_outlive_kills_at_random_points(plan: &Plan) -> Vec<Row> {
    let mut totals = Totals::default();
    // What is looked at after each kill grows with the file.
    let mut begin = 0;
    while begin < plan.rounds {
        let end = plan.rounds.min(begin + A_LIFE);
        live(begin..end, &mut totals);
        begin = end;
    }
    let Totals { by_http, by_verb, in_doubt, took_place, signed } = totals;
    assert!(by_http > 0 && by_verb > 0 && in_doubt > 0, "{by_http} {by_verb} {in_doubt}");
    let rounds = plan.rounds as usize;
    vec![
        Row::new(
            "kill -9 under writes of every kind: file whole, keys as the rule says, audit log verified",
            rounds,
            0,
        ),
        Row::new("changes acknowledged over HTTP, all there after the kill", by_http, 0),
        Row::new("changes acknowledged by a verb, all there after the kill", by_verb, 0),
        Row::new(
            format!("changes in doubt when killed: {took_place} there as a whole, the others not at all"),
            in_doubt,
            0,
        ),
        Row::new("keys that signed in turn: nothing signed before fails to verify", signed.len(), 0),
    ]
}
