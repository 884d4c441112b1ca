//! The cases, one module for each section of the specification.

mod config;
mod process;
mod runtime;

use crate::case::Case;

pub(crate) fn all() -> Vec<&'static Case> {
    let sections: [&'static [Case]; 3] = [config::CASES, process::CASES, runtime::CASES];
    sections.into_iter().flatten().collect()
}
