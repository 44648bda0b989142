//! Making services and clients what files declare: a plan, and the transaction that follows it.

use std::collections::{BTreeMap, HashSet};

use m2mint_keys::time::UnixTime;
use rusqlite::Connection;

use crate::administration::{self, AdministrationError, MAX_SECRETS, Result, services, told_changes};
use crate::model::audit::{Action, Entry, Origin};
use crate::model::declaration::write::{client_fields, service_fields};
use crate::model::declaration::{Declared, DeclaredClient};
use crate::model::{Audience, Client, ClientId, ClientSecret, SecretHash, Service, Settings, Span};
use crate::store::{self, Store, StoreError, audit, clients};

/// The field whose text goes with a token lifetime.
const LIFESPAN: &str = "clientCredentialsGrantAccessTokenLifespan";

/// How to follow a declaration.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Whether what is not declared is removed.
    pub prune: bool,
    /// The longest lifetime of a token.
    pub longest: Span,
    /// When it is done.
    pub now: UnixTime,
}

/// One step from what is to what is declared.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// A service is registered.
    AddService(Service),
    /// A service is changed.
    ChangeService {
        /// What it is.
        before: Service,
        /// What it will be.
        after: Service,
    },
    /// A client is made.
    AddClient(ClientId, DeclaredClient),
    /// A client is changed.
    ChangeClient {
        /// What it is.
        before: Box<Client>,
        /// What its settings will be.
        after: Box<Settings>,
        /// SHA-256 of secrets that it gets besides those that it has.
        secrets: Vec<[u8; 32]>,
    },
    /// A client is removed.
    RemoveClient(ClientId),
    /// A service is forgotten.
    RemoveService(Audience),
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something new.
    Add,
    /// Something else.
    Change,
    /// Nothing is left.
    Remove,
}

/// A field, and its value before and after, as the file writes it; `None` where there is none.
pub type Difference = (String, Option<String>, Option<String>);

impl Step {
    /// What it does.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::AddService(_) | Self::AddClient(..) => Kind::Add,
            Self::ChangeService { .. } | Self::ChangeClient { .. } => Kind::Change,
            Self::RemoveClient(_) | Self::RemoveService(_) => Kind::Remove,
        }
    }

    /// `service` or `client`, and which.
    #[must_use]
    pub fn subject(&self) -> (&'static str, &str) {
        match self {
            Self::AddService(service) | Self::ChangeService { after: service, .. } => {
                ("service", service.audience.as_str())
            }
            Self::RemoveService(audience) => ("service", audience.as_str()),
            Self::AddClient(id, _) | Self::RemoveClient(id) => ("client", id.as_str()),
            Self::ChangeClient { before, .. } => ("client", before.id.as_str()),
        }
    }

    /// What is different after it. Of secrets only the number is told.
    #[must_use]
    pub fn differences(&self) -> Vec<Difference> {
        let new = |fields: Vec<(String, String)>| {
            fields.into_iter().map(|(name, value)| (name, None, Some(value))).collect()
        };
        match self {
            Self::AddService(service) => new(service_fields(service)),
            Self::AddClient(_, client) => new(client_fields(&client.settings, true)),
            Self::ChangeService { before, after } => {
                differences(service_fields(before), service_fields(after))
            }
            Self::ChangeClient { before, after, secrets } => {
                let mut all = differences(client_fields(&before.settings, true), client_fields(after, true));
                if !secrets.is_empty() {
                    all.push(("secrets".into(), None, Some(format!("{} more accepted", secrets.len()))));
                }
                all
            }
            Self::RemoveClient(_) | Self::RemoveService(_) => Vec::new(),
        }
    }
}

fn differences(before: Vec<(String, String)>, after: Vec<(String, String)>) -> Vec<Difference> {
    let mut all: BTreeMap<String, (Option<String>, Option<String>)> = BTreeMap::new();
    for (name, value) in before {
        all.entry(name).or_default().0 = Some(value);
    }
    for (name, value) in after {
        all.entry(name).or_default().1 = Some(value);
    }
    all.into_iter()
        .filter(|(_, (before, after))| before != after)
        .map(|(name, (before, after))| (name, before, after))
        .collect()
}

