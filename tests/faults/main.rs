//! Breaks what m2mint stands on, for real, and looks at what is lost.
//!
//! | module | breaks |
//! |---|---|
//! | [`crash`] | the processes: `kill -9` |
//! | [`disk`] | the disk: full, read-only, failing, slow |
//! | [`power`] | the power: every state that the disk can be left in |
//! | [`corruption`] | the file: flipped bytes, missing ends |
//! | [`processes`] | the order: several at once on one file |
//! | [`upgrade`] | the upgrade: files of earlier versions |
//! | [`clock`] | the time: clocks that are set |
//! | [`restored`] | the history: old copies that are put back |
//!
//! [`vfs`] is the layer between SQLite and the disk that fails on demand
//! and writes down what goes to the disk
//!
//! `tests/faults/run` runs it and prints the table.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

#[path = "../suite/support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;

mod clock;
mod corruption;
mod crash;
mod disk;
mod power;
mod processes;
mod random;
mod restored;
mod table;
mod upgrade;
mod vfs;

use table::{Case, Plan};

macro_rules! cases {
    ($($module:ident: $($name:ident),+;)+) => {
        &[$($(Case { name: stringify!($name), run: $module::$name }),+),+]
    };
}

/// Every case, in the order in which they run.
const CASES: &[Case] = cases! {
    crash: acknowledged_writes_outlive_kills_at_random_points;
    disk:
        a_full_disk_costs_writes_and_nothing_else,
        a_read_only_disk_is_said_at_the_start_and_left_alone,
        a_disk_that_fails_costs_writes_and_nothing_else,
        a_slow_disk_holds_up_writes_and_nothing_else,
        whatever_became_of_a_commit_memory_file_and_key_set_agree,
        a_commit_of_unknown_outcome_is_seen_by_nobody_and_settled;
    power:
        nothing_acknowledged_is_lost_when_the_power_goes,
        the_power_going_in_a_first_start_or_a_commit_that_failed_leaves_a_whole_file,
        the_harness_finds_what_weaker_settings_lose;
    processes:
        fifty_verbs_at_once_lose_nothing_and_find_nothing_locked,
        what_a_verb_does_is_seen_by_the_server_within_a_second,
        a_second_server_refuses_to_start;
    corruption: a_damaged_file_is_refused_or_right;
    upgrade:
        a_file_of_each_earlier_schema_is_brought_up_to_date,
        an_upgrade_that_is_killed_or_loses_power_is_repeated,
        a_newer_file_is_refused_untouched;
    clock:
        a_clock_that_is_set_promotes_and_deletes_nothing_early_and_locks_nobody_out,
        the_real_program_says_that_its_clock_was_set_and_goes_on;
    restored: every_copy_from_before_a_change_of_keys_is_noticed;
};

fn main() -> std::process::ExitCode {
    vfs::install();
    match Plan::of(std::env::args().skip(1)) {
        Ok(plan) => table::run(CASES, &plan),
        Err(usage) => {
            eprintln!("{usage}");
            std::process::ExitCode::from(2)
        }
    }
}
