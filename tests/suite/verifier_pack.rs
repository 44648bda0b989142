//! `m2mint verifier pack`: bad tokens, tried on a service that checks well and on others that do not.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use m2mint_keys::bearer;
use m2mint_keys::remote::{RemoteJwks, RemoteVerifier};
use m2mint_keys::verify::Policy;

use crate::support::process::command;
use crate::support::token::now;

/// A service whose one action takes a token that passes this policy.
struct Service {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    fn start(issuer: &str, policy: Policy) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let verifier = RemoteVerifier::new(RemoteJwks::at(&format!("{issuer}/jwks.json")).unwrap(), policy);
        let ended = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let ended = Arc::clone(&ended);
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                for stream in listener.incoming() {
                    if ended.load(Ordering::SeqCst) {
                        return;
                    }
                    runtime.block_on(answer(&verifier, stream.unwrap()));
                }
            }
        });
        Self { address, ended, thread: Some(thread) }
    }
}

async fn answer(verifier: &RemoteVerifier, mut stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut token = None;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap() == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("authorization")
        {
            token = bearer::token(value.trim()).ok().flatten().map(str::to_owned);
        }
    }
    let good = match token {
        Some(token) => verifier.verify(&token, now()).await.is_ok(),
        None => false,
    };
    let status = if good { "200 OK" } else { "401 Unauthorized" };
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
}

impl Drop for Service {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Makes a pack, and tries it on a service with this policy.
fn try_on(change: impl FnOnce(&mut Policy)) -> Output {
    try_signed_with("EdDSA", change)
}

fn try_signed_with(alg: &str, change: impl FnOnce(&mut Policy)) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let arguments =
        ["verifier", "pack", "--audience", "event", "--scope", "event.create", "--alg", alg, "--out", "pack"];
    let made =
        command(directory.path()).args(arguments).args(["--port", &port.to_string()]).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let issuer = format!("http://127.0.0.1:{port}");
    let mut policy = Policy { scopes: vec!["event.create".into()], ..Policy::new(&*issuer, "event") };
    change(&mut policy);
    let service = Service::start(&issuer, policy);
    let url = format!("http://{}/events", service.address);
    Command::new(directory.path().join("pack/run")).args([&*url, "--method", "POST"]).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_service_that_checks_well_lets_none_in() {
    for alg in ["EdDSA", "ES256"] {
        let tried = try_signed_with(alg, |_| ());
        let told = text(&tried);
        assert_eq!(tried.status.code(), Some(0), "{alg}: {told}");
        assert!(
            told.contains("none of ") && !told.contains("let in") && !told.contains("odd"),
            "{alg}: {told}"
        );
        assert!(told.lines().filter(|line| line.contains("  refused  ")).count() >= 50, "{alg}: {told}");
    }
}

#[test]
fn a_service_that_forgot_the_audience_is_found_out() {
    let tried = try_on(|policy| policy.audience = None);
    let told = text(&tried);
    assert_eq!(tried.status.code(), Some(1), "{told}");
    assert!(told.contains("2 bad tokens were LET IN: aud-other, aud-longer"), "{told}");
}

#[test]
fn a_service_that_forgot_the_issuer_or_the_scope_is_found_out() {
    let told = text(&try_on(|policy| policy.issuer = None));
    assert!(told.contains("2 bad tokens were LET IN: iss-other, iss-longer"), "{told}");
    let told = text(&try_on(|policy| policy.scopes.clear()));
    assert!(
        told.contains("LET IN: scope-none, scope-longer, scope-shorter, scope-star, scope-joined"),
        "{told}"
    );
}

#[test]
fn a_service_that_is_only_lax_is_told_so() {
    let tried = try_on(|policy| {
        policy.plain_typ = true;
        policy.shared_audience = true;
    });
    let told = text(&tried);
    assert_eq!(tried.status.code(), Some(0), "{told}");
    assert!(
        told.contains("3 that strict services refuse were let in: typ-jwt, typ-missing, aud-shared"),
        "{told}"
    );
}

#[test]
fn a_service_that_is_not_pointed_at_the_pack_is_no_success() {
    let tried = try_on(|policy| policy.audience = Some("file".into()));
    assert_eq!(tried.status.code(), Some(2), "{}", text(&tried));
}

#[test]
fn a_pack_is_not_written_over_anything() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["verifier", "pack", "--audience", "event", "--out", "."];
    assert_eq!(command(directory.path()).args(arguments).output().unwrap().status.code(), Some(3));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}
