//! `m2mint verifier NAME`: what is printed. Whether it works is shown by `tests/interop/verifiers/run`.

use std::process::Output;

use serde_json::Value;

use crate::support::process::command;

/// The recipe for Rust holds as it is printed, names aside.
#[path = "../../src/cli/verifier/recipes/m2mint-keys.rs"]
mod in_rust;

fn verifier(arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    command(directory.path()).arg("verifier").args(arguments).output().unwrap()
}

fn printed(arguments: &[&str]) -> String {
    let output = verifier(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn recipes() -> Vec<Value> {
    serde_json::from_str(&printed(&["list", "--json"])).unwrap()
}

#[test]
fn code_and_settings_are_for_the_issuer_audience_and_scope_that_are_named() {
    let issuer = "https://auth.example.net/auth";
    for recipe in recipes() {
        let name = recipe["name"].as_str().unwrap();
        let asked = [name, "--issuer", issuer, "--audience", "file", "--scope", "file.view"];
        let code = printed(&[&asked[..], &["--code"]].concat());
        for said in [issuer, "file", "file.view"] {
            assert!(code.contains(said), "{name}: {said} is missing in {code}");
        }
        assert!(!code.contains("{{"), "{name}: {code}");
        let page = printed(&asked);
        assert!(page.ends_with(&code), "{name}");
        for said in
            ["algorithm", "audience", "leeway", "key set cached", "unknown key", "revoked key", "lets in"]
        {
            assert!(page.contains(&format!("\n  {said} ")), "{name}: {said} is missing in {page}");
        }
    }
}

#[test]
fn every_library_has_a_row() {
    let table = printed(&["list"]);
    let recipes = recipes();
    for recipe in &recipes {
        assert!(table.contains(recipe["library"].as_str().unwrap()), "{table}");
    }
    assert_eq!(table.lines().count(), recipes.len() + 1);
}

#[test]
fn a_library_that_cannot_check_ed25519_says_how_the_audience_gets_es256() {
    let page = printed(&["jsonwebtoken", "--audience", "billing"]);
    assert!(page.contains("m2mint audiences set billing --alg ES256"), "{page}");
    assert!(page.contains("/auth/jwt/jwks.json?alg=ES256"), "{page}");
    let refused = verifier(&["jsonwebtoken", "--alg", "EdDSA"]);
    assert_eq!(refused.status.code(), Some(3));
}

#[test]
fn a_key_set_is_kept_no_longer_than_the_rotation_waits() {
    let hour = ["--set", "rotation.propagation=1h", "dotnet", "--code"];
    assert!(printed(&hour).contains("AutomaticRefreshInterval = TimeSpan.FromSeconds(3600)"));
    let refused = verifier(&["--set", "rotation.propagation=1h", "jose", "--cache", "3601"]);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert_eq!((refused.status.code(), told.contains("would refuse good tokens")), (Some(3), true), "{told}");
    assert!(printed(&["jose", "--cache", "3600", "--code"]).contains("cacheMaxAge: 3600 * 1000"));
}

#[test]
fn nothing_goes_into_code_that_could_end_a_text_there() {
    for audience in ["a\"+x+\"b", "it's", "$(id)", "#{x}", "@x", "a b", ""] {
        let refused = verifier(&["jose", "--audience", audience]);
        assert_eq!(refused.status.code(), Some(2), "{audience:?}: {refused:?}");
    }
}

#[test]
fn what_is_not_there_is_said_to_be_not_there() {
    let unknown = verifier(&["cobol"]);
    let told = String::from_utf8_lossy(&unknown.stderr);
    assert_eq!((unknown.status.code(), told.contains("jose, ")), (Some(2), true), "{told}");
    assert_eq!(verifier(&["go-oidc", "--cache", "60"]).status.code(), Some(3));
    assert_eq!(verifier(&[]).status.code(), Some(2));
    assert!(in_rust::verifier().is_err(), "an issuer without a name is none");
}
