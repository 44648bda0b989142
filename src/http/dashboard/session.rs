//! Who is signed in: sessions, in the memory of this process only.
//!
//! A session never holds the admin key, only the hash by which the key is known anyway. With each request it is looked up
//! again whether that key is still one, and has the roles that it had: otherwise the session is over.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use m2mint_keys::crypto::{self, CryptoError};
use m2mint_keys::time::{UnixTime, millis};
use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::config::LONGEST_SESSION;
use crate::directory::admin_keys::{AdminKeys, Holder};
use crate::store::admin_keys::AdminKeyHash;

/// The most sessions at a time: the one that was idle for longest makes room.
pub const MOST_SESSIONS: usize = 256;
/// The most of them that one admin key has: whoever signs in over and over signs nobody else out.
pub const MOST_OF_A_KEY: usize = 32;
/// How many things that nobody has been told yet a session remembers.
const MOST_NOTICES: usize = 16;
/// For how long something that is shown once waits to be shown.
const LONGEST_NOTICE: Duration = Duration::from_secs(120);

/// Every session.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<[u8; 32], Session>>);

struct Session {
    key: AdminKeyHash,
    holder: Holder,
    csrf: Box<str>,
    /// Whether its cookie only travels over TLS.
    secure: bool,
    begun: i64,
    used: i64,
    /// With the time until which each is told.
    notices: Vec<(Notice, i64)>,
}

/// Something that the next page says, once.
#[derive(Clone)]
pub enum Notice {
    /// What was done.
    Done(String),
    /// A secret that nobody can be shown again.
    Secret {
        /// The client.
        client: String,
        /// Which of its secrets.
        id: i64,
        /// The secret.
        secret: Zeroizing<String>,
        /// What becomes of the others.
        others: Option<String>,
    },
}

impl Notice {
    /// Whether this page says it.
    fn is_for(&self, page: &str) -> bool {
        match self {
            Self::Done(_) => true,
            Self::Secret { client, .. } => page == super::client::path(client),
        }
    }
}

/// A session that is good.
pub struct Live {
    /// Whose it is.
    pub holder: Holder,
    /// What its forms carry.
    pub csrf: Box<str>,
    /// What is to be said once.
    pub notice: Option<Notice>,
}

/// How a session is looked up.
pub struct Look<'a> {
    /// What the cookie says.
    pub id: &'a str,
    /// Whether that cookie only travels over TLS.
    pub secure: bool,
    /// Whether somebody does something, rather than a page that keeps itself fresh.
    pub is_use: bool,
    /// After how long without use a session ends.
    pub idle: Duration,
    /// The page that is to be shown, if it is one; what is said once is said there, if the page is the right one.
    pub page: Option<&'a str>,
}

impl Sessions {
    /// Begins a session of `holder`, whose key has the hash `key`, and answers its id for the cookie.
    ///
    /// # Errors
    /// [`CryptoError`] when there is no randomness to be had.
    pub fn begin(
        &self,
        key: AdminKeyHash,
        holder: Holder,
        secure: bool,
        now: i64,
    ) -> Result<Zeroizing<String>, CryptoError> {
        let id = Zeroizing::new(URL_SAFE_NO_PAD.encode(crypto::random::<32>()?));
        let csrf = URL_SAFE_NO_PAD.encode(crypto::random::<32>()?).into();
        let session = Session { key, holder, csrf, secure, begun: now, used: now, notices: Vec::new() };
        let mut sessions = self.0.lock();
        let of_key = sessions.iter().filter(|(_, one)| one.key == key);
        let makes_room = if of_key.clone().count() >= MOST_OF_A_KEY {
            of_key.min_by_key(|(_, one)| one.used)
        } else if sessions.len() >= MOST_SESSIONS {
            sessions.iter().min_by_key(|(_, one)| one.used)
        } else {
            None
        };
        if let Some(idle) = makes_room.map(|(id, _)| *id) {
            sessions.remove(&idle);
        }
        sessions.insert(hash(&id), session);
        Ok(id)
    }

