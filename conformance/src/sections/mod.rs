//! The cases, one module for each section of the specification.

mod config;
mod hooks;
mod mounts;
mod namespaces;
mod process;
mod runtime;

use crate::case::Case;

pub(crate) fn all() -> Vec<&'static Case> {
    let sections: [&'static [Case]; 6] = [
        config::CASES,
        process::CASES,
        mounts::CASES,
        hooks::CASES,
        namespaces::CASES,
        runtime::CASES,
    ];
    sections.into_iter().flatten().collect()
}
