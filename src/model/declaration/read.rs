//! TOML to declarations.

use std::fmt::Display;

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::model::client::is_valid_name;
use crate::model::declaration::{Declared, DeclaredClient, derived};
use crate::model::grants::AudienceScopes;
use crate::model::names::split_scopes;
use crate::model::restrictions::parse_moment;
use crate::model::service::{Alias, suggestion};
use crate::model::spelling::nearest;
use crate::model::{Audience, ClientId, Network, Scope, ScopePattern, Service, Settings, Span};

const TABLES: [&str; 2] = ["services", "clients"];
const SERVICE: [&str; 3] = ["description", "actions", "aliases"];
const ALIAS: [&str; 2] = ["action", "until"];
const CLIENT: [&str; 12] = [
    "name",
    "enabled",
    "lifetime",
    "networks",
    "not_before",
    "not_after",
    "tokens_a_minute",
    "scope",
    "audience",
    "grants",
    "supertokens",
    "secret_sha256",
];

/// Reads files, each with the name by which problems tell it.
///
/// # Errors
/// Every problem of all of them, as `FILE:LINE: what`.
pub fn read(files: &[(String, String)]) -> Result<Declared, Vec<String>> {
    let (mut declared, mut problems) = (Declared::default(), Vec::new());
    for (name, text) in files {
        let mut reader = Reader { text, problems: Vec::new() };
        match DeTable::parse(text) {
            Ok(table) => reader.file(table.get_ref(), &mut declared),
            Err(error) => reader.problem(error.span().map_or(0, |span| span.start), error.message()),
        }
        // In the order in which somebody mends them.
        reader.problems.sort();
        problems.extend(reader.problems.into_iter().map(|(line, what)| format!("{name}:{line}: {what}")));
    }
    if problems.is_empty() { Ok(declared) } else { Err(problems) }
}

type Node<'i> = Spanned<DeValue<'i>>;

struct Reader<'a> {
    text: &'a str,
    /// Each with its line.
    problems: Vec<(usize, String)>,
}