    /// The session that a cookie names, if it is still good at `now` (steady, in milliseconds) and `wall`.
    pub fn find(&self, look: &Look<'_>, keys: &AdminKeys, now: i64, wall: UnixTime) -> Option<Live> {
        let mut sessions = self.0.lock();
        sessions.retain(|_, one| !one.is_over(look.idle, now));
        let id = hash(look.id);
        let session = sessions.get_mut(&id).filter(|one| one.secure == look.secure)?;
        if keys.still(&session.key, wall).ok().as_ref() != Some(&session.holder) {
            sessions.remove(&id);
            return None;
        }
        if look.is_use {
            session.used = now;
        }
        session.notices.retain(|(_, until)| now <= *until);
        let told =
            look.page.and_then(|page| session.notices.iter().position(|(notice, _)| notice.is_for(page)));
        let notice = told.map(|at| session.notices.remove(at));
        let (holder, csrf) = (session.holder.clone(), session.csrf.clone());
        Some(Live { holder, csrf, notice: notice.map(|(notice, _)| notice) })
    }

    /// Has the next page of the session say something.
    pub fn tell(&self, id: &str, notice: Notice, now: i64) {
        if let Some(session) = self.0.lock().get_mut(&hash(id)) {
            // A secret that nobody has seen yet is not displaced by what is done in another window.
            if matches!(notice, Notice::Done(_)) {
                session.notices.retain(|(other, _)| !matches!(other, Notice::Done(_)));
            }
            if session.notices.len() >= MOST_NOTICES {
                session.notices.remove(0);
            }
            session.notices.push((notice, now.saturating_add(millis(LONGEST_NOTICE))));
        }
    }

    /// Ends a session.
    pub fn end(&self, id: &str) {
        self.0.lock().remove(&hash(id));
    }

    /// Forgets what nobody can use any more.
    pub fn sweep(&self, idle: Duration, now: i64) {
        let mut sessions = self.0.lock();
        sessions.retain(|_, one| !one.is_over(idle, now));
        for session in sessions.values_mut() {
            session.notices.retain(|(_, until)| now <= *until);
        }
    }
}

impl Session {
    fn is_over(&self, idle: Duration, now: i64) -> bool {
        now.saturating_sub(self.used) >= millis(idle)
            || now.saturating_sub(self.begun) >= millis(LONGEST_SESSION)
    }
}

/// Whether a form carries the token of the session that it was made for. In constant time.
#[must_use]
pub fn is_own_form(csrf: &str, presented: &str) -> bool {
    crypto::digests_equal(&hash(csrf), &hash(presented))
}

