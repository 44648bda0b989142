//! Disks that are full, fail, cannot be written or are slow.
//!
//! On the real program: a full tmpfs, and system calls that strace lets fail. In this process: every single operation of a
//! change fails once, and for a while; whatever became of the change, memory, file and key set agree afterwards.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use m2mint::audit::verify::{Evidence, verify};
use m2mint::model::audit::Origin;
use m2mint::store::keys::{KeyRequest, rings};
use m2mint::store::{Store, StoreError, keys};
use m2mint_keys::jwk::Kid;
use rusqlite::ffi;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::process::{command, run_to_end};
use crate::support::token::kid;
use crate::support::{Client, Process, Server, form, get};
use crate::table::{Plan, Row};
use crate::vfs::{self, Bench, Operation, Verdict};

/// What a broken disk is tried with.
struct Broken {
    /// What it is.
    name: &'static str,
    /// Whether a commit that fails may have happened.
    outcome_unknown: bool,
}

/// Lets a server meet a broken disk, and the disk be whole again: tokens and key set go on, writes answer 503 and are done
/// as a whole or not at all, a rotation changes nothing, and all works again without a restart.
fn meets(
    broken: &Broken,
    server: &Process,
    client: &Client,
    breaks: impl FnOnce() -> Box<dyn FnOnce()>,
) -> Row {
    let ask = |path: &str, body: &serde_json::Value| server.admin("POST", path, body);
    let made: Vec<Client> = (0..3).map(|_| server.client()).collect();
    server.wait_until("nothing is under way", || server.verb(&["keys"]).contains("standby"));
    let keys = server.verb(&["keys"]);
    let jwks = server.jwks();
    let heals = breaks();

    // What the disk still takes, where it is full, is used up.
    let mut ids = (0..).map(|number| format!("{}-{number}", broken.name.replace(' ', "-")));
    let mut asked = Vec::new();
    let mut refused = None;
    for id in ids.by_ref().take(500) {
        let answer = ask(
            "/recipe/oauth/clients",
            &json!({"clientId": id, "audience": ["event"], "scope": "event.create"}),
        );
        let status = answer.status;
        asked.push((id, status));
        if status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("the disk is broken, and everything was written");
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (503, Some("1")),
        "{}: {refused:?}",
        broken.name
    );
    let mut writes = 1;
    for (path, body) in [
        ("/recipe/oauth/clients/remove", json!({"clientId": made[0].id})),
        ("/recipe/oauth/tokens/revoke", json!({"client_id": made[1].id})),
        ("/recipe/oauth/clients", json!({"clientId": ids.next()})),
    ] {
        let answer = ask(path, &body);
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (503, Some("1")),
            "{}: {answer:?}",
            broken.name
        );
        assert!(!answer.body.contains("SQL") && !answer.body.contains("disk"), "{answer:?}");
        writes += 1;
    }
    let update = json!({"clientId": made[2].id, "scope": "file.view"});
    assert_eq!(server.admin("PUT", "/recipe/oauth/clients", &update).status, 503);
    server.signal(Signal::USR1);
    server.wait_until("the rotation cannot be stored", || {
        server.log.lock().contains("the rotation could not be stored")
    });
    for _ in 0..20 {
        server.token(client);
        assert_eq!(get(&server.endpoint("/auth/jwt/jwks.json")).status, 200);
    }
    assert_eq!(server.jwks(), jwks, "{}: a rotation that cannot commit changes nothing", broken.name);
    assert_eq!(get(&server.endpoint("/health/live")).status, 200);
    server.wait_until("the database is named as what is not ready", || {
        let ready = get(&server.endpoint("/health/ready"));
        ready.status == 503 && ready.json()["parts"]["database"] != "ok"
    });

    heals();
    server.wait_until("the server is ready again", || get(&server.endpoint("/health/ready")).status == 200);
    server.wait_until("it works again without a restart", || {
        ask("/recipe/oauth/clients", &json!({"clientId": format!("{}-healed", made[0].id)})).status != 503
    });
    // Memory follows the file, whatever it says.
    let db = rusqlite::Connection::open(server.path("m2mint.db")).unwrap();
    let is_there = |id: &str| {
        let count: i64 =
            db.query_row("SELECT count(*) FROM clients WHERE id = ?1", [id], |row| row.get(0)).unwrap();
        count == 1
    };
    for (id, status) in &asked {
        let there = is_there(id);
        assert!(there || *status != 200, "{}: {id} was acknowledged and is lost", broken.name);
        assert!(
            !there || *status == 200 || broken.outcome_unknown,
            "{}: {id} was refused, and is there",
            broken.name
        );
    }
    let gets_token = |client: &Client| server.try_token(client).is_ok();
    server.wait_until("memory agrees with the file", || gets_token(&made[0]) == is_there(&made[0].id));
    if !broken.outcome_unknown {
        assert!(made.iter().all(gets_token), "{}: a refused change was made", broken.name);
        assert!(!server.verb(&["clients", "show", &made[2].id]).contains("file.view"));
        assert_eq!(server.verb(&["keys"]).lines().nth(1), keys.lines().nth(1));
    }
    let before = server.active_kid("EdDSA");
    server.signal(Signal::USR1);
    server.wait_until("a rotation works again", || server.active_kid("EdDSA") != before);
    server.wait_until("what signs is in the key set", || server.jwks().contains(&kid(&server.token(client))));
    server.verb(&["audit", "verify"]);
    let check: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok", "{}", broken.name);
    let what = format!("writes on a disk that {}: 503, nothing half done, tokens go on", broken.name);
    Row::new(what, writes + asked.len(), 0)
}

