#![no_main]

#[path = "../targets/master_key.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::check(data));
