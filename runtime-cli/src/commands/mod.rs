//! One file for each verb: what it takes, and what it calls in the library.

mod checkpoint;
mod completion;
mod create;
mod delete;
mod demo;
mod events;
mod exec;
mod features;
mod inside;
mod kill;
mod list;
mod man;
mod mounts;
mod pause;
mod plan;
mod ps;
mod restore;
mod run;
mod seccomp;
mod spec;
mod start;
mod state;
mod update;

use std::ffi::OsStr;

use libcontainer::ExitStatus;

use crate::args::Verb;

/// All verbs, in the order of help.
pub(crate) const VERBS: &[&Verb] = &[
    &checkpoint::VERB,
    &completion::VERB,
    &create::VERB,
    &delete::VERB,
    &demo::VERB,
    &events::VERB,
    &exec::VERB,
    &features::VERB,
    &kill::VERB,
    &list::VERB,
    &man::VERB,
    &mounts::VERB,
    &pause::PAUSE,
    &plan::VERB,
    &ps::VERB,
    &restore::VERB,
    &pause::RESUME,
    &run::VERB,
    &seccomp::VERB,
    &spec::VERB,
    &start::VERB,
    &state::VERB,
    &update::VERB,
];

/// The verb of this name, of those that help does not list, too.
pub(crate) fn find(name: &OsStr) -> Option<&'static Verb> {
    VERBS.iter().copied().chain([&inside::VERB]).find(|verb| name == verb.name)
}

/// Exit code of this command for the end of a container's process.
fn exit_code(status: ExitStatus) -> u8 {
    u8::try_from(status.code() & 0xff).unwrap_or(255)
}
