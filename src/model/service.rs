//! Services that tokens are for: which actions each understands, and what those were called before.

use std::collections::BTreeMap;

use m2mint_keys::time::UnixTime;

use crate::model::client::Settings;
use crate::model::names::{Audience, InvalidName, Scope, ScopePattern, is_wildcard, pattern_allows};
use crate::model::spelling::nearest;

/// The most actions that a service may have.
pub const MAX_ACTIONS: usize = 200;
/// The most former names that the actions of a service may have together.
pub const MAX_ALIASES: usize = 200;
/// The most services that may be registered.
pub const MAX_SERVICES: usize = 10_000;
/// The longest description, in characters.
pub const MAX_DESCRIPTION_LENGTH: usize = 500;

/// Scopes that OpenID Connect and SuperTokens define for any client. They are no service's actions.
pub const PROTOCOL_SCOPES: [&str; 3] = ["openid", "offline", "offline_access"];

/// Verbs that one service uses where another uses its neighbour.
const SYNONYMS: [&[&str]; 5] = [
    &["update", "edit", "modify", "change", "write", "patch"],
    &["view", "read", "get", "show", "see", "list"],
    &["create", "add", "new", "make", "insert", "write"],
    &["delete", "remove", "drop", "destroy"],
    &["run", "execute", "start", "invoke"],
];

/// Why a service cannot be as it is said to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidService {
    /// A wildcard stands for actions; it is none.
    #[error("{0} is a wildcard: name each action that the service understands")]
    Wildcard(Scope),
    /// One of [`PROTOCOL_SCOPES`], which clients have whatever they are granted.
    #[error("{0} is no name for an action: SuperTokens gives that scope to every client")]
    Protocol(Scope),
    /// There is such an action.
    #[error("{0} is an action of {1} already")]
    ActionExists(Scope, Audience),
    /// There is no such action.
    #[error("{action} is no action of {audience}{}", suggestion(.meant.as_deref()))]
    NoAction {
        /// What was named.
        action: String,
        /// The service.
        audience: Audience,
        /// What was probably meant.
        meant: Option<String>,
    },
    /// The name belonged to another action.
    #[error(
        "{0} is what {1} called {2} before, and clients may still be granted it by that name; take the former name away first"
    )]
    FormerName(Scope, Audience, Scope),
    /// A former name that is also an action's name now.
    #[error("{0} cannot be both an action of {1} and a former name of one")]
    Ambiguous(Scope, Audience),
    /// An alias would never be understood.
    #[error("a former name must be understood for at least 1s more")]
    AliasEnded,
    /// Too many.
    #[error("a service has at most {1} {0}")]
    TooMany(&'static str, usize),
    /// Too long, or with control characters.
    #[error("a description has at most {MAX_DESCRIPTION_LENGTH} characters, and no control characters")]
    Description,
}

/// `; did you mean X?`, or nothing.
#[must_use]
pub fn suggestion(meant: Option<&str>) -> String {
    meant.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default()
}

/// An action as people write it: `event.create`, or `event.create=Makes an event`. A name may hold `=` only where a
/// description follows.
///
/// # Errors
/// [`InvalidName`]
pub fn parse_action(text: &str) -> Result<(Scope, String), InvalidName> {
    let (name, description) = text.split_once('=').unwrap_or((text, ""));
    Ok((Scope::parse(name.trim())?, description.trim().to_owned()))
}

/// A name that an action had before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// What it is called now.
    pub action: Scope,
    /// From when on the former name can no longer be asked for.
    pub ends_at: UnixTime,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its identity: `aud` of the tokens that are for it.
    pub audience: Audience,
    /// What it is, for people.
    pub description: String,
    /// The actions that it understands, each with what it does, for people.
    pub actions: BTreeMap<Scope, String>,
    /// Former names of actions.
    pub aliases: BTreeMap<Scope, Alias>,
}

impl Service {
    /// A service without actions.
    #[must_use]
    pub const fn new(audience: Audience) -> Self {
        Self { audience, description: String::new(), actions: BTreeMap::new(), aliases: BTreeMap::new() }
    }