/// What has to be done to get from what is stored to what is declared, in the order in which it is done.
///
/// # Errors
/// [`AdministrationError::DropsEveryClient`], or that of the file.
pub fn plan(db: &Connection, declared: &Declared, rules: Rules) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    let stored = store::services::all(db)?;
    for (audience, after) in &declared.services {
        match stored.get(audience) {
            None => steps.push(Step::AddService(after.clone())),
            Some(before) if before == after => {}
            Some(before) => {
                steps.push(Step::ChangeService { before: before.clone(), after: after.clone() });
            }
        }
    }
    for (id, client) in &declared.clients {
        match clients::get(db, id.as_str())? {
            None => {
                let settings = after(&Settings::default(), client);
                steps.push(Step::AddClient(id.clone(), DeclaredClient { settings, ..client.clone() }));
            }
            Some(before) => {
                let after = after(&before.settings, client);
                let has = clients::secrets(db, id.as_str())?;
                let is_new =
                    |digest: &&[u8; 32]| has.iter().all(|secret| secret.hash != SecretHash::Sha256(**digest));
                let secrets: Vec<_> = client.secrets.iter().filter(is_new).copied().collect();
                if after != before.settings || !secrets.is_empty() {
                    let (before, after) = (Box::new(before), Box::new(after));
                    steps.push(Step::ChangeClient { before, after, secrets });
                }
            }
        }
    }
    if rules.prune {
        let all = clients::some_ids(db, i64::MAX.unsigned_abs() as usize)?;
        let gone: Vec<_> = all.iter().filter(|id| !declared.clients.contains_key(id.as_str())).collect();
        if !all.is_empty() && gone.len() == all.len() {
            return Err(AdministrationError::DropsEveryClient);
        }
        for id in gone {
            steps.push(Step::RemoveClient(ClientId::parse(id)?));
        }
        let gone = stored.keys().filter(|audience| !declared.services.contains_key(*audience));
        steps.extend(gone.cloned().map(Step::RemoveService));
    }
    Ok(steps)
}

/// What a client's settings will be.
fn after(before: &Settings, declared: &DeclaredClient) -> Settings {
    let mut after = declared.settings.clone();
    if !declared.says_extra {
        after.extra.clone_from(&before.extra);
    }
    // A text that says another lifetime than the client has is none of it any more.
    let said = after.extra.get(LIFESPAN).and_then(|text| Span::parse(text.as_str()?).ok());
    if said != after.token_lifetime {
        after.extra.remove(LIFESPAN);
    }
    after
}

/// Follows a plan. `secret` gives a client its first secret, where no hash of one is declared.
fn follow(
    db: &Connection,
    steps: &[Step],
    rules: Rules,
    origin: &Origin,
    secret: &mut dyn FnMut(&ClientId) -> Result<SecretHash>,
) -> Result<()> {
    let Rules { longest, now, .. } = rules;
    for step in steps {
        match step {
            Step::AddService(service) => services::save(db, None, service, now, origin)?,
            Step::ChangeService { before, after } => services::save(db, Some(before), after, now, origin)?,
            Step::AddClient(id, declared) => {
                let about = |error: AdministrationError| error.about_client(id);
                let settings = declared.settings.clone();
                administration::check(&settings, longest).map_err(about)?;
                services::check_grants(db, &Settings::default(), &settings, now).map_err(about)?;
                let client = Client { id: id.clone(), settings, created_at: now, updated_at: now };
                if !clients::insert(db, &client)? {
                    return Err(AdministrationError::DuplicateClient(id.clone()));
                }
                let mut hashes: Vec<_> = declared.secrets.iter().copied().map(SecretHash::Sha256).collect();
                if hashes.is_empty() {
                    hashes.push(secret(id)?);
                }
                let secrets = add_secrets(db, id, &hashes, now)?;
                let entry = Entry::new(now, origin, Action::ClientCreate).about(id.as_str());
                let entry = told_changes(entry, &Settings::default(), &client.settings);
                audit::append(db, &entry.with("secrets", secrets))?;
            }
            Step::ChangeClient { before, after, secrets } => {
                let id = &before.id;
                let about = |error: AdministrationError| error.about_client(id);
                administration::check_change(&before.settings, after, longest).map_err(about)?;
                services::check_grants(db, &before.settings, after, now).map_err(about)?;
                let client = Client {
                    settings: (**after).clone(),
                    updated_at: now.max(before.created_at),
                    ..(**before).clone()
                };
                clients::update(db, &client)?;
                let entry = Entry::new(now, origin, Action::ClientUpdate).about(id.as_str());
                let mut entry = told_changes(entry, &before.settings, after);
                if !secrets.is_empty() {
                    let hashes: Vec<_> = secrets.iter().copied().map(SecretHash::Sha256).collect();
                    entry = entry.with("secrets", add_secrets(db, id, &hashes, now)?);
                }
                audit::append(db, &entry)?;
            }
            Step::RemoveClient(id) => {
                clients::remove(db, id.as_str(), now)?;
                audit::append(db, &Entry::new(now, origin, Action::ClientRemove).about(id.as_str()))?;
            }
            Step::RemoveService(audience) => {
                services::remove(db, audience.as_str(), now, origin)?;
            }
        }
    }
    Ok(())
}

