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

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(name: &str, outcomes: Vec<Outcome>) -> Subject {
        let record = |(number, outcome)| Record {
            case: format!("section.part.case{number}"),
            level: "MUST".to_owned(),
            clause: "config.md, A <heading>".to_owned(),
            outcome,
            milliseconds: 7,
        };
        let records = outcomes.into_iter().enumerate().map(record).collect();
        Subject { name: name.to_owned(), version: format!("{name} version 1"), records }
    }

    fn subjects() -> Vec<Subject> {
        let failed = Outcome::Failed("saw \"a\" & <b>\nsecond line".to_owned());
        let skipped = Outcome::Skipped("no controller".to_owned());
        vec![
            subject("one", vec![Outcome::Passed, failed, skipped]),
            subject("two", vec![Outcome::Passed]),
        ]
    }

    #[test]
    fn a_report_is_read_again_as_it_was_written() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), json::document(&subjects())).unwrap();
        let read = load(file.path()).unwrap();
        assert_eq!(json::document(&read), json::document(&subjects()));
        assert_eq!(Totals::of(&read[0].records).to_string(), "1 passed, 1 failed, 1 skipped");
    }

    #[test]
    fn every_case_of_every_subject_is_in_each_form() {
        let tap = tap::document(&subjects());
        assert!(tap.starts_with("TAP version 13\n1..4\n"), "{tap}");
        assert!(tap.contains("not ok 2 - section.part.case1 (MUST)\n"), "{tap}");
        assert!(tap.contains("\n# second line\n"), "{tap}");
        assert!(tap.contains("ok 3 - section.part.case2 (MUST) # SKIP no controller\n"), "{tap}");
        let junit = junit::document(&subjects());
        assert!(junit.contains("name=\"one\" tests=\"3\" failures=\"1\" skipped=\"1\""), "{junit}");
        assert!(junit.contains("saw &quot;a&quot; &amp; &lt;b&gt;"), "{junit}");
    }

    #[test]
    fn the_matrix_has_a_row_for_each_case_and_says_what_was_not_run() {
        let html = html::document(&subjects());
        assert_eq!(html.matches("<tr class=\"case\">").count(), 3);
        assert_eq!(html.matches("not run").count(), 2, "two cases that the second did not run");
        assert!(html.contains("saw &quot;a&quot; &amp; &lt;b&gt;"), "{html}");
        assert!(!html.contains("<b>"), "{html}");
    }
}
