//! Any configuration that can be read: planned, or refused with a pointer and a message.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    libcontainer::fuzzing::plan(bytes);
});
