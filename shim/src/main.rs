//! `containerd-shim-husk-v1`: the containerd shim of husk.
//!
//! containerd calls it with the action `start`, which has a shim serve the container and tells
//! where; without an action it is that shim. `delete` cleans up after a shim that is gone.

mod arguments;
mod bootstrap;
mod delete;
mod events;
mod fault;
mod info;
mod io;
mod log;
mod metrics;
mod oom;
mod options;
mod place;
mod readiness;
mod resources;
mod rest;
mod rootfs;
mod server;
mod service;
mod socket;
mod start;
mod task;

use std::process::ExitCode;

use anyhow::{Result, bail};

use arguments::{Arguments, check_name};

const NAME: &str = env!("CARGO_PKG_NAME");

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{NAME}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments = Arguments::parse(std::env::args_os().skip(1))?;
    if arguments.version {
        println!("{NAME}:\n  Version:  {}", env!("CARGO_PKG_VERSION"));
        return Ok(());
    }
    if arguments.info {
        return info::print();
    }
    check_name("namespace", &arguments.namespace)?;
    check_name("id", &arguments.id)?;
    match arguments.action.as_deref() {
        Some("start") => start::run(&arguments),
        Some("delete") => delete::run(&arguments),
        None => server::run(&arguments),
        Some(action) => bail!("unknown action {action:?}: start and delete are known"),
    }
}
