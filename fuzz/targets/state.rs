//! Any bytes as state.json: what can be read is the same after it was written again.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    libcontainer::fuzzing::state(bytes);
});
