//! The only unsafe code of the crate: one function per system call, one file per family.
//!
//! Functions marked "child" are raw system calls: they take no lock, allocate nothing and leave
//! errno alone, so that they may run between clone and execve. The others serve the parent.

#![allow(unsafe_code)]

pub(crate) mod block;
pub(crate) mod bpf;
pub(crate) mod child;
pub(crate) mod clone;
mod errno;
pub(crate) mod identity;
pub(crate) mod loop_device;
pub(crate) mod memory;
pub(crate) mod mount;
pub(crate) mod namespaces;
pub(crate) mod passing;
pub(crate) mod path;
pub(crate) mod pidfd;
pub(crate) mod process;
pub(crate) mod program;
pub(crate) mod raw;
pub(crate) mod regex;
pub(crate) mod scheduling;
pub(crate) mod socket;
pub(crate) mod spawn;
pub(crate) mod terminal;
#[cfg(test)]
pub(crate) mod test_child;

pub(crate) use errno::Errno;
