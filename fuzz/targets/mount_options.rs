//! Any list of mount options, one a line: each ends as a flag, a propagation, or data.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        libcontainer::fuzzing::mount_options(text);
    }
});
