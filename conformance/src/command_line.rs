//! The arguments of the suite.

use crate::fault::Fault;
use anyhow::{Context, bail, ensure};
use std::path::{Path, PathBuf};

/// What the suite was asked to do.
#[derive(Default)]
pub(crate) struct Request {
    pub(crate) runtimes: Vec<Candidate>,
    /// Reports of earlier runs, to be shown beside this one.
    pub(crate) merged: Vec<PathBuf>,
    pub(crate) filters: Vec<String>,
    /// Cases that come before all others.
    pub(crate) first: Vec<String>,
    pub(crate) list: bool,
    pub(crate) fail_fast: bool,
    pub(crate) jobs: usize,
    pub(crate) format: Format,
    /// Seconds that one case may take.
    pub(crate) timeout: u64,
    pub(crate) files: Files,
    pub(crate) faults: Vec<Fault>,
    /// Further arguments for each command of the runtime.
    pub(crate) arguments: Vec<String>,
    pub(crate) each_fault: bool,
    /// Names cases whose failure is known, with the reason.
    pub(crate) known: Option<PathBuf>,
}

/// A runtime to test, under the name that reports give it.
#[derive(Clone)]
pub(crate) struct Candidate {
    pub(crate) name: String,
    pub(crate) binary: PathBuf,
}

/// Reports that are written beside what is printed.
#[derive(Default)]
pub(crate) struct Files {
    pub(crate) tap: Option<PathBuf>,
    pub(crate) junit: Option<PathBuf>,
    pub(crate) json: Option<PathBuf>,
    pub(crate) html: Option<PathBuf>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Format {
    #[default]
    Plain,
    Tap,
    Json,
}

const USAGE: &str = "\
usage: husk-conformance --runtime [NAME=]PATH|NAME... [--filter TEXT]... [--list]
                        [--jobs N] [--timeout SECONDS] [--fail-fast] [--first TEXT]...
                        [--deny CALL=ERROR]... [--deny-each] [--known FILE]
                        [--argument WORD]...
                        [--tap FILE] [--junit FILE] [--json FILE] [--html FILE]
                        [--merge FILE]... [--format plain|tap|json]

  --runtime    the runtime to test: a path, or a name to look up in PATH; several for a
               matrix, each with a name for the reports where the file's will not do
  --filter     only cases whose name or level contains TEXT (may be repeated)
  --list       print the cases instead of running them; with --deny-each what is taken away
  --jobs       cases at the same time (4)
  --timeout    seconds that one case may take (60)
  --fail-fast  start no further case after the first failure
  --first      cases whose name contains TEXT before all others
  --deny       the runtime and all that it starts get ERROR (ENOSYS, EPERM, ...) from the
               system call; cases that are about what the call does may fail then
  --deny-each  the suite again and again, each time without one of the newer calls
  --known      FILE has a line `fail NAME: reason` for each failure that is known; these
               count as skipped
  --argument   a further word before the verb in each command line of the runtime
  --tap, --junit, --json, --html   write a report; html is a matrix in one file
  --merge      a --json report of an earlier run, to be part of the reports of this one;
               without --runtime only the reports are written
  --format     what is printed: plain (failures, skips, totals), tap, or json (one object
               a line)

The last line says `N passed, N failed, N skipped` (with json: on stderr).
Exit code 0: nothing failed; 1: something failed; 2: the suite could not run.";

/// # Errors
/// An unknown or incomplete option, or a runtime that is not there.
pub(crate) fn parse(args: Vec<String>) -> anyhow::Result<Request> {
    let mut request = Request { jobs: 4, timeout: 60, ..Request::default() };
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let (name, mut inline) = match arg.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (arg, None),
        };
        let mut value = || {
            inline.take().or_else(|| args.next()).with_context(|| format!("{name} needs a value"))
        };
        match name.as_str() {
            "--runtime" => request.runtimes.push(find_runtime(&value()?)?),
            "--merge" => request.merged.push(value()?.into()),
            "--filter" => request.filters.push(value()?),
            "--first" => request.first.push(value()?),
            "--list" => request.list = true,
            "--fail-fast" => request.fail_fast = true,
            "--jobs" => request.jobs = value()?.parse().context("--jobs")?,
            "--timeout" => request.timeout = value()?.parse().context("--timeout")?,
            "--format" => request.format = parse_format(&value()?)?,
            "--deny" => request.faults.push(value()?.parse()?),
            "--deny-each" => request.each_fault = true,
            "--argument" => request.arguments.push(value()?),
            "--known" => request.known = Some(value()?.into()),
            "--tap" => request.files.tap = Some(value()?.into()),
            "--junit" => request.files.junit = Some(value()?.into()),
            "--json" => request.files.json = Some(value()?.into()),
            "--html" => request.files.html = Some(value()?.into()),
            "--help" | "-h" => {
                println!("{USAGE}");
                std::process::exit(0);
            }
            _ => bail!("unknown argument {name}\n{USAGE}"),
        }
    }
    let something = request.list || !request.runtimes.is_empty() || !request.merged.is_empty();
    ensure!(something, "--runtime is missing\n{USAGE}");
    ensure!(request.jobs > 0, "--jobs must be at least 1");
    ensure!(
        request.faults.is_empty() || !request.each_fault,
        "--deny and --deny-each exclude each other"
    );
    Ok(request)
}

fn parse_format(name: &str) -> anyhow::Result<Format> {
    Ok(match name {
        "plain" => Format::Plain,
        "tap" => Format::Tap,
        "json" => Format::Json,
        _ => bail!("--format: {name} is none of plain, tap, json"),
    })
}

fn find_runtime(given: &str) -> anyhow::Result<Candidate> {
    let (name, place) = match given.split_once('=') {
        Some((name, place)) => (name.to_owned(), place),
        None => {
            let file = Path::new(given).file_name().with_context(|| format!("runtime {given}"))?;
            (file.to_string_lossy().into_owned(), given)
        }
    };
    Ok(Candidate { name, binary: find_binary(place)? })
}

fn find_binary(place: &str) -> anyhow::Result<PathBuf> {
    if place.contains('/') {
        let path = std::path::absolute(place).with_context(|| format!("runtime {place}"))?;
        ensure!(path.is_file(), "runtime {place}: there is no such file");
        return Ok(path);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join(place))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("runtime {place}: not found in PATH"))
}
