//! Access tokens: JWTs in the profile of RFC 9068, with the claims that SuperTokens adds.

use std::cell::RefCell;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::crypto::{self, CryptoError};
use crate::jwk::Kid;
use crate::signing_key::{Algorithm, SigningKey};
use crate::time::UnixTime;

/// Claims that say what a token is. Extra claims never replace one of them.
pub const RESERVED_CLAIMS: [&str; 13] = [
    "iss",
    "sub",
    "aud",
    "client_id",
    "iat",
    "exp",
    "nbf",
    "jti",
    "scope",
    "scp",
    "stt",
    "cnf",
    CANARY_CLAIM,
];

/// Marks a canary: `true` in a token that shows whether a service knows the key that will sign next, and allows nothing.
pub const CANARY_CLAIM: &str = "m2mint_canary";
/// `sub` and `client_id` of a canary. No client can have a space in its id.
pub const CANARY_CLIENT: &str = "m2mint canary";
/// How long a canary is good, in seconds, at most.
pub const CANARY_LIFETIME: u64 = 60;

/// SuperTokens token type: an OAuth2 access token. (0 is a session token, 2 an ID token.)
pub const STT_ACCESS_TOKEN: u8 = 1;

/// What an access token says.
#[derive(Debug, Clone)]
pub struct Claims<'a> {
    /// Issuer: the URL under which verifiers know this server.
    pub issuer: &'a str,
    /// The client; both `sub` and `client_id`.
    pub client_id: &'a str,
    /// The one service that the token is for.
    pub audience: &'a str,
    /// What it may do there, in the order in which it was asked for.
    pub scopes: &'a [&'a str],
    /// When it was issued.
    pub issued_at: UnixTime,
    /// Seconds for which it is good.
    pub lifetime: u64,
    /// Unique id.
    pub jti: &'a str,
    /// Further claims. Those named in [`RESERVED_CLAIMS`] are left out.
    pub extra: Option<&'a Map<String, Value>>,
}

/// A signing key with its JOSE header, ready to mint.
#[derive(Debug)]
pub struct Minter {
    key: SigningKey,
    header: String,
    base64url: Base64Url,
}

/// As [`URL_SAFE_NO_PAD`], many bytes at once where the processor can.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
type Base64Url = base64::engine::Simd;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
type Base64Url = base64::engine::GeneralPurpose;

fn base64url() -> Base64Url {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    return Base64Url::url_safe(base64::engine::general_purpose::NO_PAD);
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    URL_SAFE_NO_PAD
}

impl Minter {
    /// Prepares a key for minting.
    #[must_use]
    pub fn new(key: SigningKey) -> Self {
        let alg = key.public().algorithm().name();
        let header = format!(r#"{{"alg":"{alg}","typ":"at+jwt","kid":"{}"}}"#, key.kid());
        Self { header: URL_SAFE_NO_PAD.encode(header), key, base64url: base64url() }
    }

    /// The algorithm of the key.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.key.public().algorithm()
    }

    /// The id of the key.
    #[must_use]
    pub fn kid(&self) -> &Kid {
        self.key.kid()
    }

