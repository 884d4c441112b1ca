//! What is printed while cases run.

use super::{Outcome, Record, Totals, json, tap};
use crate::command_line::Format;
use std::io::{IsTerminal, Write};

/// Prints results as they come: on a terminal a line that moves; elsewhere
/// only what did not pass, since a log of successes hides the rest.
pub(crate) struct Progress {
    format: Format,
    live: bool,
    subject: String,
    cases: usize,
    number: usize,
    totals: Totals,
}

impl Progress {
    pub(crate) fn new(format: Format, subject: &str, cases: usize) -> Progress {
        if format == Format::Tap {
            println!("TAP version 13\n1..{cases}");
        }
        Progress {
            format,
            live: format == Format::Plain && std::io::stdout().is_terminal(),
            subject: subject.to_owned(),
            cases,
            number: 0,
            totals: Totals::default(),
        }
    }

    pub(crate) fn add(&mut self, record: &Record) {
        self.number += 1;
        self.totals.add(&record.outcome);
        match self.format {
            Format::Tap => print!("{}", tap::line(self.number, record)),
            Format::Json => println!("{}", json::record(record)),
            Format::Plain => self.plain(record),
        }
    }

    fn plain(&self, record: &Record) {
        self.clear();
        let Record { case, level, clause, outcome, .. } = record;
        match outcome {
            Outcome::Passed => {}
            Outcome::Skipped(why) => println!("skip  {case} ({level}): {why}"),
            Outcome::Failed(why) => {
                println!("FAIL  {case} ({level})\n      {clause}");
                why.lines().for_each(|line| println!("      {line}"));
            }
        }
        if self.live {
            let Totals { failed, skipped, .. } = self.totals;
            print!(
                "[{}/{}] {}: {failed} failed, {skipped} skipped; {case}",
                self.number, self.cases, self.subject
            );
            // A progress line that cannot be shown is no reason to stop.
            std::io::stdout().flush().ok();
        }
    }

    fn clear(&self) {
        if self.live {
            print!("\r\x1b[K");
        }
    }

    /// Takes the moving line away.
    pub(crate) fn finish(self) {
        self.clear();
    }
}
