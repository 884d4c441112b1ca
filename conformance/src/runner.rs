//! Runs the chosen cases, several at a time, each in a process of its own.

use crate::case::Case;
use crate::command_line::Request;
use crate::report::{Outcome, Report};
use crate::{scene, sections};
use anyhow::{Context, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs what the request asks for; true when nothing failed.
///
/// # Errors
/// The suite cannot run at all: no rights, no room for its files.
pub(crate) fn run(request: Request) -> anyhow::Result<bool> {
    let cases = chosen(&request);
    if request.list {
        for case in &cases {
            println!("{} ({}): {}", case.name, case.level, case.clause);
        }
        return Ok(true);
    }
    ensure!(!cases.is_empty(), "no case matches the filters");
    ensure!(nix::unistd::geteuid().is_root(), "the suite has to run as root");
    let runtime = request.runtime.clone().context("--runtime is missing")?;
    let place = scene::Place::new(runtime, request.timeout)?;
    Ok(run_all(&cases, &place, &request))
}

fn chosen(request: &Request) -> Vec<&'static Case> {
    let wanted = |case: &&Case| {
        request.filters.is_empty()
            || request
                .filters
                .iter()
                .any(|text| case.name.contains(text) || case.level.to_string() == *text)
    };
    sections::all().into_iter().filter(wanted).collect()
}

fn run_all(cases: &[&'static Case], place: &scene::Place, request: &Request) -> bool {
    let report = Mutex::new(Report::new(request.format, cases.len()));
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..request.jobs.min(cases.len()) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = run_one(case, place)
                        .unwrap_or_else(|error| Outcome::Failed(format!("the suite: {error:#}")));
                    lock(&report).add(case, &outcome);
                }
            });
        }
    });
    report.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).finish()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The case process answers with one line of JSON; dying without one is a
/// failure, too.
fn run_one(case: &Case, place: &scene::Place) -> anyhow::Result<Outcome> {
    let output = Command::new(own_binary()?)
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

fn own_binary() -> anyhow::Result<PathBuf> {
    std::fs::read_link(Path::new("/proc/self/exe")).context("find the suite's own binary")
}
