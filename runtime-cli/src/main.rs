//! husk: an OCI container runtime.

fn main() {}
