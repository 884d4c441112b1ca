//! `start`: executes the program of a created container.

use anyhow::Result;

use crate::args::{Arity, Verb};
use crate::call::Call;

pub(crate) const VERB: Verb = Verb {
    name: "start",
    about: "execute the program of a created container",
    operands: "<container-id>",
    description: "",
    flags: &[],
    arity: Arity::Exactly(1),
    passes_rest: false,
    starts_process: false,
    joins_container: false,
    failure: 1,
    run,
};

fn run(call: &Call<'_>) -> Result<u8> {
    call.container()?.start()?;
    Ok(0)
}
