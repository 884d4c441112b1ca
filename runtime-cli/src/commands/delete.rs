//! `delete`: removes what is left of a container.

use anyhow::Result;
use libcontainer::Container;

use super::kill::for_all_matching;
use crate::args::{Arity, Flag, Verb};
use crate::call::Call;

pub(crate) const VERB: Verb = Verb {
    name: "delete",
    about: "remove what a stopped container holds",
    operands: "<container-id>",
    description: "With --regex the container is a regular expression, and every container whose id it\n\
                  matches is removed.",
    flags: &[
        Flag::switch("force", "f", "kill it first; a missing container is no error"),
        Flag::switch("regex", "r", "all containers whose id this extended regex(7) matches"),
    ],
    arity: Arity::Exactly(1),
    passes_rest: false,
    starts_process: false,
    joins_container: false,
    failure: 1,
    run,
};

fn run(call: &Call<'_>) -> Result<u8> {
    let delete = match call.globals.is_on("strict") {
        true => Container::delete_stopped,
        false => Container::delete,
    };
    if call.flags.is_on("regex") {
        return for_all_matching(call, |container| {
            let warnings = match call.flags.is_on("force") {
                true => Container::force_delete(&call.root()?, container.id())?,
                false => delete(container)?,
            };
            call.warn_all(&warnings);
            Ok(())
        });
    }
    let warnings = if call.flags.is_on("force") {
        Container::force_delete(&call.root()?, call.id()?)?
    } else {
        delete(&call.container()?)?
    };
    call.warn_all(&warnings);
    Ok(0)
}
