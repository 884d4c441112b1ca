//! Any resources: checked against both versions of cgroups, and device rules against the v2
//! program that is made of them.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    libcontainer::fuzzing::resources(bytes);
});
