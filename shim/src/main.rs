//! containerd shim of husk.

fn main() {}
