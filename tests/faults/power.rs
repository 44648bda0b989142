//! Power that goes at any point.
//!
//! What SQLite sends to the disk is written down ([`crate::vfs`]) and replayed: after each operation, the disk may hold all,
//! none or any of the sectors that were not synced yet, each in any of its versions; and a file that was made or deleted
//! since the directory was last synced may be there or not. Every such image has to open, be whole, and hold what was
//! acknowledged by then.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hasher as _};
use std::path::Path;

use m2mint::model::audit::{Action, Entry, Origin};
use m2mint::store::{Store, audit, clients, keys, schema};
use m2mint_keys::time::UnixTime;
use rusqlite::{Connection, ffi};
use serde_json::{Value, json};

use crate::random::Random;
use crate::support::Server;
use crate::table::{Plan, Row};
use crate::vfs::{self, Bench, Event, Operation, Verdict};

const SECTOR: usize = 512;
type Sector = [u8; SECTOR];

/// A file, on its way from memory to the disk.
#[derive(Debug, Clone, Default)]
struct Inode {
    /// What a reader sees.
    cached: Vec<u8>,
    /// What is surely on the disk.
    durable: Vec<u8>,
    /// Sectors that may be on the disk: every version since the last sync.
    unsynced: BTreeMap<usize, Vec<Sector>>,
    /// Lengths that the file may have on the disk, the latest last.
    lengths: Vec<usize>,
    /// What a failed sync was to write: it may be on the disk, and no later sync brings it there.
    forsaken: BTreeMap<usize, Sector>,
}

impl Inode {
    fn durable(bytes: Vec<u8>) -> Self {
        Self { cached: bytes.clone(), durable: bytes, ..Self::default() }
    }

    fn sector(&self, number: usize) -> Sector {
        let mut sector = [0; SECTOR];
        let begin = (number * SECTOR).min(self.cached.len());
        let end = (begin + SECTOR).min(self.cached.len());
        sector[..end - begin].copy_from_slice(&self.cached[begin..end]);
        sector
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if end > self.cached.len() {
            self.cached.resize(end, 0);
            self.lengths.push(end);
        }
        self.cached[at..end].copy_from_slice(bytes);
        for number in at / SECTOR..end.div_ceil(SECTOR) {
            let sector = self.sector(number);
            self.unsynced.entry(number).or_default().push(sector);
        }
    }

    fn truncate(&mut self, length: usize) {
        self.cached.resize(length, 0);
        self.lengths.push(length);
    }

    fn sync(&mut self) {
        if let Some(length) = self.lengths.drain(..).next_back() {
            self.durable.resize(length, 0);
        }
        for (number, versions) in std::mem::take(&mut self.unsynced) {
            self.forsaken.remove(&number);
            put(&mut self.durable, number, versions.last().unwrap());
        }
    }

    fn fail_to_sync(&mut self) {
        for (number, versions) in std::mem::take(&mut self.unsynced) {
            self.forsaken.insert(number, *versions.last().unwrap());
        }
    }

    /// What the disk may hold.
    fn image(&self, left: Left, random: &mut Random) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        let mut choose = |count: usize| match left {
            Left::Nothing => None,
            Left::Everything => count.checked_sub(1),
            Left::Something => usize::try_from(random.below(count as u64 + 1)).unwrap().checked_sub(1),
        };
        if let Some(length) = choose(self.lengths.len()) {
            bytes.resize(self.lengths[length], 0);
        }
        for (number, sector) in &self.forsaken {
            if choose(1).is_some() {
                put(&mut bytes, *number, sector);
            }
        }
        for (number, versions) in &self.unsynced {
            if let Some(version) = choose(versions.len()) {
                put(&mut bytes, *number, &versions[version]);
            }
        }
        bytes
    }
}

/// Writes a sector, as far as the file reaches.
fn put(bytes: &mut [u8], number: usize, sector: &Sector) {
    let begin = (number * SECTOR).min(bytes.len());
    let end = (begin + SECTOR).min(bytes.len());
    bytes[begin..end].copy_from_slice(&sector[..end - begin]);
}

/// How much of what was not synced the disk has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    Everything,
    Something,
}

/// A directory on a disk.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    inodes: Vec<Inode>,
    /// What is surely in the directory, and what a reader sees.
    durable: BTreeMap<String, usize>,
    seen: BTreeMap<String, usize>,
}

