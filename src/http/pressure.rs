//! What happens when more tokens are asked for than can be signed: some requests are refused at once, so that the others,
//! the key set and the health check need not wait.
//!
//! A worker takes requests in the order in which they came. How long they wait for it is seen by sending something of its
//! own through the same queue. A client that was refused and does not wait as it was told has its next request on that
//! connection wait: refusing costs a fifth of a signature, and must not become the work.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_web::HttpRequest;

use crate::http::State;
use crate::http::error::OAuthError;
use crate::http::exchange;
use crate::limits::source::Source;

/// How long after the last look there is another one, at least.
const REST: Duration = Duration::from_millis(1);
/// So many requests have to be waiting. With fewer, it is the machine that was busy with something else, and refusing
/// helps nobody.
const FEWEST: u32 = 64;
/// What a client that is refused is told to wait.
const PAUSE: Duration = Duration::from_secs(1);
/// How long after the last warning there is another one.
const SILENCE: Duration = Duration::from_secs(10);

/// How long requests wait for one worker. It belongs to that worker's thread.
pub struct Gauge {
    longest: Duration,
    handled: Cell<u32>,
    look: Cell<Look>,
    /// Which part of a refusal is due.
    due: Cell<f64>,
    refused: Cell<u64>,
    warned: Cell<Option<Instant>>,
}

/// Something of the worker's own in its queue.
#[derive(Clone, Copy)]
enum Look {
    /// It was sent then, after so many requests.
    Sent(Instant, u32),
    /// It arrived: whatever was waiting with it has been handled.
    Arrived(Instant),
    Never,
}

impl Gauge {
    /// Nobody waits longer than `longest`, about.
    #[must_use]
    pub fn new(longest: Duration) -> Rc<Self> {
        Rc::new(Self {
            longest,
            handled: Cell::new(0),
            look: Cell::new(Look::Never),
            due: Cell::new(0.0),
            refused: Cell::new(0),
            warned: Cell::new(None),
        })
    }

    /// Whether the request that is about to be handled is refused instead.
    fn refuses(self: &Rc<Self>) -> bool {
        let now = Instant::now();
        if self.looks(now) {
            let gauge = Rc::clone(self);
            actix_web::rt::spawn(async move { gauge.look.set(Look::Arrived(Instant::now())) });
        }
        let waited = self.waited(now);
        let is_refused = self.is_due(part_refused(waited, self.longest));
        if is_refused {
            self.warn(now, waited);
        }
        is_refused
    }

    /// Counts a request; whether it is time to look again.
    fn looks(&self, now: Instant) -> bool {
        self.handled.set(self.handled.get().wrapping_add(1));
        let is_time = match self.look.get() {
            Look::Sent(..) => false,
            Look::Arrived(at) => now.saturating_duration_since(at) >= REST,
            Look::Never => true,
        };
        if is_time {
            self.look.set(Look::Sent(now, self.handled.get()));
        }
        is_time
    }

    /// How long this request has waited at least, behind enough others.
    fn waited(&self, now: Instant) -> Duration {
        match self.look.get() {
            Look::Sent(at, handled) if self.handled.get().wrapping_sub(handled) >= FEWEST => {
                now.saturating_duration_since(at)
            }
            _ => Duration::ZERO,
        }
    }

    /// Spreads refusals evenly: of so many requests, that part.
    fn is_due(&self, part: f64) -> bool {
        let due = self.due.get() + part;
        let is_due = due >= 1.0;
        self.due.set(if is_due { due - 1.0 } else { due });
        is_due
    }

    fn warn(&self, now: Instant, waited: Duration) {
        self.refused.set(self.refused.get() + 1);
        if self.warned.get().is_some_and(|warned| now.saturating_duration_since(warned) < SILENCE) {
            return;
        }
        self.warned.set(Some(now));
        tracing::warn!(
            waiting_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
            refused = self.refused.get(),
            "more tokens are asked for than can be signed: some requests get 503 with Retry-After"
        );
    }
}

/// The part of the requests that is refused: none up to half of the longest wait, and all from there on.
fn part_refused(waited: Duration, longest: Duration) -> f64 {
    let half = longest.as_secs_f64() / 2.0;
    ((waited.as_secs_f64() - half) / half).clamp(0.0, 1.0)
}

/// Lets a request for a token by, unless there are too many.
///
/// # Errors
/// 503 with `Retry-After`.
pub async fn let_by(request: &HttpRequest, state: &State) -> Result<(), OAuthError> {
    let Some(gauge) = request.app_data::<Rc<Gauge>>() else { return Ok(()) };
    let seat = exchange::seat(request);
    if let Some(seat) = &seat
        && !seat.outlasts_pause().await
    {
        return Err(OAuthError::overloaded(PAUSE));
    }
    if !gauge.refuses() {
        return Ok(());
    }
    // The connections of a proxy are for many: those who come after are not those who were refused.
    let is_direct = exchange::source(request, state) == Source::of(request.peer_addr().map(|peer| peer.ip()));
    if let Some(seat) = seat.filter(|_| is_direct) {
        seat.pause_for(PAUSE);
    }
    Err(OAuthError::overloaded(PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_millis(20);

    /// A worker that takes `cost` a request and finds `waiting` more each time; the part that it refuses.
    fn refused(waiting: u32, cost: Duration) -> f64 {
        let gauge = Gauge::new(LONGEST);
        let mut now = Instant::now();
        let (mut refused, mut all) = (0, 0);
        for _ in 0..50 {
            for _ in 0..waiting {
                all += 1;
                gauge.looks(now);
                if gauge.is_due(part_refused(gauge.waited(now), LONGEST)) {
                    refused += 1;
                } else {
                    now += cost;
                }
            }
            gauge.look.set(Look::Arrived(now));
            now += REST;
        }
        f64::from(refused) / f64::from(all)
    }

    #[test]
    fn nobody_is_refused_as_long_as_nobody_waits_long() {
        let cost = Duration::from_micros(40);
        assert!(refused(1, cost) == 0.0);
        assert!(refused(240, cost) == 0.0, "9.6 ms");
    }

    #[test]
    fn a_machine_that_is_busy_with_something_else_is_no_reason() {
        assert!(refused(8, Duration::from_millis(30)) == 0.0);
    }

    #[test]
    fn where_many_wait_the_worker_signs_for_as_long_as_it_may_and_refuses_the_others() {
        let cost = Duration::from_micros(40);
        // 20 ms are 500 signatures.
        let of_4000 = refused(4000, cost);
        assert!((0.87..0.95).contains(&of_4000), "{of_4000}");
        let of_400 = refused(400, cost);
        assert!((0.05..0.3).contains(&of_400), "{of_400}");
    }
}
