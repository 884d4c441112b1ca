//! Any packet of the child: refused, or the same after it was encoded again.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    libcontainer::fuzzing::record(bytes);
});
