//! Services that follow the published keys with the crate's own verifier, while the keys of the real binary rotate.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use m2mint_keys::remote::{RemoteJwks, RemoteVerifier, Settings};
use m2mint_keys::verify::Policy;
use parking_lot::Mutex;
use rustix::process::Signal;

use crate::live_rotation::QUICK;
use crate::support::Process;
use crate::support::token::now;

const ROTATIONS: usize = 20;
const A: Duration = Duration::from_secs(1);

/// A service that knows the server by nothing but its issuer.
fn service(server: &Process) -> RemoteVerifier {
    let issuer = server.endpoint("/auth");
    // In a test that has a second where life has a day, a cooldown is short too.
    let settings = Settings { cooldown: A / 5, ..Settings::default() };
    let policy = Policy { leeway: Duration::ZERO, ..Policy::new(&*issuer, "event") };
    RemoteVerifier::new(RemoteJwks::discover_with(&issuer, settings).unwrap(), policy).with_cache(100)
}

#[test]
fn verifiers_that_are_awake_and_one_that_sleeps_for_a_refuse_nobody() {
    let server = Process::with(&QUICK);
    let client = server.client();
    let (done, checked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (latest, refused) = (Mutex::new(server.token(&client)), Mutex::new(Vec::new()));
    let active = || server.verb_json(&["keys", "--json"])["keys"][0]["kid"].as_str().unwrap().to_owned();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                *latest.lock() = server.token(&client);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        for pause in [Duration::from_millis(10), Duration::from_millis(50), A, A + A / 3] {
            let (server, done, latest, refused, checked) = (&server, &done, &latest, &refused, &checked);
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let verifier = service(server);
                while !done.load(Ordering::Relaxed) {
                    let token = latest.lock().clone();
                    match runtime.block_on(verifier.verify(&token, now())) {
                        Ok(_) => drop(checked.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => refused.lock().push(format!("pause {pause:?}: {error}")),
                    }
                    runtime.block_on(async { tokio::time::sleep(pause).await });
                }
            });
        }
        for _ in 0..ROTATIONS {
            let before = active();
            server.signal(Signal::USR1);
            server.wait_until("rotated", || active() != before);
        }
        done.store(true, Ordering::Relaxed);
    });
    let refused = refused.into_inner();
    assert!(refused.is_empty(), "{} refused, such as {:?}", refused.len(), &refused[..refused.len().min(5)]);
    assert!(checked.into_inner() > 200);
}
