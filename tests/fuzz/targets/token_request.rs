//! The token request: any body as a form and as JSON. The three dialects ask for the same thing when they say the same.

use m2mint::http::error::OAuthError;
use m2mint::http::parameters::Parameters;
use m2mint::http::token::{Spelling, audience, scopes};
use serde_json::{Map, Value};

const CAMEL: [(&str, &str); 3] =
    [("grant_type", "grantType"), ("client_id", "clientId"), ("client_secret", "clientSecret")];
/// More members than this are not read.
const MOST: usize = 64;

pub fn check(body: &[u8]) {
    if let Ok(form) = Parameters::from_form(body) {
        check_form(body, &form);
    }
    check_json(body);
}

fn check_form(body: &[u8], form: &Parameters<'_>) {
    // Another reader of forms.
    let pairs: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().collect();
    let mut object = Map::new();
    for (name, value) in &pairs {
        let mut values = pairs.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let given: Vec<&str> = values.clone().filter(|value| !value.is_empty()).collect();
        assert_eq!(form.texts(name).unwrap().collect::<Vec<_>>(), given, "{name:?}");
        let first = values.next().filter(|value| !value.is_empty());
        assert_eq!(form.text(name).unwrap(), first, "{name:?}");
        assert_eq!(form.has(name), first.is_some(), "{name:?}");
        match given[..] {
            [] | [_] => object.insert(name.clone(), value.as_str().into()),
            _ => {
                assert!(name == "audience" || name == "resource", "{name:?} is taken twice");
                object.insert(name.clone(), given.into())
            }
        };
    }

    let snake = serde_json::to_vec(&object).unwrap();
    let snake = Parameters::from_json(&snake).expect("the same in JSON");
    assert_eq!(Asked::of(&snake), Asked::of(form));

    if CAMEL.iter().any(|(_, camel)| object.contains_key(*camel)) {
        return;
    }
    for (snake, camel) in CAMEL {
        if let Some(value) = object.remove(snake) {
            object.insert(camel.into(), value);
        }
    }
    let camel = serde_json::to_vec(&object).unwrap();
    let camel = Parameters::from_json(&camel).expect("the same in JSON, in camel case");
    let said = CAMEL.iter().any(|(_, camel)| object.get(*camel).is_some_and(|value| value != ""));
    assert_eq!(Spelling::of(&camel).unwrap(), if said { Spelling::Camel } else { Spelling::Snake });
    assert_eq!(Asked::of(&camel), Asked { spelling: Spelling::of(&camel), ..Asked::of(form) });
}

fn check_json(body: &[u8]) {
    let read = Parameters::from_json(body);
    // A reader that refuses whatever could be read in two ways.
    if let Ok(strict) = m2mint_keys::json::object(body)
        && strict.len() <= MOST
    {
        let read = read.as_ref().expect("what the strict reader takes");
        for (name, value) in &strict {
            assert_says(read, name, value);
        }
    }
    // A reader that refuses as little as it can.
    let lax = serde_json::from_slice::<Value>(body);
    match (&read, &lax) {
        (Ok(read), Ok(Value::Object(object))) => {
            assert!(object.len() <= MOST);
            object.iter().for_each(|(name, value)| assert_says(read, name, value));
        }
        (Ok(_), Ok(other)) => panic!("taken for an object: {other}"),
        _ => {}
    }
}

fn assert_says(read: &Parameters<'_>, name: &str, value: &Value) {
    let text = match value {
        Value::Null => Some(None),
        Value::String(text) => Some(Some(text.as_str()).filter(|text| !text.is_empty())),
        _ => None,
    };
    assert_eq!(read.text(name).ok(), text, "{name:?}");
    assert_eq!(read.is_array(name), texts(value).is_some(), "{name:?}");
    let given = match value {
        Value::Array(_) => texts(value),
        _ => text.map(|text| text.into_iter().collect()),
    };
    assert_eq!(read.texts(name).ok().map(Iterator::collect::<Vec<_>>), given, "{name:?}");
}

fn texts(value: &Value) -> Option<Vec<&str>> {
    value.as_array()?.iter().map(Value::as_str).collect()
}

/// What is asked for, whatever the dialect.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    spelling: Result<Spelling, OAuthError>,
    audience: Result<Option<String>, OAuthError>,
    scopes: Result<Option<Vec<String>>, OAuthError>,
}

impl Asked {
    fn of(parameters: &Parameters<'_>) -> Self {
        let audience = audience(parameters).map(|audience| audience.map(str::to_owned));
        let scopes =
            scopes(parameters).map(|scopes| scopes.map(|all| all.into_iter().map(str::to_owned).collect()));
        if let Ok(Some(audience)) = &audience {
            assert!(!audience.is_empty());
        }
        Self { spelling: Spelling::of(parameters), audience, scopes }
    }
}
