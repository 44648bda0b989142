//! What the audit log tells: who did what, to what, from where.

use std::fs;

use m2mint_keys::time::UnixTime;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// The last moment of the year 9999: later ones have no date of the usual length.
const LAST_DATE: i64 = 253_402_300_799_999;
/// What `/proc/self/loginuid` holds of a process that nobody started by logging in.
const NO_LOGIN: &str = "4294967295";

/// Who does something, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// An admin key by its name or its place in the configuration, a user of the machine, a client, a signal, the timer.
    pub actor: String,
    /// The other end of the connection.
    pub address: Option<String>,
    /// `x-request-id`, which is in the answer and in the log too.
    pub request: Option<String>,
}

impl Origin {
    /// Somebody who did not come over the network.
    pub fn of(actor: impl Into<String>) -> Self {
        Self { actor: actor.into(), address: None, request: None }
    }

    /// The user who runs this command, and the one who had logged in, where that is somebody else (`sudo`).
    #[must_use]
    pub fn command_line() -> Self {
        let user = rustix::process::getuid().as_raw().to_string();
        let login = fs::read_to_string("/proc/self/loginuid").unwrap_or_default();
        let login = Some(login.trim()).filter(|login| !login.is_empty() && *login != NO_LOGIN);
        Self::of(match login.filter(|login| *login != user) {
            Some(login) => format!("command line ({}, logged in as {})", user_name(&user), user_name(login)),
            None => format!("command line ({})", user_name(&user)),
        })
    }
}

/// The name of a user of this machine; its number where it has none.
fn user_name(uid: &str) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| uid.to_owned())
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A client was made.
    ClientCreate,
    /// A client was changed.
    ClientUpdate,
    /// A client was removed.
    ClientRemove,
    /// A client got one more secret.
    SecretAdd,
    /// A client got a new secret, and the others expire.
    SecretRotate,
    /// A secret was removed.
    SecretRemove,
    /// One token was revoked.
    TokenRevoke,
    /// Every token of a client was revoked.
    TokensRevoke,
    /// It was said what tokens for an audience are signed with.
    AudienceSet,
    /// A service was registered.
    ServiceCreate,
    /// A registered service was changed.
    ServiceUpdate,
    /// A service is registered no more.
    ServiceRemove,
    /// An admin key was made.
    AdminKeyCreate,
    /// An admin key was removed.
    AdminKeyRemove,
    /// Somebody signed in to the dashboard.
    SessionBegin,
    /// Somebody signed out.
    SessionEnd,
    /// A key was made with its ring.
    KeyFound,
    /// Somebody asked for a rotation.
    KeyRotationAsk,
    /// Somebody asked for a key to be revoked.
    KeyRevocationAsk,
    /// The standby took over.
    KeyRotate,
    /// A standby was made.
    KeyStandby,
    /// A retired key was deleted.
    KeyDelete,
    /// A key was taken out at once.
    KeyRevoke,
    /// The standby signed a canary.
    KeyCanary,
    /// The keys of a file that was put back follow what is known of them from after the backup.
    KeyRecover,
    /// A backup took the place of the database.
    DatabaseRestore,
    /// The wall clock was set.
    ClockJump,
    /// A clock that had jumped ahead is signed by from now on.
    ClockTrust,
    /// Every private key was sealed anew.
    MasterKeyRotate,
    /// Somebody was not let in.
    AuthenticationRefuse,
    /// An admin key has not the role that a call takes.
    AuthorizationRefuse,
    /// A client asked for more tokens than it may get.
    TokenRefuse,
    /// A server began to serve the file.
    ServerStart,
    /// It ended.
    ServerStop,
    /// An entry that a server had seen was there no more.
    AuditBreak,
}

impl Action {
    /// The name in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClientCreate => "client.create",
            Self::ClientUpdate => "client.update",
            Self::ClientRemove => "client.remove",
            Self::SecretAdd => "secret.add",
            Self::SecretRotate => "secret.rotate",
            Self::SecretRemove => "secret.remove",
            Self::TokenRevoke => "token.revoke",
            Self::TokensRevoke => "tokens.revoke",
            Self::AudienceSet => "audience.set",
            Self::ServiceCreate => "service.create",
            Self::ServiceUpdate => "service.update",
            Self::ServiceRemove => "service.remove",
            Self::AdminKeyCreate => "admin_key.create",
            Self::AdminKeyRemove => "admin_key.remove",
            Self::SessionBegin => "session.begin",
            Self::SessionEnd => "session.end",
            Self::KeyFound => "key.found",
            Self::KeyRotationAsk => "key.rotation_ask",
            Self::KeyRevocationAsk => "key.revocation_ask",
            Self::KeyRotate => "key.rotate",
            Self::KeyStandby => "key.standby",
            Self::KeyDelete => "key.delete",
            Self::KeyRevoke => "key.revoke",
            Self::KeyCanary => "key.canary",
            Self::KeyRecover => "key.recover",
            Self::DatabaseRestore => "database.restore",
            Self::ClockJump => "clock.jump",
            Self::ClockTrust => "clock.trust",
            Self::MasterKeyRotate => "master_key.rotate",
            Self::AuthenticationRefuse => "authentication.refuse",
            Self::AuthorizationRefuse => "authorization.refuse",
            Self::TokenRefuse => "token.refuse",
            Self::ServerStart => "server.start",
            Self::ServerStop => "server.stop",
            Self::AuditBreak => "audit.break",
        }
    }

    const fn outcome(self) -> &'static str {
        match self {
            Self::AuthenticationRefuse | Self::AuthorizationRefuse | Self::TokenRefuse => "refused",
            Self::ClockJump => "seen",
            Self::KeyRotationAsk | Self::KeyRevocationAsk => "asked",
            _ => "done",
        }
    }
}

