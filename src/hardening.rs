//! Keeps secrets in the memory of this process, and out of dumps and of swap.

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// From now on, nobody but root looks into this process, and it leaves no core dump.
pub fn forbid_dumps() {
    // Each covers for the other: a pipe in kernel.core_pattern does not care about the limit.
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "others may look into the memory of this process");
    }
    // Refused by a unit that forbids it, which sets the limit itself (LimitCORE=0).
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

/// Keeps all memory of this process out of swap, where the system puts no limit on that. Answers whether it does.
///
/// Single pages cannot be locked without unsafe code, so it is all or nothing. Under a limit (`RLIMIT_MEMLOCK`) it is
/// nothing: an allocation beyond it would fail.
pub fn lock_memory() -> bool {
    if getrlimit(Resource::Memlock).current.is_some() {
        return false;
    }
    // Only what is touched: the stacks of threads are mostly not.
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT).is_ok()
}
