//! `completion`: what a shell reads to complete this program's command line.

use anyhow::{Result, bail};

use crate::args::{Arity, Verb};
use crate::call::{Call, print};
use crate::reference::{bash, fish, zsh};

pub(crate) const VERB: Verb = Verb {
    name: "completion",
    about: "write a completion for a shell",
    operands: "<bash|zsh|fish>",
    description: "Writes to standard output what the shell reads to complete commands, flags, container\n\
                  ids, signals and files. make install puts all three where shells look for them.",
    flags: &[],
    arity: Arity::Exactly(1),
    passes_rest: false,
    starts_process: false,
    joins_container: false,
    failure: 1,
    run,
};

fn run(call: &Call<'_>) -> Result<u8> {
    let shell = call.operands.first().copied().unwrap_or_default();
    let text = match shell.to_str() {
        Some("bash") => bash::completion(call.program),
        Some("zsh") => zsh::completion(call.program),
        Some("fish") => fish::completion(call.program),
        _ => bail!("there is no completion for {shell:?}: bash, zsh or fish"),
    };
    print(&text)?;
    Ok(0)
}