impl Disk {
    /// As a directory is, all of it synced.
    pub fn of(directory: &Path) -> Self {
        let mut disk = Self::default();
        for name in ["m2mint.db", "m2mint.db-wal"] {
            if let Ok(bytes) = std::fs::read(directory.join(name)) {
                disk.seen.insert(name.into(), disk.inodes.len());
                disk.inodes.push(Inode::durable(bytes));
            }
        }
        disk.durable = disk.seen.clone();
        disk
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Created(name) => {
                self.seen.insert(name.clone(), self.inodes.len());
                self.inodes.push(Inode::default());
            }
            Event::Deleted(name) => drop(self.seen.remove(name)),
            Event::Wrote { file, at, bytes } => self.inode(file).write(*at, bytes),
            Event::Truncated { file, length } => self.inode(file).truncate(*length),
            Event::Synced(file) => self.inode(file).sync(),
            Event::SyncFailed(file) => self.inode(file).fail_to_sync(),
            Event::SyncedDirectory => self.durable = self.seen.clone(),
        }
    }

    fn inode(&mut self, name: &str) -> &mut Inode {
        let index = self.seen[name];
        &mut self.inodes[index]
    }

    /// Every file that the disk may hold.
    fn image(&self, left: Left, random: &mut Random) -> Image {
        let names: HashSet<&String> = self.durable.keys().chain(self.seen.keys()).collect();
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort();
        let mut image = BTreeMap::new();
        for name in names {
            let seen = match left {
                Left::Nothing => false,
                Left::Everything => true,
                Left::Something => random.below(2) == 0,
            };
            let entries = if seen { &self.seen } else { &self.durable };
            if let Some(index) = entries.get(name) {
                image.insert(name.clone(), self.inodes[*index].image(left, random));
            }
        }
        image
    }
}

/// Something that was acknowledged: from this event on, the file has to hold this entry of the audit log.
#[derive(Debug, Clone)]
struct Acknowledged {
    after: usize,
    seq: i64,
    hash: Vec<u8>,
}

impl Acknowledged {
    fn now(bench: &Bench, db: &Connection) -> Self {
        let (seq, hash) = audit::last(db).unwrap().unwrap();
        Self { after: bench.recorded(), seq, hash: hash.to_vec() }
    }
}

/// What became of all images.
#[derive(Debug, Default)]
pub struct Outcome {
    images: usize,
    /// Those that had lost something that was acknowledged.
    lost: usize,
    /// Those that could not be opened, were not whole, or held half of something.
    broken: usize,
    first: Option<String>,
}

/// Looks at every state in which the disk may be left.
fn replay(disk: Disk, events: &[Event], acknowledged: &[Acknowledged], somethings: usize) -> Outcome {
    let place = tempfile::tempdir_in(memory()).unwrap();
    let file = place.path().join("m2mint.db");
    let mut outcome = Outcome::default();
    let mut known = HashSet::new();
    images(disk, events, somethings, |number, left, image| {
        let required = acknowledged.iter().filter(|one| one.after <= number + 1).max_by_key(|one| one.seq);
        outcome.images += 1;
        // The same image is as good as it was, unless more is demanded of it.
        if !known.insert(hash_of(&(image, required.map(|one| one.seq)))) {
            return;
        }
        lay_out(place.path(), image);
        match look(&file, required) {
            Ok(true) => {}
            Ok(false) => {
                outcome.lost += 1;
                let seq = required.map_or(0, |one| one.seq);
                outcome.first.get_or_insert(format!("lost {seq} after {number} {left:?}"));
            }
            Err(reason) => {
                outcome.broken += 1;
                outcome.first.get_or_insert(format!("{reason} after {number} {left:?}"));
            }
        }
    });
    outcome
}

/// The same, where `look` says what is wrong.
pub fn replay_with(
    disk: Disk,
    events: &[Event],
    somethings: usize,
    mut look: impl FnMut(&Path) -> Result<(), String>,
) -> Outcome {
    let place = tempfile::tempdir_in(memory()).unwrap();
    let mut outcome = Outcome::default();
    let mut known = HashSet::new();
    images(disk, events, somethings, |number, left, image| {
        outcome.images += 1;
        if !known.insert(hash_of(image)) {
            return;
        }
        lay_out(place.path(), image);
        if let Err(reason) = look(&place.path().join("m2mint.db")) {
            outcome.broken += 1;
            outcome.first.get_or_insert(format!("{reason} after {number} {left:?}"));
        }
    });
    outcome
}