    /// Whether it can be as it is.
    ///
    /// # Errors
    /// [`InvalidService`], saying what is wrong.
    pub fn check(&self) -> Result<(), InvalidService> {
        let is_good = |text: &str| {
            text.chars().count() <= MAX_DESCRIPTION_LENGTH && !text.chars().any(char::is_control)
        };
        if !std::iter::once(&self.description).chain(self.actions.values()).all(|text| is_good(text)) {
            return Err(InvalidService::Description);
        }
        if self.actions.len() > MAX_ACTIONS {
            return Err(InvalidService::TooMany("actions", MAX_ACTIONS));
        }
        if self.aliases.len() > MAX_ALIASES {
            return Err(InvalidService::TooMany("former names of actions", MAX_ALIASES));
        }
        let mut names = self.actions.keys().chain(self.aliases.keys());
        if let Some(wildcard) = names.clone().find(|name| is_wildcard(name.as_str())) {
            return Err(InvalidService::Wildcard(wildcard.clone()));
        }
        if let Some(scope) = names.find(|name| PROTOCOL_SCOPES.contains(&name.as_str())) {
            return Err(InvalidService::Protocol(scope.clone()));
        }
        for (former, alias) in &self.aliases {
            if self.actions.contains_key(former) {
                return Err(InvalidService::Ambiguous(former.clone(), self.audience.clone()));
            }
            if !self.actions.contains_key(&alias.action) {
                return Err(self.no_action(alias.action.as_str()));
            }
        }
        Ok(())
    }

    /// Adds an action.
    ///
    /// # Errors
    /// [`InvalidService`] when the name is taken, now or by what an action was called before.
    pub fn add_action(&mut self, action: Scope, description: String) -> Result<(), InvalidService> {
        if self.actions.contains_key(&action) {
            return Err(InvalidService::ActionExists(action, self.audience.clone()));
        }
        if let Some(alias) = self.aliases.get(&action) {
            return Err(InvalidService::FormerName(action, self.audience.clone(), alias.action.clone()));
        }
        self.actions.insert(action, description);
        Ok(())
    }

    /// Removes an action with its former names, or one former name.
    ///
    /// # Errors
    /// [`InvalidService::NoAction`]
    pub fn remove_action(&mut self, name: &str) -> Result<(), InvalidService> {
        if self.aliases.remove(name).is_some() {
            return Ok(());
        }
        self.actions.remove(name).map(drop).ok_or_else(|| self.no_action(name))?;
        self.aliases.retain(|_, alias| alias.action.as_str() != name);
        Ok(())
    }

    /// Calls an action by another name. The former one is understood until `ends_at`; so are those of before, to which it
    /// was an end already.
    ///
    /// # Errors
    /// [`InvalidService`] when there is no such action, or the new name is taken.
    pub fn rename_action(&mut self, from: &str, to: Scope, ends_at: UnixTime) -> Result<(), InvalidService> {
        if !self.actions.contains_key(from) {
            return Err(self.no_action(from));
        }
        // Back to what it was called before.
        if self.aliases.get(&to).is_some_and(|alias| alias.action.as_str() == from) {
            self.aliases.remove(&to);
        }
        let description = self.actions.get(from).cloned().unwrap_or_default();
        self.add_action(to.clone(), description)?;
        if let Some((former, _)) = self.actions.remove_entry(from) {
            for alias in self.aliases.values_mut().filter(|alias| alias.action == former) {
                alias.action = to.clone();
            }
            self.aliases.insert(former, Alias { action: to, ends_at });
        }
        Ok(())
    }

    /// Whether a client can be granted `pattern` here at `now`: an action by its name, or by a former one that is still
    /// understood, or a wildcard that stands for at least one.
    #[must_use]
    pub fn knows(&self, pattern: &ScopePattern, now: UnixTime) -> bool {
        let pattern = pattern.as_str();
        self.names(now).any(|name| name == pattern || pattern_allows(pattern, name))
    }

