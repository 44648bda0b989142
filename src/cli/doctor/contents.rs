//! What the database holds: keys, clock, audit log, secrets.

use m2mint_keys::key_ring::Hold;
use m2mint_keys::time::{UnixTime, millis};

use super::surroundings::clock_is_kept;
use super::{Finding, Found, Level, Patient, unreadable};
use crate::cli::audit::examine;
use crate::cli::output::date;
use crate::config::MasterKeySource;
use crate::master_key::{self, MasterKeyError};
use crate::rotation::keeper::in_words;
use crate::rotation::view::{self, RingView, View};
use crate::store::schema::SCHEMA;
use crate::store::{Store, admin_keys, clients, keys};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
/// How long before its end somebody is told of it.
const NOTICE: i64 = 14 * DAY;
/// For how long a clock that was set is worth a word.
const RECENT: i64 = 7 * DAY;
/// A secret that was used this recently is in use.
const IN_USE: i64 = DAY;
/// How many of a kind are told one by one.
const TOLD: usize = 5;
/// How long a server may take for what is due.
const SLACK: i64 = 60_000;

/// Whether the file can be opened, and is whole.
pub fn database(patient: &Patient) -> Found {
    match &patient.store {
        Err(why) => {
            Ok(vec![Finding { level: why.level, what: why.reason.clone(), fix: Some(why.fix.clone()) }])
        }
        Ok(store) => Ok(vec![match store.check_whole() {
            Ok(()) => Finding::good(format!("{} is whole (schema {SCHEMA})", store.path().display())),
            Err(error) => Finding::failure(error.to_string(), "restore a backup"),
        }]),
    }
}

/// Whether the master key is the one that the keys are sealed under.
pub fn master_key(patient: &Patient) -> Found {
    let store = match patient.store() {
        Ok(store) => store,
        Err(skipped) => return Ok(skipped),
    };
    let config = patient.config();
    let Some(issuer) = store.read(keys::issuer).map_err(|error| unreadable(&error))? else {
        return Ok(vec![Finding::skipped("there are no keys yet: start a server once")]);
    };
    let place = match &config.master_key {
        MasterKeySource::Text(_) => "the environment".to_owned(),
        MasterKeySource::File(path) | MasterKeySource::Credential(path) | MasterKeySource::Beside(path) => {
            path.display().to_string()
        }
    };
    Ok(vec![match master_key::read(&config.master_key, &config.database, true) {
        Ok(key) if key.passes(&issuer.master_check) => {
            Finding::good(format!("the one in {place} opens the keys"))
        }
        Ok(_) => Finding::failure(
            format!("the one in {place} does not open the keys of this database"),
            "put back the master key that belongs to it, or set master_key_file",
        ),
        // A service of systemd has it as a credential, which nobody else sees.
        Err(MasterKeyError::Missing { .. })
            if matches!(config.master_key, MasterKeySource::Beside(_)) && patient.is_served =>
        {
            Finding::skipped("it is not at hand here; the server has it")
        }
        Err(error @ MasterKeyError::Exposed { .. }) => {
            Finding::failure(error.to_string(), format!("chmod 600 {place}"))
        }
        Err(error) => Finding::failure(error.to_string(), "put the master key back, or set master_key_file"),
    }])
}

