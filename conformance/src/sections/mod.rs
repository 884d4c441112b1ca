//! The cases, one module for each section of the specification.

mod callers;
mod cgroup;
mod config;
mod features;
mod hooks;
mod linux;
mod mounts;
mod namespaces;
mod process;
mod runtime;
mod runtime_linux;
mod seccomp;
mod security;

use crate::case::Case;

pub(crate) fn all() -> Vec<&'static Case> {
    let sections: [&'static [Case]; 13] = [
        config::CASES,
        process::CASES,
        mounts::CASES,
        hooks::CASES,
        namespaces::CASES,
        linux::CASES,
        cgroup::CASES,
        seccomp::CASES,
        runtime::CASES,
        runtime_linux::CASES,
        features::CASES,
        callers::CASES,
        security::CASES,
    ];
    sections.into_iter().flatten().collect()
}
