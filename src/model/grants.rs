//! What a client may ask for: scopes, audiences, and which scopes at which audience.

use std::collections::BTreeMap;

use crate::model::names::{
    Audience, InvalidName, MAX_AUDIENCES, MAX_SCOPES, ScopePattern, is_wildcard, pattern_allows, split_scopes,
};

/// Why grants contradict themselves or the grammar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGrants {
    /// A name is not well formed.
    #[error("{0}")]
    Name(#[from] InvalidName),
    /// `audienceScopes` names an audience that the client does not have.
    #[error("audienceScopes names the audience {0}, which is not in audience")]
    UnknownAudience(Audience),
    /// `audienceScopes` gives a scope that the client does not have.
    #[error("audienceScopes gives {0} at {1}, but scope does not allow it")]
    WiderThanScope(ScopePattern, Audience),
}

/// Scopes by audience.
pub type AudienceScopes = BTreeMap<Audience, Vec<ScopePattern>>;

/// An audience, and the scopes that go with it, separated by spaces.
type Narrowed = (Audience, Box<str>);

/// What a client may ask for. Compact: there can be a million of them in memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Grants {
    /// Allowed scopes, separated by spaces.
    scopes: Box<str>,
    /// Allowed audiences, separated by spaces.
    audiences: Box<str>,
    /// Where it was given: audience and its scopes, which then replace `scopes` for all audiences.
    by_audience: Option<Box<[Narrowed]>>,
}

impl Grants {
    /// Grants from parsed parts.
    ///
    /// # Errors
    /// [`InvalidGrants`] when there are too many, or when `by_audience` goes beyond the other two.
    pub fn new(
        scopes: &[ScopePattern],
        audiences: &[Audience],
        by_audience: Option<&AudienceScopes>,
    ) -> Result<Self, InvalidGrants> {
        if scopes.len() > MAX_SCOPES {
            return Err(InvalidName::TooMany("scope", MAX_SCOPES).into());
        }
        if audiences.len() > MAX_AUDIENCES {
            return Err(InvalidName::TooMany("audience", MAX_AUDIENCES).into());
        }
        for (audience, narrowed) in by_audience.into_iter().flatten() {
            if !audiences.contains(audience) {
                return Err(InvalidGrants::UnknownAudience(audience.clone()));
            }
            if let Some(wider) = narrowed.iter().find(|one| !scopes.iter().any(|scope| scope.covers(one))) {
                return Err(InvalidGrants::WiderThanScope(wider.clone(), audience.clone()));
            }
        }
        Ok(Self {
            scopes: join(scopes.iter().map(ScopePattern::as_str)),
            audiences: join(audiences.iter().map(Audience::as_str)),
            by_audience: by_audience.map(|map| {
                let entry = |(audience, scopes): (&Audience, &Vec<ScopePattern>)| {
                    (audience.clone(), join(scopes.iter().map(ScopePattern::as_str)))
                };
                map.iter().map(entry).collect()
            }),
        })
    }

    /// The audiences that tokens may be asked for.
    pub fn audiences(&self) -> impl Iterator<Item = &str> {
        split_scopes(&self.audiences)
    }

    /// Whether a token for `audience` may be asked for.
    #[must_use]
    pub fn allows_audience(&self, audience: &str) -> bool {
        self.audiences().any(|allowed| allowed == audience)
    }

    /// Whether `scope` may be asked for at `audience`.
    #[must_use]
    pub fn allows_scope(&self, scope: &str, audience: &str) -> bool {
        split_scopes(self.patterns_at(audience)).any(|pattern| pattern_allows(pattern, scope))
    }

    /// Whether `scope` may be asked for at `audience` because it is named there, not because a wildcard covers it.
    #[must_use]
    pub fn names_scope(&self, scope: &str, audience: &str) -> bool {
        split_scopes(self.patterns_at(audience)).any(|pattern| pattern == scope && !is_wildcard(pattern))
    }

    /// Every scope that can be granted at `audience`: wildcards stand for no scope of their own.
    pub fn all_scopes(&self, audience: &str) -> impl Iterator<Item = &str> {
        split_scopes(self.patterns_at(audience)).filter(|pattern| !is_wildcard(pattern))
    }

    fn patterns_at(&self, audience: &str) -> &str {
        match &self.by_audience {
            None => &self.scopes,
            Some(map) => {
                map.iter().find(|(name, _)| name.as_str() == audience).map_or("", |(_, scopes)| scopes)
            }
        }
    }
}

fn join<'a>(names: impl Iterator<Item = &'a str>) -> Box<str> {
    names.collect::<Vec<_>>().join(" ").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(text: &str) -> Vec<ScopePattern> {
        split_scopes(text).map(|scope| ScopePattern::parse(scope).unwrap()).collect()
    }

    fn audiences(text: &str) -> Vec<Audience> {
        split_scopes(text).map(|audience| Audience::parse(audience).unwrap()).collect()
    }

    fn map(entries: &[(&str, &str)]) -> AudienceScopes {
        entries.iter().map(|(name, scopes)| (Audience::parse(name).unwrap(), patterns(scopes))).collect()
    }

    #[test]
    fn without_a_map_every_scope_goes_with_every_audience() {
        let grants = Grants::new(&patterns("event.view file.*"), &audiences("event file"), None).unwrap();
        assert!(grants.allows_scope("event.view", "file") && grants.allows_scope("file.view", "event"));
        assert!(!grants.allows_scope("event.create", "event"));
        assert_eq!(grants.all_scopes("event").collect::<Vec<_>>(), ["event.view"]);
    }

    #[test]
    fn a_map_ties_scopes_to_audiences() {
        let by_audience = map(&[("event", "event.*"), ("file", "file.view")]);
        let grants =
            Grants::new(&patterns("event.* file.*"), &audiences("event file mail"), Some(&by_audience))
                .unwrap();
        assert!(grants.allows_scope("event.view", "event"));
        assert!(!grants.allows_scope("file.view", "event"));
        assert!(!grants.allows_scope("file.create", "file"));
        assert!(grants.allows_audience("mail") && !grants.allows_scope("event.view", "mail"));
    }

    #[test]
    fn a_map_cannot_widen_a_client() {
        let wider =
            Grants::new(&patterns("event.view"), &audiences("event"), Some(&map(&[("event", "event.*")])));
        assert!(matches!(wider, Err(InvalidGrants::WiderThanScope(..))));
        let unknown =
            Grants::new(&patterns("event.*"), &audiences("event"), Some(&map(&[("file", "event.*")])));
        assert!(matches!(unknown, Err(InvalidGrants::UnknownAudience(_))));
    }

    #[test]
    fn grants_have_limits() {
        let scopes: Vec<_> = (0..=100).map(|n| ScopePattern::parse(&format!("s{n}")).unwrap()).collect();
        assert!(Grants::new(&scopes[..100], &[], None).is_ok());
        assert!(Grants::new(&scopes, &[], None).is_err());
        let many: Vec<_> = (0..=50).map(|n| Audience::parse(&format!("a{n}")).unwrap()).collect();
        assert!(Grants::new(&[], &many[..50], None).is_ok());
        assert!(Grants::new(&[], &many, None).is_err());
    }
}
