use super::*;
use crate::bearer::BearerError;
use crate::jwk::Jwk;
use crate::signing_key::SigningKey;
use crate::token::{Claims, Minter};
use crate::verify::session::{SessionPolicy, SessionVerifier};
use serde_json::{Value, json};

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

fn claims<'a>() -> Claims<'a> {
    Claims {
        issuer: "https://auth.example.com/auth",
        client_id: "task",
        audience: "event",
        scopes: &["event.view", "event.create"],
        issued_at: NOW,
        lifetime: 3600,
        jti: "AAAAAAAAAAAAAAAAAAAAAA",
        extra: None,
    }
}

fn policy() -> Policy {
    Policy {
        issuer: Some("https://auth.example.com/auth".into()),
        audience: Some("event".into()),
        scopes: vec!["event.create".into()],
        ..Policy::default()
    }
}

fn issuer() -> (Minter, JwkSet) {
    let (key, _) = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let set = JwkSet::new([key.public()]);
    (Minter::new(key), set)
}

/// A token with any header and payload, signed by a key whose set is given with it.
fn forged(header: impl Fn(&str) -> String, payload: &str) -> (String, JwkSet) {
    let (key, _) = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let header = header(key.kid().as_str());
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).unwrap());
    (format!("{signed}.{signature}"), JwkSet::new([key.public()]))
}

fn good_header(kid: &str) -> String {
    json!({"alg": "EdDSA", "typ": "at+jwt", "kid": kid}).to_string()
}

fn good_payload() -> Value {
    json!({
        "iss": "https://auth.example.com/auth", "sub": "task", "aud": "event", "client_id": "task",
        "iat": NOW.secs(), "exp": NOW.secs() + 60, "jti": "x", "scope": "event.create", "scp": ["event.create"],
        "stt": 1
    })
}

fn with_payload(change: impl Fn(&mut Value)) -> Result<Verified, Rejection> {
    let mut payload = good_payload();
    change(&mut payload);
    let (token, set) = forged(good_header, &payload.to_string());
    Verifier::new(policy(), &set).verify(&token, NOW)
}

fn with_header(change: impl Fn(&mut Value)) -> Result<Verified, Rejection> {
    let header = |kid: &str| {
        let mut header: Value = serde_json::from_str(&good_header(kid)).unwrap();
        change(&mut header);
        header.to_string()
    };
    let (token, set) = forged(header, &good_payload().to_string());
    Verifier::new(policy(), &set).verify(&token, NOW)
}

#[test]
fn what_was_minted_is_what_is_verified() {
    let (minter, set) = issuer();
    let verified = Verifier::new(policy(), &set).verify(&minter.mint(&claims()).unwrap(), NOW).unwrap();
    assert_eq!(verified.client_id, "task");
    assert_eq!(verified.audience, "event");
    assert_eq!(verified.expires_at.secs(), NOW.secs() + 3600);
    assert!(verified.allows("event.create") && !verified.allows("event.delete") && !verified.allows("event"));
}

#[test]
fn any_changed_bit_is_refused() {
    let (minter, set) = issuer();
    let verifier = Verifier::new(policy(), &set);
    let token = minter.mint(&claims()).unwrap();
    for position in 0..token.len() {
        for bit in 0..7 {
            let mut changed = token.clone().into_bytes();
            changed[position] ^= 1 << bit;
            let changed = String::from_utf8(changed).unwrap();
            assert!(verifier.verify(&changed, NOW).is_err(), "byte {position} bit {bit}");
        }
    }
}

#[test]
fn a_token_lives_from_its_first_second_to_its_last() {
    let (minter, set) = issuer();
    let verifier = Verifier::new(policy(), &set);
    let token = minter.mint(&claims()).unwrap();
    let at = |secs: i64| verifier.verify(&token, UnixTime::from_secs(NOW.secs() + secs)).map(|_| ());
    assert_eq!(at(-1), Err(Rejection::IssuedInFuture));
    assert_eq!(at(0), Ok(()));
    assert_eq!(at(3599), Ok(()));
    assert_eq!(at(3600), Err(Rejection::Expired));
    let lenient = Verifier::new(Policy { leeway: Duration::from_secs(60), ..policy() }, &set);
    assert!(lenient.verify(&token, UnixTime::from_secs(NOW.secs() + 3659)).is_ok());
    assert!(lenient.verify(&token, UnixTime::from_secs(NOW.secs() - 60)).is_ok());
}

