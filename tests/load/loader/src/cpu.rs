//! What the scheduler knows: CPU time of another process, and how long this one was kept waiting.

use std::io;
use std::time::Duration;

use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

/// The CPU-time clock of a process: to the nanosecond, threads that have ended included.
pub struct CpuClock(ClockId);

impl CpuClock {
    /// The clock of the process with this id.
    pub fn of(pid: i32) -> nix::Result<Self> {
        Ok(Self(clock_getcpuclockid(Pid::from_raw(pid))?))
    }

    /// What the process has used until now, in user and kernel mode.
    pub fn read(&self) -> nix::Result<Duration> {
        Ok(self.0.now()?.into())
    }
}

/// How long this program, which has one thread, was ready to run and had no core.
pub fn waited_for_core() -> io::Result<Duration> {
    let text = std::fs::read_to_string("/proc/self/schedstat")?;
    let nanos = text.split_whitespace().nth(1).and_then(|field| field.parse().ok());
    nanos
        .map(Duration::from_nanos)
        .ok_or_else(|| io::Error::other("/proc/self/schedstat has no waiting time"))
}
