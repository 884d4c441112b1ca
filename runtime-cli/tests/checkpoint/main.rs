//! `checkpoint` and `restore` with a real CRIU.
//!
//! Where tests/criu/obtain could not get one that works with this kernel, the tests that need it say
//! so and end.

mod hostile;
mod labels;
mod life;
mod memory;
mod network;
mod places;
mod scene;
mod streams;
#[path = "../support/mod.rs"]
mod support;
