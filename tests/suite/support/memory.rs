//! Looking into the memory of a running server, as a core dump would show it.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::Process;

/// Whether `wanted` is in `bytes`.
pub fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    memchr::memmem::find(bytes, wanted).is_some()
}

/// What a core dump would hold: every readable page of the process.
pub fn memory_of(server: &Process) -> Vec<u8> {
    let pid = server.pid().as_raw_nonzero();
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut all = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" r") && !line.contains("[vvar")) {
        let (begin, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let (begin, end) = (u64::from_str_radix(begin, 16).unwrap(), u64::from_str_radix(end, 16).unwrap());
        let mut region = vec![0; usize::try_from(end - begin).unwrap()];
        // Guard pages and the like cannot be read.
        if memory.read_exact_at(&mut region, begin).is_ok() {
            all.extend(region);
        }
    }
    all
}
