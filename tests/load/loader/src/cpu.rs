//! CPU time of another process, to the nanosecond, threads that have ended included.

use std::time::Duration;

use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

/// The CPU-time clock of a process.
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
