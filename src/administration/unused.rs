//! What clients are granted and do not use.

use std::collections::HashMap;

use m2mint_keys::time::{UnixTime, millis};

use crate::administration::each_client;
use crate::model::grants::AudienceScopes;
use crate::model::names::{is_wildcard, pattern_allows};
use crate::model::service::{Names, PROTOCOL_SCOPES};
use crate::model::{Audience, Client, ScopePattern, Settings, Span};
use crate::store::clients::PageStart;
use crate::store::grant_uses::Times;
use crate::store::{Result, Store, clients, grant_uses, services};

/// What was not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The client got no token at all.
    Client,
    /// One of its secrets, by its id.
    Secret(i64),
    /// Everything at an audience.
    Audience(Audience),
    /// A scope at an audience, or at any when none is named.
    Scope(ScopePattern, Option<Audience>),
    /// All but these of what a wildcard stands for.
    Wildcard(ScopePattern, Option<Audience>, Vec<ScopePattern>),
}

/// A client of which something was not used.
#[derive(Debug, Clone)]
pub struct Unused {
    /// The client.
    pub client: Client,
    /// What was not used, and when it last was, as far as that is known.
    pub what: Vec<(What, Option<UnixTime>)>,
    /// What its settings would be without that.
    pub narrower: Settings,
}

/// What was found.
#[derive(Debug)]
pub struct Report {
    /// From when on uses count.
    pub cutoff: UnixTime,
    /// Since when the uses of grants are written down.
    pub since: Option<UnixTime>,
    /// Clients of which something was not used.
    pub unused: Vec<Unused>,
    /// How many were changed after the cutoff: what they were granted then cannot be judged yet.
    pub changed_since: usize,
}

/// What of all clients was not used for `span`.
///
/// # Errors
/// [`crate::store::StoreError`] when the file cannot be read.
pub fn report(store: &Store, span: Span, now: UnixTime) -> Result<Report> {
    Ok(part(store, span, now, None, usize::MAX, usize::MAX)?.0)
}

/// The same of the clients after `after`, until something is told of `enough` of them or `most` were looked at; and after
/// which one to go on.
///
/// # Errors
/// [`crate::store::StoreError`] when the file cannot be read.
pub fn part(
    store: &Store,
    span: Span,
    now: UnixTime,
    after: Option<PageStart>,
    enough: usize,
    most: usize,
) -> Result<(Report, Option<PageStart>)> {
    let cutoff = UnixTime::from_millis(now.millis().saturating_sub(millis(span.0)));
    let since = store.read(grant_uses::since)?;
    let renamed = store.read(services::renamed)?;
    let grants_are_known = since.is_some_and(|since| since <= cutoff);
    let mut report = Report { cutoff, since, unused: Vec::new(), changed_since: 0 };
    let next = each_client(store, after, most, &mut |client| {
        if client.created_at > cutoff {
            return Ok(false);
        }
        let id = client.id.as_str();
        let mut judge = Judge {
            narrower: client.settings.clone(),
            what: Vec::new(),
            uses: store.read(|db| grant_uses::of(db, id))?,
            renamed: &renamed,
            cutoff,
        };
        let secrets = store.read(|db| clients::secrets(db, id))?;
        // What a secret was used for stays known when the secret is gone.
        let last = secrets.iter().filter_map(|secret| secret.last_used_at).max();
        let last = last.max(judge.last(|_, _| true));
        if last.is_none_or(|last| last < cutoff) {
            // Whoever has a new secret may be about to use it.
            if secrets.iter().any(|secret| secret.created_at > cutoff) {
                return Ok(false);
            }
            judge.what.push((What::Client, last));
            judge.narrower.enabled = Some(false);
        } else {
            for secret in &secrets {
                let is_live = secret.expires_at.is_none_or(|end| end > now);
                let is_unused = secret.last_used_at.is_none_or(|last| last < cutoff);
                if is_live && is_unused && secret.created_at <= cutoff {
                    judge.what.push((What::Secret(secret.id), secret.last_used_at));
                }
            }
            if client.updated_at > cutoff {
                report.changed_since += 1;
            } else if grants_are_known {
                judge.grants(&client.settings);
            }
        }
        let Judge { narrower, what, .. } = judge;
        if !what.is_empty() {
            report.unused.push(Unused { client, what, narrower });
        }
        Ok(report.unused.len() >= enough)
    })?;
    Ok((report, next))
}

