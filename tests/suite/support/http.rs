//! Plain HTTP; one connection a request, unless it is kept.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use ureq::Agent;
use ureq::http::Request;

use super::ADMIN_KEY;

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub body: String,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The error code of a failure in OAuth's shape.
    #[track_caller]
    pub fn error(&self) -> String {
        let json = self.json();
        assert!(json["error_description"].is_string(), "{self:?}");
        json["error"].as_str().unwrap().to_owned()
    }
}

fn agent(idle: usize) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(30)))
        .max_idle_connections(idle)
        .max_redirects(0)
        .build();
    config.into()
}

/// A connection that is kept, for those who ask thousands of times.
pub struct KeptAlive(Agent);

impl KeptAlive {
    pub fn new() -> Self {
        Self(agent(1))
    }

    #[track_caller]
    pub fn call(&self, method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        run(&self.0, method, url, headers, body).unwrap_or_else(|error| panic!("{method} {url}: {error}"))
    }
}

/// Any request.
#[track_caller]
pub fn call(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    try_call(method, url, headers, body).unwrap_or_else(|error| panic!("{method} {url}: {error}"))
}

/// Any request, which may fail.
pub fn try_call(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Answer, ureq::Error> {
    run(&agent(0), method, url, headers, body)
}

fn run(
    agent: &Agent,
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Answer, ureq::Error> {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = if body.is_empty() && matches!(method, "GET" | "HEAD") {
        agent.run(request.body(()).unwrap())?
    } else {
        agent.run(request.body(body).unwrap())?
    };
    let headers = response.headers().clone();
    let body = response.body_mut().read_to_string()?;
    Ok(Answer { status: response.status().as_u16(), headers, body })
}

#[track_caller]
pub fn get(url: &str) -> Answer {
    call("GET", url, &[], b"")
}

#[track_caller]
pub fn post_form(url: &str, fields: &[(&str, &str)]) -> Answer {
    call("POST", url, &[("content-type", "application/x-www-form-urlencoded")], form(fields).as_bytes())
}

#[track_caller]
pub fn post_json(url: &str, body: &Value) -> Answer {
    call("POST", url, &[("content-type", "application/json")], body.to_string().as_bytes())
}

/// A call with the admin key.
#[track_caller]
pub fn admin(method: &str, url: &str, body: &str) -> Answer {
    call(
        method,
        url,
        &[("api-key", ADMIN_KEY), ("content-type", "application/json; charset=utf-8")],
        body.as_bytes(),
    )
}

pub fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// The value of an Authorization header, RFC 6749 §2.3.1.
pub fn basic(id: &str, secret: &str) -> String {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!("Basic {}", STANDARD.encode(format!("{}:{}", encode(id), encode(secret))))
}