type Image = BTreeMap<String, Vec<u8>>;

fn images(disk: Disk, events: &[Event], somethings: usize, mut look: impl FnMut(usize, Left, &Image)) {
    let mut disk = disk;
    for (number, event) in events.iter().enumerate() {
        disk.apply(event);
        let mut random = Random::seeded(number as u64 + 1);
        let lefts = [Left::Nothing, Left::Everything].into_iter();
        for left in lefts.chain(std::iter::repeat_n(Left::Something, somethings)) {
            look(number, left, &disk.image(left, &mut random));
        }
    }
}

fn hash_of(value: &impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn lay_out(place: &Path, image: &Image) {
    for name in ["m2mint.db", "m2mint.db-wal", "m2mint.db-shm", "m2mint.db-journal"] {
        let _ = std::fs::remove_file(place.join(name));
    }
    for (name, bytes) in image {
        std::fs::write(place.join(name), bytes).unwrap();
    }
}

/// Where files are quick to make.
pub fn memory() -> &'static Path {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory } else { Path::new("/tmp") }
}

/// Whether a file holds what was acknowledged, or what is wrong with it.
fn look(file: &Path, required: Option<&Acknowledged>) -> Result<bool, String> {
    if !file.exists() {
        return if required.is_none() { Ok(true) } else { Err("the file is gone".into()) };
    }
    let words = |error: rusqlite::Error| error.to_string();
    let db = Connection::open(file).map_err(words)?;
    db.execute_batch("PRAGMA synchronous = OFF").map_err(words)?;
    let check: String = db.query_row("PRAGMA integrity_check(3)", [], |row| row.get(0)).map_err(words)?;
    if check != "ok" {
        return Err(check);
    }
    let tables: i64 = db
        .query_row(
            "SELECT count(*) FROM sqlite_schema WHERE name IN ('audit', 'removed_clients')",
            [],
            |row| row.get(0),
        )
        .map_err(words)?;
    if tables < 2 {
        // Not all migrations were applied yet: nothing can have been acknowledged.
        return if required.is_none() { Ok(true) } else { Err("the schema is gone".into()) };
    }
    agree(&db)?;
    let Some(required) = required else { return Ok(true) };
    let found = audit::get(&db, required.seq).map_err(|error| error.to_string())?;
    Ok(found.is_some_and(|entry| entry.hash == required.hash))
}

/// Whether the tables hold exactly what the audit log tells: each change comes with its entry, or not at all.
fn agree(db: &Connection) -> Result<(), String> {
    let orphans: i64 =
        db.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0)).unwrap();
    if orphans > 0 {
        return Err(format!("{orphans} rows without what they belong to"));
    }
    let mut told: BTreeMap<String, i64> = BTreeMap::new();
    let mut keys_told: BTreeMap<String, &str> = BTreeMap::new();
    let mut chain = None;
    audit::for_each(db, 0, |entry| {
        let before = chain.take().unwrap_or(m2mint_keys::audit::BEGINNING);
        let hash = m2mint_keys::audit::link(&before, &entry.line);
        if hash[..] != entry.hash[..] {
            chain = None;
            return false;
        }
        chain = Some(hash);
        let line: Value = serde_json::from_str(&entry.line).unwrap();
        let subject = line["subject"].as_str().unwrap_or_default().to_owned();
        match line["action"].as_str().unwrap() {
            "client.create" => drop(told.insert(subject, 1)),
            "secret.add" => *told.entry(subject).or_default() += 1,
            "secret.remove" => *told.entry(subject).or_default() -= 1,
            "client.remove" => drop(told.remove(&subject)),
            "key.found" => {
                let state = line["changed"]["state"].as_str().unwrap().to_owned();
                keys_told.insert(subject, if state == "active" { "active" } else { "standby" });
            }
            "key.rotate" => {
                for state in keys_told.values_mut() {
                    if *state == "active" {
                        *state = "retired";
                    }
                }
                keys_told.insert(subject, "active");
                keys_told.insert(line["changed"]["standby"].as_str().unwrap().to_owned(), "standby");
            }
            "key.standby" => drop(keys_told.insert(subject, "standby")),
            "key.delete" => drop(keys_told.remove(&subject)),
            _ => {}
        }
        true
    })
    .map_err(|error| error.to_string())?;
    let mut found = BTreeMap::new();
    let mut statement = db
        .prepare("SELECT clients.id, count(client_secrets.id) FROM clients LEFT JOIN client_secrets ON client_id = clients.id GROUP BY 1")
        .unwrap();
    for row in statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap() {
        let (id, secrets): (String, i64) = row.map_err(|error| error.to_string())?;
        found.insert(id, secrets);
    }
    if found != told {
        return Err(format!("the file holds the clients {found:?}, and its audit log tells of {told:?}"));
    }
    let rings = keys::rings(db).map_err(|error| error.to_string())?;
    let records = rings.iter().flat_map(|ring| ring.keys.records().iter());
    let in_file: BTreeMap<_, _> =
        records.map(|record| (record.kid.to_string(), record.state().name())).collect();
    if in_file != keys_told {
        return Err(format!("the file holds the keys {in_file:?}, and its audit log tells of {keys_told:?}"));
    }
    for ring in &rings {
        for record in ring.keys.records() {
            let sealed = keys::sealed(db, &record.kid).map_err(|error| error.to_string())?;
            if sealed.is_some() != record.has_private_half() {
                return Err(format!("the private half of {}", record.kid));
            }
        }
    }
    Ok(())
}

