//! Tokens that are wrong in one way each, and otherwise perfect.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use m2mint_keys::crypto::{self, CryptoError};
use m2mint_keys::jwk::{Jwk, JwkSet};
use m2mint_keys::signing_key::{Algorithm, SigningKey};
use m2mint_keys::time::UnixTime;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// For how long the good token is good.
const A_DAY: i64 = 86_400;

/// For whom the tokens are.
pub struct Subject {
    /// The issuer of the pack.
    pub issuer: String,
    /// The audience that the service expects.
    pub audience: String,
    /// The scope that the tried action takes.
    pub scope: Option<String>,
    /// What they are signed with.
    pub algorithm: Algorithm,
    /// When the pack is made.
    pub now: UnixTime,
}

/// Everything that the runner needs.
#[derive(Serialize)]
pub struct Pack {
    issuer: String,
    audience: String,
    algorithm: &'static str,
    jwks: JwkSet,
    /// The good one first.
    pub tokens: Vec<Entry>,
}

/// A token, and what is wrong with it.
#[derive(Serialize)]
pub struct Entry {
    name: &'static str,
    what: &'static str,
    /// `good`; `hole` when letting it in is a hole; `lax` when it is only less strict than it could be.
    kind: &'static str,
    token: String,
}

/// Makes a pack.
///
/// # Errors
/// [`CryptoError`] when there are no random numbers to be had.
pub fn make(subject: &Subject) -> Result<Pack, CryptoError> {
    let (key, _) = SigningKey::generate(subject.algorithm)?;
    let (other, _) = SigningKey::generate(subject.algorithm)?;
    let maker = Maker { subject, key: &key, other: &other };
    let mut tokens = vec![maker.entry("good", "good", "nothing is wrong with it", maker.good())];
    tokens.extend(maker.headers());
    tokens.extend(maker.signatures());
    tokens.extend(maker.claims());
    tokens.extend(maker.forms());
    Ok(Pack {
        issuer: subject.issuer.clone(),
        audience: subject.audience.clone(),
        algorithm: subject.algorithm.name(),
        jwks: JwkSet::new([key.public()]),
        tokens,
    })
}

struct Maker<'a> {
    subject: &'a Subject,
    /// Published.
    key: &'a SigningKey,
    /// Not published.
    other: &'a SigningKey,
}

