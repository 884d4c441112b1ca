//! TAP version 13.

use super::{Outcome, Record, Subject};

pub(super) fn document(subjects: &[Subject]) -> String {
    let count: usize = subjects.iter().map(|subject| subject.records.len()).sum();
    let mut text = format!("TAP version 13\n1..{count}\n");
    let mut number = 0;
    for subject in subjects {
        text.push_str(&format!("# {}: {}\n", subject.name, subject.version));
        for record in &subject.records {
            number += 1;
            text.push_str(&line(number, record));
        }
    }
    text
}

/// A result, and after a failure why.
pub(super) fn line(number: usize, record: &Record) -> String {
    let Record { case, level, clause, outcome, .. } = record;
    match outcome {
        Outcome::Passed => format!("ok {number} - {case} ({level})\n"),
        Outcome::Skipped(why) => {
            format!("ok {number} - {case} ({level}) # SKIP {}\n", why.replace('\n', " "))
        }
        Outcome::Failed(why) => {
            let why: String = why.lines().map(|line| format!("# {line}\n")).collect();
            format!("not ok {number} - {case} ({level})\n# {clause}\n{why}")
        }
    }
}
