//! `mounts`: mounts into a running container, and out of it.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};

use anyhow::{Context, Result, anyhow, bail};
use libcontainer::Container;
use libcontainer::spec::Mount;

use crate::args::{Arity, Verb};
use crate::call::Call;
use crate::text;

pub(crate) const VERB: Verb = Verb {
    name: "mounts",
    about: "add mounts to a running container, or remove them",
    operands: "<add|remove> <container-id> <file>",
    description: "The file, - for standard input, has a list of mounts as in config.json. Sources are\n\
                  those of this command's file system, destinations those of the container. Of mounts\n\
                  that are removed only the destination counts.",
    flags: &[],
    arity: Arity::Exactly(3),
    passes_rest: false,
    // The process that mounts runs inside the container for a moment.
    starts_process: true,
    joins_container: true,
    failure: 1,
    run,
};

fn run(call: &Call<'_>) -> Result<u8> {
    let [what, id, file] = call.operands else {
        bail!("usage: {} mounts {}", call.program.name, VERB.operands);
    };
    let container = Container::open(&call.root()?, text::utf8(id, "container id")?)?;
    let change = match what.to_str() {
        Some("add") => Container::add_mounts,
        Some("remove") => Container::remove_mounts,
        _ => bail!("unknown command {what:?}: add or remove"),
    };
    let json = read(file).with_context(|| format!("read {}", file.display()))?;
    let mounts =
        Mount::parse_list(&json).map_err(|error| anyhow!("{}: {error}", file.display()))?;
    call.warn_all(&change(&container, &mounts)?);
    Ok(0)
}

fn read(file: &OsStr) -> Result<Vec<u8>> {
    let mut json = Vec::new();
    match file == "-" {
        true => io::stdin().read_to_end(&mut json).map(drop),
        false => fs::read(file).map(|content| json = content),
    }
    .map_err(|error| anyhow!("{}", text::kernel(&error)))?;
    Ok(json)
}
