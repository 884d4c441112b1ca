//! Any bytes as config.json, process, resources and seccomp: read, or refused with a pointer that
//! leads somewhere.

#![no_main]

use libcontainer::spec::{ParseError, Process, Resources, Seccomp, Spec};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    complaint(Spec::parse(bytes));
    complaint(Process::parse(bytes));
    complaint(Resources::parse(bytes));
    complaint(Seccomp::parse(bytes));
});

fn complaint<T>(read: Result<T, ParseError>) {
    if let Err(error) = read {
        assert!(error.pointer.is_empty() || error.pointer.starts_with('/'), "{}", error.pointer);
        assert!(!error.message.is_empty());
    }
}
