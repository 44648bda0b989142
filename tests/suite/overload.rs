//! More is asked for than can be done.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::support::http::get;
use crate::support::process::Process;
use crate::support::{Client, form};

/// More than wait behind one another without anybody being refused.
const CROWD: usize = 600;

struct Connection(TcpStream);

impl Connection {
    fn to(server: &Process) -> Self {
        let stream = TcpStream::connect(server.endpoint("").strip_prefix("http://").unwrap()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self(stream)
    }

    fn ask(&mut self, client: &Client) {
        let body = form(&[
            ("grant_type", "client_credentials"),
            ("client_id", &client.id),
            ("client_secret", &client.secret),
        ]);
        let head =
            "POST /auth/oauth/token HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded";
        let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        self.0.write_all(request.as_bytes()).unwrap();
    }

    fn answer(&mut self) -> String {
        let (mut answer, mut buffer) = (String::new(), [0; 4096]);
        while !answer.ends_with('}') {
            let read = self.0.read(&mut buffer).unwrap();
            assert!(read > 0, "{answer}");
            answer += std::str::from_utf8(&buffer[..read]).unwrap();
        }
        answer
    }
}

/// One worker that refuses after a millisecond, a client of it, and connections.
fn crowd() -> (Process, Client, Vec<Connection>) {
    let server = Process::with(&[("M2MINT_WORKERS", "1"), ("M2MINT_LIMITS__QUEUE_TIME", "1ms")]);
    let client = server.client();
    let connections = (0..CROWD).map(|_| Connection::to(&server)).collect();
    (server, client, connections)
}

fn all_ask(connections: &mut [Connection], client: &Client) -> Vec<String> {
    connections.iter_mut().for_each(|connection| connection.ask(client));
    connections.iter_mut().map(Connection::answer).collect()
}

fn is_refused(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 503 ")
}

#[test]
fn some_are_refused_with_a_time_to_wait_and_the_others_get_their_tokens() {
    let (server, client, mut connections) = crowd();
    let mut answers = Vec::new();
    server.wait_until("somebody is refused", || {
        answers = all_ask(&mut connections, &client);
        answers.iter().any(|answer| is_refused(answer))
    });
    let (refused, good): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| is_refused(answer));
    assert!(!good.is_empty() && good.iter().all(|answer| answer.starts_with("HTTP/1.1 200 ")), "{good:?}");
    for answer in refused {
        let head = answer.to_lowercase();
        assert!(head.contains("\r\nretry-after: 1\r\n"), "{answer}");
        assert!(head.contains("\r\ncache-control: no-store\r\n"), "{answer}");
        assert!(answer.contains(r#""error":"temporarily_unavailable""#), "{answer}");
    }
    assert_eq!(get(&server.endpoint("/auth/jwt/jwks.json")).status, 200);
}

#[test]
fn whoever_was_refused_and_asks_again_at_once_is_held_up() {
    let (server, client, mut connections) = crowd();
    // The time to wait begins with the refusal, which a slow machine may hand over late.
    server.wait_until("somebody has to wait", || {
        let answers = all_ask(&mut connections, &client);
        let Some(refused) = answers.iter().rposition(|answer| is_refused(answer)) else { return false };
        let begun = Instant::now();
        connections[refused].ask(&client);
        connections[refused].answer();
        begun.elapsed() > Duration::from_millis(300)
    });
}