    /// The key, for what is signed beside tokens.
    #[must_use]
    pub const fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Signs an access token: the compact serialization of RFC 7515 §7.1.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`] when the operating system gives no random bytes, which ES256 needs.
    pub fn mint(&self, claims: &Claims<'_>) -> Result<String, CryptoError> {
        self.sign(&claims.to_json(false))
    }

    /// Signs a canary: a token of nobody, without scopes, marked with [`CANARY_CLAIM`]. A verifier that knows the key finds its
    /// signature good. `lifetime` is in seconds.
    ///
    /// # Errors
    /// [`CryptoError::NoRandomness`] when the operating system gives no random bytes.
    pub fn mint_canary(
        &self,
        issuer: &str,
        audience: &str,
        issued_at: UnixTime,
        lifetime: u64,
    ) -> Result<String, CryptoError> {
        let claims = Claims {
            issuer,
            client_id: CANARY_CLIENT,
            audience,
            scopes: &[],
            issued_at,
            lifetime: lifetime.min(CANARY_LIFETIME),
            jti: &new_jti(issued_at)?,
            extra: None,
        };
        self.sign(&claims.to_json(true))
    }

    fn sign(&self, payload: &str) -> Result<String, CryptoError> {
        // With room for the signature.
        let mut token = String::with_capacity(self.header.len() + payload.len() * 4 / 3 + 100);
        token.push_str(&self.header);
        token.push('.');
        token.push_str(&self.base64url.encode(payload));
        let signature = self.key.sign(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }
}

impl Claims<'_> {
    /// The claims as a JSON object. Written piece by piece: this is most of what a token costs beside its signature.
    fn to_json(&self, is_canary: bool) -> String {
        let names = [self.issuer, self.client_id, self.audience, self.jti];
        let is_plain = names.iter().chain(self.scopes).all(|name| is_plain(name));
        let mut json = Json { text: String::with_capacity(512), is_plain };
        let issued_at = self.issued_at.secs();
        json.text("{\"iss\":", self.issuer);
        json.text(",\"sub\":", self.client_id);
        json.text(",\"aud\":", self.audience);
        json.text(",\"client_id\":", self.client_id);
        json.number(",\"iat\":", issued_at);
        json.number(",\"exp\":", issued_at.saturating_add_unsigned(self.lifetime));
        json.text(",\"jti\":", self.jti);
        json.text.push_str(",\"scope\":\"");
        for (at, scope) in self.scopes.iter().enumerate() {
            json.text.push_str(if at == 0 { "" } else { " " });
            json.escaped(scope);
        }
        json.text.push_str("\",\"scp\":[");
        for (at, scope) in self.scopes.iter().enumerate() {
            json.text(if at == 0 { "" } else { "," }, scope);
        }
        json.number("],\"stt\":", STT_ACCESS_TOKEN.into());
        // These may be anything.
        json.is_plain = false;
        let extra = self.extra.into_iter().flatten();
        for (name, value) in extra.filter(|(name, _)| !RESERVED_CLAIMS.contains(&name.as_str())) {
            json.text(",", name);
            json.text.push(':');
            json.text.push_str(&value.to_string());
        }
        if is_canary {
            json.text(",", CANARY_CLAIM);
            json.text.push_str(":true");
        }
        json.text.push('}');
        json.text
    }
}

/// JSON under construction.
struct Json {
    text: String,
    /// Whether everything that is written is known to be written as it is.
    is_plain: bool,
}

impl Json {
    fn text(&mut self, before: &str, text: &str) {
        self.text.push_str(before);
        self.text.push('"');
        self.escaped(text);
        self.text.push('"');
    }

    /// A part of a string.
    fn escaped(&mut self, text: &str) {
        if self.is_plain || is_plain(text) {
            self.text.push_str(text);
        } else {
            let quoted = Value::from(text).to_string();
            let inner = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            self.text.push_str(inner.unwrap_or_default());
        }
    }

    fn number(&mut self, before: &str, number: i64) {
        self.text.push_str(before);
        self.text.push_str(itoa::Buffer::new().format(number));
    }
}

/// Whether JSON writes a text as it is. Looks at eight bytes at once.
fn is_plain(text: &str) -> bool {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGH: u64 = ONES * 0x80;
    /// Has a bit of [`HIGH`] set when any byte is less than `bound`, which is at most 0x80.
    fn any_less(word: u64, bound: u8) -> u64 {
        word.wrapping_sub(ONES * u64::from(bound)) & !word
    }
    fn any_special(word: u64) -> u64 {
        let any = |byte: u8| any_less(word ^ (ONES * u64::from(byte)), 1);
        any_less(word, 0x20) | any(b'"') | any(b'\\')
    }
    let (words, rest) = text.as_bytes().as_chunks::<8>();
    let mut last = [b' '; 8];
    last.iter_mut().zip(rest).for_each(|(last, byte)| *last = *byte);
    let special =
        words.iter().chain([&last]).fold(0, |any, word| any | any_special(u64::from_le_bytes(*word)));
    special & HIGH == 0
}

/// A new token id: when it was made, to the millisecond, and 80 random bits, as 22 base64url characters.
///
/// `iat` counts whole seconds; the finer time lets "every token issued until now" mean just that.
///
/// # Errors
/// [`CryptoError::NoRandomness`] when the operating system gives no random bytes.
pub fn new_jti(now: UnixTime) -> Result<String, CryptoError> {
    let mut id = [0; 16];
    let (time, random) = id.split_at_mut(6);
    time.copy_from_slice(now.millis().to_be_bytes().split_at(2).1);
    random.copy_from_slice(&id_randomness()?);
    Ok(URL_SAFE_NO_PAD.encode(id))
}

/// Random bytes for one token id. Fetched for many at a time: asking the system costs more than all else about an id,
/// and an id is no secret.
fn id_randomness() -> Result<[u8; 10], CryptoError> {
    thread_local! {
        static STOCK: RefCell<Vec<[u8; 10]>> = const { RefCell::new(Vec::new()) };
    }
    STOCK.with_borrow_mut(|stock| {
        if stock.is_empty() {
            stock.extend(crypto::random::<640>()?.as_chunks().0);
        }
        stock.pop().ok_or(CryptoError::NoRandomness)
    })
}

/// When the token with this id was made; `None` when the id is not one of [`new_jti`]'s.
#[must_use]
pub fn jti_time(jti: &str) -> Option<UnixTime> {
    let mut id = [0; 16];
    (URL_SAFE_NO_PAD.decode_slice(jti, &mut id).ok()? == id.len()).then_some(())?;
    let [a, b, c, d, e, f, ..] = id;
    Some(UnixTime::from_millis(i64::from_be_bytes([0, 0, a, b, c, d, e, f])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing_key::Seed;
    use serde_json::json;

    fn minter() -> Minter {
        // The key of RFC 8037 A.1.
        let seed = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        Minter::new(SigningKey::from_seed(&Seed::from_bytes(&seed).unwrap()).unwrap())
    }

    fn claims<'a>() -> Claims<'a> {
        Claims {
            issuer: "https://auth.example.com/auth",
            client_id: "stcl_task",
            audience: "event",
            scopes: &["event.view", "event.create"],
            issued_at: UnixTime::from_secs(1_800_000_000),
            lifetime: 3600,
            jti: "AAAAAAAAAAAAAAAAAAAAAA",
            extra: None,
        }
    }

    fn part(token: &str, index: usize) -> String {
        let part = token.split('.').nth(index).unwrap();
        String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn golden_token_with_fixed_key_clock_and_jti() {
        let token = minter().mint(&claims()).unwrap();
        assert_eq!(
            part(&token, 0),
            r#"{"alg":"EdDSA","typ":"at+jwt","kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"}"#
        );
        assert_eq!(
            part(&token, 1),
            concat!(
                r#"{"iss":"https://auth.example.com/auth","sub":"stcl_task","aud":"event","client_id":"stcl_task","#,
                r#""iat":1800000000,"exp":1800003600,"jti":"AAAAAAAAAAAAAAAAAAAAAA","#,
                r#""scope":"event.view event.create","scp":["event.view","event.create"],"stt":1}"#
            )
        );
        assert_eq!(token, include_str!("golden_token.txt").trim_end());
    }

    #[test]
    fn extra_claims_never_replace_what_a_token_is() {
        let extra = json!({
            "iss": "x", "sub": "x", "aud": "x", "client_id": "x", "iat": 1, "exp": 1, "nbf": 1, "jti": "x",
            "scope": "x", "scp": ["x"], "stt": 0, "cnf": {}, "m2mint_canary": false, "tenant": "blue"
        });
        let minted = minter().mint(&Claims { extra: extra.as_object(), ..claims() }).unwrap();
        let payload: Value = serde_json::from_str(&part(&minted, 1)).unwrap();
        let mut plain: Value = serde_json::from_str(&part(&minter().mint(&claims()).unwrap(), 1)).unwrap();
        plain["tenant"] = json!("blue");
        assert_eq!(payload, plain);
    }

    #[test]
    fn no_scope_is_an_empty_string_and_an_empty_array() {
        let minted = minter().mint(&Claims { scopes: &[], ..claims() }).unwrap();
        assert!(part(&minted, 1).contains(r#""scope":"","scp":[],"stt":1"#));
    }

    #[test]
    fn a_canary_is_of_nobody_allows_nothing_and_says_what_it_is() {
        let now = UnixTime::from_secs(1_800_000_000);
        let minted = minter().mint_canary("https://auth.example.com/auth", "event", now, 3600).unwrap();
        let payload: Value = serde_json::from_str(&part(&minted, 1)).unwrap();
        assert_eq!(payload["m2mint_canary"], json!(true));
        assert_eq!((&payload["sub"], &payload["client_id"]), (&json!(CANARY_CLIENT), &json!(CANARY_CLIENT)));
        assert_eq!((&payload["scope"], &payload["scp"]), (&json!(""), &json!([])));
        assert_eq!(payload["exp"].as_i64().unwrap() - payload["iat"].as_i64().unwrap(), 60);
    }

    #[test]
    fn text_that_needs_escaping_is_escaped() {
        let minted = minter().mint(&Claims { audience: "a\"b\\c\u{1}", ..claims() }).unwrap();
        let payload: Value = serde_json::from_str(&part(&minted, 1)).unwrap();
        assert_eq!(payload["aud"], "a\"b\\c\u{1}");
    }

    #[test]
    fn what_needs_escaping_is_found_wherever_it_stands() {
        for length in 1..50 {
            let plain = "a".repeat(length);
            assert!(is_plain(&plain) && is_plain(&"\u{7f}é€".repeat(length)), "{length}");
            for (at, special) in
                (0..length).flat_map(|at| ["\"", "\\", "\u{1f}", "\0"].map(|special| (at, special)))
            {
                let mut text = plain.clone();
                text.replace_range(at..=at, special);
                assert!(!is_plain(&text), "{text:?}");
            }
        }
    }

    #[test]
    fn token_ids_tell_their_time_and_differ() {
        let now = UnixTime::from_millis(1_800_000_000_123);
        let (a, b) = (new_jti(now).unwrap(), new_jti(now).unwrap());
        assert_eq!((a.len(), a == b), (22, false));
        assert_eq!(jti_time(&a), Some(now));
        assert_eq!(jti_time("short"), None);
        assert_eq!(jti_time(&"A".repeat(40)), None);
    }

    #[test]
    fn an_es256_token_names_its_algorithm_and_differs_from_an_eddsa_one_in_nothing_else() {
        let (key, _) = SigningKey::generate(Algorithm::Es256).unwrap();
        let (public, kid) = (key.public().clone(), key.kid().to_string());
        let token = Minter::new(key).mint(&claims()).unwrap();

        let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
        let expected = format!(r#"{{"alg":"ES256","typ":"at+jwt","kid":"{kid}"}}"#);
        assert_eq!(String::from_utf8(header).unwrap(), expected);
        assert_eq!(part(&token, 1), part(&minter().mint(&claims()).unwrap(), 1));
        let (signed, signature) = token.rsplit_once('.').unwrap();
        assert!(public.verifies(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()));
    }
}