#[test]
fn a_key_that_is_not_published_is_refused() {
    let (minter, _) = issuer();
    let (_, other) = issuer();
    assert_eq!(
        Verifier::new(policy(), &other).verify(&minter.mint(&claims()).unwrap(), NOW),
        Err(Rejection::UnknownKey)
    );
}

/// One line of the list of what is refused, each with its own reason.
#[track_caller]
fn header_is(change: impl Fn(&mut Value), expected: Rejection) {
    assert_eq!(with_header(change).map(drop), Err(expected));
}

#[track_caller]
fn claims_are(change: impl Fn(&mut Value), expected: Rejection) {
    assert_eq!(with_payload(change).map(drop), Err(expected));
}

/// A token with exactly these texts for header and payload, whose signature is good.
#[track_caller]
fn texts_are(header: Option<&str>, payload: &str, expected: Rejection) {
    let make = |kid: &str| header.map_or_else(|| good_header(kid), |header| header.replace("KID", kid));
    let (token, set) = forged(make, payload);
    assert_eq!(
        Verifier::new(policy(), &set).verify(&token, NOW).map(drop),
        Err(expected),
        "{header:?} {payload}"
    );
}

#[test]
fn the_token_has_no_say_in_the_algorithm() {
    header_is(|h| h["alg"] = json!("none"), Rejection::WrongAlgorithm);
    header_is(|h| h["alg"] = json!("None"), Rejection::WrongAlgorithm);
    header_is(|h| h["alg"] = json!("ES256"), Rejection::WrongAlgorithm);
    header_is(|h| h["alg"] = json!(null), Rejection::WrongAlgorithm);
    header_is(|h| drop(h.as_object_mut().unwrap().remove("alg")), Rejection::WrongAlgorithm);
    assert!(with_header(|h| h["alg"] = json!("Ed25519")).is_ok(), "RFC 9864's name of the same algorithm");
}

#[test]
fn an_unsigned_token_is_refused() {
    let (_, set) = issuer();
    let header = json!({"alg": "none", "typ": "at+jwt", "kid": set.keys[0].kid}).to_string();
    let token =
        format!("{}.{}.", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(good_payload().to_string()));
    assert_eq!(Verifier::new(policy(), &set).verify(&token, NOW), Err(Rejection::WrongAlgorithm));
}

#[test]
fn the_public_key_is_no_hmac_secret() {
    let (key, _) = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let set = JwkSet::new([key.public()]);
    for alg in ["HS256", "EdDSA"] {
        let header = json!({"alg": alg, "typ": "at+jwt", "kid": key.kid().as_str()}).to_string();
        let payload = good_payload().to_string();
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let secret = key.public().bytes().try_into().unwrap();
        let mac = crate::crypto::hmac_sha256(secret, &[signed.as_bytes()]);
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac));
        let expected = if alg == "HS256" { Rejection::WrongAlgorithm } else { Rejection::BadSignature };
        assert_eq!(Verifier::new(policy(), &set).verify(&token, NOW), Err(expected));
    }
}

#[test]
fn typ_must_say_access_token() {
    assert!(with_header(|_| ()).is_ok());
    assert!(with_header(|h| h["typ"] = json!("application/AT+JWT")).is_ok());
    for typ in [json!("JWT"), json!("id+jwt"), json!("at+jwt "), json!(["at+jwt"]), json!(1), json!(null)] {
        header_is(|h| h["typ"] = typ.clone(), Rejection::WrongType);
    }
    header_is(|h| drop(h.as_object_mut().unwrap().remove("typ")), Rejection::WrongType);
}

