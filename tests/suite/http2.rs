//! HTTP/2: bounds that the peer is told, and that hold for those that do not listen.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use http::{Method, Request, StatusCode};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::support::ADMIN_KEY;
use crate::support::tls::{TlsServer, client_config};

/// A connection, and the task that ends with it.
struct Http2 {
    requests: SendRequest<Bytes>,
    ended: JoinHandle<Result<(), h2::Error>>,
    most: usize,
}

async fn connect(server: &TlsServer) -> Http2 {
    connect_by(server, &client::Builder::new()).await
}

async fn connect_by(server: &TlsServer, builder: &client::Builder) -> Http2 {
    let mut config = client_config(&server.authority);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(server.address()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let (requests, mut connection) = builder.handshake(stream).await.unwrap();
    // The server's settings are there when a ping comes back.
    let mut pings = connection.ping_pong().unwrap();
    tokio::select! {
        ended = &mut connection => panic!("{ended:?}"),
        pong = pings.ping(h2::Ping::opaque()) => drop(pong.unwrap()),
    }
    let most = connection.max_concurrent_send_streams();
    Http2 { requests, ended: tokio::spawn(connection), most }
}

fn request(method: Method, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("https://localhost{path}")).body(()).unwrap()
}

impl Http2 {
    async fn get(&mut self, path: &str) -> Result<StatusCode, h2::Error> {
        poll_fn(|cx| self.requests.poll_ready(cx)).await?;
        let (response, _) = self.requests.send_request(request(Method::GET, path), true)?;
        Ok(response.await?.status())
    }
}

impl Http2 {
    /// Waits for the end, which the server announced: without that, it would be an unexpected one.
    async fn has_parted(self) {
        if let Err(error) = self.ended.await.unwrap() {
            // The server had gone before it was wished farewell.
            let kind = error.get_io().map(std::io::Error::kind);
            assert!(matches!(kind, Some(ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)), "{error:?}");
        }
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), future).await.unwrap() })
}

#[test]
fn a_connection_has_so_many_requests_at_once_and_heads_of_a_size() {
    let server = TlsServer::with(&[]);
    run(async {
        let mut connection = connect(&server).await;
        assert_eq!(connection.most, 64);
        assert_eq!(connection.get("/hello").await.unwrap(), 200);
        let mut large = request(Method::GET, "/hello");
        for number in 0..3 {
            let name = http::HeaderName::from_bytes(format!("x-large-{number}").as_bytes()).unwrap();
            large.headers_mut().insert(name, "a".repeat(8000).parse().unwrap());
        }
        let (response, _) = connection.requests.send_request(large, true).unwrap();
        assert_eq!(response.await.unwrap().status(), 431);
        assert_eq!(connection.get("/auth/jwt/jwks.json").await.unwrap(), 200);
    });
}

#[test]
fn a_request_without_a_body_needs_no_content_type() {
    let server = TlsServer::with(&[("M2MINT_ADMIN__HOSTS", "localhost")]);
    run(async {
        let mut connection = connect(&server).await;
        let mut delete = request(Method::DELETE, "/admin/v1/clients/nobody");
        delete.headers_mut().insert("api-key", ADMIN_KEY.parse().unwrap());
        delete.headers_mut().insert("if-match", "*".parse().unwrap());
        let (answer, _) = connection.requests.send_request(delete, true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 404);
        let mut post = request(Method::POST, "/admin/v1/keys/rotate");
        post.headers_mut().insert("api-key", ADMIN_KEY.parse().unwrap());
        let (answer, mut body) = connection.requests.send_request(post, false).unwrap();
        body.send_data("{}".into(), true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 415, "a body has to say what it is");
    });
}

#[test]
fn a_body_that_does_not_come_ends_its_own_request_only() {
    let server = TlsServer::with(&[("M2MINT_LIMITS__REQUEST_TIME", "1s")]);
    run(async {
        let mut connection = connect(&server).await;
        let mut slow = request(Method::POST, "/auth/oauth/token");
        slow.headers_mut().insert("content-type", "application/json".parse().unwrap());
        let (slow, _body) = connection.requests.send_request(slow, false).unwrap();
        assert_eq!(connection.get("/hello").await.unwrap(), 200);
        assert_eq!(slow.await.unwrap().status(), 408);
        assert_eq!(connection.get("/hello").await.unwrap(), 200);
    });
}

