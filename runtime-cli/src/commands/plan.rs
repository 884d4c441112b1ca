//! `plan`: what `create` would do, without doing it.

use anyhow::Result;
use libcontainer::Container;

use super::create;
use crate::args::{Arity, Verb};
use crate::call::{Call, print};

pub(crate) const VERB: Verb = Verb {
    name: "plan",
    about: "show what create would do, step by step",
    operands: "<container-id>",
    description: "Nothing is done. What config.json asks wrongly is reported as by create.",
    flags: &[
        create::BUNDLE,
        create::CONFIG,
        create::NO_PIVOT,
        create::NO_NEW_KEYRING,
        create::HANDLERS,
    ],
    arity: Arity::Exactly(1),
    passes_rest: false,
    starts_process: false,
    joins_container: false,
    failure: 1,
    run,
};

fn run(call: &Call<'_>) -> Result<u8> {
    let options = create::options(call, call.id()?)?;
    let plan = Container::describe_plan(&options)?;
    print(&format!("{}\n", plan.trim_end()))?;
    Ok(0)
}
