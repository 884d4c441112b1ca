//! `delete`: removes what is left of a container.

use anyhow::Result;
use libcontainer::Container;

use crate::args::{Arity, Flag, Verb};
use crate::call::Call;

pub(crate) const VERB: Verb = Verb {
    name: "delete",
    about: "remove what a stopped container holds",
    operands: "<container-id>",
    description: "",
    flags: &[Flag::switch("force", "f", "kill it first; a missing container is no error")],
    arity: Arity::Exactly(1),
    passes_rest: false,
    starts_process: false,
    joins_container: false,
    failure: 1,
    run,
};

fn run(call: &Call<'_>) -> Result<u8> {
    let warnings = if call.flags.is_on("force") {
        Container::force_delete(&call.root()?, call.id()?)?
    } else {
        call.container()?.delete()?
    };
    call.warn_all(&warnings);
    Ok(0)
}
