//! Breaks what m2mint stands on, for real, and looks at what is lost.
//!
//! | module | breaks |
//! |---|---|
//! | [`crash`] | the processes: `kill -9` |
//!
//! `tests/faults/run` runs it and prints the table.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

#[path = "../suite/support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;

mod crash;
mod random;
mod table;

use table::{Case, Plan};

/// Every case, in the order in which they run.
const CASES: &[Case] = &[Case {
    name: "acknowledged_writes_outlive_kills_at_random_points",
    run: crash::acknowledged_writes_outlive_kills_at_random_points,
}];

fn main() -> std::process::ExitCode {
    match Plan::of(std::env::args().skip(1)) {
        Ok(plan) => table::run(CASES, &plan),
        Err(usage) => {
            eprintln!("{usage}");
            std::process::ExitCode::from(2)
        }
    }
}