pub fn row(what: &str, outcome: &Outcome) -> Row {
    let lost = outcome.lost + outcome.broken;
    if let Some(first) = &outcome.first {
        println!("{what}: {} lost, {} broken, first: {first}", outcome.lost, outcome.broken);
    }
    Row::new(what, outcome.images, lost)
}

/// How many random images there are of each point.
fn somethings(plan: &Plan) -> usize {
    1.max(plan.rounds as usize / 100)
}

pub fn nothing_acknowledged_is_lost_when_the_power_goes(plan: &Plan) -> Vec<Row> {
    let server = Server::with(&[("rotation.clock_skew", "0s"), ("token.max_lifetime", "1h")]);
    let directory = server.database().parent().unwrap().to_owned();
    let db = Connection::open(server.database()).unwrap();
    let bench = vfs::bench(&directory);
    let disk = Disk::of(&directory);
    bench.record();
    let mut acknowledged = Vec::new();
    let mut acknowledge = || acknowledged.push(Acknowledged::now(&bench, &db));
    let good = |answer: crate::support::Answer| assert_eq!(answer.status, 200, "{answer:?}");
    for number in 0..6 {
        let id = format!("client-{number}");
        good(server.admin(
            "POST",
            "/recipe/oauth/clients",
            &json!({"clientId": id, "audience": ["event"], "scope": "event.create"}),
        ));
        acknowledge();
        good(server.admin(
            "PUT",
            "/recipe/oauth/clients",
            &json!({"clientId": id, "scope": "event.view event.create"}),
        ));
        acknowledge();
        good(server.admin("POST", "/recipe/oauth/tokens/revoke", &json!({"client_id": id})));
        acknowledge();
        if number % 2 == 0 {
            good(server.admin("POST", "/recipe/oauth/clients/remove", &json!({"clientId": id})));
            acknowledge();
        }
        server.clock.pass(100_000_000);
        server.rotate();
        acknowledge();
        // What a heartbeat writes, and a log that is folded into the file.
        server.clock.pass(60_000);
        server.settle();
        acknowledge();
    }
    let events = bench.stop();
    drop(db);
    let outcome = replay(disk, &events, &acknowledged, somethings(plan));
    assert!(acknowledged.len() > 20 && events.len() > 300, "{} {}", acknowledged.len(), events.len());
    vec![row(
        "states of the disk when the power goes, clients and rotations: all whole, nothing acknowledged lost",
        &outcome,
    )]
}