    /// Every name that an action can be asked for by at `now`.
    fn names(&self, now: UnixTime) -> impl Iterator<Item = &str> {
        let live = self.aliases.iter().filter(move |(_, alias)| alias.ends_at > now);
        self.actions.keys().map(Scope::as_str).chain(live.map(|(former, _)| former.as_str()))
    }

    /// What an action was called before, and until when that is understood.
    pub fn former_names(&self, action: &str) -> impl Iterator<Item = (&Scope, &Alias)> {
        self.aliases.iter().filter(move |(_, alias)| alias.action.as_str() == action)
    }

    /// What was probably meant by a name that is no action here.
    #[must_use]
    pub fn meant(&self, wrong: &str) -> Option<String> {
        if let Some(alias) = self.aliases.get(wrong) {
            return Some(alias.action.to_string());
        }
        let names = || self.actions.keys().map(Scope::as_str);
        if let Some(prefix) = wrong.strip_suffix(".*") {
            let prefixes = names().filter_map(|name| name.rsplit_once('.').map(|(prefix, _)| prefix));
            return nearest(prefix, prefixes).map(|prefix| format!("{prefix}.*"));
        }
        nearest(wrong, names()).or_else(|| synonym(wrong, names())).map(str::to_owned)
    }

    fn no_action(&self, action: &str) -> InvalidService {
        InvalidService::NoAction {
            action: action.to_owned(),
            audience: self.audience.clone(),
            meant: self.meant(action),
        }
    }
}

/// `event.update` for `event.edit`: the same thing, and another word for what is done to it.
fn synonym<'a>(wrong: &str, mut names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let separators = ['.', ':', '/', '-', '_'];
    let split = |name: &str| name.rfind(separators).map_or(0, |at| at + 1);
    let (thing, verb) = wrong.split_at(split(wrong));
    names.find(|name| {
        let (other, word) = name.split_at(split(name));
        other == thing && SYNONYMS.iter().any(|words| words.contains(&verb) && words.contains(&word))
    })
}

/// What a client is granted that no registered service understands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{scope} is no action of {}{}", .audiences.iter().map(Audience::as_str).collect::<Vec<_>>().join(" or "), suggestion(.meant.as_deref()))]
pub struct Misfit {
    /// The scope, or the wildcard.
    pub scope: ScopePattern,
    /// The services at which it is granted.
    pub audiences: Vec<Audience>,
    /// What was probably meant.
    pub meant: Option<String>,
}

/// What of a client's grants no registered service understands at `now`. Of a service that is not in `services` nothing is
/// known, and nothing is said.
///
/// Without scopes by audience, each scope goes with each audience: then it fits as long as one of them understands it, or
/// one of them is not registered.
#[must_use]
pub fn misfits(services: &BTreeMap<Audience, Service>, settings: &Settings, now: UnixTime) -> Vec<Misfit> {
    let mut found = Vec::new();
    let is_action = |pattern: &&ScopePattern| !PROTOCOL_SCOPES.contains(&pattern.as_str());
    let mut look = |at: &[&Service], patterns: &[ScopePattern]| {
        for scope in patterns.iter().filter(is_action) {
            if !at.iter().any(|service| service.knows(scope, now)) {
                found.push(Misfit {
                    scope: scope.clone(),
                    audiences: at.iter().map(|service| service.audience.clone()).collect(),
                    meant: at.iter().find_map(|service| service.meant(scope.as_str())),
                });
            }
        }
    };
    match &settings.audience_scopes {
        Some(map) => {
            for (audience, patterns) in map {
                if let Some(service) = services.get(audience) {
                    look(&[service], patterns);
                }
            }
        }
        None => {
            let at: Option<Vec<_>> =
                settings.audience.iter().map(|audience| services.get(audience)).collect();
            if let Some(at) = at.filter(|at| !at.is_empty()) {
                look(&at, &settings.scope);
            }
        }
    }
    found
}