/// Whether the clock goes as it should, and whether it was set.
pub fn clock(patient: &Patient) -> Found {
    let mut found = Vec::new();
    if let Ok(store) = &patient.store
        && let Some(view) = look(patient, store)?
    {
        let behind = |ring: &RingView| {
            let promoted = ring.ring.keys.active().and_then(|key| key.promoted);
            promoted.is_some_and(|promoted| promoted.wall > patient.now)
        };
        if view.rings.iter().any(behind) {
            found.push(Finding::failure(
                format!("it says {}, which is before the signing key was one", date(patient.now)),
                "timedatectl set-ntp true",
            ));
        }
        if let Some(set) = &view.clock_set
            && set.at > date(UnixTime::from_millis(patient.now.millis() - RECENT))
        {
            let (direction, by) = match (&set.ahead_by, &set.back_by) {
                (Some(by), _) => ("ahead", by.as_str()),
                (None, by) => ("back", by.as_deref().unwrap_or("some time")),
            };
            found.push(Finding::warning(
                format!(
                    "it was set {direction} by {by} at {}; waiting times of keys are not affected",
                    set.at
                ),
                "timedatectl timesync-status",
            ));
        }
    }
    match clock_is_kept() {
        Some(false) => found.push(Finding::warning("nothing keeps it right", "timedatectl set-ntp true")),
        Some(true) if found.is_empty() => {
            found.push(Finding::good("it is kept right, and was not set lately"))
        }
        None if found.is_empty() => {
            found.push(Finding::good(
                "it was not set lately; the system does not tell whether something keeps it right",
            ));
        }
        _ => {}
    }
    Ok(found)
}

fn look(patient: &Patient, store: &Store) -> std::result::Result<Option<View>, String> {
    if store.read(keys::issuer).map_err(|error| unreadable(&error))?.is_none() {
        return Ok(None);
    }
    let now = view::now(store).map_err(|error| error.to_string())?;
    View::read(store, patient.config().rotation, now).map(Some).map_err(|error| unreadable(&error))
}

/// Whether rotations happen as they should.
pub fn rotation(patient: &Patient) -> Found {
    let store = match patient.store() {
        Ok(store) => store,
        Err(skipped) => return Ok(skipped),
    };
    let Some(view) = look(patient, store)? else {
        return Ok(vec![Finding::skipped("there are no keys yet")]);
    };
    let mut found: Vec<Finding> = Vec::new();
    if patient.is_served && !store.read(keys::requests).map_err(|error| unreadable(&error))?.is_empty() {
        found.push(Finding::warning(
            "a request that concerns keys waits for the server",
            "m2mint keys, and the server's log",
        ));
    }
    for ring in &view.rings {
        let alg = view.label(ring, ": ");
        let asked = ring.ring.rotation_asked.map(|asked| view.now.wall.millis() - asked.millis());
        let late = millis(view.policy.propagation) + HOUR;
        match (asked, ring.outlook.hold) {
            (Some(since), Some(hold)) if since > late => found.push(Finding::warning(
                format!(
                    "{alg}a rotation was asked for {} ago and still waits: {}",
                    in_words(Some(since)),
                    hold.reason()
                ),
                "m2mint keys plan",
            )),
            _ => found.push(
                stuck(patient, ring, &alg)
                    .unwrap_or_else(|| Finding::good(format!("{alg}{}", view.next(ring)))),
            ),
        }
    }
    Ok(found)
}

/// Whether somebody who fetches the key set still holds one without the next key, although A has passed since that is in it.
pub fn verifiers(patient: &Patient) -> Found {
    let store = match patient.store() {
        Ok(store) => store,
        Err(skipped) => return Ok(skipped),
    };
    let Some(view) = look(patient, store)? else {
        return Ok(vec![Finding::skipped("there are no keys yet")]);
    };
    let mut found = Vec::new();
    for ring in &view.rings {
        let Some(reach) = view.reach(ring) else {
            found.push(Finding::skipped(format!("{}none is known", view.label(ring, ": "))));
            continue;
        };
        let told = format!("{}{reach}", view.label(ring, ": "));
        let published = ring.ring.keys.standby().and_then(|standby| standby.published);
        let is_late = published
            .is_some_and(|at| view.now.attested.millis_since(at.attested) > millis(view.policy.propagation));
        found.push(match is_late && !ring.reach.lacking.is_empty() {
            true => Finding::warning(
                told,
                "restart them, or let them fetch the JWKS at least every rotation.propagation; \
                 m2mint keys verifiers shows all of them",
            ),
            false => Finding::good(told),
        });
    }
    Ok(found)
}

