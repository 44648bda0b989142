//! Closed loop: every connection sends its next request as soon as the answer is there. Measures what a request costs.

use std::io;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use serde::Serialize;

use crate::answer::Expected;
use crate::connection::Connection;
use crate::cpu::CpuClock;
use crate::plan::{Plan, Requests};

/// How long no answer at all may come.
const PATIENCE: Duration = Duration::from_secs(20);

/// What it cost.
#[derive(Serialize)]
pub struct Report {
    /// CPU time of the server a request, in microseconds.
    cpu_us: f64,
    /// Requests a second.
    rate: f64,
    /// The part of the time in which the server had a core: 1 when nothing but itself kept it from answering.
    busy: f64,
}

/// Runs the plan.
pub fn run(plan: &Plan) -> io::Result<Report> {
    let mut requests = Requests::of(&plan.traffic)?;
    let expected = Expected::new(&plan.traffic.expect);
    let clock = CpuClock::of(plan.pid)?;
    let mut poll = Poll::new()?;
    let mut connections = Vec::with_capacity(plan.connections);
    for index in 0..plan.connections {
        connections.push(Connection::open(plan.address, poll.registry(), Token(index))?);
    }

    let total = plan.warm_up + plan.requests;
    let (mut sent, mut answered) = (0, 0);
    for connection in connections.iter_mut().take(total) {
        connection.send(requests.any())?;
        sent += 1;
    }
    let mut events = Events::with_capacity(plan.connections);
    let mut start = (clock.read()?, Instant::now());
    while answered < total {
        poll.poll(&mut events, Some(PATIENCE))?;
        if events.is_empty() {
            return Err(io::Error::other(format!("no answer within {PATIENCE:?}")));
        }
        for event in &events {
            let Some(connection) = connections.get_mut(event.token().0) else { continue };
            if !connection.receive(&expected)? {
                continue;
            }
            answered += 1;
            if answered == plan.warm_up {
                start = (clock.read()?, Instant::now());
            }
            if sent < total {
                connection.send(requests.any())?;
                sent += 1;
            }
        }
    }
    let (cpu, elapsed) = (clock.read()? - start.0, start.1.elapsed());
    let count = plan.requests as f64;
    Ok(Report {
        cpu_us: cpu.as_secs_f64() * 1e6 / count,
        rate: count / elapsed.as_secs_f64(),
        busy: cpu.as_secs_f64() / elapsed.as_secs_f64(),
    })
}