/// The names that one action has, where it has several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// What it is called now.
    pub action: Scope,
    /// What it was called before, and until when that can be asked for.
    pub former: Vec<(Scope, UnixTime)>,
}

impl Names {
    /// The actions of a service that have several names.
    #[must_use]
    pub fn of(service: &Service) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for (former, alias) in &service.aliases {
            let former = (former.clone(), alias.ends_at);
            match all.iter_mut().find(|names| names.action == alias.action) {
                Some(names) => names.former.push(former),
                None => all.push(Self { action: alias.action.clone(), former: vec![former] }),
            }
        }
        all
    }

    /// Whether `scope` is one of the names.
    #[must_use]
    pub fn contain(&self, scope: &str) -> bool {
        self.all().any(|name| name == scope)
    }

    /// Every name, also those that can no longer be asked for.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.action.as_str()).chain(self.former.iter().map(|(name, _)| name.as_str()))
    }

    /// Whether `scope`, one of the names, can be asked for at `now`.
    #[must_use]
    pub fn can_be_asked_for(&self, scope: &str, now: UnixTime) -> bool {
        self.current(now).any(|name| name == scope)
    }

    /// The names that a token carries at `now`, so that the service finds the one that it knows, whether it was changed
    /// already or not: the action's own first.
    pub fn current(&self, now: UnixTime) -> impl Iterator<Item = &str> {
        let live = self.former.iter().filter(move |(_, ends_at)| *ends_at > now);
        std::iter::once(self.action.as_str()).chain(live.map(|(name, _)| name.as_str()))
    }

    /// The names by which grants give the action at `now`: all current ones where it is `named` by any of its names, else
    /// those that a wildcard `covers`. What a name was changed to does not tell what else a wildcard was meant for.
    pub fn granted(
        &self,
        now: UnixTime,
        named: impl FnMut(&str) -> bool,
        covers: impl Fn(&str) -> bool,
    ) -> impl Iterator<Item = &str> {
        let is_named = self.all().any(named);
        self.current(now).filter(move |name| is_named || covers(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

    fn scope(text: &str) -> Scope {
        Scope::parse(text).unwrap()
    }

    fn later(seconds: i64) -> UnixTime {
        UnixTime::from_secs(NOW.secs() + seconds)
    }

    fn service(audience: &str, actions: &str) -> Service {
        let mut service = Service::new(Audience::parse(audience).unwrap());
        for action in actions.split(' ') {
            service.add_action(scope(action), String::new()).unwrap();
        }
        service
    }

    fn calendar() -> Service {
        service("event", "event.view event.create event.update event.delete")
    }

    fn registry(services: &[Service]) -> BTreeMap<Audience, Service> {
        services.iter().map(|service| (service.audience.clone(), service.clone())).collect()
    }

    fn settings(scope: &str, audience: &str) -> Settings {
        Settings {
            scope: scope.split(' ').map(|scope| ScopePattern::parse(scope).unwrap()).collect(),
            audience: audience.split(' ').map(|name| Audience::parse(name).unwrap()).collect(),
            ..Settings::default()
        }
    }

    fn told(services: &[Service], settings: &Settings) -> Vec<String> {
        misfits(&registry(services), settings, NOW).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_typo_is_found_and_so_is_another_word_for_the_same_action() {
        let calendar = calendar();
        for (wrong, meant) in [
            ("event.edit", Some("event.update")),
            ("event.crate", Some("event.create")),
            ("event.read", Some("event.view")),
            ("event.remove", Some("event.delete")),
            ("evnt.*", Some("event.*")),
            ("file.edit", None),
            ("nothing", None),
        ] {
            assert_eq!(calendar.meant(wrong).as_deref(), meant, "{wrong}");
        }
    }

    #[test]
    fn only_what_registered_services_do_not_understand_does_not_fit() {
        let files = service("file", "file.create file.view");
        let both = [calendar(), files];
        assert_eq!(told(&[], &settings("event.edit", "event")), [""; 0]);
        assert_eq!(
            told(&both, &settings("event.edit openid", "event")),
            ["event.edit is no action of event; did you mean event.update?"]
        );
        assert_eq!(told(&both, &settings("event.* file.*", "event file")), [""; 0]);
        assert_eq!(told(&both, &settings("event.view file.view", "event file")), [""; 0]);
        assert_eq!(
            told(&both, &settings("mail.send", "event file")),
            ["mail.send is no action of event or file"]
        );
        assert_eq!(told(&both, &settings("mail.send event.edit", "event mail")), [""; 0], "mail may know");
        let mut tied = settings("event.view", "event file");
        tied.audience_scopes = Some(
            [(Audience::parse("file").unwrap(), vec![ScopePattern::parse("event.view").unwrap()])].into(),
        );
        assert_eq!(told(&both, &tied), ["event.view is no action of file"]);
    }

    #[test]
    fn a_renamed_action_has_both_names_until_the_alias_ends() {
        let mut calendar = calendar();
        calendar.rename_action("event.update", scope("event.change"), later(60)).unwrap();
        calendar.check().unwrap();
        let pattern = ScopePattern::parse("event.update").unwrap();
        assert!(calendar.knows(&pattern, NOW) && !calendar.knows(&pattern, later(60)));
        assert_eq!(calendar.meant("event.update").as_deref(), Some("event.change"));
        let names = Names::of(&calendar);
        let [names] = names.as_slice() else { panic!("{names:?}") };
        assert_eq!(names.current(NOW).collect::<Vec<_>>(), ["event.change", "event.update"]);
        assert_eq!(names.current(later(60)).collect::<Vec<_>>(), ["event.change"]);
        let granted = names.granted(later(60), |name| name == "event.update", |_| false);
        assert_eq!(granted.collect::<Vec<_>>(), ["event.change"], "a grant by the former name stays one");
    }

    #[test]
    fn renaming_again_keeps_all_former_names_and_back_takes_the_name_again() {
        let mut calendar = calendar();
        calendar.rename_action("event.update", scope("event.change"), later(60)).unwrap();
        calendar.rename_action("event.change", scope("event.alter"), later(90)).unwrap();
        calendar.check().unwrap();
        assert!(calendar.aliases.values().all(|alias| alias.action == scope("event.alter")));
        calendar.rename_action("event.alter", scope("event.update"), later(90)).unwrap();
        calendar.check().unwrap();
        assert!(calendar.actions.contains_key("event.update"));
        let former: Vec<_> = calendar.aliases.keys().map(Scope::as_str).collect();
        assert_eq!(former, ["event.alter", "event.change"]);
    }

    #[test]
    fn what_every_client_has_is_no_name_for_an_action() {
        for name in PROTOCOL_SCOPES {
            let refused = || Err(InvalidService::Protocol(scope(name)));
            assert_eq!(service("pay", &format!("pay.view {name}")).check(), refused());
            let mut renamed = service("pay", "admin.purge");
            renamed.rename_action("admin.purge", scope(name), later(60)).unwrap();
            assert_eq!(renamed.check(), refused());
            let mut former = service("pay", "admin.purge");
            former.aliases.insert(scope(name), Alias { action: scope("admin.purge"), ends_at: later(60) });
            assert_eq!(former.check(), refused());
        }
    }

    #[test]
    fn a_name_means_one_thing_only() {
        let mut calendar = calendar();
        calendar.rename_action("event.update", scope("event.change"), later(60)).unwrap();
        let again = calendar.add_action(scope("event.update"), String::new()).unwrap_err();
        assert!(matches!(again, InvalidService::FormerName(..)), "{again}");
        let taken = calendar.rename_action("event.view", scope("event.create"), later(60)).unwrap_err();
        assert!(matches!(taken, InvalidService::ActionExists(..)), "{taken}");
        calendar.remove_action("event.update").unwrap();
        calendar.add_action(scope("event.update"), String::new()).unwrap();
        let wildcard = service("file", "file.*").check().unwrap_err();
        assert!(matches!(wildcard, InvalidService::Wildcard(_)), "{wildcard}");
    }
}