#[test]
fn typ_may_be_jwt_when_that_is_asked_for() {
    let lenient = Policy { plain_typ: true, ..policy() };
    let check = |typ: Option<&str>| {
        let header = |kid: &str| match typ {
            Some(typ) => json!({"alg": "EdDSA", "typ": typ, "kid": kid}).to_string(),
            None => json!({"alg": "EdDSA", "kid": kid}).to_string(),
        };
        let (token, set) = forged(header, &good_payload().to_string());
        Verifier::new(lenient.clone(), &set).verify(&token, NOW).map(drop)
    };
    for typ in [Some("JWT"), Some("jwt"), Some("at+jwt"), None] {
        assert_eq!(check(typ), Ok(()), "{typ:?}");
    }
    assert_eq!(check(Some("logout+jwt")), Err(Rejection::WrongType));
}

#[test]
fn extensions_that_must_be_understood_are_refused() {
    header_is(|h| h["crit"] = json!(["exp"]), Rejection::CriticalExtension);
    header_is(|h| h["crit"] = json!([]), Rejection::CriticalExtension);
    header_is(
        |h| {
            h["crit"] = json!(["b64"]);
            h["b64"] = json!(false);
        },
        Rejection::CriticalExtension,
    );
}

#[test]
fn keys_that_the_token_brings_are_not_looked_at() {
    let (key, _) = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let (_, set) = issuer();
    let own = serde_json::to_value(Jwk::new(key.public())).unwrap();
    for (name, value) in [
        ("jwk", own.clone()),
        ("jku", json!("http://127.0.0.1:1/jwks.json")),
        ("x5u", json!("http://127.0.0.1:1/cert.pem")),
        ("x5c", json!(["MIIB"])),
    ] {
        // Its own key under its own kid, and under the kid of a published key.
        for (kid, expected) in
            [(key.kid().as_str(), Rejection::UnknownKey), (&*set.keys[0].kid, Rejection::BadSignature)]
        {
            let mut header = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": kid});
            header[name] = value.clone();
            let signed = format!(
                "{}.{}",
                URL_SAFE_NO_PAD.encode(header.to_string()),
                URL_SAFE_NO_PAD.encode(good_payload().to_string())
            );
            let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()).unwrap()));
            assert_eq!(Verifier::new(policy(), &set).verify(&token, NOW), Err(expected), "{name}");
        }
        // In a good token, they change nothing.
        assert!(with_header(|h| h[name] = value.clone()).is_ok(), "{name}");
    }
}

#[test]
fn a_kid_must_be_there_and_published() {
    header_is(|h| h["kid"] = json!("another"), Rejection::UnknownKey);
    header_is(|h| h["kid"] = json!(["x"]), Rejection::UnknownKey);
    header_is(|h| drop(h.as_object_mut().unwrap().remove("kid")), Rejection::UnknownKey);
}

