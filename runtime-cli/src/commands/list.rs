//! `list`: all containers below a root.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};
use libcontainer::{Container, State};

use crate::args::{Arity, Flag, Verb};
use crate::call::{Call, print};
use crate::place::print_stderr;
use crate::text;

pub(crate) const VERB: Verb = Verb {
    name: "list",
    about: "list the containers below a root",
    operands: "",
    description: "",
    flags: &[
        Flag::text("format", "f", "table or json").words(&["table", "json"]).default("table"),
        Flag::switch("quiet", "q", "show ids only"),
    ],
    arity: Arity::Exactly(0),
    passes_rest: false,
    starts_process: false,
    joins_container: false,
    failure: 1,
    run,
};

fn run(call: &Call<'_>) -> Result<u8> {
    let root = call.root()?;
    // The default directory comes with the first container; one that was named is to be there.
    if call.globals.text("root").is_some() {
        fs::metadata(&root)
            .map_err(|error| text::tried(format_args!("open {}", root.display()), &error))?;
    }
    let states = states(&root)?;
    let format = call.flags.text("format").unwrap_or("table".as_ref());
    let text = if call.flags.is_on("quiet") {
        states.iter().map(|state| format!("{}\n", state.id)).collect()
    } else if format == "table" {
        table(&states)
    } else if format == "json" {
        json(&states)?
    } else {
        bail!("invalid format option");
    };
    print(&text)?;
    Ok(0)
}

/// Containers whose record cannot be read are named on standard error and left out.
fn states(root: &Path) -> Result<Vec<State>> {
    let mut states = Vec::new();
    for (name, container) in Container::list(root)? {
        let state = container.and_then(|container| {
            let owner = owner(container.owner_uid());
            container.state().map(|state| State { owner, ..state })
        });
        match state {
            Ok(state) => states.push(state),
            Err(error) => print_stderr(&format!("load container {name}: {error}")),
        }
    }
    Ok(states)
}

/// Go's encoder writes an empty list as null, and callers have learned it.
fn json(states: &[State]) -> Result<String> {
    if states.is_empty() {
        return Ok("null\n".to_owned());
    }
    Ok(format!("{}\n", serde_json::to_string(states)?))
}

fn table(states: &[State]) -> String {
    let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let row = |state: &State| {
        vec![
            state.id.clone(),
            state.pid.to_string(),
            state.status.to_string(),
            state.bundle.display().to_string(),
            state.created.clone(),
            state.owner.clone(),
        ]
    };
    let rows: Vec<_> = [header.to_vec()].into_iter().chain(states.iter().map(row)).collect();
    text::table(&rows)
}

/// Name of a user on this machine, `#` and the number for one without a name.
fn owner(uid: u32) -> String {
    let uid = uid.to_string();
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("#{uid}"))
}
