//! One file for each verb: what it takes, and what it calls in the library.

mod features;
mod refused;
mod spec;

use crate::args::Verb;

/// All verbs, in the order of help.
pub(crate) const VERBS: &[&Verb] = &[
    &refused::CHECKPOINT,
    &refused::EVENTS,
    &features::VERB,
    &refused::RESTORE,
    &spec::VERB,
    &refused::UPDATE,
];