#[test]
fn members_that_appear_twice_are_refused() {
    texts_are(
        None,
        &good_payload().to_string().replacen('{', r#"{"aud":"file","#, 1),
        Rejection::DuplicateMember,
    );
    texts_are(
        None,
        &good_payload().to_string().replacen('{', r#"{"x":{"y":1,"y":1},"#, 1),
        Rejection::DuplicateMember,
    );
    texts_are(
        None,
        &good_payload().to_string().replacen('{', r#"{"\u0061ud":"file","#, 1),
        Rejection::DuplicateMember,
    );
    let header = r#"{"alg":"none","alg":"EdDSA","typ":"at+jwt","kid":"KID"}"#;
    texts_are(Some(header), &good_payload().to_string(), Rejection::DuplicateMember);
}

#[test]
fn parts_must_be_json_objects() {
    for payload in
        ["", "[]", "null", "1", "{", "{}x", "\u{feff}{}", "{\"a\":1,}", "{'a':1}", "{\"a\":\"\u{1}\"}"]
    {
        texts_are(None, payload, Rejection::BadJson);
    }
    texts_are(Some("[]"), "{}", Rejection::BadJson);
    texts_are(Some(&format!("{}{}", "[".repeat(5000), "]".repeat(5000))), "{}", Rejection::BadJson);
    texts_are(None, &format!("{{\"a\":{}{}}}", "[".repeat(4000), "]".repeat(4000)), Rejection::BadJson);
}

#[test]
fn base64url_has_one_form_only() {
    let (minter, set) = issuer();
    let verifier = Verifier::new(policy(), &set);
    let token = minter.mint(&claims()).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let with = |at: usize, part: String| {
        let mut parts = parts.clone();
        parts[at] = &part;
        verifier.verify(&parts.join("."), NOW).map(drop)
    };
    for (at, part) in parts.iter().enumerate() {
        for wrong in [format!("{}=", part), format!("{}\n", part), format!(" {}", part)] {
            let expected = if at == 1 { Rejection::BadSignature } else { Rejection::BadEncoding };
            assert_eq!(with(at, wrong), Err(expected), "part {at}");
        }
    }
    // The last character of 86 holds four bits that mean nothing: only zeros are canonical.
    let signature = parts[2];
    let (most, last) = signature.split_at(85);
    let next = char::from(last.as_bytes()[0] + 1);
    assert_eq!(with(2, format!("{most}{next}")), Err(Rejection::BadEncoding));
    assert_eq!(
        with(2, signature.replace(['-', '_'], "+")),
        if signature.contains(['-', '_']) { Err(Rejection::BadEncoding) } else { Ok(()) }
    );
    assert_eq!(
        with(2, format!("{signature}AAAA")),
        Err(Rejection::BadSignature),
        "a signature that is too long"
    );
    assert_eq!(with(2, "AAAA".repeat(2000)), Err(Rejection::BadEncoding), "one that is absurdly long");
    assert_eq!(with(2, String::new()), Err(Rejection::BadSignature), "none at all");
}

#[test]
fn a_token_has_three_parts() {
    let (minter, set) = issuer();
    let verifier = Verifier::new(policy(), &set);
    let token = minter.mint(&claims()).unwrap();
    for case in [
        String::new(),
        "a".into(),
        "a.b".into(),
        format!("{token}."),
        format!("{token}.x"),
        format!(".{token}"),
    ] {
        assert_eq!(verifier.verify(&case, NOW), Err(Rejection::NotThreeParts), "{case}");
    }
    assert_eq!(verifier.verify("..", NOW), Err(Rejection::BadJson));
}

#[test]
fn a_token_above_16_kib_is_not_looked_at() {
    let (minter, set) = issuer();
    let verifier = Verifier::new(policy(), &set).with_cache(8);
    let extra = json!({"padding": "x".repeat(11_500)});
    let longest = minter.mint(&Claims { extra: extra.as_object(), ..claims() }).unwrap();
    assert!(longest.len() <= MAX_TOKEN_BYTES && verifier.verify(&longest, NOW).is_ok());
    let longer = "a".repeat(MAX_TOKEN_BYTES + 1);
    assert_eq!(verifier.verify(&longer, NOW), Err(Rejection::TooLong));
    assert_eq!(verifier.verify_cached(&longer, NOW), Err(Rejection::TooLong));
}

#[test]
fn an_audience_with_others_is_refused_by_default() {
    claims_are(|p| p["aud"] = json!("file"), Rejection::WrongAudience);
    claims_are(|p| p["aud"] = json!("Event"), Rejection::WrongAudience);
    claims_are(|p| p["aud"] = json!("event "), Rejection::WrongAudience);
    claims_are(|p| p["aud"] = json!(["file", "mail"]), Rejection::WrongAudience);
    claims_are(|p| p["aud"] = json!(["event", "file"]), Rejection::SharedAudience);
    claims_are(|p| p["aud"] = json!(["event", "event"]), Rejection::SharedAudience);
    claims_are(|p| p["aud"] = json!([]), Rejection::BadClaim("aud"));
    claims_are(|p| p["aud"] = json!(["event", 1]), Rejection::BadClaim("aud"));
    claims_are(|p| p["aud"] = json!({"event": true}), Rejection::BadClaim("aud"));
    claims_are(|p| p["aud"] = json!(null), Rejection::BadClaim("aud"));
    assert_eq!(with_payload(|p| p["aud"] = json!(["event"])).unwrap().audience, "event");

    let payload = good_payload().to_string().replace(r#""aud":"event""#, r#""aud":["file","event"]"#);
    let (token, set) = forged(good_header, &payload);
    let lenient = Verifier::new(Policy { shared_audience: true, ..policy() }, &set);
    assert_eq!(lenient.verify(&token, NOW).unwrap().audience, "event");
}

#[test]
fn the_issuer_is_compared_exactly() {
    for issuer in ["https://evil", "https://auth.example.com/auth/", "https://auth.example.com", ""] {
        claims_are(|p| p["iss"] = json!(issuer), Rejection::WrongIssuer);
    }
    claims_are(|p| p["iss"] = json!(["https://auth.example.com/auth"]), Rejection::BadClaim("iss"));
}

#[test]
fn dates_are_whole_seconds_within_reason() {
    let now = NOW.secs();
    claims_are(|p| p["exp"] = json!(now), Rejection::Expired);
    claims_are(|p| p["exp"] = json!(0), Rejection::Expired);
    claims_are(|p| p["iat"] = json!(now + 1), Rejection::IssuedInFuture);
    claims_are(|p| p["nbf"] = json!(now + 1), Rejection::NotYetValid);
    let wrong = [
        json!("soon"),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(1e300),
        json!(-1),
        json!(253_402_300_800_i64),
        json!(1_900_000_000.5),
        json!(null),
        json!("1900000000"),
        json!([1_900_000_000]),
    ];
    for value in wrong {
        claims_are(|p| p["exp"] = value.clone(), Rejection::BadClaim("exp"));
        claims_are(|p| p["iat"] = value.clone(), Rejection::BadClaim("iat"));
        claims_are(|p| p["nbf"] = value.clone(), Rejection::BadClaim("nbf"));
    }
}

#[test]
fn only_access_tokens_are_access_tokens() {
    claims_are(|p| p["stt"] = json!(0), Rejection::WrongTokenType);
    claims_are(|p| p["stt"] = json!(2), Rejection::WrongTokenType);
    claims_are(|p| p["stt"] = json!("1"), Rejection::WrongTokenType);
    claims_are(|p| p["stt"] = json!(true), Rejection::WrongTokenType);
    claims_are(|p| p["stt"] = json!(1.0), Rejection::WrongTokenType);
}

#[test]
fn what_every_token_has_must_be_there() {
    for claim in ["iss", "sub", "aud", "client_id", "iat", "exp", "jti", "stt"] {
        claims_are(|p| drop(p.as_object_mut().unwrap().remove(claim)), Rejection::MissingClaim(claim));
    }
    for claim in ["iss", "sub", "client_id", "jti", "scope"] {
        claims_are(|p| p[claim] = json!(1), Rejection::BadClaim(claim));
    }
}

#[test]
fn scopes_are_read_from_scope_or_scp() {
    let without = |name: &'static str| with_payload(move |p| drop(p.as_object_mut().unwrap().remove(name)));
    assert!(without("scope").unwrap().allows("event.create"));
    assert!(without("scp").unwrap().allows("event.create"));
    claims_are(
        |p| {
            p.as_object_mut().unwrap().remove("scope");
            p.as_object_mut().unwrap().remove("scp");
        },
        Rejection::MissingClaim("scope"),
    );
    claims_are(|p| p["scp"] = json!(["event.create", "event.delete"]), Rejection::BadClaim("scp"));
    claims_are(|p| p["scp"] = json!("event.create"), Rejection::BadClaim("scp"));
    let only = |scope: &'static str| {
        with_payload(move |p| {
            p["scope"] = json!(scope);
            p.as_object_mut().unwrap().remove("scp");
        })
        .map(drop)
    };
    let missing = Err(Rejection::MissingScope("event.create".into()));
    for scope in [
        "",
        "event",
        "event.created",
        "event.*",
        "EVENT.CREATE",
        "event.create,event.view",
        "\"event.create\"",
    ] {
        assert_eq!(only(scope), missing, "{scope}");
    }
    assert_eq!(only("event.view event.create"), Ok(()));
}

#[test]
fn a_subject_other_than_the_client_needs_a_session() {
    claims_are(|p| p["sub"] = json!("another"), Rejection::BadClaim("sub"));
    let delegated = with_payload(|p| {
        p["sub"] = json!("user-1");
        p["sessionHandle"] = json!("handle-1");
    })
    .unwrap();
    assert_eq!((&*delegated.subject, &*delegated.client_id), ("user-1", "task"));
    assert_eq!(delegated.session_handle(), Some("handle-1"));
}

#[test]
fn every_rejection_maps_to_an_error_of_rfc_6750() {
    assert_eq!(Rejection::MissingScope("x".into()).error(), BearerError::InsufficientScope);
    for rejection in
        [Rejection::Expired, Rejection::BadSignature, Rejection::WrongAudience, Rejection::TooLong]
    {
        assert_eq!(rejection.error(), BearerError::InvalidToken);
    }
}

#[test]
fn claims_are_told_again_as_they_were() {
    let (minter, set) = issuer();
    let extra = json!({"tenant": "blue", "nested": {"a": [1, null]}});
    let token = minter.mint(&Claims { extra: extra.as_object(), ..claims() }).unwrap();
    let verified = Verifier::new(policy(), &set).verify(&token, NOW).unwrap();
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    assert_eq!(verified.claims(), serde_json::from_slice(&payload).unwrap());
    assert_eq!(verified.extra["tenant"], "blue");
}

#[test]
fn a_token_of_another_algorithm_is_checked_by_its_key() {
    // RFC 7515 A.3: a P-256 key and a signature by it.
    let jwk = json!({
        "kty": "EC", "crv": "P-256", "kid": "a3",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
    });
    let key: Jwk = serde_json::from_value(jwk).unwrap();
    let public = key.public_key().unwrap();
    let signed = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let signature = URL_SAFE_NO_PAD
        .decode("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q")
        .unwrap();
    assert!(public.verifies(signed.as_bytes(), &signature));
    assert!(!public.verifies(b"another", &signature));
    let set = JwkSet { keys: vec![key] };
    // Its header has neither typ nor kid.
    assert_eq!(Verifier::new(policy(), &set).verify(&format!("{signed}.x"), NOW), Err(Rejection::WrongType));
}

#[test]
fn an_rsa_key_is_none_for_access_tokens() {
    let set = JwkSet { keys: vec![rfc7515_rsa("rsa")] };
    let header = json!({"alg": "RS256", "typ": "at+jwt", "kid": "rsa"}).to_string();
    let token = format!("{}.e30.x", URL_SAFE_NO_PAD.encode(header));
    assert_eq!(Verifier::new(policy(), &set).verify(&token, NOW), Err(Rejection::UnknownKey));
}

/// RFC 7515 A.2.1.
fn rfc7515_rsa(kid: &str) -> Jwk {
    serde_json::from_value(json!({
        "kty": "RSA", "kid": kid, "e": "AQAB",
        "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
    }))
    .unwrap()
}

#[test]
fn rfc7515_a2_an_rsa_signature() {
    let key = rfc7515_rsa("a2").public_key().unwrap();
    let signed = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let signature = URL_SAFE_NO_PAD
        .decode("cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw")
        .unwrap();
    assert!(key.verifies(signed.as_bytes(), &signature));
    assert!(!key.verifies(b"another", &signature));
}

mod cached {
    use super::*;

    fn cached() -> (Minter, JwkSet, Verifier) {
        let (minter, set) = issuer();
        let verifier = Verifier::new(policy(), &set).with_cache(100);
        (minter, set, verifier)
    }

    #[test]
    fn a_token_that_passed_passes_again_as_the_same() {
        let (minter, _, verifier) = cached();
        let token = minter.mint(&claims()).unwrap();
        let first = verifier.verify_cached(&token, NOW).unwrap();
        let second = verifier.verify_cached(&token, NOW).unwrap();
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(*first, verifier.verify(&token, NOW).unwrap());
    }

    #[test]
    fn a_token_that_differs_in_anything_is_another() {
        let (minter, _, verifier) = cached();
        let token = minter.mint(&claims()).unwrap();
        verifier.verify_cached(&token, NOW).unwrap();
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] ^= 1;
            assert!(verifier.verify_cached(&String::from_utf8(changed).unwrap(), NOW).is_err(), "{at}");
        }
    }

    #[test]
    fn it_does_not_outlive_the_token() {
        let (minter, _, verifier) = cached();
        let token = minter.mint(&claims()).unwrap();
        verifier.verify_cached(&token, NOW).unwrap();
        let at = |secs: i64| verifier.verify_cached(&token, UnixTime::from_secs(NOW.secs() + secs)).map(drop);
        assert_eq!(at(3599), Ok(()));
        assert_eq!(at(3600), Err(Rejection::Expired));
        assert_eq!(at(-1), Err(Rejection::IssuedInFuture));
    }

    #[test]
    fn it_does_not_outlive_the_publication_of_the_key() {
        let (minter, set, verifier) = cached();
        let (_, other) = issuer();
        let token = minter.mint(&claims()).unwrap();
        verifier.verify_cached(&token, NOW).unwrap();
        let both = JwkSet { keys: [other.keys.clone(), set.keys.clone()].concat() };
        let first = verifier.verify_cached(&token, NOW).unwrap();
        assert!(Arc::ptr_eq(&first, &verifier.with_keys(&both).verify_cached(&token, NOW).unwrap()));
        assert_eq!(verifier.with_keys(&other).verify_cached(&token, NOW), Err(Rejection::UnknownKey));
        // Another key under the same kid is another key.
        let mut swapped = other.clone();
        swapped.keys[0].kid.clone_from(&set.keys[0].kid);
        assert_eq!(verifier.with_keys(&swapped).verify_cached(&token, NOW), Err(Rejection::BadSignature));
    }

    #[test]
    fn it_does_not_outlive_a_notice_of_revocation() {
        let (minter, set, verifier) = cached();
        let until = UnixTime::from_secs(NOW.secs() + 3600);
        let mint = |client_id: &'static str, at: i64| {
            let now = UnixTime::from_secs(NOW.secs() + at);
            let jti = crate::token::new_jti(now).unwrap();
            minter.mint(&Claims { client_id, issued_at: now, jti: &jti, ..claims() }).unwrap()
        };
        let (one, of_client, later, of_other) =
            (mint("a", 0), mint("task", 0), mint("task", 2), mint("b", 0));
        let now = UnixTime::from_secs(NOW.secs() + 2);
        let check = |token: &str| verifier.verify_cached(token, now).map(drop);
        for token in [&one, &of_client, &later, &of_other] {
            assert_eq!(check(token), Ok(()));
        }
        let jti = verifier.verify(&one, now).unwrap().jti;
        verifier.revoke(Notice::Token { jti, until }, now);
        let issued_until = UnixTime::from_secs(NOW.secs() + 1);
        verifier.revoke(Notice::Client { client_id: "task".into(), issued_until, until }, now);
        assert_eq!(check(&one), Err(Rejection::Revoked));
        assert_eq!(check(&of_client), Err(Rejection::Revoked));
        assert_eq!(check(&later), Ok(()));
        assert_eq!(check(&of_other), Ok(()));
        assert_eq!(verifier.with_keys(&set).verify(&one, now), Err(Rejection::Revoked), "whatever the keys");
    }

    #[test]
    fn a_refusal_is_not_remembered() {
        let (minter, set, _) = cached();
        let (_, other) = issuer();
        let verifier = Verifier::new(policy(), &other).with_cache(10);
        let token = minter.mint(&claims()).unwrap();
        assert_eq!(verifier.verify_cached(&token, NOW), Err(Rejection::UnknownKey));
        assert!(verifier.with_keys(&set).verify_cached(&token, NOW).is_ok());
    }

    #[test]
    fn it_is_bounded_and_keeps_what_is_used() {
        let (minter, set) = issuer();
        let verifier = Verifier::new(policy(), &set).with_cache(8);
        let favourite = minter.mint(&claims()).unwrap();
        let first = verifier.verify_cached(&favourite, NOW).unwrap();
        for number in 0..100 {
            let jti = format!("token-{number}");
            verifier.verify_cached(&minter.mint(&Claims { jti: &jti, ..claims() }).unwrap(), NOW).unwrap();
            assert!(Arc::ptr_eq(&first, &verifier.verify_cached(&favourite, NOW).unwrap()));
            assert!(verifier.cache.as_ref().unwrap().len() <= 8);
        }
    }
}

