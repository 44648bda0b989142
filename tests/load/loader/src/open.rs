//! Open loop: requests come when they come, whether or not earlier ones have been answered. Measures how long they take.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use serde::Serialize;

use crate::answer::Expected;
use crate::connection::Connection;
use crate::cpu::waited_for_core;
use crate::plan::{Beside, Open, Requests};
use crate::random::Random;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Latencies in microseconds, from the moment at which a request was due: time in which it waited for a free connection
/// counts, or a stalled server would look fast.
#[derive(Serialize)]
pub struct Report {
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
    /// Answers to requests that went on beside.
    beside: usize,
    beside_p99_us: f64,
    /// The part of the time in which other programs kept the loader from its core: then latencies are too high.
    kept_waiting: f64,
}

/// Requests of one kind that become due one after another.
struct Arrivals {
    requests: Requests,
    expected: Expected,
    due: Instant,
    latencies: Vec<Duration>,
}

impl Arrivals {
    fn answered(&mut self, due: Instant) {
        self.latencies.push(due.elapsed());
    }

    fn percentile_us(&mut self, part: f64) -> f64 {
        self.latencies.sort_unstable();
        let last = self.latencies.len().saturating_sub(1);
        let found = self.latencies.get((last as f64 * part).round() as usize);
        found.map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e6)
    }
}

/// Runs the plan.
pub fn run(plan: &Open) -> io::Result<Report> {
    let mut poll = Poll::new()?;
    let mut connections = Vec::with_capacity(plan.connections);
    for index in 0..plan.connections {
        connections.push((Connection::open(plan.address, poll.registry(), Token(index))?, None));
    }
    // Taken in turn: a server closes a connection on which nothing is asked for a while.
    let mut idle: VecDeque<usize> = (0..plan.connections).collect();
    let mut waiting = VecDeque::new();
    let mut beside = plan.beside.as_ref().map(|beside| Writer::new(plan, beside, &poll)).transpose()?;

    let (start, waited) = (Instant::now(), waited_for_core()?);
    let mut main = Arrivals {
        requests: Requests::of(&plan.traffic)?,
        expected: Expected::new(&plan.traffic.expect),
        due: start,
        latencies: Vec::with_capacity(plan.requests),
    };
    let mut random = Random::new();
    let total = plan.warm_up + plan.requests;
    let (mut arrived, mut answered) = (0, 0);
    let mut events = Events::with_capacity(plan.connections + 1);
    let mut last_answer = start;
    while answered < total {
        let now = Instant::now();
        while arrived < total && main.due <= now {
            waiting.push_back(main.due);
            main.due += Duration::from_secs_f64(random.exponential() / plan.rate);
            arrived += 1;
        }
        while let (Some(due), Some(index)) = (waiting.front(), idle.front()) {
            let (connection, under_way) = &mut connections[*index];
            connection.send(main.requests.any())?;
            *under_way = Some(*due);
            waiting.pop_front();
            idle.pop_front();
        }
        if let Some(writer) = &mut beside {
            writer.send_if_due(now)?;
        }
        // Never sleeps: a sleep would end too late by more than an answer takes.
        poll.poll(&mut events, Some(Duration::ZERO))?;
        for event in &events {
            let index = event.token().0;
            let Some((connection, under_way)) = connections.get_mut(index) else {
                if let Some(writer) = &mut beside {
                    writer.receive()?;
                }
                continue;
            };
            if !connection.receive(&main.expected)? {
                continue;
            }
            let Some(due) = under_way.take() else { return Err(io::Error::other("an answer to nothing")) };
            idle.push_back(index);
            answered += 1;
            last_answer = now;
            if answered > plan.warm_up {
                main.answered(due);
            }
        }
        if arrived > answered && now - last_answer > PATIENCE {
            return Err(io::Error::other(format!("no answer within {PATIENCE:?}")));
        }
    }
    let (elapsed, waited) = (start.elapsed(), waited_for_core()? - waited);
    Ok(Report {
        p50_us: main.percentile_us(0.5),
        p99_us: main.percentile_us(0.99),
        max_us: main.percentile_us(1.0),
        beside: beside.as_ref().map_or(0, |writer| writer.arrivals.latencies.len()),
        beside_p99_us: beside.map_or(0.0, |mut writer| writer.arrivals.percentile_us(0.99)),
        kept_waiting: waited.as_secs_f64() / elapsed.as_secs_f64(),
    })
}

/// Sends what goes on beside, on a connection of its own.
struct Writer {
    connection: Connection,
    arrivals: Arrivals,
    gap: Duration,
    under_way: Option<Instant>,
}

impl Writer {
    fn new(plan: &Open, beside: &Beside, poll: &Poll) -> io::Result<Self> {
        Ok(Self {
            connection: Connection::open(plan.address, poll.registry(), Token(plan.connections))?,
            arrivals: Arrivals {
                requests: Requests::of(&beside.traffic)?,
                expected: Expected::new(&beside.traffic.expect),
                due: Instant::now(),
                latencies: Vec::new(),
            },
            gap: Duration::from_secs_f64(1.0 / beside.rate),
            under_way: None,
        })
    }

    fn send_if_due(&mut self, now: Instant) -> io::Result<()> {
        if self.under_way.is_some() || now < self.arrivals.due {
            return Ok(());
        }
        self.under_way = Some(self.arrivals.due);
        self.arrivals.due += self.gap;
        self.connection.send(self.arrivals.requests.any())
    }

    fn receive(&mut self) -> io::Result<()> {
        if self.connection.receive(&self.arrivals.expected)?
            && let Some(due) = self.under_way.take()
        {
            self.arrivals.answered(due);
        }
        Ok(())
    }
}
