//! Declarations to TOML.

use std::fmt::Write as _;

use serde_json::Value;

use crate::model::audit::hex;
use crate::model::declaration::derived;
use crate::model::names::{Audience, ScopePattern};
use crate::model::restrictions::moment;
use crate::model::{ClientId, Network, Service, Settings};

/// The fields of a service, each with its value as TOML.
#[must_use]
pub fn service_fields(service: &Service) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    if !service.description.is_empty() {
        fields.push(("description".into(), quoted(&service.description)));
    }
    for (action, about) in &service.actions {
        fields.push((format!("actions.{}", key(action.as_str())), quoted(about)));
    }
    for (former, alias) in &service.aliases {
        let value =
            format!("{{ action = {}, until = {} }}", quoted(alias.action.as_str()), moment(alias.ends_at));
        fields.push((format!("aliases.{}", key(former.as_str())), value));
    }
    fields
}

/// The fields of a client, each with its value as TOML; those that are kept for SuperTokens only when asked for.
#[must_use]
pub fn client_fields(settings: &Settings, with_extra: bool) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let mut say = |name: &str, value: String| fields.push((name.to_owned(), value));
    if !settings.name.is_empty() {
        say("name", quoted(&settings.name));
    }
    if let Some(enabled) = settings.enabled {
        say("enabled", enabled.to_string());
    }
    if let Some(lifetime) = settings.token_lifetime {
        say("lifetime", quoted(&lifetime.to_string()));
    }
    let restrictions = &settings.restrictions;
    if !restrictions.networks.is_empty() {
        say("networks", list(restrictions.networks.iter().map(Network::to_string)));
    }
    for (name, time) in [("not_before", restrictions.not_before), ("not_after", restrictions.not_after)] {
        if let Some(time) = time {
            say(name, moment(time));
        }
    }
    if let Some(tokens) = restrictions.tokens_a_minute {
        say("tokens_a_minute", tokens.to_string());
    }
    let (scope, audience) = settings.audience_scopes.as_ref().map(derived).unwrap_or_default();
    if scope != settings.scope {
        let texts: Vec<_> = settings.scope.iter().map(ScopePattern::as_str).collect();
        say("scope", quoted(&texts.join(" ")));
    }
    if audience != settings.audience {
        say("audience", list(settings.audience.iter().map(Audience::to_string)));
    }
    if let Some(map) = &settings.audience_scopes {
        if map.is_empty() {
            say("grants", "{}".into());
        }
        for (audience, scopes) in map {
            let name = format!("grants.{}", key(audience.as_str()));
            say(&name, list(scopes.iter().map(ScopePattern::to_string)));
        }
    }
    if with_extra && !settings.extra.is_empty() {
        say("supertokens", quoted(&Value::Object(settings.extra.clone()).to_string()));
    }
    fields
}

/// A service as a table of a file.
#[must_use]
pub fn service(service: &Service) -> String {
    table(&format!("services.{}", key(service.audience.as_str())), &service_fields(service))
}

/// A client as a table of a file, with the hashes of these secrets.
#[must_use]
pub fn client(id: &ClientId, settings: &Settings, secrets: &[[u8; 32]]) -> String {
    let mut fields = client_fields(settings, true);
    if !secrets.is_empty() {
        fields.push(("secret_sha256".into(), list(secrets.iter().map(|digest| hex(digest)))));
    }
    table(&format!("clients.{}", key(id.as_str())), &fields)
}

fn table(name: &str, fields: &[(String, String)]) -> String {
    let mut text = format!("[{name}]\n");
    for (field, value) in fields {
        // Writing to a text does not fail.
        let _ = writeln!(text, "{field} = {value}");
    }
    text
}

fn list(texts: impl Iterator<Item = String>) -> String {
    format!("[{}]", texts.map(|text| quoted(&text)).collect::<Vec<_>>().join(", "))
}

/// A key as TOML writes it.
fn key(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !name.is_empty() && name.bytes().all(bare) { name.to_owned() } else { quoted(name) }
}

/// A text as TOML writes it.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_texts_are_quoted_where_they_have_to_be() {
        assert_eq!(key("task-service"), "task-service");
        assert_eq!(key("https://api.example/a.b"), "\"https://api.example/a.b\"");
        assert_eq!(quoted("a\"\\\n\u{7f}\u{e9}"), "\"a\\\"\\\\\\u000A\\u007F\u{e9}\"");
    }
}
