//! `husk-conformance`: a black-box conformance suite for any OCI runtime.
//!
//! One binary plays five parts, told apart by a hidden first argument: the
//! suite itself; one process per case (so that a case has its own mount
//! namespace, its own orphans and its own deadline); the only program inside
//! the containers, which reports what it sees as JSON; the hooks; and what
//! executes a runtime without some system calls.
//!
//! ```text
//! husk-conformance --runtime /usr/bin/crun --filter config.mounts
//! ```

mod bundle;
mod case;
mod cgroups;
mod command_line;
mod container;
mod fault;
mod guard;
mod hook;
mod probe;
mod report;
mod runner;
mod runtime;
mod scene;
mod sections;
mod socket;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let part = args.next().and_then(|first| first.into_string().ok());
    match part.as_deref() {
        Some(probe::PART) => probe::play(args.next()),
        Some(hook::PART) => hook::play(args.collect()),
        Some(scene::PART) => scene::play(args.collect()),
        Some(fault::PART) => fault::play(args.collect()),
        _ => suite(),
    }
}

fn suite() -> ExitCode {
    match command_line::parse(std::env::args().skip(1).collect()).and_then(runner::run) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("husk-conformance: {error:#}");
            ExitCode::from(2)
        }
    }
}
