//! Closed loop: every connection sends its next request as soon as the answer is there. Measures what a request costs.
//!
//! Servers that are compared take turns every few milliseconds: a machine that is slower for a second, for whatever
//! reason, is slower for all of them.

use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use serde::Serialize;

use crate::answer::Expected;
use crate::connection::Connection;
use crate::cpu::CpuClock;
use crate::plan::{Closed, Requests, Side};

/// How long no answer at all may come.
const PATIENCE: Duration = Duration::from_secs(20);

/// What one side cost, slice by slice.
#[derive(Default, Serialize)]
pub struct Report {
    /// CPU time of the server a request, in microseconds.
    cpu_us: Vec<f64>,
    /// Requests a second.
    rate: Vec<f64>,
    /// The part of the time in which the server had a core: 1 when nothing but itself kept it from answering.
    busy: Vec<f64>,
}

/// Runs the plan: one report a side.
pub fn run(plan: &Closed) -> io::Result<Vec<Report>> {
    let mut loops =
        plan.sides.iter().map(|side| Loop::new(side, plan.connections)).collect::<io::Result<Vec<_>>>()?;
    for (each, side) in loops.iter_mut().zip(&plan.sides) {
        each.exchange(side.warm_up)?;
    }
    for slice in 0..plan.slices {
        let mut order: Vec<_> = loops.iter_mut().zip(&plan.sides).collect();
        // Forth and back: nobody always comes after the one that leaves the caches cold.
        if slice % 2 == 1 {
            order.reverse();
        }
        for (each, side) in order {
            each.measure(side.requests)?;
        }
    }
    Ok(loops.into_iter().map(|each| each.report).collect())
}

/// One side's connections.
struct Loop {
    requests: Requests,
    expected: Expected,
    clock: CpuClock,
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    report: Report,
}

impl Loop {
    fn new(side: &Side, count: usize) -> io::Result<Self> {
        let poll = Poll::new()?;
        let connect = |index| Connection::open(side.address, poll.registry(), Token(index));
        Ok(Self {
            requests: Requests::of(&side.traffic)?,
            expected: Expected::new(&side.traffic.expect),
            clock: CpuClock::of(side.pid)?,
            connections: (0..count).map(connect).collect::<io::Result<_>>()?,
            events: Events::with_capacity(count),
            poll,
            report: Report::default(),
        })
    }

    fn measure(&mut self, count: usize) -> io::Result<()> {
        let (cpu, start) = (self.clock.read()?, Instant::now());
        self.exchange(count)?;
        let (cpu, elapsed) = ((self.clock.read()? - cpu).as_secs_f64(), start.elapsed().as_secs_f64());
        self.report.cpu_us.push(cpu * 1e6 / count as f64);
        self.report.rate.push(count as f64 / elapsed);
        self.report.busy.push(cpu / elapsed);
        Ok(())
    }

    /// Sends so many requests, and waits for the answers.
    fn exchange(&mut self, count: usize) -> io::Result<()> {
        let mut sent = 0;
        for connection in self.connections.iter_mut().take(count) {
            connection.send(self.requests.any())?;
            sent += 1;
        }
        let mut answered = 0;
        while answered < count {
            self.poll.poll(&mut self.events, Some(PATIENCE))?;
            if self.events.is_empty() {
                return Err(io::Error::other(format!("no answer within {PATIENCE:?}")));
            }
            for event in &self.events {
                let Some(connection) = self.connections.get_mut(event.token().0) else { continue };
                if !connection.receive(&self.expected)? {
                    continue;
                }
                answered += 1;
                if sent < count {
                    connection.send(self.requests.any())?;
                    sent += 1;
                }
            }
        }
        Ok(())
    }
}
