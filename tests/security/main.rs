//! Attacks m2mint, for real and often, and looks at what gets through.
//!
//! | module | tries |
//! |---|---|
//! | [`guesses`] | secrets and admin keys, from one address and from a million |
//! | [`restricted`] | restrictions of clients, from outside of them |
//! | [`timing`] | whether the time of an answer tells what the answer does not |
//!
//! `tests/security/run` runs it and prints the table; `tests/security/timing` measures times alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs)]

#[path = "../suite/support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;

mod guesses;
#[path = "../faults/random.rs"]
mod random;
mod restricted;
mod table;
mod timing;
mod wire;

use table::{Case, Plan};

macro_rules! cases {
    ($($module:ident: $($name:ident),+;)+) => {
        &[$($(Case { name: stringify!($name), run: $module::$name }),+),+]
    };
}

/// Every case, in the order in which they run.
const CASES: &[Case] = cases! {
    guesses:
        a_day_of_guesses_at_one_id_gets_few_tries,
        a_client_is_served_while_others_guess_at_its_id,
        one_address_gets_few_tries_at_many_ids,
        a_day_of_guesses_at_the_admin_key_gets_few_tries,
        a_forged_address_gets_no_more_tries,
        a_million_ids_and_addresses_take_little_memory;
    restricted:
        outside_of_its_networks_a_client_gets_nothing,
        outside_of_its_time_a_client_gets_nothing,
        no_sixty_seconds_see_more_tokens_than_allowed;
    timing: times_tell_nothing;
};

fn main() -> std::process::ExitCode {
    match Plan::of(std::env::args().skip(1)) {
        Ok(plan) => table::run(CASES, &plan),
        Err(usage) => {
            eprintln!("{usage}");
            std::process::ExitCode::from(2)
        }
    }
}