impl Reader<'_> {
    fn problem(&mut self, at: usize, what: impl Display) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        self.problems.push((line, what.to_string()));
    }

    /// What parsing came to; a failure is a problem there.
    fn good<T, E: Display>(&mut self, at: usize, parsed: Result<T, E>) -> Option<T> {
        parsed.map_err(|error| self.problem(at, error)).ok()
    }

    fn file(&mut self, table: &DeTable<'_>, declared: &mut Declared) {
        self.known(table, &TABLES, "");
        for (audience, at, node) in self.children(table, "services") {
            let Some(audience) = self.good(at, Audience::parse(audience)) else { continue };
            let path = format!("services.{audience}");
            let Some(service) = self.service(&path, audience.clone(), at, node) else { continue };
            if declared.services.insert(audience, service).is_some() {
                self.problem(at, format_args!("{path} is declared in another file as well"));
            }
        }
        for (id, at, node) in self.children(table, "clients") {
            let Some(id) = self.good(at, ClientId::parse(id)) else { continue };
            let path = format!("clients.{id}");
            let Some(client) = self.client(&path, node) else { continue };
            if declared.clients.insert(id, client).is_some() {
                self.problem(at, format_args!("{path} is declared in another file as well"));
            }
        }
    }

    /// Whether all keys are known ones.
    fn known(&mut self, table: &DeTable<'_>, keys: &[&str], path: &str) {
        for key in table.keys() {
            let name: &str = key.get_ref();
            if !keys.contains(&name) {
                let meant = suggestion(nearest(name, keys.iter().copied()));
                let place = if path.is_empty() { String::new() } else { format!("{path}.") };
                self.problem(key.span().start, format_args!("unknown key {place}{name}{meant}"));
            }
        }
    }

    fn table<'t, 'i>(&mut self, node: &'t Node<'i>, path: &str) -> Option<&'t DeTable<'i>> {
        let table = node.get_ref().as_table();
        if table.is_none() {
            self.problem(node.span().start, format_args!("{path} has to be a table"));
        }
        table
    }

    /// The entries of a table of tables: name, where it stands, value.
    fn children<'t, 'i>(
        &mut self,
        table: &'t DeTable<'i>,
        name: &str,
    ) -> Vec<(&'t str, usize, &'t Node<'i>)> {
        let Some(node) = table.get(name) else { return Vec::new() };
        let Some(table) = self.table(node, name) else { return Vec::new() };
        table.iter().map(|(key, value)| (&**key.get_ref(), key.span().start, value)).collect()
    }

    fn service(&mut self, path: &str, audience: Audience, at: usize, node: &Node<'_>) -> Option<Service> {
        let table = self.table(node, path)?;
        self.known(table, &SERVICE, path);
        let mut service = Service::new(audience);
        if let Some(description) = self.text(table, "description", path) {
            service.description = description;
        }
        match table.get("actions").map(|node| (node, node.get_ref())) {
            None => {}
            Some((_, DeValue::Array(names))) => {
                for name in names.iter() {
                    self.action(&mut service, path, name.get_ref().as_str(), name.span().start, "");
                }
            }
            Some((_, DeValue::Table(actions))) => {
                for (name, about) in actions.iter() {
                    let about = about.get_ref().as_str().unwrap_or_else(|| {
                        self.problem(
                            about.span().start,
                            format_args!("{path}.actions: a description is a text"),
                        );
                        ""
                    });
                    self.action(&mut service, path, Some(name.get_ref()), name.span().start, about);
                }
            }
            Some((node, _)) => self.problem(
                node.span().start,
                format_args!(
                    "{path}.actions has to be a list of names, or a table of names and descriptions"
                ),
            ),
        }
        for (former, at, node) in self.children(table, "aliases") {
            let path = format!("{path}.aliases.{former}");
            let Some(fields) = self.table(node, &path) else { continue };
            self.known(fields, &ALIAS, &path);
            let former = self.good(at, Scope::parse(former));
            let action = self.needed_text(fields, "action", &path, at);
            let until = self.needed_text(fields, "until", &path, at);
            let (Some(former), Some(action), Some(until)) = (former, action, until) else { continue };
            let action = self.good(at, Scope::parse(&action));
            let until = self.good(at, parse_moment(&until).map_err(|error| format!("{path}.until: {error}")));
            if let (Some(action), Some(ends_at)) = (action, until) {
                service.aliases.insert(former, Alias { action, ends_at });
            }
        }
        let checked = service.check();
        self.good(at, checked).map(|()| service)
    }

    fn action(&mut self, service: &mut Service, path: &str, name: Option<&str>, at: usize, about: &str) {
        let Some(name) = name else {
            return self.problem(at, format_args!("{path}.actions: a name is a text"));
        };
        if let Some(name) = self.good(at, Scope::parse(name)) {
            let added = service.add_action(name, about.to_owned());
            self.good(at, added);
        }
    }

    fn client(&mut self, path: &str, node: &Node<'_>) -> Option<DeclaredClient> {
        let table = self.table(node, path)?;
        self.known(table, &CLIENT, path);
        let at = |name: &str| table.get(name).map_or(node.span().start, |node| node.span().start);
        let mut settings = Settings::default();
        if let Some(name) = self.text(table, "name", path) {
            if !is_valid_name(&name) {
                self.problem(at("name"), "a name has at most 200 characters, and no control characters");
            }
            settings.name = name;
        }
        if let Some(node) = table.get("enabled") {
            settings.enabled = node.get_ref().as_bool();
            if settings.enabled.is_none() {
                self.problem(node.span().start, format_args!("{path}.enabled has to be true or false"));
            }
        }
        if let Some(text) = self.text(table, "lifetime", path) {
            settings.token_lifetime = self.good(at("lifetime"), Span::parse(&text));
        }
        self.grants(table, path, &mut settings);
        let restrictions = &mut settings.restrictions;
        restrictions.networks = self.list(table, "networks", path, Network::parse).unwrap_or_default();
        for (name, moment) in
            [("not_before", &mut restrictions.not_before), ("not_after", &mut restrictions.not_after)]
        {
            if let Some(text) = self.text(table, name, path) {
                *moment = self
                    .good(at(name), parse_moment(&text).map_err(|error| format!("{path}.{name}: {error}")));
            }
        }
        if let Some(node) = table.get("tokens_a_minute") {
            let number = match node.get_ref() {
                DeValue::Integer(number) => number.as_str().parse().ok(),
                _ => None,
            };
            if number.is_none() {
                self.problem(node.span().start, format_args!("{path}.tokens_a_minute has to be a number"));
            }
            restrictions.tokens_a_minute = number;
        }
        let checked = restrictions.check();
        self.good(node.span().start, checked);
        let extra = self.text(table, "supertokens", path).and_then(|text| {
            let parsed = serde_json::from_str::<Map<String, Value>>(&text);
            self.good(
                at("supertokens"),
                parsed.map_err(|_| format!("{path}.supertokens has to be a JSON object")),
            )
        });
        let says_extra = extra.is_some();
        settings.extra = extra.unwrap_or_default();
        let secrets = self.list(table, "secret_sha256", path, digest).unwrap_or_default();
        let checked = settings.grants();
        self.good(node.span().start, checked.map_err(|error| format!("{path}: {error}")));
        Some(DeclaredClient { settings, says_extra, secrets })
    }

    fn grants(&mut self, table: &DeTable<'_>, path: &str, settings: &mut Settings) {
        if let Some(node) = table.get("grants") {
            let path = format!("{path}.grants");
            if let Some(entries) = self.table(node, &path) {
                let mut map = AudienceScopes::new();
                for (key, _) in entries.iter() {
                    let name: &str = key.get_ref();
                    let audience = self.good(key.span().start, Audience::parse(name));
                    let scopes = self.list(entries, name, &path, ScopePattern::parse);
                    if let (Some(audience), Some(scopes)) = (audience, scopes) {
                        map.insert(audience, scopes);
                    }
                }
                (settings.scope, settings.audience) = derived(&map);
                settings.audience_scopes = Some(map);
            }
        }
        if let Some(audience) = self.list(table, "audience", path, Audience::parse) {
            settings.audience = audience;
        }
        if let Some(scope) = self.text(table, "scope", path) {
            let at = table.get("scope").map_or(0, |node| node.span().start);
            let parsed: Result<_, _> = split_scopes(&scope).map(ScopePattern::parse).collect();
            settings.scope = self.good(at, parsed).unwrap_or_default();
        }
    }

    /// The text of a key, if it is there. A date without quotation marks is one too.
    fn text(&mut self, table: &DeTable<'_>, name: &str, path: &str) -> Option<String> {
        let node = table.get(name)?;
        match node.get_ref() {
            DeValue::String(text) => Some(text.clone().into_owned()),
            DeValue::Datetime(date) => Some(date.to_string()),
            _ => {
                self.problem(node.span().start, format_args!("{path}.{name} has to be a text"));
                None
            }
        }
    }

    fn needed_text(&mut self, table: &DeTable<'_>, name: &str, path: &str, at: usize) -> Option<String> {
        if table.get(name).is_none() {
            self.problem(at, format_args!("{path} has no {name}"));
        }
        self.text(table, name, path)
    }

    /// A list of texts, parsed, if it is there.
    fn list<T, E: Display>(
        &mut self,
        table: &DeTable<'_>,
        name: &str,
        path: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let node = table.get(name)?;
        let Some(items) = node.get_ref().as_array() else {
            self.problem(node.span().start, format_args!("{path}.{name} has to be a list of texts"));
            return None;
        };
        let mut parsed = Vec::with_capacity(items.len());
        for item in items.iter() {
            let at = item.span().start;
            match item.get_ref().as_str() {
                Some(text) => {
                    let item = parse(text).map_err(|error| format!("{path}.{name}: {error}"));
                    parsed.extend(self.good(at, item));
                }
                None => self.problem(at, format_args!("{path}.{name} has to be a list of texts")),
            }
        }
        Some(parsed)
    }
}