/// Keys that may be rotated every second.
const SETTINGS: [(&str, &str); 3] = [
    ("M2MINT_ROTATION__PROPAGATION", "1s"),
    ("M2MINT_ROTATION__CLOCK_SKEW", "0s"),
    ("M2MINT_ROTATION__EVERY", "never"),
];

/// A folder of its own, of that size. Only root can mount it.
struct Small(Arc<tempfile::TempDir>);

impl Small {
    fn mount(size: &str) -> Option<Self> {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", size, "tmpfs"]).arg(directory.path()).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then_some(Self(directory))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

fn fill(file: &Path) {
    let mut file = std::fs::File::create(file).unwrap();
    for size in [65536, 4096, 512, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

pub fn a_full_disk_costs_writes_and_nothing_else(_: &Plan) -> Vec<Row> {
    let what = "a full disk (tmpfs)";
    let Some(small) = Small::mount("size=2m") else {
        return vec![Row::skipped(what, "only root can mount")];
    };
    let server = Process::again(Arc::clone(&small.0), &SETTINGS);
    let client = server.client();
    let ballast = server.path("ballast");
    let full = Broken { name: "is full", outcome_unknown: false };
    let row = meets(&full, &server, &client, || {
        fill(&ballast);
        let ballast = ballast.clone();
        Box::new(move || std::fs::remove_file(ballast).unwrap())
    });
    // A verb says so, and does nothing by halves.
    fill(&ballast);
    let said = (0..500).map(|_| server.run(&["clients", "create"])).find(|output| !output.status.success());
    let said = String::from_utf8(said.expect("the disk is full").stderr).unwrap();
    assert!(said.contains("disk is full"), "{said}");
    std::fs::remove_file(&ballast).unwrap();
    server.verb(&["clients", "create"]);
    // A start on a full disk says so too.
    server.stop();
    fill(&ballast);
    let output = run_to_end(command(small.0.path()).args(["--listen", "127.0.0.1:0"]));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("neither full nor read-only"), "{said}");
    std::fs::remove_file(&ballast).unwrap();
    drop(Process::again(Arc::clone(&small.0), &SETTINGS));
    vec![row]
}

pub fn a_read_only_disk_is_said_at_the_start_and_left_alone(_: &Plan) -> Vec<Row> {
    let what = "a start on a read-only disk: said in one line, nothing touched";
    let Some(small) = Small::mount("size=8m") else {
        return vec![Row::skipped(what, "only root can mount")];
    };
    Process::again(Arc::clone(&small.0), &SETTINGS).stop();
    let file = small.0.path().join("m2mint.db");
    let before = std::fs::read(&file).unwrap();
    let remount = |how: &str| {
        let path = small.0.path();
        assert!(Command::new("mount").args(["-o", how]).arg(path).status().unwrap().success());
    };
    remount("remount,ro");
    for verb in [&["--listen", "127.0.0.1:0"][..], &["clients", "create"]] {
        let output = run_to_end(command(small.0.path()).args(verb));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.lines().count() == 1, "{said}");
        assert!(said.contains("read-only"), "{said}");
    }
    assert_eq!(std::fs::read(&file).unwrap(), before);
    remount("remount,rw");
    drop(Process::again(Arc::clone(&small.0), &SETTINGS));
    vec![Row::new(what, 2, 0)]
}

/// strace on a running server, letting system calls fail; they work again when this is dropped.
struct Strace(Child);

impl Strace {
    /// `None` where there is no strace, or it may not look into other processes.
    fn attach(server: &Process, inject: &str) -> Option<Self> {
        let call = inject.split(':').next().unwrap();
        let mut strace = Command::new("strace");
        strace.args(["-f", "-e", &format!("trace={call}"), "-e", &format!("inject={inject}")]);
        strace.args(["-p", &server.pid().as_raw_nonzero().to_string()]);
        let mut child = strace.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().ok()?;
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        // One line for each thread, and one that counts them.
        while said.read_line(&mut line).is_ok_and(|length| length > 0) {
            if line.contains("attached") && (line.contains("threads") || line.contains("Process")) {
                std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
                return Some(Self(child));
            }
            line.clear();
        }
        let _ = child.wait();
        None
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.0), Signal::INT);
        let _ = self.0.wait();
    }
}

