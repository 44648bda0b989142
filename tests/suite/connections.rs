//! Whoever holds connections open, or sends slowly, keeps nobody else out.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::ADMIN_KEY;
use crate::support::http::{get, try_call};
use crate::support::process::Process;

fn connect(server: &Process) -> TcpStream {
    let stream = TcpStream::connect(server.endpoint("").strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

fn ask(stream: &mut TcpStream) -> String {
    // A connection that was ended says so at the writing or at the reading.
    let _ = stream.write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut answer = [0; 4096];
    match stream.read(&mut answer) {
        Ok(length) => String::from_utf8_lossy(&answer[..length]).into_owned(),
        Err(_) => String::new(),
    }
}

/// Reads until the server ends the connection.
fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn whoever_holds_all_connections_keeps_nobody_out() {
    let server = Process::with(&[("M2MINT_LIMITS__CONNECTIONS", "32"), ("M2MINT_LIMITS__HEAD_TIME", "1h")]);
    let silent: Vec<_> = (0..200).map(|_| connect(&server)).collect();
    for _ in 0..100 {
        assert_eq!(get(&server.endpoint("/hello")).status, 200);
    }
    let mut kept: Vec<_> = (0..200).map(|_| connect(&server)).collect();
    let answered = kept.iter_mut().map(ask).filter(|answer| answer.starts_with("HTTP/1.1 200")).count();
    assert!(answered > 0, "connections that ask are answered");
    server.wait_until("they have been answered for long enough to make room", || {
        ask(&mut connect(&server)).starts_with("HTTP/1.1 200")
    });
    assert_eq!(get(&server.endpoint("/auth/jwt/jwks.json")).status, 200);
    drop((silent, kept));
}

#[test]
fn a_connection_in_use_is_not_ended_for_others() {
    let server = Process::with(&[("M2MINT_LIMITS__CONNECTIONS", "32"), ("M2MINT_LIMITS__HEAD_TIME", "1h")]);
    let mut honest = connect(&server);
    let mut others = Vec::new();
    for _ in 0..50 {
        assert!(ask(&mut honest).starts_with("HTTP/1.1 200"));
        others.extend((0..10).map(|_| connect(&server)));
    }
}

#[test]
fn a_process_with_few_descriptors_serves_with_fewer_connections() {
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -n 128; exec \"$0\"", env!("CARGO_BIN_EXE_m2mint")])
        .current_dir(directory.path());
    limited.env("M2MINT_LISTEN", "127.0.0.1:0").env("M2MINT_API_KEY", ADMIN_KEY);
    let server = Process::spawn(directory, limited);
    let held: Vec<_> = (0..300).map(|_| connect(&server)).collect();
    let client = server.client();
    assert!(
        server.try_token(&client).is_ok(),
        "a client is made and gets a token, with the file and sockets that this needs"
    );
    drop(held);
}

#[test]
fn slow_heads_and_bodies_come_to_an_end() {
    let server = Process::with(&[("M2MINT_LIMITS__HEAD_TIME", "1s"), ("M2MINT_LIMITS__REQUEST_TIME", "1s")]);
    let begun = Instant::now();
    let mut head = connect(&server);
    head.write_all(b"GET /hello HTTP/1.1\r\nhost: ").unwrap();
    let mut body = connect(&server);
    body.write_all(b"POST /auth/oauth/token HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{")
        .unwrap();
    let mut chunks = connect(&server);
    chunks
        .write_all(b"POST /auth/oauth/token HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab")
        .unwrap();
    assert!(!rest(&mut head).contains(" 200 "));
    for slow in [&mut body, &mut chunks] {
        let answer = rest(slow);
        assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("\"invalid_request\""), "{answer}");
        let head = answer.to_lowercase();
        assert!(head.contains("connection: close") && head.contains("x-request-id: "), "{answer}");
    }
    assert!(
        begun.elapsed() < Duration::from_secs(25),
        "none of them is waited for until the reader gives up"
    );
    assert_eq!(get(&server.endpoint("/hello")).status, 200);
}

#[test]
fn a_head_that_trickles_after_an_answer_comes_to_an_end() {
    let times = [("M2MINT_LIMITS__HEAD_TIME", "1s"), ("M2MINT_LIMITS__IDLE_TIME", "1s")];
    let server = Process::with(&times);
    let mut stream = connect(&server);
    assert!(ask(&mut stream).starts_with("HTTP/1.1 200"));
    stream.write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\n").unwrap();
    server.wait_until("it is ended", || stream.write_all(b"x: y\r\n").is_err());
}

