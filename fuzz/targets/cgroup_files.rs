//! Any bytes as the kernel's mountinfo and /proc/PID/cgroup, split by an empty line.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    libcontainer::fuzzing::cgroup_files(bytes);
});