pub fn a_disk_that_fails_costs_writes_and_nothing_else(_: &Plan) -> Vec<Row> {
    let ways = [
        ("cannot sync (EIO)", "fsync:error=EIO", true),
        ("cannot write (EIO)", "pwrite64:error=EIO", true),
        ("has become read-only (EROFS)", "pwrite64:error=EROFS", true),
    ];
    let one = |(name, inject, outcome_unknown): (&'static str, &str, bool)| {
        let server = Process::with(&SETTINGS);
        let client = server.client();
        if Strace::attach(&server, "fsync:delay_enter=1").is_none() {
            return Row::skipped(format!("a disk that {name}"), "there is no strace that may attach");
        }
        meets(&Broken { name, outcome_unknown }, &server, &client, || {
            let strace = Strace::attach(&server, inject).unwrap();
            Box::new(move || drop(strace))
        })
    };
    ways.into_iter().map(one).collect()
}

pub fn a_slow_disk_holds_up_writes_and_nothing_else(_: &Plan) -> Vec<Row> {
    let what = "tokens while a write waits for a disk that takes 2 s";
    let server = Process::with(&SETTINGS);
    let client = server.client();
    let Some(strace) = Strace::attach(&server, "fsync:delay_enter=2000000") else {
        return vec![Row::skipped(what, "there is no strace that may attach")];
    };
    let (written, tokens) = (AtomicBool::new(false), AtomicUsize::new(0));
    let answer = std::thread::scope(|scope| {
        let (server, written) = (&server, &written);
        let write = scope.spawn(move || {
            let answer = server.admin("POST", "/recipe/oauth/clients", &json!({"clientId": "slow"}));
            written.store(true, Ordering::Release);
            answer
        });
        while !written.load(Ordering::Acquire) {
            server.token(&client);
            assert_eq!(get(&server.endpoint("/auth/jwt/jwks.json")).status, 200);
            tokens.fetch_add(1, Ordering::Relaxed);
        }
        write.join().unwrap()
    });
    assert_eq!(answer.status, 200, "{answer:?}");
    let tokens = tokens.into_inner();
    assert!(tokens > 20, "{tokens} tokens in 2 s");
    // Who waits too long for another's write is told to come again.
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let write = |_| scope.spawn(|| server.admin("POST", "/recipe/oauth/clients", &json!({})));
        let writes: Vec<_> = (0..3).map(write).collect();
        writes.into_iter().map(|write| write.join().unwrap().status).collect()
    });
    assert!(
        statuses.contains(&200) && statuses.iter().all(|status| [200, 503].contains(status)),
        "{statuses:?}"
    );
    drop(strace);
    server.wait_until("writes are quick again", || {
        server.admin("POST", "/recipe/oauth/clients", &json!({})).status == 200
    });
    server.verb(&["audit", "verify"]);
    vec![Row::new(what, tokens, 0)]
}