mod sessions {
    use super::*;

    const API: &str = "https://api.example.com/auth";

    fn session_payload() -> Value {
        json!({
            "iat": NOW.secs(), "exp": NOW.secs() + 3600, "sub": "user-1", "tId": "public", "rsub": "user-1",
            "sessionHandle": "2f6b0f4d", "refreshTokenHash1": "0a1b", "parentRefreshTokenHash1": null,
            "antiCsrfToken": null, "iss": API, "stt": 0
        })
    }

    fn verifier(set: &JwkSet) -> SessionVerifier {
        SessionVerifier::new(SessionPolicy { issuer: API.into(), leeway: Duration::ZERO }, set)
    }

    fn session(change: impl Fn(&mut Value)) -> (String, JwkSet) {
        let mut payload = session_payload();
        change(&mut payload);
        let header =
            |kid: &str| json!({"alg": "EdDSA", "typ": "JWT", "version": "5", "kid": kid}).to_string();
        forged(header, &payload.to_string())
    }

    #[test]
    fn a_session_is_read_from_its_token() {
        let (token, set) = session(|_| ());
        let session = verifier(&set).verify(&token, NOW).unwrap();
        assert_eq!((&*session.user_id, &*session.handle), ("user-1", "2f6b0f4d"));
        assert_eq!(session.extra["tId"], "public");
    }

