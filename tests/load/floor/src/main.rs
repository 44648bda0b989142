//! The floor of the load report: an actix-web server that answers as many bytes as m2mint does, with the same headers,
//! signs (or verifies) as many, and does nothing else.
//!
//! usage: floor ANSWERS.json, with the answers that m2mint gave (see [`Answers`]); prints where it listens.

use std::hint::black_box;

#[cfg(feature = "aws-lc-rs")]
use aws_lc_rs as backend;
#[cfg(not(feature = "aws-lc-rs"))]
use ring as backend;

use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpResponse, HttpServer};
use backend::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::Deserialize;

/// What m2mint answered, and how much it signed for that.
#[derive(Deserialize)]
struct Answers {
    token: Answer,
    introspection: Answer,
    forward_auth: Answer,
    jwks: Answer,
    /// Bytes that are signed for a token: its header and payload.
    signed_bytes: usize,
}

/// A 200 without the headers that actix-web writes itself.
#[derive(Deserialize)]
struct Answer {
    headers: Vec<(String, String)>,
    body: String,
}

/// An answer that costs nothing to repeat.
struct Prepared {
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

impl Prepared {
    fn response(&self) -> HttpResponse {
        let mut response = HttpResponse::Ok();
        for header in &self.headers {
            response.insert_header(header.clone());
        }
        response.body(self.body.clone())
    }
}

impl TryFrom<Answer> for Prepared {
    type Error = Box<dyn std::error::Error>;

    fn try_from(answer: Answer) -> Result<Self, Self::Error> {
        let parsed = answer.headers.iter().map(|(name, value)| Ok((name.parse()?, value.parse()?)));
        Ok(Self { headers: parsed.collect::<Result<_, Self::Error>>()?, body: answer.body.into() })
    }
}

struct Floor {
    token: Prepared,
    introspection: Prepared,
    forward_auth: Prepared,
    jwks: Prepared,
    key: Ed25519KeyPair,
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl Floor {
    /// The answer, after one signature was checked.
    fn verified(&self, answer: &Prepared) -> HttpResponse {
        let key = UnparsedPublicKey::new(&ED25519, self.key.public_key().as_ref());
        match key.verify(black_box(&self.message), &self.signature) {
            Ok(()) => answer.response(),
            Err(_) => HttpResponse::InternalServerError().finish(),
        }
    }
}

async fn token(body: Bytes, floor: Data<Floor>) -> HttpResponse {
    black_box(body);
    black_box(floor.key.sign(black_box(&floor.message)));
    floor.token.response()
}

async fn introspect(body: Bytes, floor: Data<Floor>) -> HttpResponse {
    black_box(body);
    floor.verified(&floor.introspection)
}

async fn forward_auth(floor: Data<Floor>) -> HttpResponse {
    floor.verified(&floor.forward_auth)
}

async fn jwks(floor: Data<Floor>) -> HttpResponse {
    floor.jwks.response()
}

/// What the server costs alone: the token answer without a signature.
async fn echo(body: Bytes, floor: Data<Floor>) -> HttpResponse {
    black_box(body);
    floor.token.response()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: floor ANSWERS.json")?;
    let answers: Answers = serde_json::from_slice(&std::fs::read(path)?)?;
    let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).map_err(|error| error.to_string())?;
    let message = vec![b'a'; answers.signed_bytes];
    let floor = Data::new(Floor {
        signature: key.sign(&message).as_ref().to_vec(),
        token: answers.token.try_into()?,
        introspection: answers.introspection.try_into()?,
        forward_auth: answers.forward_auth.try_into()?,
        jwks: answers.jwks.try_into()?,
        key,
        message,
    });
    let app = move || {
        App::new()
            .app_data(floor.clone())
            .route("/auth/oauth/token", web::post().to(token))
            .route("/auth/oauth/introspect", web::post().to(introspect))
            .route("/auth/verify", web::get().to(forward_auth))
            .route("/auth/jwt/jwks.json", web::get().to(jwks))
            .route("/echo", web::post().to(echo))
    };
    let server = HttpServer::new(app).workers(1).bind("127.0.0.1:0")?;
    for address in server.addrs() {
        println!("listens on http://{address}");
    }
    Ok(actix_web::rt::System::new().block_on(server.run())?)
}