/// What a server should have done by itself.
fn stuck(patient: &Patient, ring: &RingView, alg: &str) -> Option<Finding> {
    let standby = ring.ring.keys.standby();
    let fix = "systemctl restart m2mint, and look at its log";
    let Some(standby) = standby else {
        return Some(Finding::failure(format!("{alg}there is no standby: nothing could take over"), fix));
    };
    let made = patient.now.millis() - standby.created.millis();
    let is_late = patient.is_served && made > SLACK;
    if ring.outlook.hold == Some(Hold::Unconfirmed) && is_late {
        return Some(Finding::failure(format!("{alg}the standby is not served"), fix));
    }
    (ring.is_due()
        && is_late
        && ring.ring.rotation_asked.is_some_and(|asked| patient.now.millis() - asked.millis() > SLACK))
    .then(|| Finding::failure(format!("{alg}a rotation is due, and does not happen"), fix))
}

/// Whether the audit log is whole, and the file the latest that is known.
pub fn audit_log(patient: &Patient) -> Found {
    let store = match patient.store() {
        Ok(store) => store,
        Err(skipped) => return Ok(skipped),
    };
    let examined = examine(patient.config(), store).map_err(|error| error.to_string())?;
    Ok(vec![match examined {
        Ok(last) => Finding::good(format!("{last} entries, each follows from the one before it")),
        Err(reason) if reason.contains("m2mint keys recover") => {
            Finding::failure(reason, "m2mint keys recover")
        }
        Err(reason) => Finding::failure(reason, "m2mint audit verify"),
    }])
}

/// What stops being accepted soon.
pub fn expiry(patient: &Patient) -> Found {
    let store = match patient.store() {
        Ok(store) => store,
        Err(skipped) => return Ok(skipped),
    };
    let now = patient.now;
    let until = UnixTime::from_millis(now.millis() + NOTICE);
    let mut found = Vec::new();
    let admin = store.read(admin_keys::all).map_err(|error| unreadable(&error))?;
    for key in &admin {
        if let Some(end) = key.expires_at.filter(|end| *end > now && *end <= until) {
            let roles = key.roles.to_string().replace(' ', " --role ");
            found.push(Finding::warning(
                format!("the admin key {} expires at {}", key.name, date(end)),
                format!("m2mint admin-keys add {}-next --role {roles} --expires 90d", key.name),
            ));
        }
    }
    let ending =
        store.read(|db| clients::ending_secrets(db, now, until)).map_err(|error| unreadable(&error))?;
    let mut secrets = Vec::new();
    for one in &ending {
        let is_late = |used: &UnixTime| {
            now.millis() - used.millis() < IN_USE && one.succeeded_at.is_some_and(|since| *used > since)
        };
        if one.succeeded_at.is_none() {
            secrets.push(Finding::warning(
                format!("the last secret of the client {} expires at {}", one.client, date(one.expires_at)),
                format!("m2mint secrets rotate {} --grace 7d --to-file new-secret", one.client),
            ));
        } else if let Some(used) = one.last_used_at.filter(is_late) {
            secrets.push(Finding::warning(
                format!(
                    "secret {} of the client {} expires at {}, and was still used at {}: an instance has not got the new one",
                    one.id,
                    one.client,
                    date(one.expires_at),
                    date(used)
                ),
                format!("m2mint secrets list {}", one.client),
            ));
        }
    }
    let more = secrets.len().saturating_sub(TOLD);
    found.extend(secrets.into_iter().take(TOLD));
    if more > 0 {
        found.push(Finding::warning(
            format!("{more} more secrets expire within 14 days"),
            "m2mint clients list",
        ));
    }
    if found.is_empty() {
        found.push(Finding {
            level: Level::Good,
            what: "nothing that is in use expires within 14 days".into(),
            fix: None,
        });
    }
    Ok(found)
}
