//! `features`: what this runtime can do, as the specification's features.md describes it.

use anyhow::Result;

use crate::args::{Arity, Verb};
use crate::call::{Call, print};
use crate::version;

pub(crate) const VERB: Verb = Verb {
    name: "features",
    about: "show what this runtime can do, as JSON",
    operands: "",
    description: "The JSON is the Features structure of the runtime specification.",
    flags: &[],
    arity: Arity::Exactly(0),
    passes_rest: false,
    starts_process: false,
    joins_container: false,
    failure: 1,
    run,
};

fn run(_call: &Call<'_>) -> Result<u8> {
    let mut features = libcontainer::features();
    for (name, value) in [
        ("com.github.husk-containers.husk.version", version::VERSION),
        ("com.github.husk-containers.husk.commit", version::COMMIT),
        // Engines ask for these names, whichever runtime it is.
        ("org.opencontainers.runc.checkpoint.enabled", "true"),
        ("run.oci.crun.checkpoint.enabled", "true"),
    ] {
        features.annotations.insert(name.to_owned(), value.to_owned());
    }
    print(&format!("{}\n", serde_json::to_string_pretty(&features)?))?;
    Ok(0)
}