/// Looks at the grants of one client.
struct Judge<'a> {
    narrower: Settings,
    what: Vec<(What, Option<UnixTime>)>,
    uses: Vec<(String, String, Times)>,
    renamed: &'a HashMap<Box<str>, Vec<Names>>,
    cutoff: UnixTime,
}

impl Judge<'_> {
    fn grants(&mut self, settings: &Settings) {
        for audience in &settings.audience {
            let last = self.last(|at, _| at == audience.as_str());
            if last.is_none_or(|last| last < self.cutoff) {
                self.what.push((What::Audience(audience.clone()), last));
                self.narrower.audience.retain(|kept| kept != audience);
            }
        }
        let kept = self.narrower.audience.clone();
        match &settings.audience_scopes {
            None => {
                // Where a whole audience was not used, its scopes may be others' too.
                self.narrower.scope = self.patterns(&settings.scope, None);
            }
            Some(map) => {
                let mut narrower = AudienceScopes::new();
                for (audience, patterns) in map.iter().filter(|(audience, _)| kept.contains(audience)) {
                    narrower.insert(audience.clone(), self.patterns(patterns, Some(audience)));
                }
                let mut scope = Vec::new();
                for pattern in narrower.values().flatten() {
                    if !scope.contains(pattern) {
                        scope.push(pattern.clone());
                    }
                }
                self.narrower.scope = scope;
                self.narrower.audience_scopes = Some(narrower);
            }
        }
    }

    /// Those that were used, and of wildcards what was used of them.
    fn patterns(&mut self, patterns: &[ScopePattern], at: Option<&Audience>) -> Vec<ScopePattern> {
        let mut kept: Vec<ScopePattern> = Vec::new();
        let mut keep = |pattern: ScopePattern| {
            if !kept.contains(&pattern) {
                kept.push(pattern);
            }
        };
        for pattern in patterns {
            if PROTOCOL_SCOPES.contains(&pattern.as_str()) {
                keep(pattern.clone());
                continue;
            }
            let is_at = |audience: &str| at.is_none_or(|at| at.as_str() == audience);
            let last = self.last(|audience, scope| is_at(audience) && self.is_use(pattern, audience, scope));
            if last.is_none_or(|last| last < self.cutoff) {
                self.what.push((What::Scope(pattern.clone(), at.cloned()), last));
            } else if is_wildcard(pattern.as_str()) {
                let used: Vec<_> = self
                    .uses
                    .iter()
                    .filter(|(audience, _, times)| is_at(audience) && times.granted_at >= self.cutoff)
                    .filter(|(_, scope, _)| pattern.allows(scope))
                    .filter_map(|(_, scope, _)| ScopePattern::parse(scope).ok())
                    .collect();
                used.iter().cloned().for_each(&mut keep);
                self.what.push((What::Wildcard(pattern.clone(), at.cloned(), used), last));
            } else {
                keep(pattern.clone());
            }
        }
        kept
    }

    /// When what fits was last granted.
    fn last(&self, fits: impl Fn(&str, &str) -> bool) -> Option<UnixTime> {
        let fitting = self.uses.iter().filter(|(audience, scope, _)| fits(audience, scope));
        fitting.map(|(_, _, times)| times.granted_at).max()
    }

    /// Whether being granted `scope` used `pattern`, by whichever name of the action.
    fn is_use(&self, pattern: &ScopePattern, audience: &str, scope: &str) -> bool {
        let fits = |name: &str| pattern_allows(pattern.as_str(), name);
        let names = self.renamed.get(audience).into_iter().flatten().find(|names| names.contain(scope));
        fits(scope) || names.is_some_and(|names| names.all().any(fits))
    }
}
