//! Containers on the real kernel, through the command line.
//!
//! Needs root, busybox-static, and for some tests the Debian root file system of
//! `tests/rootfs/build`. `HUSK_TEST_BINARY` names another runtime to try the tests themselves on.

mod kernel;
mod limits;
mod mounts;
#[path = "../support/programs.rs"]
mod programs;
mod races;
mod refusals;
mod safety;
mod services;
mod support;