/// Session ids are kept hashed: whoever reads this memory cannot use them.
fn hash(text: &str) -> [u8; 32] {
    crypto::sha256(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(1800);
    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
    const KEY: &str = "admin-key-of-the-tests-0123456789";

    fn key() -> AdminKeyHash {
        AdminKeyHash(crypto::sha256(KEY.as_bytes()))
    }

    fn keys() -> AdminKeys {
        let keys = AdminKeys::default();
        keys.set_configured(vec![key()]);
        keys
    }

    fn look(id: &str) -> Look<'_> {
        Look { id, secure: false, is_use: true, idle: IDLE, page: Some("/admin/") }
    }

    fn begin(sessions: &Sessions, now: i64) -> Zeroizing<String> {
        sessions.begin(key(), keys().find(KEY, NOW).unwrap(), false, now).unwrap()
    }

    fn is_good(sessions: &Sessions, id: &str, now: i64) -> bool {
        sessions.find(&look(id), &keys(), now, NOW).is_some()
    }

    #[test]
    fn a_session_ends_when_it_is_idle_and_at_the_latest_after_half_a_day() {
        let sessions = Sessions::default();
        let id = begin(&sessions, 0);
        let idle = millis(IDLE);
        assert!(is_good(&sessions, &id, idle - 1) && is_good(&sessions, &id, 2 * idle - 2));
        assert!(!is_good(&sessions, &id, 3 * idle - 2), "idle");
        let id = begin(&sessions, 0);
        let longest = millis(LONGEST_SESSION);
        for now in (0..longest).step_by(60_000) {
            assert!(is_good(&sessions, &id, now));
        }
        assert!(!is_good(&sessions, &id, longest), "at an end");
    }

    #[test]
    fn a_page_that_keeps_itself_fresh_keeps_no_session_open() {
        let sessions = Sessions::default();
        let id = begin(&sessions, 0);
        let refresh = Look { is_use: false, ..look(&id) };
        assert!(sessions.find(&refresh, &keys(), millis(IDLE) - 1, NOW).is_some());
        assert!(!is_good(&sessions, &id, millis(IDLE)));
    }

    #[test]
    fn there_are_so_many_and_the_idle_one_makes_room() {
        let sessions = Sessions::default();
        let first = begin(&sessions, 0);
        let second = begin(&sessions, 1);
        (2..MOST_OF_A_KEY as i64).for_each(|now| drop(begin(&sessions, now)));
        assert!(is_good(&sessions, &first, 1000), "used since");
        begin(&sessions, 1001);
        assert!(is_good(&sessions, &first, 1002) && !is_good(&sessions, &second, 1002));
    }

    #[test]
    fn whoever_signs_in_over_and_over_signs_nobody_else_out() {
        let sessions = Sessions::default();
        let mine = begin(&sessions, 0);
        let holder = keys().find(KEY, NOW).unwrap();
        for now in 1..=MOST_SESSIONS as i64 {
            sessions.begin(AdminKeyHash([7; 32]), holder.clone(), false, now).unwrap();
        }
        assert!(is_good(&sessions, &mine, 1000));
    }

    #[test]
    fn a_cookie_of_plain_http_opens_no_session_of_tls() {
        let sessions = Sessions::default();
        let id = sessions.begin(key(), keys().find(KEY, NOW).unwrap(), true, 0).unwrap();
        assert!(!is_good(&sessions, &id, 0));
        assert!(sessions.find(&Look { secure: true, ..look(&id) }, &keys(), 0, NOW).is_some());
    }

    #[test]
    fn a_session_goes_with_its_key() {
        let sessions = Sessions::default();
        let id = begin(&sessions, 0);
        let none = AdminKeys::default();
        assert!(sessions.find(&look(&id), &none, 0, NOW).is_none());
        assert!(!is_good(&sessions, &id, 0), "also when the key comes back");
    }

    #[test]
    fn what_is_told_is_told_once_to_the_page_that_it_is_for_and_soon() {
        let sessions = Sessions::default();
        let id = begin(&sessions, 0);
        sessions.tell(&id, Notice::Done("done".into()), 0);
        let other = Look { page: None, ..look(&id) };
        assert!(sessions.find(&other, &keys(), 1, NOW).unwrap().notice.is_none());
        assert!(sessions.find(&look(&id), &keys(), 1, NOW).unwrap().notice.is_some());
        assert!(sessions.find(&look(&id), &keys(), 1, NOW).unwrap().notice.is_none());
        let secret =
            Notice::Secret { client: "task".into(), id: 1, secret: Zeroizing::default(), others: None };
        sessions.tell(&id, secret, 0);
        assert!(sessions.find(&look(&id), &keys(), 1, NOW).unwrap().notice.is_none(), "another page");
        let page = super::super::client::path("task");
        let own = Look { page: Some(&page), ..look(&id) };
        assert!(sessions.find(&own, &keys(), 1, NOW).unwrap().notice.is_some());
        let secret = |client: &str| Notice::Secret {
            client: client.into(),
            id: 1,
            secret: Zeroizing::default(),
            others: None,
        };
        sessions.tell(&id, secret("task"), 0);
        sessions.tell(&id, secret("other"), 0);
        sessions.tell(&id, Notice::Done("done".into()), 0);
        let own = Look { page: Some(&page), ..look(&id) };
        let told = [sessions.find(&own, &keys(), 1, NOW), sessions.find(&own, &keys(), 1, NOW)];
        let secrets = told
            .into_iter()
            .filter(|live| matches!(live.as_ref().unwrap().notice, Some(Notice::Secret { .. })));
        assert_eq!(secrets.count(), 1, "what was done elsewhere displaces no secret");
        sessions.tell(&id, Notice::Done("done".into()), 0);
        let late = millis(LONGEST_NOTICE) + 1;
        assert!(sessions.find(&look(&id), &keys(), late, NOW).unwrap().notice.is_none());
    }

    #[test]
    fn a_form_is_known_by_its_whole_token() {
        assert!(is_own_form("abc", "abc"));
        for wrong in ["", "ab", "abcd", "abd"] {
            assert!(!is_own_form("abc", wrong), "{wrong}");
        }
    }
}
