//! The only words that parent and child exchange: the child's [`Program`] of [`Step`]s, and the
//! records on the control socket. No system calls here.

pub(crate) mod hook;
mod message;
pub(crate) mod mount;
mod program;
mod step;
pub(crate) mod words_mounts;
pub(crate) mod words_process;

pub(crate) use message::*;
pub(crate) use program::*;
pub(crate) use step::*;

/// What a failed or tolerated step says to people, where its family has words for it.
pub(crate) fn sentence(step: &Step, program: &Program, record: &Record) -> Option<String> {
    words_mounts::sentence(step, program, record)
}
