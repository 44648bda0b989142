//! A repeated POST gets the answer of the first: whoever lost an answer can ask again without doing it twice.
//!
//! Answers may hold secrets, so they are kept in memory alone, wiped when they go, for [`KEPT`] and within 4 MiB. A
//! restart forgets them.

use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, HeaderName, HeaderValue, IF_MATCH};
use actix_web::web::{Bytes, Data};
use m2mint_keys::crypto;
use m2mint_keys::time::millis;
use parking_lot::Mutex;

use crate::http::State;
use crate::http::error::problem::{Kind, Problem};
use crate::http::v1::reply::Reply;
use crate::model::audit::Origin;

/// The header that names a request.
pub const HEADER: &str = "idempotency-key";
const API_KEY: HeaderName = HeaderName::from_static("api-key");
/// How long an answer is kept.
pub const KEPT: Duration = Duration::from_secs(600);
/// The longest key.
pub const LONGEST_KEY: usize = 255;
/// How many answers are kept at most, and how many bytes.
const MOST: usize = 1000;
const MOST_BYTES: usize = 4 << 20;

/// Who asked for what under which key.
type Name = [u8; 32];

/// The answers that are kept.
#[derive(Default)]
pub struct Answers(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    entries: HashMap<Name, Entry>,
    bytes: usize,
}

struct Entry {
    /// Of the body that was sent, and of the state that it was meant for.
    body: [u8; 32],
    began: i64,
    /// None while it is being made.
    answer: Option<Reply>,
}

/// What is known of a request.
enum Known {
    /// Nothing: it is begun now.
    New,
    /// Its answer.
    Answered(Reply),
}

impl Answers {
    fn begin(&self, name: Name, body: [u8; 32], now: i64) -> Result<Known, Problem> {
        let mut kept = self.0.lock();
        kept.forget_old(now);
        match kept.entries.get(&name) {
            Some(entry) if entry.body != body => Err(Problem::new(
                Kind::KeyReused,
                "this Idempotency-Key came with another body before; take a new one for each request",
            )),
            Some(Entry { answer: Some(answer), .. }) => Ok(Known::Answered(answer.clone())),
            Some(_) => Err(Problem::new(Kind::InProgress, "wait for the answer, or ask again shortly")),
            None => {
                kept.make_room(size_of::<Entry>());
                kept.bytes += size_of::<Entry>();
                kept.entries.insert(name, Entry { body, began: now, answer: None });
                Ok(Known::New)
            }
        }
    }

    /// Keeps an answer; without one, forgets that there was a request.
    fn end(&self, name: Name, answer: Option<Reply>) {
        let mut kept = self.0.lock();
        match answer {
            None => kept.remove(&name),
            Some(answer) => {
                let size = answer.size();
                kept.make_room(size);
                if let Some(entry) = kept.entries.get_mut(&name) {
                    entry.answer = Some(answer);
                    kept.bytes += size;
                }
            }
        }
    }
}

impl Kept {
    fn remove(&mut self, name: &Name) {
        if let Some(entry) = self.entries.remove(name) {
            self.bytes -= size_of::<Entry>() + entry.answer.as_ref().map_or(0, Reply::size);
        }
    }

    fn forget_old(&mut self, now: i64) {
        let is_old =
            |entry: &Entry| entry.answer.is_some() && now.saturating_sub(entry.began) >= millis(KEPT);
        let old: Vec<_> =
            self.entries.iter().filter(|(_, entry)| is_old(entry)).map(|(name, _)| *name).collect();
        for name in old {
            self.remove(&name);
        }
    }

    /// Forgets the oldest answers until another one of `size` bytes fits. Requests that are being answered stay.
    fn make_room(&mut self, size: usize) {
        while self.entries.len() >= MOST || self.bytes + size > MOST_BYTES {
            let answered = self.entries.iter().filter(|(_, entry)| entry.answer.is_some());
            let Some(oldest) = answered.min_by_key(|(_, entry)| entry.began).map(|(name, _)| *name) else {
                return;
            };
            self.remove(&oldest);
        }
    }
}

/// Forgets the request when it ends without an answer, however that comes.
struct Begun {
    state: Data<State>,
    name: Name,
    answer: Option<Reply>,
}

impl Begun {
    fn end(mut self, answer: Option<Reply>) {
        self.answer = answer;
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.state.answers.end(self.name, self.answer.take());
    }
}

