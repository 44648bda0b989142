//! Work that waits for the disk or takes long, away from the threads that serve.

use std::cell::Cell;

use rustix::process::setpriority_process;
use rustix::thread::gettid;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::traces;

/// How much such a thread gives way, as `nice` counts it: on a single core, a token that is asked for comes first.
const NICENESS: i32 = 10;

/// Runs `work` on a thread of its own.
pub fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let work = traces::carried(work);
    spawn_blocking(|| {
        give_way();
        work()
    })
}

/// Lets the threads that serve come before this one, from now on.
pub fn give_way() {
    thread_local!(static GIVES_WAY: Cell<bool> = const { Cell::new(false) });
    // Linux counts a priority for each thread. Where that is forbidden, the thread keeps the priority that it has.
    if !GIVES_WAY.replace(true) {
        let _ = setpriority_process(Some(gettid()), NICENESS);
    }
}
