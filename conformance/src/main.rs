//! Conformance suite for OCI runtimes.

fn main() {}
