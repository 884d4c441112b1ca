//! The child: from the clone to execve.
//!
//! Everything below runs in a copy of the host program of which only this thread exists. Another
//! thread may have held any lock at the moment of the clone, the allocator's among them. So this
//! module makes raw system calls on memory that the parent prepared and nothing else: no heap, no
//! locks, no formatting, no panic, nothing with `Drop`. A test traces the child from outside.

#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

mod attributes;
mod console;
mod copyup;
mod descriptors;
mod device;
mod gate;
mod home;
mod hook;
mod identity;
mod mask;
mod mount;
mod namespaces;
mod place;
mod process;
mod procfs;
mod program;
mod report;
mod resolve;
mod root;
mod runner;
#[cfg(test)]
mod tests;

pub(crate) use runner::run;
