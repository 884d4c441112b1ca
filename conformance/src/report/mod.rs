//! What a run found, and the forms in which it is written.

mod html;
mod json;
mod junit;
mod progress;
mod tap;

use crate::command_line::Files;
use anyhow::Context;
use std::fs;
use std::path::Path;

pub(crate) use json::load;
pub(crate) use progress::Progress;

/// How one case ended.
#[derive(Clone)]
pub(crate) enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

impl Outcome {
    fn word(&self) -> &'static str {
        match self {
            Outcome::Passed => "passed",
            Outcome::Failed(_) => "failed",
            Outcome::Skipped(_) => "skipped",
        }
    }

    /// Why the case did not pass; empty when it did.
    fn reason(&self) -> &str {
        match self {
            Outcome::Passed => "",
            Outcome::Failed(why) | Outcome::Skipped(why) => why,
        }
    }
}

/// One case of one subject. Reports of earlier runs may hold cases that this
/// suite does not have, so that nothing of it is borrowed.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) case: String,
    pub(crate) level: String,
    pub(crate) clause: String,
    pub(crate) outcome: Outcome,
    pub(crate) milliseconds: u64,
}

/// A runtime, or a runtime on a host that lacks something.
pub(crate) struct Subject {
    pub(crate) name: String,
    /// The first line of what it says of its version.
    pub(crate) version: String,
    pub(crate) records: Vec<Record>,
}

/// How many cases ended in which way.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Totals {
    pub(crate) fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed(_) => self.failed += 1,
            Outcome::Skipped(_) => self.skipped += 1,
        }
    }

    pub(crate) fn of<'r>(records: impl IntoIterator<Item = &'r Record>) -> Totals {
        let mut totals = Totals::default();
        records.into_iter().for_each(|record| totals.add(&record.outcome));
        totals
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Totals { passed, failed, skipped } = self;
        write!(out, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

/// The part of a case's name that stands for its section.
fn section(case: &str) -> &str {
    case.split('.').next().unwrap_or(case)
}

/// Writes every report that was asked for.
///
/// # Errors
/// A file cannot be written.
pub(crate) fn write(files: &Files, subjects: &[Subject]) -> anyhow::Result<()> {
    type Form = fn(&[Subject]) -> String;
    let forms: [(&Option<_>, Form); 4] = [
        (&files.tap, tap::document),
        (&files.junit, junit::document),
        (&files.json, json::document),
        (&files.html, html::document),
    ];
    for (path, document) in forms {
        if let Some(path) = path {
            write_file(path, &document(subjects))?;
        }
    }
    Ok(())
}

fn write_file(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

/// Text as XML and HTML want it; what XML cannot hold becomes a question mark.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for each in text.chars() {
        match each {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(each),
            each if each.is_control() => escaped.push('?'),
            each => escaped.push(each),
        }
    }
    escaped
}
