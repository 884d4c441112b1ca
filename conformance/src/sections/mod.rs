//! The cases, one module for each section of the specification.

mod answers;
mod attacks;
mod callers;
mod cgroup;
mod commands;
mod config;
mod configuration;
mod features;
mod hooks;
mod life;
mod limits;
mod linux;
mod listener;
mod mount_options;
mod mounts;
mod namespaces;
mod network;
mod process;
mod runtime;
mod runtime_linux;
mod scheduling;
mod seccomp;
mod security;
mod terminal;

use crate::case::Case;

pub(crate) fn all() -> Vec<&'static Case> {
    let sections: [&'static [Case]; 24] = [
        config::CASES,
        configuration::CASES,
        process::CASES,
        scheduling::CASES,
        terminal::CASES,
        mounts::CASES,
        mount_options::CASES,
        hooks::CASES,
        namespaces::CASES,
        linux::CASES,
        network::CASES,
        cgroup::CASES,
        limits::CASES,
        seccomp::CASES,
        listener::CASES,
        runtime::CASES,
        life::CASES,
        runtime_linux::CASES,
        features::CASES,
        answers::CASES,
        callers::CASES,
        commands::CASES,
        security::CASES,
        attacks::CASES,
    ];
    sections.into_iter().flatten().collect()
}