    #[test]
    fn neither_kind_of_token_passes_as_the_other() {
        let everything = |set: &JwkSet| {
            // As lax as can be: same key set, any issuer, any audience, any typ.
            Verifier::new(Policy { plain_typ: true, ..Policy::default() }, set)
        };
        let (token, set) = session(|p| {
            p["aud"] = json!("event");
            p["client_id"] = json!("user-1");
            p["scope"] = json!("event.create");
            p["jti"] = json!("x");
        });
        assert!(verifier(&set).verify(&token, NOW).is_ok());
        assert_eq!(everything(&set).verify(&token, NOW), Err(Rejection::WrongTokenType));
        assert_eq!(Verifier::new(Policy::default(), &set).verify(&token, NOW), Err(Rejection::WrongType));

        let mut payload = good_payload();
        payload["iss"] = json!(API);
        payload["sessionHandle"] = json!("x");
        let (token, set) = forged(good_header, &payload.to_string());
        assert_eq!(verifier(&set).verify(&token, NOW), Err(Rejection::WrongType));
        let plain = |kid: &str| json!({"alg": "EdDSA", "typ": "JWT", "kid": kid}).to_string();
        let (token, set) = forged(plain, &payload.to_string());
        assert!(everything(&set).verify(&token, NOW).is_ok());
        assert_eq!(verifier(&set).verify(&token, NOW), Err(Rejection::WrongTokenType));
    }

    #[test]
    fn each_wrong_session_has_its_own_rejection() {
        let check = |change: fn(&mut Value)| {
            let (token, set) = session(change);
            verifier(&set).verify(&token, NOW).map(drop)
        };
        assert_eq!(check(|p| p["iss"] = json!("https://evil")), Err(Rejection::WrongIssuer));
        assert_eq!(check(|p| p["exp"] = json!(1)), Err(Rejection::Expired));
        assert_eq!(
            check(|p| drop(p.as_object_mut().unwrap().remove("stt"))),
            Err(Rejection::MissingClaim("stt"))
        );
        assert_eq!(check(|p| p["stt"] = json!(2)), Err(Rejection::WrongTokenType));
        assert_eq!(
            check(|p| drop(p.as_object_mut().unwrap().remove("sessionHandle"))),
            Err(Rejection::MissingClaim("sessionHandle"))
        );
        let (token, _) = session(|_| ());
        assert_eq!(verifier(&issuer().1).verify(&token, NOW), Err(Rejection::UnknownKey));
    }
}
