//! `man`: the manual pages.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::args::{Arity, Verb};
use crate::call::Call;
use crate::reference::man;
use crate::text;

pub(crate) const VERB: Verb = Verb {
    name: "man",
    about: "write the manual pages",
    operands: "<directory>",
    description: "Writes the manual pages of section 8 into the directory, which has to be there: one of\n\
                  the program and one of each command. make install does that.",
    flags: &[],
    arity: Arity::Exactly(1),
    passes_rest: false,
    starts_process: false,
    joins_container: false,
    failure: 1,
    run,
};

fn run(call: &Call<'_>) -> Result<u8> {
    let directory = Path::new(call.operands.first().copied().unwrap_or_default());
    for (name, page) in man::pages(call.program) {
        let path = directory.join(name);
        fs::write(&path, page)
            .map_err(|error| text::tried(format_args!("write {}", path.display()), &error))?;
    }
    Ok(0)
}
