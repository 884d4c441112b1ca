//! `kill`: sends a signal to a container.

use anyhow::{Result, anyhow};

use crate::args::{Arity, Flag, Verb};
use crate::call::Call;
use crate::text;

pub(crate) const VERB: Verb = Verb {
    name: "kill",
    about: "send a signal to a container's process",
    operands: "<container-id> [signal]",
    description: "The signal is a number, or a name with or without SIG; SIGTERM when not given.\n\
                  0 only asks whether the process is there.",
    flags: &[Flag::switch("all", "a", "send it to every process of the container").hidden()],
    arity: Arity::AtLeast(1),
    passes_rest: false,
    starts_process: false,
    joins_container: false,
    failure: 1,
    run,
};

fn run(call: &Call<'_>) -> Result<u8> {
    let word = call.operands.get(1).copied().unwrap_or("SIGTERM".as_ref());
    let word = word.to_str().ok_or_else(|| anyhow!("unknown signal {word:?}"))?;
    let container = call.container()?;
    let signal = text::signal(word)?;
    if call.flags.is_on("all") {
        container.kill_all(signal)?;
    } else {
        container.kill(signal)?;
    }
    Ok(0)
}