#[test]
fn a_head_that_is_too_large_is_refused_and_ends_the_connection() {
    let server = Process::start();
    let head =
        |bytes: usize| format!("GET /hello HTTP/1.1\r\nhost: x\r\nx-filler: {}\r\n\r\n", "x".repeat(bytes));
    let mut stream = connect(&server);
    stream.write_all(head(12 * 1024).as_bytes()).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    let mut stream = connect(&server);
    // A client that is still sending gets the answer too.
    stream.write_all(head(200 * 1024).as_bytes()).unwrap();
    assert!(rest(&mut stream).starts_with("HTTP/1.1 431"));
    let mut stream = connect(&server);
    let large = "POST /auth/oauth/token HTTP/1.1\r\nhost: x\r\ncontent-length: 500000\r\n\r\n";
    stream.write_all((large.to_owned() + &"x".repeat(500_000)).as_bytes()).unwrap();
    let answer = rest(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[test]
fn requests_that_never_become_whole_take_so_much_together_and_keep_no_small_one_out() {
    let settings = [("M2MINT_LIMITS__UNFINISHED", "1MiB"), ("M2MINT_LIMITS__HEAD_TIME", "1h")];
    let server = Process::with(&settings);
    let client = server.client();
    let head = format!("GET /hello HTTP/1.1\r\nhost: x\r\nx-filler: {}", "x".repeat(15 * 1024));
    let body = "POST /auth/oauth/token HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                content-length: 60000\r\n\r\n";
    let body = format!("{body}{}", "{".repeat(50_000));
    let mut unfinished: Vec<_> = (0..200).map(|_| connect(&server)).collect();
    for (stream, request) in unfinished.iter_mut().zip([&head, &body].into_iter().cycle()) {
        // Some are ended before all of it is there.
        let _ = stream.write_all(request.as_bytes());
    }
    let ended = |stream: &mut TcpStream| {
        stream.set_nonblocking(true).unwrap();
        !matches!(stream.read(&mut [0; 1024]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    };
    server.wait_until("those for whom there is no room are ended", || {
        unfinished.retain_mut(|stream| !ended(stream));
        unfinished.len() < 100
    });
    assert!(server.try_token(&client).is_ok());
    let large = json!({"clientName": "large", "metadata": {"filler": "x".repeat(30_000)}});
    let body = large.to_string();
    let made = |body: &str| {
        let (url, headers) = (
            server.endpoint("/recipe/oauth/clients"),
            [("api-key", ADMIN_KEY), ("content-type", "application/json")],
        );
        try_call("POST", &url, &headers, body.as_bytes()).is_ok_and(|answer| answer.status == 200)
    };
    drop(unfinished);
    server.wait_until("there is room again", || made(&body));
}

#[test]
fn a_thousand_idle_connections_cost_little() {
    let server = Process::with(&[("M2MINT_LIMITS__HEAD_TIME", "1h")]);
    let held: Vec<_> = (0..1000).map(|_| connect(&server)).collect();
    assert_eq!(get(&server.endpoint("/hello")).status, 200);
    let kib = server.resident_kib();
    // Sixteen KiB each, beside what a server of a test build takes.
    assert!(kib < 64 * 1024, "{kib} KiB");
    drop(held);
}

#[test]
fn whoever_asks_and_takes_no_answers_costs_little_and_is_ended() {
    let server = Process::with(&[("M2MINT_LIMITS__IDLE_TIME", "1s")]);
    assert_eq!(get(&server.endpoint("/auth/jwt/jwks.json")).status, 200);
    let before = server.resident_kib();
    let requests = "GET /auth/jwt/jwks.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1000);
    let mut greedy: Vec<_> = (0..20).map(|_| connect(&server)).collect();
    let mut ended = 0;
    server.wait_until("all of them are ended", || {
        greedy.retain_mut(|stream| {
            stream.set_nonblocking(true).unwrap();
            // What is cut off in the middle makes a bad request of the next one: nobody gets that far.
            let wrote = loop {
                if let Err(error) = stream.write_all(requests.as_bytes()) {
                    break error.kind() == ErrorKind::WouldBlock;
                }
            };
            ended += u32::from(!wrote);
            wrote
        });
        let kib = server.resident_kib();
        assert!(kib < before + 20 * 1024, "{before} KiB before, {kib} KiB now");
        greedy.is_empty()
    });
    assert_eq!(ended, 20);
}

#[test]
fn requests_that_follow_one_another_without_waiting_are_all_answered() {
    let server = Process::start();
    let mut stream = connect(&server);
    let count = 500;
    let mut writer = stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        let requests = "GET /hello HTTP/1.1\r\nhost: x\r\n\r\n".repeat(count - 1);
        writer.write_all(requests.as_bytes()).unwrap();
        writer.write_all(b"GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    });
    let answers = rest(&mut stream);
    sender.join().unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), count);
}
