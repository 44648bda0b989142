//! The JSON that makes a client: any body. What is taken obeys the grammar, and what is answered can be sent back.

use m2mint::http::client_json::{Fields, render};
use m2mint::http::request::lenient_object;
use m2mint::model::{Client, ClientId, Settings};
use m2mint_keys::json;
use m2mint_keys::time::UnixTime;
use serde_json::{Map, Value};

pub fn check(body: &[u8]) {
    let read = lenient_object(body);
    if let Ok(strict) = json::object(body) {
        assert_eq!(read.as_ref().ok(), Some(&strict), "well-formed JSON is read as it stands");
    }
    let Ok(object) = read else { return };
    let printed = Value::Object(object.clone()).to_string();
    assert_eq!(lenient_object(printed.as_bytes()).ok().as_ref(), Some(&object), "{printed}");

    let Ok(fields) = Fields::parse(object) else { return };
    if let Ok(Some(secret)) = fields.client_secret() {
        assert!(secret.expose().chars().count() >= 16);
        assert_eq!(format!("{secret:?}"), "ClientSecret(..)", "a secret is never shown");
    }
    let (Ok(id), Ok(settings)) = (fields.client_id(), fields.create()) else { return };
    assert_obeys_the_grammar(&settings);
    let nothing = Fields::parse(Map::new()).unwrap();
    assert_eq!(nothing.change(settings.clone()).unwrap(), settings, "a change of nothing");
    let twice = fields.change(fields.change(settings.clone()).unwrap()).unwrap();
    assert_eq!(twice, fields.change(settings.clone()).unwrap(), "a change that is made twice");

    let id = id.unwrap_or_else(|| ClientId::parse("c").unwrap());
    let time = UnixTime::from_secs(1_800_000_000);
    let mut client = Client { id, settings, created_at: time, updated_at: time };
    let answer = render(&client, None);
    assert!(!answer.contains_key("clientSecret"));
    let sent_back = Fields::parse(answer.clone()).expect("what is answered can be sent");
    client.settings = sent_back.create().expect("what is answered can be sent");
    assert_eq!(render(&client, None), answer, "what is sent back makes the same client");
}

fn assert_obeys_the_grammar(settings: &Settings) {
    let is_token = |text: &str| {
        // RFC 6749 §3.3.
        let allowed =
            |byte: u8| byte == 0x21 || (0x23..=0x5b).contains(&byte) || (0x5d..=0x7e).contains(&byte);
        !text.is_empty() && text.bytes().all(allowed)
    };
    assert!(settings.scope.iter().all(|scope| is_token(scope.as_str())));
    assert!(settings.audience.iter().all(|audience| is_token(audience.as_str())));
    assert!(!settings.name.contains(char::is_control));
    let Ok(grants) = settings.grants() else { return };
    for audience in &settings.audience {
        for scope in grants.all_scopes(audience.as_str()) {
            assert!(grants.allows_scope(scope, audience.as_str()));
            assert!(
                settings.scope.iter().any(|allowed| allowed.allows(scope)),
                "{scope} is wider than scope"
            );
        }
    }
}
