//! How results are written.

use crate::case::Case;
use crate::command_line::Format;
use serde_json::json;

/// How one case ended.
pub(crate) enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

/// Writes results as they come, and counts them.
pub(crate) struct Report {
    format: Format,
    number: usize,
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Report {
    pub(crate) fn new(format: Format, cases: usize) -> Report {
        if format == Format::Tap {
            println!("TAP version 13\n1..{cases}");
        }
        Report { format, number: 0, passed: 0, failed: 0, skipped: 0 }
    }

    pub(crate) fn add(&mut self, case: &Case, outcome: &Outcome) {
        self.number += 1;
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed(_) => self.failed += 1,
            Outcome::Skipped(_) => self.skipped += 1,
        }
        match self.format {
            Format::Plain => plain(case, outcome),
            Format::Tap => tap(self.number, case, outcome),
            Format::Json => json_line(case, outcome),
        }
    }

    /// Writes the last line; true when nothing failed.
    pub(crate) fn finish(self) -> bool {
        let Report { passed, failed, skipped, .. } = self;
        let line = format!("{passed} passed, {failed} failed, {skipped} skipped");
        match self.format {
            Format::Json => eprintln!("{line}"),
            _ => println!("{line}"),
        }
        failed == 0
    }
}

fn plain(case: &Case, outcome: &Outcome) {
    match outcome {
        Outcome::Passed => println!("ok    {} ({})", case.name, case.level),
        Outcome::Skipped(why) => println!("skip  {} ({}): {why}", case.name, case.level),
        Outcome::Failed(why) => {
            println!("FAIL  {} ({})\n      {}", case.name, case.level, case.clause);
            why.lines().for_each(|line| println!("      {line}"));
        }
    }
}

fn tap(number: usize, case: &Case, outcome: &Outcome) {
    let Case { name, level, clause, .. } = case;
    match outcome {
        Outcome::Passed => println!("ok {number} - {name} ({level})"),
        Outcome::Skipped(why) => println!("ok {number} - {name} ({level}) # SKIP {why}"),
        Outcome::Failed(why) => {
            println!("not ok {number} - {name} ({level})\n# {clause}");
            why.lines().for_each(|line| println!("# {line}"));
        }
    }
}

fn json_line(case: &Case, outcome: &Outcome) {
    let (result, reason) = match outcome {
        Outcome::Passed => ("passed", None),
        Outcome::Failed(why) => ("failed", Some(why)),
        Outcome::Skipped(why) => ("skipped", Some(why)),
    };
    println!(
        "{}",
        json!({
            "case": case.name,
            "level": case.level.to_string(),
            "clause": case.clause,
            "result": result,
            "reason": reason,
        })
    );
}