impl Maker<'_> {
    fn header(&self) -> Value {
        json!({"alg": self.subject.algorithm.name(), "typ": "at+jwt", "kid": self.key.kid().as_str()})
    }

    fn payload(&self) -> Value {
        let Subject { issuer, audience, scope, now, .. } = self.subject;
        let now = now.secs();
        let scope = scope.as_deref().unwrap_or_default();
        let scopes: Vec<&str> = scope.split(' ').filter(|scope| !scope.is_empty()).collect();
        json!({
            "iss": issuer, "sub": "pack", "aud": audience, "client_id": "pack", "iat": now, "exp": now + A_DAY,
            "jti": "AZxLMh7kx3u6Xb0nVYk1Zg", "scope": scope, "scp": scopes, "stt": 1
        })
    }

    fn good(&self) -> String {
        sign(self.key, &self.header().to_string(), &self.payload().to_string())
    }

    fn entry(&self, kind: &'static str, name: &'static str, what: &'static str, token: String) -> Entry {
        Entry { name, what, kind, token }
    }

    fn hole(&self, name: &'static str, what: &'static str, token: String) -> Entry {
        self.entry("hole", name, what, token)
    }

    fn lax(&self, name: &'static str, what: &'static str, token: String) -> Entry {
        self.entry("lax", name, what, token)
    }

    /// A good signature over a header that is changed.
    fn with_header(&self, changes: Value) -> String {
        sign(self.key, &changed(self.header(), changes).to_string(), &self.payload().to_string())
    }

    /// A good signature over claims that are changed.
    fn with_claims(&self, changes: Value) -> String {
        sign(self.key, &self.header().to_string(), &changed(self.payload(), changes).to_string())
    }

    /// Another header, and no signature.
    fn unsigned(&self, alg: &str) -> String {
        let header = changed(self.header(), json!({"alg": alg}));
        format!("{}.{}.", part(&header.to_string()), part(&self.payload().to_string()))
    }

    fn headers(&self) -> Vec<Entry> {
        let good = self.good();
        let signature = good.rsplit('.').next().unwrap_or_default();
        let hmac = |secret: &[u8; 32]| {
            let header = changed(self.header(), json!({"alg": "HS256"}));
            let signed = format!("{}.{}", part(&header.to_string()), part(&self.payload().to_string()));
            let mac = crypto::hmac_sha256(secret, &[signed.as_bytes()]);
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac))
        };
        let public = self.key.public();
        // A secret above the block size of SHA-256 counts as its digest (RFC 2104).
        let bytes = public.bytes().try_into().unwrap_or_else(|_| crypto::sha256(public.bytes()));
        let pem = crypto::sha256(pem(public.algorithm(), public.bytes()).as_bytes());
        let another = match self.subject.algorithm {
            Algorithm::EdDsa => Algorithm::Es256,
            _ => Algorithm::EdDsa,
        };
        let own = json!(Jwk::new(self.other.public()));
        let bringing = |changes: Value| {
            let header = changed(self.header(), changes);
            sign(self.other, &header.to_string(), &self.payload().to_string())
        };
        vec![
            self.hole("alg-none", "alg is none and there is no signature", self.unsigned("none")),
            self.hole("alg-none-capitals", "the same, written NONE", self.unsigned("NONE")),
            self.hole(
                "alg-none-signed",
                "alg is none beside a signature",
                format!("{}{signature}", self.unsigned("none")),
            ),
            self.hole("alg-hs256", "HMAC with the public key as the secret", hmac(&bytes)),
            self.hole("alg-hs256-pem", "the same with the key as PEM text", hmac(&pem)),
            self.hole("alg-hs256-empty", "HMAC with a secret of zeros", hmac(&[0; 32])),
            self.hole(
                "alg-other",
                "alg is not the algorithm of the key",
                self.with_header(json!({"alg": another.name()})),
            ),
            self.hole("alg-missing", "there is no alg", self.with_header(json!({"alg": null}))),
            self.hole(
                "own-jwk",
                "brings its own key as jwk",
                bringing(json!({"jwk": own, "kid": self.other.kid().as_str()})),
            ),
            self.hole(
                "own-jwk-known-kid",
                "the same, under the kid of a published key",
                bringing(json!({"jwk": own})),
            ),
            self.hole(
                "own-jku",
                "says where its own key set is",
                bringing(json!({"jku": "http://127.0.0.1:9/jwks.json"})),
            ),
            self.hole("own-x5c", "brings a certificate", bringing(json!({"x5c": ["MIIBszCCAVmgAwIBAgIU"]}))),
            self.hole(
                "kid-missing",
                "no kid, signed by a key that is not published",
                bringing(json!({"kid": null})),
            ),
            self.hole("kid-path", "the kid is a path", bringing(json!({"kid": "../../../../dev/null"}))),
            self.hole(
                "crit",
                "demands an extension that nobody knows",
                self.with_header(json!({"crit": ["x"], "x": true})),
            ),
            self.lax(
                "typ-jwt",
                "typ is JWT, as other kinds of token have it",
                self.with_header(json!({"typ": "JWT"})),
            ),
            self.lax("typ-missing", "there is no typ", self.with_header(json!({"typ": null}))),
            self.lax(
                "typ-id",
                "typ is that of a logout token",
                self.with_header(json!({"typ": "logout+jwt"})),
            ),
        ]
    }

    fn signatures(&self) -> Vec<Entry> {
        let good = self.good();
        let (signed, signature) = good.rsplit_once('.').unwrap_or_default();
        let first = if signature.starts_with('A') { 'B' } else { 'A' };
        let another = self.with_claims(json!({"jti": "another"}));
        let of_another = another.rsplit('.').next().unwrap_or_default();
        let richer = changed(self.payload(), json!({"client_id": "admin", "sub": "admin"})).to_string();
        let header = signed.split('.').next().unwrap_or_default();
        // For code that computes without checking: the neutral point and zero, and zero twice.
        let mut neutral = [0; 64];
        neutral[0] = u8::from(self.subject.algorithm == Algorithm::EdDsa);
        vec![
            self.hole(
                "signature-changed",
                "a bit of the signature is another",
                format!("{signed}.{first}{}", signature.get(1..).unwrap_or_default()),
            ),
            self.hole("signature-missing", "there is no signature", format!("{signed}.")),
            self.hole(
                "signature-short",
                "half a signature",
                format!("{signed}.{}", signature.get(..43).unwrap_or_default()),
            ),
            self.hole(
                "signature-of-another",
                "the signature of another token",
                format!("{signed}.{of_another}"),
            ),
            self.hole(
                "signature-neutral",
                "a signature of zeros, which fits everything where nobody looks",
                format!("{signed}.{}", URL_SAFE_NO_PAD.encode(neutral)),
            ),
            self.hole(
                "claims-changed",
                "the claims were changed after signing",
                format!("{header}.{}.{signature}", part(&richer)),
            ),
            self.hole(
                "another-key",
                "signed by another key under the known kid",
                sign(self.other, &self.header().to_string(), &self.payload().to_string()),
            ),
            self.hole("two-parts", "the signature is left out, dot and all", signed.to_owned()),
        ]
    }

    fn claims(&self) -> Vec<Entry> {
        let Subject { issuer, audience, scope, now, .. } = self.subject;
        let now = now.secs();
        let mut entries = vec![
            self.hole(
                "aud-other",
                "for another audience",
                self.with_claims(json!({"aud": format!("not-{audience}")})),
            ),
            self.hole(
                "aud-longer",
                "for an audience that begins with the right one",
                self.with_claims(json!({"aud": format!("{audience}x")})),
            ),
            self.hole("aud-missing", "there is no aud", self.with_claims(json!({"aud": null}))),
            self.hole("aud-empty", "aud is an empty list", self.with_claims(json!({"aud": []}))),
            self.lax(
                "aud-shared",
                "for other audiences too",
                self.with_claims(json!({"aud": [audience, "another"]})),
            ),
            self.hole(
                "iss-other",
                "another issuer's name",
                self.with_claims(json!({"iss": "https://another.example.com"})),
            ),
            self.hole(
                "iss-longer",
                "an issuer whose name begins with the right one",
                self.with_claims(json!({"iss": format!("{issuer}.example.com")})),
            ),
            self.hole("iss-missing", "there is no iss", self.with_claims(json!({"iss": null}))),
            self.hole(
                "exp-past",
                "expired an hour ago",
                self.with_claims(json!({"iat": now - 7200, "exp": now - 3600})),
            ),
            self.hole("exp-missing", "never expires", self.with_claims(json!({"exp": null}))),
            self.hole(
                "exp-text",
                "exp is a text",
                self.with_claims(json!({"exp": (now + A_DAY).to_string()})),
            ),
            self.lax("exp-huge", "exp is a number that overflows", self.with_claims(json!({"exp": 1e300}))),
            self.hole(
                "nbf-future",
                "not valid before tomorrow",
                self.with_claims(json!({"nbf": now + A_DAY - 60})),
            ),
            self.lax("iat-future", "issued tomorrow", self.with_claims(json!({"iat": now + A_DAY - 60}))),
            self.hole(
                "session-token",
                "a session token (stt 0)",
                self.with_claims(json!({"stt": 0, "sessionHandle": "s-1"})),
            ),
            self.hole("id-token", "an ID token (stt 2)", self.with_claims(json!({"stt": 2}))),
            self.lax(
                "stt-missing",
                "does not say what kind of token it is",
                self.with_claims(json!({"stt": null})),
            ),
            self.lax(
                "sub-other",
                "subject and client differ, and no user's session stands behind it",
                self.with_claims(json!({"sub": "admin"})),
            ),
        ];
        if let Some(scope) = scope {
            let with = |scope: &str| {
                let listed: Vec<&str> = scope.split(' ').collect();
                self.with_claims(json!({"scope": scope, "scp": listed}))
            };
            entries.extend([
                self.hole("scope-none", "grants nothing", self.with_claims(json!({"scope": "", "scp": []}))),
                self.hole(
                    "scope-missing",
                    "says nothing of scopes",
                    self.with_claims(json!({"scope": null, "scp": null})),
                ),
                self.hole(
                    "scope-longer",
                    "grants a scope that begins with the right one",
                    with(&format!("{scope}x")),
                ),
                self.hole(
                    "scope-shorter",
                    "grants a scope that the right one begins with",
                    with(scope.get(..scope.len() - 1).filter(|short| !short.is_empty()).unwrap_or("x")),
                ),
                self.hole("scope-star", "grants *", with("*")),
                self.hole(
                    "scope-joined",
                    "the right scope and another with a comma between",
                    with(&format!("{scope},x")),
                ),
            ]);
        }
        entries
    }

    fn forms(&self) -> Vec<Entry> {
        let good = self.good();
        let payload = self.payload().to_string();
        let header = self.header().to_string();
        let twice = |text: &str, member: &str| text.replacen('{', &format!("{{{member},"), 1);
        let parts: Vec<&str> = good.split('.').collect();
        let signature = parts.last().copied().unwrap_or_default();
        let last = signature.chars().last().unwrap_or('A');
        let padded = {
            let signed = format!(
                "{}.{}",
                URL_SAFE.encode(format!("{header} ")),
                URL_SAFE.encode(format!("{payload} "))
            );
            format!("{signed}.{}", signed_by(self.key, &signed, &URL_SAFE))
        };
        let huge = self.with_claims(json!({"padding": "x".repeat(20_000)}));
        vec![
            self.hole(
                "aud-twice",
                "two aud, the right one last",
                sign(self.key, &header, &twice(&payload, r#""aud":"another""#)),
            ),
            self.lax(
                "alg-twice",
                "two alg, the right one last",
                sign(self.key, &twice(&header, r#""alg":"none""#), &payload),
            ),
            self.hole("payload-text", "the claims are not JSON", sign(self.key, &header, "client=pack")),
            self.hole("payload-list", "the claims are a list", sign(self.key, &header, "[]")),
            self.lax("padded", "base64 with padding", padded),
            self.lax("last-character", "the same signature with another last character", {
                let next =
                    char::from_u32(u32::from(last) + 1).filter(char::is_ascii_alphanumeric).unwrap_or('B');
                format!("{}{next}", good.get(..good.len() - 1).unwrap_or_default())
            }),
            self.hole("five-parts", "five parts, as an encrypted token has", format!("{good}.x.x")),
            self.lax("huge", "20 KB long", huge),
        ]
    }
}

/// The public key as a text file holds it: SubjectPublicKeyInfo of RFC 8410 and RFC 5480, in the frame of RFC 7468.
fn pem(algorithm: Algorithm, bytes: &[u8]) -> String {
    const ED25519: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    const P256: &[u8] = &[
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
        0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    let frame = if algorithm == Algorithm::EdDsa { ED25519 } else { P256 };
    let text = STANDARD.encode([frame, bytes].concat());
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

fn part(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

fn sign(key: &SigningKey, header: &str, payload: &str) -> String {
    let signed = format!("{}.{}", part(header), part(payload));
    format!("{signed}.{}", signed_by(key, &signed, &URL_SAFE_NO_PAD))
}

fn signed_by(key: &SigningKey, signed: &str, engine: &impl Engine) -> String {
    // Randomness is all that a signature can lack. Without it the good token is bad too, and the runner says so.
    key.sign(signed.as_bytes()).map(|signature| engine.encode(signature)).unwrap_or_default()
}

/// The object with these members, and without those that are null.
fn changed(object: Value, changes: Value) -> Value {
    let members = |value: Value| if let Value::Object(members) = value { members } else { Map::new() };
    let mut object = members(object);
    for (name, value) in members(changes) {
        match value {
            Value::Null => drop(object.remove(&name)),
            value => drop(object.insert(name, value)),
        }
    }
    object.into()
}