/// One entry. It never holds a secret or a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    at: UnixTime,
    origin: Origin,
    action: Action,
    subject: Option<String>,
    reason: Option<String>,
    changed: Map<String, Value>,
}

/// The form in which an entry is stored, hashed and printed: one line of JSON, members in this order.
#[derive(Serialize)]
struct Line<'a> {
    seq: i64,
    at: String,
    actor: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<&'a str>,
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    changed: &'a Map<String, Value>,
}

impl Entry {
    /// What `origin` did at `at`.
    #[must_use]
    pub fn new(at: UnixTime, origin: &Origin, action: Action) -> Self {
        Self { at, origin: origin.clone(), action, subject: None, reason: None, changed: Map::new() }
    }

    /// The client, or the kid, that it was done to.
    #[must_use]
    pub fn about(self, subject: impl Into<String>) -> Self {
        Self { subject: Some(subject.into()), ..self }
    }

    /// Why.
    #[must_use]
    pub fn because(self, reason: impl Into<String>) -> Self {
        Self { reason: Some(reason.into()), ..self }
    }

    /// A fact that belongs to it.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.changed.insert(name.into(), value.into());
        self
    }

    /// A value that was another one before. Nothing is said when it is the same.
    #[must_use]
    pub fn changing(self, name: &str, from: impl Into<Value>, to: impl Into<Value>) -> Self {
        let (from, to) = (from.into(), to.into());
        if from == to { self } else { self.with(name, json!({"from": from, "to": to})) }
    }

    /// The entry as number `seq` of the log.
    ///
    /// # Errors
    /// None that anybody has met: it is texts and numbers.
    pub fn to_line(&self, seq: i64) -> serde_json::Result<String> {
        serde_json::to_string(&Line {
            seq,
            at: date(self.at),
            actor: &self.origin.actor,
            address: self.origin.address.as_deref(),
            request: self.origin.request.as_deref(),
            action: self.action.name(),
            subject: self.subject.as_deref(),
            outcome: self.action.outcome(),
            reason: self.reason.as_deref(),
            changed: &self.changed,
        })
    }
}

/// RFC 3339, UTC, to the millisecond: always of the same length, so that texts compare as times do.
#[must_use]
pub fn date(time: UnixTime) -> String {
    humantime::format_rfc3339_millis(datable(time)).to_string()
}

/// RFC 3339, UTC, to the second: for people, and as the SuperTokens core writes it.
#[must_use]
pub fn date_to_the_second(time: UnixTime) -> String {
    humantime::format_rfc3339_seconds(datable(time)).to_string()
}

/// The same moment, or the nearest that has a date of the usual length: whatever a file says, it can be shown.
#[must_use]
pub fn datable(time: UnixTime) -> std::time::SystemTime {
    std::time::UNIX_EPOCH + std::time::Duration::from_millis(time.millis().clamp(0, LAST_DATE).unsigned_abs())
}

/// Bytes, as people and JSON see them.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where somebody is let in, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// A client with its secret.
    Client,
    /// An administrator with a key.
    Admin,
    /// An administrator whose key has not the role that the call takes.
    Role,
    /// A client that is known, and asks for more tokens than it may get.
    Token,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_one_line_whose_members_keep_their_order() {
        let origin = Origin {
            actor: "api_key 1".into(),
            address: Some("192.0.2.7".into()),
            request: Some("f00".into()),
        };
        let entry = Entry::new(UnixTime::from_millis(1_800_000_000_123), &origin, Action::ClientUpdate)
            .about("task\n\"service\"")
            .changing("enabled", true, false)
            .changing("name", "same", "same")
            .with("secret", 2);
        assert_eq!(
            entry.to_line(7).unwrap(),
            concat!(
                r#"{"seq":7,"at":"2027-01-15T08:00:00.123Z","actor":"api_key 1","address":"192.0.2.7","request":"f00","#,
                r#""action":"client.update","subject":"task\n\"service\"","outcome":"done","#,
                r#""changed":{"enabled":{"from":true,"to":false},"secret":2}}"#
            )
        );
    }

    #[test]
    fn dates_have_one_length_whatever_the_clock_says() {
        for millis in [i64::MIN, -1, 0, 1_800_000_000_123, i64::MAX] {
            assert_eq!(date(UnixTime::from_millis(millis)).len(), "2027-01-15T08:00:00.123Z".len());
        }
    }

    #[test]
    fn users_are_named() {
        assert_eq!(user_name("0"), "root");
        assert_eq!(user_name("4294967294"), "4294967294");
        assert!(Origin::command_line().actor.starts_with("command line ("));
    }
}