#[test]
fn requests_that_are_taken_back_at_once_keep_nobody_out() {
    let server = TlsServer::with(&[]);
    run(async {
        let mut floods = Vec::new();
        for _ in 0..8 {
            floods.push(connect(&server).await);
        }
        for _ in 0..2_000 {
            for flood in &mut floods {
                if poll_fn(|cx| flood.requests.poll_ready(cx)).await.is_err() {
                    continue;
                }
                if let Ok((_, mut body)) =
                    flood.requests.send_request(request(Method::POST, "/auth/oauth/token"), false)
                {
                    body.send_reset(h2::Reason::CANCEL);
                }
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(connect(&server).await.get("/hello").await.unwrap(), 200);
    });
    let kib = server.process.resident_kib();
    assert!(kib < 64 * 1024, "{kib} KiB");
}

#[test]
fn a_body_that_is_too_large_is_refused() {
    let server = TlsServer::with(&[]);
    let body = server.process.path("body");
    std::fs::write(&body, vec![b'a'; 70_000]).unwrap();
    let data = format!("@{}", body.display());
    let (output, answer) = server.curl(
        &["--http2", "--data-binary", &data, "-w", " %{http_version} %{http_code}"],
        "/auth/oauth/token",
    );
    assert!(answer.ends_with(" 2 413"), "{output:?}");
}

#[test]
fn an_answer_that_needs_no_body_arrives_before_the_body_does() {
    let server = TlsServer::with(&[]);
    let body = server.process.path("body");
    std::fs::write(&body, vec![b'a'; 50_000]).unwrap();
    let data = format!("@{}", body.display());
    for (path, status) in [("/nothing", "404"), ("/recipe/oauth/clients", "401")] {
        let (output, answer) = server.curl(&["--http2", "--data-binary", &data, "-w", "%{http_code}"], path);
        assert!(answer.ends_with(status), "{output:?}");
    }
}

#[test]
fn head_has_the_length_of_the_body_that_it_leaves_out() {
    let server = TlsServer::with(&[]);
    let (_, head) = server.curl(&["--http2", "-I"], "/auth/jwt/jwks.json");
    let (_, body) = server.curl(&["--http2"], "/auth/jwt/jwks.json");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
    assert!(head.contains("date: ") && !head.contains("connection:"), "{head}");
}

#[test]
fn a_server_that_stops_says_goodbye_and_answers_what_was_asked() {
    let server = TlsServer::with(&[]);
    run(async {
        let mut idle = connect(&server).await;
        assert_eq!(idle.get("/hello").await.unwrap(), 200);
        let mut busy = connect(&server).await;
        let mut asked = request(Method::POST, "/auth/oauth/token");
        asked.headers_mut().insert("content-type", "application/json".parse().unwrap());
        let (answer, mut body) = busy.requests.send_request(asked, false).unwrap();
        // The request has begun when the one behind it is answered.
        assert_eq!(busy.get("/hello").await.unwrap(), 200);
        server.process.signal(rustix::process::Signal::TERM);
        idle.has_parted().await;
        body.send_data(Bytes::from_static(b"{}"), true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 400);
        busy.has_parted().await;
    });
    server.process.stop();
}

#[test]
fn the_admin_api_has_its_names_also_over_http2() {
    let server = TlsServer::with(&[("M2MINT_ADMIN__HOSTS", "m2mint")]);
    let port = server.address().rsplit_once(':').unwrap().1.to_owned();
    run(async {
        let mut connection = connect(&server).await;
        for (host, status) in [
            (format!("localhost:{port}"), 200),
            ("m2mint".to_owned(), 200),
            ("localhost".to_owned(), 421),
            (format!("evil.example:{port}"), 421),
        ] {
            let mut list = request(Method::GET, "");
            *list.uri_mut() = format!("https://{host}/recipe/oauth/clients/list").parse().unwrap();
            list.headers_mut().insert("api-key", crate::support::ADMIN_KEY.parse().unwrap());
            let (answer, _) = connection.requests.send_request(list, true).unwrap();
            let answer = answer.await.unwrap();
            assert_eq!(answer.status(), status, "{host}");
            assert!(answer.headers().contains_key("x-request-id"), "{answer:?}");
        }
    });
}

#[test]
fn idle_connections_make_room_and_cost_little() {
    let server =
        TlsServer::with(&[("M2MINT_LIMITS__CONNECTIONS", "500"), ("M2MINT_LIMITS__HEAD_TIME", "1h")]);
    run(async {
        let mut held = Vec::new();
        for _ in 0..500 {
            let mut connection = connect(&server).await;
            assert_eq!(connection.get("/hello").await.unwrap(), 200);
            held.push(connection);
        }
        let kib = server.process.resident_kib();
        assert!(kib < 96 * 1024, "{kib} KiB");
        for _ in 0..20 {
            let mut connection = connect(&server).await;
            assert_eq!(connection.get("/hello").await.unwrap(), 200);
        }
        assert!(held.iter().filter(|one| one.ended.is_finished()).count() > 0);
    });
}

#[test]
fn whoever_takes_no_answers_leaves_room_for_those_who_do() {
    let server = TlsServer::with(&[]);
    run(async {
        let mut closed = client::Builder::new();
        closed.initial_window_size(0);
        let (mut held, mut refused) = (Vec::new(), 0);
        for _ in 0..20 {
            let mut connection = connect_by(&server, &closed).await;
            let mut asked = Vec::new();
            for _ in 0..64 {
                let ready = poll_fn(|cx| connection.requests.poll_ready(cx)).await;
                let wanted = request(Method::GET, "/auth/jwt/jwks.json");
                asked.extend(ready.and_then(|()| connection.requests.send_request(wanted, true)).ok());
            }
            for (response, _) in asked {
                // Its body stays where it is.
                match response.await {
                    Ok(response) => held.push(response),
                    Err(error) => {
                        assert_eq!(error.reason(), Some(h2::Reason::REFUSED_STREAM), "{error}");
                        refused += 1;
                    }
                }
            }
            let mut honest = connect(&server).await;
            assert_eq!(honest.get("/auth/jwt/jwks.json").await.unwrap(), 200);
        }
        assert!(refused > 0 && held.len() >= 1024, "{refused} refused, {} held", held.len());
    });
}