pub fn the_power_going_in_a_first_start_or_a_commit_that_failed_leaves_a_whole_file(plan: &Plan) -> Vec<Row> {
    // The first start, migrations included.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("m2mint.db");
    schema::create_private(&file).unwrap();
    let bench = vfs::bench(directory.path());
    let disk = Disk::of(directory.path());
    bench.record();
    drop(Store::open(&file, None).unwrap());
    let first = replay(disk, &bench.stop(), &[], somethings(plan) * 2);

    // Syncs that fail, and acknowledged changes after that: what the failed ones were to write never comes to the disk.
    let disk = Disk::of(directory.path());
    bench.record();
    let store = Store::open(&file, None).unwrap();
    let (mut acknowledged, mut refused) = (Vec::new(), 0);
    for number in 0..40 {
        if number % 4 == 1 {
            let mut left = 1 + number % 3;
            bench.judge(move |_, operation| {
                if operation == Operation::Sync && left > 0 {
                    left -= 1;
                    return Verdict::Fail(ffi::SQLITE_IOERR_FSYNC);
                }
                Verdict::Pass
            });
        }
        match store.write(|db| change(db, number)) {
            Ok(()) => acknowledged.push(store.read(|db| Ok(Acknowledged::now(&bench, db))).unwrap()),
            Err(_) => refused += 1,
        }
    }
    let failed = replay(disk, &bench.stop(), &acknowledged, somethings(plan));
    assert!(refused > 5 && acknowledged.len() > 10, "{refused} refused, {} made", acknowledged.len());
    vec![
        row("states of the disk when the power goes in a first start", &first),
        row("the same after syncs that failed, with changes acknowledged later", &failed),
    ]
}

/// A change as the server makes it: a client, its secret, and the entry that tells of it.
fn change(db: &Connection, number: i64) -> m2mint::store::Result<()> {
    let now = UnixTime::from_secs(1_800_000_000 + number);
    let client = client(&format!("client-{number}"));
    assert!(clients::insert(db, &client)?);
    clients::add_secret(db, client.id.as_str(), &m2mint::model::SecretHash::Sha256([7; 32]), now, None)?;
    audit::append(db, &Entry::new(now, &Origin::of("test"), Action::ClientCreate).about(client.id.as_str()))
}

fn client(id: &str) -> m2mint::model::Client {
    let at = UnixTime::from_secs(1_800_000_000);
    let settings = m2mint::model::Settings { name: "x".repeat(700), ..m2mint::model::Settings::default() };
    m2mint::model::Client {
        id: m2mint::model::ClientId::parse(id).unwrap(),
        settings,
        created_at: at,
        updated_at: at,
    }
}

/// The same changes on a connection of its own, set as `pragma` says, on a disk that may lie.
fn with(pragma: &str, lies: bool) -> Outcome {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("m2mint.db");
    schema::create_private(&file).unwrap();
    let mut db = schema::open_writer(&file, std::time::Duration::from_secs(1)).unwrap();
    db.execute_batch(pragma).unwrap();
    let bench = vfs::bench(directory.path());
    let disk = Disk::of(directory.path());
    if lies {
        bench.judge(|_, operation| if operation == Operation::Sync { Verdict::Lie } else { Verdict::Pass });
    }
    bench.record();
    let mut acknowledged = Vec::new();
    for number in 0..20 {
        let transaction = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
        change(&transaction, number).unwrap();
        transaction.commit().unwrap();
        acknowledged.push(Acknowledged::now(&bench, &db));
        if number % 8 == 7 {
            db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        }
    }
    replay(disk, &bench.stop(), &acknowledged, 1)
}

pub fn the_harness_finds_what_weaker_settings_lose(_: &Plan) -> Vec<Row> {
    let full = with("PRAGMA synchronous = FULL", false);
    let normal = with("PRAGMA synchronous = NORMAL", false);
    let off = with("PRAGMA synchronous = OFF", false);
    let lying = with("PRAGMA synchronous = FULL", true);
    let control =
        |what: &str, outcome: &Outcome| Row::control(what, outcome.images, outcome.lost + outcome.broken);
    assert_eq!(normal.broken, 0, "NORMAL loses, and does not break: {:?}", normal.first);
    assert!(off.broken > 0 && lying.lost > 0, "{off:?} {lying:?}");
    vec![
        row("the same changes with synchronous=FULL, as m2mint sets it", &full),
        control("the same changes with synchronous=NORMAL", &normal),
        control("the same changes with synchronous=OFF", &off),
        control("the same changes on a disk whose syncs do nothing", &lying),
    ]
}