/// Does `work`, unless the same caller has had it done under the same key: then answers what was answered then. A refusal is
/// not kept: it has changed nothing.
///
/// # Errors
/// Those of `work`; [`Kind::KeyReused`] when the key came with another body, [`Kind::InProgress`] while that is being done.
pub async fn once(
    state: &Data<State>,
    request: &HttpRequest,
    origin: &Origin,
    body: &Bytes,
    work: impl Future<Output = Result<Reply, Problem>> + 'static,
) -> Result<Reply, Problem> {
    let mut keys = request.headers().get_all(HEADER);
    let Some(key) = keys.next() else { return work.await };
    let key = key.as_bytes();
    let is_plain =
        !key.is_empty() && key.len() <= LONGEST_KEY && key.iter().all(|byte| (0x20..0x7f).contains(byte));
    if !is_plain || keys.next().is_some() {
        let reason = format!("send one, of 1 to {LONGEST_KEY} printable ASCII characters");
        return Err(Problem::invalid_field("Idempotency-Key", reason));
    }
    // A name may be given to another key later.
    let shown = [&API_KEY, &AUTHORIZATION].map(|header| request.headers().get(header));
    let shown = shown.map(|value| value.map(HeaderValue::as_bytes).unwrap_or_default());
    let uri = request.uri().to_string();
    let name = name(&[origin.actor.as_bytes(), shown[0], shown[1], uri.as_bytes(), key]);
    // A request that is meant for another state is another request.
    let meant = request.headers().get(IF_MATCH).map(HeaderValue::as_bytes).unwrap_or_default();
    match state.answers.begin(name, self::name(&[body, meant]), state.clock.steady())? {
        Known::Answered(reply) => Ok(reply),
        Known::New => {
            let begun = Begun { state: state.clone(), name, answer: None };
            // A caller that goes away does not end the work: what it did would be done again when the caller comes back.
            let done = actix_web::rt::spawn(async move {
                let done = work.await;
                begun.end(done.as_ref().ok().cloned());
                done
            });
            done.await.map_err(|_| Problem::new(Kind::Unavailable, "the server is stopping"))?
        }
    }
}

/// A digest in which each part has its own place.
fn name(parts: &[&[u8]]) -> Name {
    let digests: Vec<u8> = parts.iter().flat_map(|part| crypto::sha256(part)).collect();
    crypto::sha256(&digests)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: [u8; 32] = [1; 32];

    fn reply(bytes: usize) -> Reply {
        Reply::ok(&"x".repeat(bytes)).unwrap()
    }

    fn is_new(answers: &Answers, number: usize, now: i64) -> bool {
        matches!(answers.begin(name(&[&number.to_be_bytes()]), BODY, now), Ok(Known::New))
    }

    #[test]
    fn an_answer_is_kept_for_its_time_and_no_longer() {
        let answers = Answers::default();
        assert!(is_new(&answers, 1, 0));
        answers.end(name(&[&1_usize.to_be_bytes()]), Some(reply(10)));
        assert!(!is_new(&answers, 1, millis(KEPT) - 1));
        assert!(is_new(&answers, 1, millis(KEPT)));
    }

    #[test]
    fn answers_take_so_much_memory_and_no_more() {
        let answers = Answers::default();
        for number in 0..2 * MOST {
            assert!(is_new(&answers, number, i64::try_from(number).unwrap()));
            answers.end(name(&[&number.to_be_bytes()]), Some(reply(10_000)));
            let kept = answers.0.lock();
            assert!(kept.bytes <= MOST_BYTES && kept.entries.len() <= MOST);
            let counted: usize = kept
                .entries
                .values()
                .map(|entry| size_of::<Entry>() + entry.answer.as_ref().unwrap().size())
                .sum();
            assert_eq!(kept.bytes, counted);
        }
        assert!(!is_new(&answers, 2 * MOST - 1, 0), "the newest is there");
        assert!(is_new(&answers, 0, 0), "the oldest is not");
    }

    #[test]
    fn what_came_to_nothing_may_be_tried_again() {
        let answers = Answers::default();
        assert!(is_new(&answers, 1, 0));
        let again = answers.begin(name(&[&1_usize.to_be_bytes()]), BODY, 0);
        assert!(again.is_err_and(|problem| problem.kind == Kind::InProgress));
        answers.end(name(&[&1_usize.to_be_bytes()]), None);
        assert!(is_new(&answers, 1, 0));
    }
}
