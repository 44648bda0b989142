//! Public keys of another issuer that are published beside ours.

use m2mint::model::restrictions::moment;
use m2mint_keys::jwk::JwkSet;
use m2mint_keys::time::UnixTime;
use m2mint_keys::verify::{Policy, Verifier};
use serde_json::{Value, json};

use crate::support::http::{KeptAlive, get};
use crate::support::in_process::START;
use crate::support::process::{command, run_to_end};
use crate::support::{Process, Server};

/// RFC 8037 A.2, under a name as the SuperTokens core gives them.
const OLD: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","use":"sig","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"d-1700000000000"}]}"#;

fn at(seconds: i64) -> UnixTime {
    UnixTime::from_secs(START.secs() + seconds)
}

fn kids(set: &Value) -> Vec<String> {
    let keys = set["keys"].as_array().unwrap().iter();
    keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn keys_of_another_issuer_are_published_until_its_last_token_has_expired_and_open_nothing_here() {
    let old = Server::with(&[("issuer", "http://127.0.0.1:2/auth")]);
    let client = old.task_service();
    let token = old.token(&client);
    let until = moment(at(3600));
    let url = old.endpoint("/auth/jwt/jwks.json");
    let server = Server::with(&[("jwks.also", &url), ("jwks.also_until", &until)]);
    let jwks = server.endpoint("/auth/jwt/jwks.json");
    let both = get(&jwks);
    let verifier = |set: &str| {
        Verifier::new(
            Policy::new("http://127.0.0.1:2/auth", "event"),
            &JwkSet::parse(set.as_bytes()).unwrap(),
        )
    };
    assert_eq!(verifier(&both.body).verify(&token, START).unwrap().client_id.as_ref() as &str, client.id);
    assert_eq!(kids(&both.json()).len(), 4, "the signing one and the standby of both: {both:?}");
    assert!(!server.is_active(&token), "whatever is published, it is no token of ours");
    assert_eq!(kids(&get(&format!("{jwks}?alg=EdDSA")).json()).len(), 2);
    let core = server.admin("GET", "/recipe/jwt/jwks", &Value::Null).json();
    assert_eq!((&core["status"], kids(&core)), (&json!("OK"), kids(&both.json())));
    let etag = both.header("etag").unwrap().to_owned();
    let again = KeptAlive::new().call("GET", &jwks, &[("if-none-match", &etag)], b"");
    assert_eq!(again.status, 304);

    server.rotate();
    let rotated = get(&jwks);
    assert_ne!(rotated.header("etag"), Some(&*etag));
    assert_eq!(kids(&rotated.json()).len(), 5, "one more of ours");
    server.pass(3600);
    let alone = get(&jwks);
    assert!(verifier(&alone.body).verify(&token, START).is_err());
    assert_ne!(alone.header("etag"), rotated.header("etag"));
}

#[test]
fn a_file_with_keys_is_followed_and_one_that_is_no_good_changes_nothing() {
    let directory = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let file = directory.path().join("old.json");
    std::fs::write(&file, OLD).unwrap();
    let environment =
        [("M2MINT_JWKS__ALSO", "old.json"), ("M2MINT_JWKS__ALSO_UNTIL", "2099-01-01T00:00:00Z")];
    let process = Process::again(directory, &environment);
    let published = || kids(&serde_json::from_str(&process.jwks()).unwrap());
    assert!(published().contains(&"d-1700000000000".to_owned()));
    std::fs::write(&file, OLD.replace("d-17", "d-18")).unwrap();
    process.wait_until("the other name is published", || published().contains(&"d-1800000000000".into()));
    std::fs::write(
        &file,
        OLD.replace("\"kid\"", "\"d\":\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\",\"kid\""),
    )
    .unwrap();
    process.wait_until("it is said", || process.log.lock().contains("a private key in it"));
    assert!(!process.log.lock().contains("nWGxne"));
    assert!(published().contains(&"d-1800000000000".to_owned()) && !process.jwks().contains("nWGxne"));
    std::fs::write(&file, r#"{"keys":[]}"#).unwrap();
    process.wait_until("only ours are left", || published().len() == 2);
}

#[test]
fn a_server_starts_without_the_other_one_and_a_bad_configuration_is_refused() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let process = Process::with(&[
        ("M2MINT_JWKS__ALSO", &format!("http://{nobody}/jwks.json")),
        ("M2MINT_JWKS__ALSO_UNTIL", "2099-01-01T00:00:00Z"),
    ]);
    assert_eq!(kids(&serde_json::from_str(&process.jwks()).unwrap()).len(), 2);
    process.wait_until("it is said", || process.log.lock().contains("cannot be read"));
    let directory = tempfile::tempdir().unwrap();
    for (settings, reason) in [
        (["jwks.also=old.json", "jwks.also_until=none"], "say when the last token"),
        (["jwks.also=http://old.example/jwks", "jwks.also_until=2099-01-01T00:00:00Z"], "not https"),
        (["jwks.also=ftp://old.example/jwks", "jwks.also_until=2099-01-01T00:00:00Z"], "https URL"),
        (["jwks.also=old.json", "jwks.also_until=90d"], "2027-01-15T08:00:00Z"),
    ] {
        let mut check = command(directory.path());
        check.args(["config", "check", "--set", settings[0], "--set", settings[1]]);
        let output = run_to_end(&mut check);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(reason), "{settings:?}: {said}");
    }
}
