//! `ps`: the processes of a container.

use std::process::Command;

use anyhow::{Result, anyhow, bail};

use crate::args::{Arity, Flag, Verb};
use crate::call::{Call, print};
use crate::text;

pub(crate) const VERB: Verb = Verb {
    name: "ps",
    about: "show the processes of a container",
    operands: "<container-id> [ps arguments...]",
    description: "The table is what ps(1) prints with these arguments (-ef when not given), for the\n\
                  processes of the container. json is a list of their ids on the host.",
    flags: &[Flag::text("format", "f", "table or json").words(&["table", "json"]).default("table")],
    arity: Arity::AtLeast(1),
    passes_rest: true,
    starts_process: false,
    joins_container: false,
    failure: 1,
    run,
};

fn run(call: &Call<'_>) -> Result<u8> {
    let format = call.flags.text("format").unwrap_or("table".as_ref());
    let container = call.container()?;
    if format == "json" {
        print(&format!("{}\n", json(&container.processes()?)?))?;
    } else if format == "table" {
        let mut ps = Command::new("ps");
        // With PATH set the library forks; else posix_spawn, which gives up where clone3 is
        // refused with EPERM, as by profiles of outer containers.
        if let Some(path) = std::env::var_os("PATH") {
            ps.env("PATH", path);
        }
        match call.operands.get(1..) {
            Some(arguments) if !arguments.is_empty() => ps.args(arguments),
            _ => ps.arg("-ef"),
        };
        print(&table(ps, &container.processes()?)?)?;
    } else {
        bail!("invalid format option");
    }
    Ok(0)
}

/// Go's encoder writes an empty list as null, and callers have learned it.
fn json(pids: &[u32]) -> Result<String> {
    if pids.is_empty() {
        return Ok("null".to_owned());
    }
    Ok(serde_json::to_string(pids)?)
}

fn table(mut ps: Command, pids: &[u32]) -> Result<String> {
    let output = ps.output().map_err(|error| text::tried("run ps", &error))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        return Err(anyhow!("{}: {}", output.status, message.trim_end()));
    }
    matching(&String::from_utf8_lossy(&output.stdout), pids)
}

/// The heading, and the lines whose column PID has one of the ids.
fn matching(output: &str, pids: &[u32]) -> Result<String> {
    let mut lines = output.lines();
    let heading = lines.next().unwrap_or_default();
    let column = heading.split_whitespace().position(|word| word == "PID");
    let column = column.ok_or_else(|| anyhow!("couldn't find PID field in ps output"))?;
    let belongs = |line: &&str| {
        let pid = line.split_whitespace().nth(column).and_then(|word| word.parse().ok());
        pid.is_some_and(|pid: u32| pids.contains(&pid))
    };
    let lines = [heading].into_iter().chain(lines.filter(belongs));
    Ok(lines.flat_map(|line| [line, "\n"]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_chosen_by_the_column_named_pid() {
        let output = "UID   PID  PPID CMD\nroot    7     1 sh\nroot   70     7 sleep 7\n";
        assert_eq!(
            matching(output, &[70]).unwrap(),
            "UID   PID  PPID CMD\nroot   70     7 sleep 7\n"
        );
        assert!(matching("CMD\nsh\n", &[7]).is_err());
    }
}
