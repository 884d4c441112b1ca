//! `containerd-shim-husk-v1`: the containerd shim of husk.
//!
//! This release has the program and its version only. Whatever containerd asks of it is refused in
//! words that say so, because a shim that pretends to start a task would lose the task.

mod arguments;
mod bootstrap;
mod delete;
mod events;
mod info;
mod io;
mod log;
mod metrics;
mod oom;
mod options;
mod resources;
mod rootfs;
mod server;
mod service;
mod start;
mod task;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asks_version =
        arguments.iter().any(|a| matches!(a.as_str(), "-v" | "--version" | "-version"));
    if asks_version {
        println!("containerd-shim-husk-v1:");
        println!("  Version:  {}", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    eprintln!(
        "containerd-shim-husk-v1: not in this release: the shim serves no task yet; \
         use containerd's own shim with husk as its runtime (BinaryName = \"husk\")"
    );
    ExitCode::FAILURE
}