/// The SHA-256 of a secret: 64 hexadecimal digits.
///
/// # Errors
/// What has to be written. What was is not repeated.
pub fn digest(text: &str) -> Result<[u8; 32], &'static str> {
    const FORM: &str =
        "write the SHA-256 of a secret that m2mint made, as 64 hexadecimal digits; never a secret";
    let mut digest = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(FORM);
    }
    for (byte, at) in digest.iter_mut().zip((0..64).step_by(2)) {
        let digits = text.get(at..at + 2).ok_or(FORM)?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| FORM)?;
    }
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        read(&[("a.toml".into(), text.into())]).unwrap_err()
    }

    #[test]
    fn every_problem_is_told_with_its_line_and_what_was_probably_meant() {
        let text = r#"
[service.event]
[services.file]
actoins = ["file.view"]
[services.mail]
actions = ["mail.*"]
aliases."mail.post" = { action = "mail.sent" }
[clients.x]
lifetme = "15m"
lifetime = "15"
enabled = "yes"
secret_sha256 = ["m2s_secret"]
tokens_a_minute = 0
[clients.x.grants]
event = "event.view"
"#;
        let told = problems(text);
        for part in [
            "a.toml:2: unknown key service; did you mean services?",
            "a.toml:4: unknown key services.file.actoins; did you mean actions?",
            "a.toml:5: mail.* is a wildcard",
            "a.toml:7: services.mail.aliases.mail.post has no until",
            "a.toml:9: unknown key clients.x.lifetme; did you mean lifetime?",
            "a.toml:10: not a duration",
            "a.toml:11: clients.x.enabled has to be true or false",
            "a.toml:12: clients.x.secret_sha256: write the SHA-256",
            "a.toml:15: clients.x.grants.event has to be a list of texts",
            "tokens a minute are a number",
        ] {
            assert!(told.iter().any(|line| line.contains(part)), "{part} in {told:#?}");
        }
        assert!(!told.concat().contains("m2s_secret"), "{told:#?}");
        assert!(problems("a = [\nb").first().unwrap().starts_with("a.toml:"));
    }

    #[test]
    fn two_files_cannot_declare_the_same() {
        let text = "[clients.x]\n[services.event]\n";
        let files = [("a".to_owned(), text.to_owned()), ("b".to_owned(), text.to_owned())];
        let told = read(&files).unwrap_err();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told.iter().all(|line| line.contains("declared in another file")), "{told:?}");
    }
}