/// Lets the `at`-th operation fail, of those that are counted, and `more` after it. Answers how many there were.
fn fail(
    bench: &Bench,
    at: usize,
    more: usize,
    code: i32,
    counted: fn(Operation) -> bool,
) -> Arc<AtomicUsize> {
    let seen = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&seen);
    bench.judge(move |file, operation| {
        if !counted(operation) || file.ends_with("-shm") {
            return Verdict::Pass;
        }
        let number = counter.fetch_add(1, Ordering::Relaxed) + 1;
        if (at..=at + more).contains(&number) { Verdict::Fail(code) } else { Verdict::Pass }
    });
    seen
}

fn changes_the_disk(operation: Operation) -> bool {
    !matches!(operation, Operation::Read | Operation::Open)
}

fn any(_: Operation) -> bool {
    true
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// What is tried while the disk fails. Answers whether it was acknowledged.
type Change = fn(&Server, &str) -> bool;

fn creates_a_client(server: &Server, id: &str) -> bool {
    let body = json!({"clientId": id, "clientSecret": format!("m2s-{id}-0123456789"), "scope": "event.create", "audience": ["event"]});
    let answer = server.admin("POST", "/recipe/oauth/clients", &body);
    assert!(
        answer.status == 200 || (answer.status, answer.header("retry-after")) == (503, Some("1")),
        "{answer:?}"
    );
    answer.status == 200
}

fn rotates(server: &Server, _: &str) -> bool {
    // Every verifier has the standby, and the retired keys may go.
    server.clock.pass(100_000_000);
    block_on(server.keeper().rotate(Origin::of("test"))).is_ok()
}

fn asks_for_a_rotation(server: &Server, _: &str) -> bool {
    server.clock.pass(100_000_000);
    asks(server, |_| KeyRequest::Rotate(None))
}

fn asks_for_a_revocation(server: &Server, _: &str) -> bool {
    // Those that were revoked before are forgotten.
    server.clock.pass(100_000_000);
    asks(server, |active| KeyRequest::Revoke(active.clone()))
}

/// As a verb does it: the request is in the file, and stays there until it is met.
fn asks(server: &Server, request: impl FnOnce(&Kid) -> KeyRequest) -> bool {
    let Ok(store) = Store::open(&server.database(), None) else { return false };
    let asked = store.read(rings).and_then(|rings| {
        let active = rings[0].keys.active().unwrap().kid.clone();
        store.write(|db| keys::ask(db, &request(&active), m2mint_keys::time::UnixTime::from_secs(1)))
    });
    // The keeper may meet it while the disk still fails.
    let _ = block_on(server.keeper().settle());
    asked.is_ok()
}

/// Memory, file and key set say the same, and nothing waits.
fn agree(server: &Server, what: &str, tried: &mut BTreeSet<(String, bool)>) {
    server.settle();
    let store = Store::open(&server.database(), None).unwrap();
    let rings = store.read(rings).unwrap();
    let in_file: BTreeSet<_> = rings
        .iter()
        .flat_map(|ring| ring.keys.published().map(|key| key.kid.to_string()).collect::<Vec<_>>())
        .collect();
    assert_eq!(server.kids().into_iter().collect::<BTreeSet<_>>(), in_file, "{what}");
    assert!(rings[0].keys.standby().is_some(), "{what}");
    assert_eq!(store.read(keys::requests).unwrap(), [], "{what}: a request was forgotten");
    let known = Client { id: "known".into(), secret: "m2s-known-0123456789".into() };
    let active = rings[0].keys.active().unwrap().kid.to_string();
    assert_eq!(kid(&server.token(&known)), active, "{what}");
    for (id, acknowledged) in std::mem::take(tried) {
        let there = store.read(|db| m2mint::store::clients::get(db, &id)).unwrap().is_some();
        assert!(there || !acknowledged, "{what}: {id} was acknowledged and is lost");
        let secret = format!("m2s-{id}-0123456789");
        let fields = [("grant_type", "client_credentials"), ("client_id", &*id), ("client_secret", &secret)];
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let answer = crate::support::call("POST", &server.token_url(), &headers, form(&fields).as_bytes());
        assert_eq!(answer.status == 200, there, "{what}: memory and file do not agree on {id}");
    }
}

/// What fails, with which code, and which operations are counted.
type Fault = (&'static str, i32, fn(Operation) -> bool);

pub fn whatever_became_of_a_commit_memory_file_and_key_set_agree(plan: &Plan) -> Vec<Row> {
    let changes: [(&str, Change); 4] = [
        ("a client is made", creates_a_client),
        ("keys rotate", rotates),
        ("a verb asks for a rotation", asks_for_a_rotation),
        ("a verb asks for a revocation", asks_for_a_revocation),
    ];
    let faults: [Fault; 5] = [
        ("EIO on sync or write", ffi::SQLITE_IOERR_FSYNC, changes_the_disk),
        ("disk full", ffi::SQLITE_FULL, changes_the_disk),
        ("read-only", ffi::SQLITE_READONLY, changes_the_disk),
        ("EIO on anything", ffi::SQLITE_IOERR_READ, any),
        ("sync only", ffi::SQLITE_IOERR_FSYNC, |operation| operation == Operation::Sync),
    ];
    let server = Server::start();
    let bench = vfs::bench(server.database().parent().unwrap());
    assert!(creates_a_client(&server, "known"));
    let mut rows = Vec::new();
    for (what, change) in changes {
        let (mut times, mut doubtful) = (0, 0);
        for (number, (how, code, counted)) in faults.iter().copied().enumerate() {
            for more in [0, 40] {
                // The long form tries every operation, the short one every third, in turn.
                let stride = if plan.rounds >= 1000 { 1 } else { 3 };
                for at in (1 + (number + more) % stride..).step_by(stride) {
                    let id = format!("c-{}-{how}-{more}-{at}", rows.len()).replace(' ', "_");
                    let seen = fail(&bench, at, more, code, counted);
                    let acknowledged = change(&server, &id);
                    bench.heal();
                    let (tried, hit) =
                        (format!("{what}, {how} at {at} and {more} more"), seen.load(Ordering::Relaxed));
                    if hit < at {
                        break;
                    }
                    let client = what.contains("client").then_some((id, acknowledged));
                    agree(&server, &tried, &mut client.into_iter().collect());
                    times += 1;
                    doubtful += usize::from(!acknowledged);
                }
            }
        }
        let store = Store::open(&server.database(), None).unwrap();
        let verified = store.read(|db| verify(db, &Evidence::default())).unwrap();
        assert!(verified.is_ok(), "{what}: {verified:?}");
        rows.push(Row::new(
            format!("{what}, and one operation of the disk fails or several: {doubtful} refused, memory, file and key set agree"),
            times,
            0,
        ));
    }
    rows
}

pub fn a_commit_of_unknown_outcome_is_seen_by_nobody_and_settled(_: &Plan) -> Vec<Row> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("m2mint.db");
    let bench = vfs::bench(directory.path());
    m2mint::store::schema::create_private(&path).unwrap();
    let store = Store::open(&path, None).unwrap();
    let write = |kid: &str| {
        let request = KeyRequest::Revoke(Kid::parse(kid).unwrap());
        store.write(|db| keys::ask(db, &request, m2mint_keys::time::UnixTime::from_secs(1)))
    };
    let [one, two, three] =
        ["A", "B", "C"].map(|letter| letter.repeat(43).replace('B', "E").replace('C', "I"));
    write(&one).unwrap();
    bench.judge(|_, operation| match operation {
        Operation::Sync => Verdict::Fail(ffi::SQLITE_IOERR_FSYNC),
        _ => Verdict::Pass,
    });
    assert!(matches!(write(&two), Err(StoreError::OutcomeUnknown(_))));
    let requests = |store: &Store| store.read(keys::requests).unwrap().len();
    assert_eq!(requests(&store), 1, "nobody sees what did not commit");
    let after_a_kill = || {
        let place = tempfile::tempdir().unwrap();
        for name in ["m2mint.db", "m2mint.db-wal"] {
            std::fs::copy(directory.path().join(name), place.path().join(name)).unwrap();
        }
        requests(&Store::open(&place.path().join("m2mint.db"), None).unwrap())
    };
    assert_eq!(after_a_kill(), 2, "a restart finds it: the outcome is unknown");
    assert!(store.settle().is_err());
    bench.heal();
    store.settle().unwrap();
    assert_eq!((requests(&store), after_a_kill()), (1, 1), "it is settled that it did not happen");
    write(&three).unwrap();
    assert_eq!((requests(&store), after_a_kill()), (2, 2));
    vec![Row::new(
        "a commit that failed in its sync: seen by nobody, and settled when the disk works again",
        5,
        0,
    )]
}
