//! `kill`: sends a signal to a container.

use anyhow::{Result, anyhow};
use libcontainer::{Container, Pattern};

use crate::args::{Arity, Flag, Verb};
use crate::call::Call;
use crate::text;

pub(crate) const VERB: Verb = Verb {
    name: "kill",
    about: "send a signal to a container's process",
    operands: "<container-id> [signal]",
    description: "The signal is a number, or a name with or without SIG; SIGTERM when not given.\n\
                  0 only asks whether the process is there. With --regex the container is a regular\n\
                  expression, and every container whose id it matches gets the signal.",
    flags: &[
        Flag::switch("all", "a", "send it to every process of the container").hidden(),
        Flag::switch("regex", "r", "to all containers whose id this extended regex(7) matches"),
    ],
    arity: Arity::Between(1, 2),
    passes_rest: false,
    starts_process: false,
    joins_container: false,
    failure: 1,
    run,
};

fn run(call: &Call<'_>) -> Result<u8> {
    let word = call.operands.get(1).copied().unwrap_or("SIGTERM".as_ref());
    let word = word.to_str().ok_or_else(|| anyhow!("unknown signal {word:?}"))?;
    if call.flags.is_on("regex") {
        let signal = text::signal(word)?;
        return for_all_matching(call, |container| send(call, container, signal));
    }
    let container = call.container()?;
    send(call, &container, text::signal(word)?)?;
    Ok(0)
}

fn send(call: &Call<'_>, container: &Container, signal: i32) -> Result<()> {
    match call.flags.is_on("all") {
        true => Ok(container.kill_all(signal)?),
        false => Ok(container.kill(signal)?),
    }
}

/// Does something to every container whose id the first positional argument matches. What fails
/// for one of them is a warning, as with crun.
pub(super) fn for_all_matching(
    call: &Call<'_>,
    act: impl Fn(&Container) -> Result<()>,
) -> Result<u8> {
    let pattern = call.operands.first().copied().unwrap_or_default();
    let pattern = Pattern::new(text::utf8(pattern, "regular expression")?)?;
    for (name, container) in Container::list(&call.root()?)? {
        if !pattern.matches(&name) {
            continue;
        }
        if let Err(error) = container.map_err(Into::into).and_then(|container| act(&container)) {
            call.log.warn(format!("{name}: {error:#}"));
        }
    }
    Ok(0)
}