fn add_secrets(db: &Connection, id: &ClientId, hashes: &[SecretHash], now: UnixTime) -> Result<Vec<i64>> {
    let known: HashSet<_> = clients::secrets(db, id.as_str())?.iter().map(|secret| secret.id).collect();
    if known.len() + hashes.len() > MAX_SECRETS {
        return Err(AdministrationError::TooManySecrets.about_client(id));
    }
    hashes.iter().map(|hash| Ok(clients::add_secret(db, id.as_str(), hash, now, None)?)).collect()
}

/// How a transaction ends that is only to show whether it could be.
enum Tried {
    Possible(Vec<Step>),
    Refused(AdministrationError),
}

impl From<StoreError> for Tried {
    fn from(error: StoreError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<AdministrationError> for Tried {
    fn from(error: AdministrationError) -> Self {
        Self::Refused(error)
    }
}

/// The plan, after it was seen that every step of it could be done. Nothing is changed.
///
/// # Errors
/// [`AdministrationError`] when a rule or the file refuses a step.
pub fn try_out(store: &Store, declared: &Declared, rules: Rules, origin: &Origin) -> Result<Vec<Step>> {
    let tried = store.write(|db| -> std::result::Result<(), Tried> {
        let steps = plan(db, declared, rules)?;
        follow(db, &steps, rules, origin, &mut |_| Ok(SecretHash::Sha256([0; 32])))?;
        Err(Tried::Possible(steps))
    });
    match tried {
        Err(Tried::Possible(steps)) => Ok(steps),
        Err(Tried::Refused(error)) => Err(error),
        Ok(()) => Ok(Vec::new()),
    }
}

/// Does what `seen`, the plan that somebody has seen, says: all of it, in one transaction, or nothing.
///
/// # Errors
/// [`AdministrationError::PlanChanged`] when it would be another plan by now, or what refuses a step.
pub fn apply(
    store: &Store,
    declared: &Declared,
    seen: &[Step],
    secrets: &BTreeMap<ClientId, ClientSecret>,
    rules: Rules,
    origin: &Origin,
) -> Result<()> {
    let may = |steps: &[Step]| if steps == seen { Ok(()) } else { Err(AdministrationError::PlanChanged) };
    let mut secret = |id: &ClientId| {
        let secret = secrets.get(id).ok_or(AdministrationError::PlanChanged)?;
        Ok(secret.hash()?)
    };
    apply_seen(store, declared, rules, origin, may, &mut secret).map(drop)
}

/// Does what the plan says that `may` agrees to, and answers the plan. `secret` gives a client its first secret, where no
/// hash of one is declared.
///
/// # Errors
/// Whatever `may` says, or what refuses a step: then nothing is done.
pub fn apply_seen<E: From<AdministrationError> + From<StoreError>>(
    store: &Store,
    declared: &Declared,
    rules: Rules,
    origin: &Origin,
    may: impl FnOnce(&[Step]) -> std::result::Result<(), E>,
    secret: &mut dyn FnMut(&ClientId) -> Result<SecretHash>,
) -> std::result::Result<Vec<Step>, E> {
    store.write(|db| {
        let steps = plan(db, declared, rules)?;
        may(&steps)?;
        follow(db, &steps, rules, origin, secret)?;
        Ok(steps)
    })
}
