//! `pause` and `resume`: freezes and thaws the processes of a container.

use anyhow::Result;

use crate::args::{Arity, Verb};
use crate::call::Call;

pub(crate) const PAUSE: Verb = Verb {
    name: "pause",
    about: "freeze all processes of a container",
    operands: "<container-id>",
    description: "",
    flags: &[],
    arity: Arity::Exactly(1),
    passes_rest: false,
    starts_process: false,
    joins_container: false,
    failure: 1,
    run: |call: &Call<'_>| -> Result<u8> {
        call.container()?.pause()?;
        Ok(0)
    },
};

pub(crate) const RESUME: Verb = Verb {
    name: "resume",
    about: "thaw the processes of a paused container",
    run: |call: &Call<'_>| -> Result<u8> {
        call.container()?.resume()?;
        Ok(0)
    },
    ..PAUSE
};
