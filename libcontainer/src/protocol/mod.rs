//! The only words that parent and child exchange: the child's [`Program`] of [`Step`]s, and the
//! records on the control socket. No system calls here.

mod answer;
pub(crate) mod hook;
mod message;
pub(crate) mod mount;
mod program;
mod step;
pub(crate) mod words_mounts;
pub(crate) mod words_process;

pub(crate) use answer::answer;
pub(crate) use message::*;
pub(crate) use program::*;
pub(crate) use step::*;

/// What a failed step says to people, where its family has words for it.
pub(crate) fn sentence(step: &Step, program: &Program, record: &Record) -> Option<String> {
    words_mounts::sentence(step, program, record)
        .or_else(|| words_process::sentence(step, program, record))
}

/// What a tolerated error says to people.
pub(crate) fn warning(step: &Step, program: &Program, record: &Record) -> Option<String> {
    words_process::warning(step, record).or_else(|| sentence(step, program, record))
}
