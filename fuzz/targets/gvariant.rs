//! Any text as an annotation's value: a value of one type, or an error that says where.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        libcontainer::fuzzing::gvariant(text);
    }
});
