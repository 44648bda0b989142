//! Work that waits for the disk or takes long, away from the threads that serve.

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::process::setpriority_process;
use rustix::thread::gettid;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::traces;

/// How much such a thread gives way, as `nice` counts it: on a single core, a token that is asked for comes first.
const NICENESS: i32 = 10;

/// Why work came to nothing: the server is stopping, or the work panicked.
#[derive(Debug)]
pub struct Lost;

/// Begins `work` on a thread of its own, and answers what it comes to. It goes on when nobody waits for that.
pub fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, Lost>> {
    let result = Arc::new(Mutex::new(None));
    let place = Arc::clone(&result);
    let work = traces::carried(work);
    let begun = begin(Box::new(move || {
        let value = work();
        *place.lock() = Some(value);
    }));
    async move {
        begun.await.map_err(|_| Lost)?;
        result.lock().take().ok_or(Lost)
    }
}

/// All work as one type, so that what surrounds it is compiled once.
fn begin(work: Box<dyn FnOnce() + Send>) -> JoinHandle<()> {
    spawn_blocking(|| {
        give_way();
        work();
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
