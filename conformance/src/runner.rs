//! Runs the chosen cases, several at a time, each in a process of its own.

use crate::case::Case;
use crate::command_line::{Candidate, Request};
use crate::fault::{self, Fault};
use crate::report::{self, Outcome, Progress, Record, Subject, Totals};
use crate::{scene, sections};
use anyhow::{Context, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

/// Cases whose failure is known, with the reason.
type Known = BTreeMap<String, String>;

/// Runs what the request asks for; true when nothing failed.
///
/// # Errors
/// The suite cannot run at all: no rights, no room for its files.
pub(crate) fn run(request: Request) -> anyhow::Result<bool> {
    let cases = chosen(&request);
    if request.list && request.each_fault {
        fault::each().iter().for_each(|fault| println!("{fault}"));
        return Ok(true);
    }
    if request.list {
        for case in &cases {
            println!("{} ({}): {}", case.name, case.level, case.clause);
        }
        return Ok(true);
    }
    ensure!(!cases.is_empty(), "no case matches the filters");
    let mut subjects = Vec::new();
    for path in &request.merged {
        subjects.extend(report::load(path)?);
    }
    let known = known(request.known.as_deref())?;
    let mut totals = match request.runtimes.is_empty() {
        true => Totals::of(subjects.iter().flat_map(|subject| &subject.records)),
        false => Totals::default(),
    };
    let trials = trials(&request);
    for trial in &trials {
        let subject = trial.run(&cases, &known, &request)?;
        let own = Totals::of(&subject.records);
        if trials.len() > 1 {
            println!("{}: {own}", subject.name);
        }
        totals.passed += own.passed;
        totals.failed += own.failed;
        totals.skipped += own.skipped;
        subjects.push(subject);
        if request.fail_fast && totals.failed > 0 {
            break;
        }
    }
    report::write(&request.files, &subjects)?;
    match request.format {
        crate::command_line::Format::Json => eprintln!("{totals}"),
        _ => println!("{totals}"),
    }
    Ok(totals.failed == 0)
}

fn chosen(request: &Request) -> Vec<&'static Case> {
    let wanted = |case: &&Case| {
        request.filters.is_empty()
            || request
                .filters
                .iter()
                .any(|text| case.name.contains(text) || case.level.to_string() == *text)
    };
    let mut cases: Vec<&Case> = sections::all().into_iter().filter(wanted).collect();
    // The order within both halves stays.
    cases.sort_by_key(|case| !request.first.iter().any(|text| case.name.contains(text)));
    cases
}

/// Lines `fail NAME: reason`; others are not looked at.
fn known(path: Option<&Path>) -> anyhow::Result<Known> {
    let Some(path) = path else { return Ok(Known::new()) };
    let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
    let entry = |line: &str| {
        let (name, reason) = line.strip_prefix("fail ")?.split_once(": ")?;
        Some((name.to_owned(), reason.to_owned()))
    };
    Ok(text.lines().filter_map(entry).collect())
}

/// A runtime, and what it has to do without.
struct Trial {
    candidate: Candidate,
    faults: Vec<Fault>,
}

fn trials(request: &Request) -> Vec<Trial> {
    let sets: Vec<Vec<Fault>> = match request.each_fault {
        true => fault::each().into_iter().map(|fault| vec![fault]).collect(),
        false => vec![request.faults.clone()],
    };
    let runtimes = request.runtimes.iter();
    runtimes
        .flat_map(|candidate| {
            sets.iter().map(|faults| Trial { candidate: candidate.clone(), faults: faults.clone() })
        })
        .collect()
}

impl Trial {
    fn name(&self) -> String {
        match self.faults.is_empty() {
            true => self.candidate.name.clone(),
            false => {
                let words = fault::words(&self.faults);
                format!("{}, {}", self.candidate.name, words.to_string_lossy())
            }
        }
    }

    /// # Errors
    /// The suite cannot run here.
    fn run(
        &self,
        cases: &[&'static Case],
        known: &Known,
        request: &Request,
    ) -> anyhow::Result<Subject> {
        ensure!(nix::unistd::geteuid().is_root(), "the suite has to run as root");
        let binary = self.candidate.binary.clone();
        let place = scene::Place::new(binary, request, &self.faults)?;
        let progress = Mutex::new(Progress::new(request.format, &self.name(), cases.len()));
        let records = Mutex::new(Vec::new());
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for _ in 0..request.jobs.min(cases.len()) {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let Some(case) = cases.get(number) else { break };
                        let record = self.record(case, &place, known);
                        lock(&progress).add(&record);
                        if request.fail_fast && matches!(record.outcome, Outcome::Failed(_)) {
                            stop.store(true, Ordering::Relaxed);
                        }
                        lock(&records).push((number, record));
                    }
                });
            }
        });
        unlock(progress).finish();
        let mut records = unlock(records);
        records.sort_by_key(|(number, _)| *number);
        Ok(Subject {
            name: self.name(),
            version: version(&self.candidate.binary),
            records: records.into_iter().map(|(_, record)| record).collect(),
        })
    }

    fn record(&self, case: &Case, place: &scene::Place, known: &Known) -> Record {
        let started = Instant::now();
        let outcome = run_one(case, place)
            .unwrap_or_else(|error| Outcome::Failed(format!("the suite: {error:#}")));
        Record {
            case: case.name.to_owned(),
            level: case.level.to_string(),
            clause: case.clause.to_owned(),
            outcome: self.judged(case, outcome, known),
            milliseconds: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// A failure for want of what was taken away, or one that is known, is none.
    fn judged(&self, case: &Case, outcome: Outcome, known: &Known) -> Outcome {
        let Outcome::Failed(_) = &outcome else { return outcome };
        match fault::excuse(&self.faults, case.name).or_else(|| known.get(case.name).cloned()) {
            Some(reason) => Outcome::Skipped(reason),
            None => outcome,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn unlock<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The first line of what the runtime says of its version.
fn version(binary: &Path) -> String {
    let output = Command::new(binary).arg("--version").stdin(Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}

/// The case process answers with one line of JSON; dying without one is a
/// failure, too.
fn run_one(case: &Case, place: &scene::Place) -> anyhow::Result<Outcome> {
    let output = Command::new(place.probe())
        .args(place.case_arguments(case.name))
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .context("start the case process")?;
    let line = String::from_utf8_lossy(&output.stdout);
    let Ok(answer) = serde_json::from_str::<Value>(line.trim()) else {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Ok(Outcome::Failed(format!("the case process died ({}): {stderr}", output.status)));
    };
    let reason = answer["reason"].as_str().unwrap_or_default().to_owned();
    Ok(match answer["result"].as_str() {
        Some("passed") => Outcome::Passed,
        Some("skipped") => Outcome::Skipped(reason),
        _ => Outcome::Failed(reason),
    })
}
