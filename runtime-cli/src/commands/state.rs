//! `state`: the state of a container as JSON.

use anyhow::Result;

use crate::args::{Arity, Verb};
use crate::call::{Call, print};

pub(crate) const VERB: Verb = Verb {
    name: "state",
    about: "show the state of a container, as JSON",
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
    let state = call.container()?.state()?;
    print(&format!("{}\n", serde_json::to_string_pretty(&state)?))?;
    Ok(0)
}
