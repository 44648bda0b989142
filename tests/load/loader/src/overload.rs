//! More than a server can do: requests become due faster than it answers, and are refused. Clients wait as they are
//! told, or do not.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use serde::Serialize;

use crate::answer::{Expected, Progress};
use crate::connection::Connection;
use crate::plan::{Overload, Requests};

/// What became of the requests.
#[derive(Default, Serialize)]
pub struct Report {
    /// Requests that became due, a second.
    offered: f64,
    /// Good answers a second.
    good: f64,
    /// Refusals a second: 429 or 503 with `Retry-After`.
    refused: f64,
    /// Due while every client was waiting for an answer or as it was told, a second.
    not_sent: f64,
    refusal_p50_us: f64,
    refusal_p99_us: f64,
    /// Answers to what goes on beside.
    beside: usize,
    beside_p99_us: f64,
    beside_max_us: f64,
}

/// Runs the plan.
pub fn run(plan: &Overload) -> io::Result<Report> {
    let mut poll = Poll::new()?;
    let open = |index| Connection::open(plan.address, poll.registry(), Token(index));
    let mut connections: Vec<_> =
        (0..plan.connections).map(|index| Ok((open(index)?, None))).collect::<io::Result<_>>()?;
    let mut beside = open(plan.connections)?;
    let (mut requests, mut others) = (Requests::of(&plan.traffic)?, Requests::of(&plan.beside.traffic)?);
    let (expected, of_others) =
        (Expected::new(&plan.traffic.expect), Expected::new(&plan.beside.traffic.expect));
    let mut free: VecDeque<usize> = (0..plan.connections).collect();
    // In the order in which they end: all are told to wait equally long.
    let mut waiting: VecDeque<(Instant, usize)> = VecDeque::new();
    let mut events = Events::with_capacity(plan.connections + 1);
    let (start, length) = (Instant::now(), Duration::from_secs_f64(plan.seconds));
    let (gap, beside_gap) =
        (Duration::from_secs_f64(1.0 / plan.rate), Duration::from_secs_f64(1.0 / plan.beside.rate));
    let (mut due, mut beside_due, mut beside_sent) = (start, start, None);
    let (mut offered, mut good, mut not_sent) = (0, 0, 0);
    let (mut refusals, mut beside_times) = (Vec::new(), Vec::new());
    while start.elapsed() < length {
        let now = Instant::now();
        while waiting.front().is_some_and(|(until, _)| *until <= now) {
            free.extend(waiting.pop_front().map(|(_, index)| index));
        }
        while due <= now {
            due += gap;
            offered += 1;
            let Some(index) = free.pop_front() else {
                not_sent += 1;
                continue;
            };
            let (connection, sent) = &mut connections[index];
            connection.send(requests.any())?;
            *sent = Some(now);
        }
        if beside_sent.is_none() && beside_due <= now {
            beside_due = now + beside_gap;
            beside.send(others.any())?;
            beside_sent = Some(now);
        }
        poll.poll(&mut events, Some(Duration::ZERO))?;
        for event in &events {
            let index = event.token().0;
            let Some((connection, sent)) = connections.get_mut(index) else {
                if let Progress::Good = beside.progress(&of_others)? {
                    beside_times.extend(beside_sent.take().map(|sent| sent.elapsed()));
                }
                continue;
            };
            match (connection.progress(&expected)?, *sent) {
                (Progress::Partial, _) => continue,
                (_, None) => return Err(io::Error::other("an answer to nothing")),
                (Progress::Good, Some(_)) => {
                    good += 1;
                    free.push_back(index);
                }
                (Progress::Refused(pause), Some(sent)) => {
                    refusals.push(sent.elapsed());
                    if plan.patient {
                        waiting.push_back((Instant::now() + pause, index));
                    } else {
                        free.push_back(index);
                    }
                }
            }
            *sent = None;
        }
    }
    let a_second = |count: usize| count as f64 / start.elapsed().as_secs_f64();
    Ok(Report {
        offered: a_second(offered),
        good: a_second(good),
        refused: a_second(refusals.len()),
        not_sent: a_second(not_sent),
        refusal_p50_us: percentile_us(&mut refusals, 0.5),
        refusal_p99_us: percentile_us(&mut refusals, 0.99),
        beside: beside_times.len(),
        beside_p99_us: percentile_us(&mut beside_times, 0.99),
        beside_max_us: percentile_us(&mut beside_times, 1.0),
    })
}

/// 0 where there is nothing to tell of.
fn percentile_us(times: &mut [Duration], part: f64) -> f64 {
    times.sort_unstable();
    let last = times.len().saturating_sub(1);
    times.get((last as f64 * part).round() as usize).map_or(0.0, |time| time.as_secs_f64() * 1e6)
}
