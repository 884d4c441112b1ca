//! The arguments of the suite.

use anyhow::{Context, bail, ensure};
use std::path::{Path, PathBuf};

/// What the suite was asked to do.
pub(crate) struct Request {
    pub(crate) runtime: Option<PathBuf>,
    pub(crate) filters: Vec<String>,
    pub(crate) list: bool,
    pub(crate) jobs: usize,
    pub(crate) format: Format,
    /// Seconds that one case may take.
    pub(crate) timeout: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Plain,
    Tap,
    Json,
}

const USAGE: &str = "\
usage: husk-conformance --runtime PATH|NAME [--filter TEXT]... [--list]
                        [--jobs N] [--timeout SECONDS] [--format plain|tap|json]

  --runtime   the runtime to test: a path, or a name to look up in PATH
  --filter    only cases whose name or level contains TEXT (may be repeated)
  --list      print the cases instead of running them
  --jobs      cases at the same time (4)
  --timeout   seconds that one case may take (60)
  --format    plain, tap, or json (one object a line)

The last line says `N passed, N failed, N skipped` (with json: on stderr).
Exit code 0: nothing failed; 1: something failed; 2: the suite could not run.";

/// # Errors
/// An unknown or incomplete option, or a runtime that is not there.
pub(crate) fn parse(args: Vec<String>) -> anyhow::Result<Request> {
    let mut request = Request {
        runtime: None,
        filters: Vec::new(),
        list: false,
        jobs: 4,
        format: Format::Plain,
        timeout: 60,
    };
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
            "--runtime" => request.runtime = Some(find_runtime(&value()?)?),
            "--filter" => request.filters.push(value()?),
            "--list" => request.list = true,
            "--jobs" => request.jobs = value()?.parse().context("--jobs")?,
            "--timeout" => request.timeout = value()?.parse().context("--timeout")?,
            "--format" => request.format = parse_format(&value()?)?,
            "--help" | "-h" => {
                println!("{USAGE}");
                std::process::exit(0);
            }
            _ => bail!("unknown argument {name}\n{USAGE}"),
        }
    }
    ensure!(request.list || request.runtime.is_some(), "--runtime is missing\n{USAGE}");
    ensure!(request.jobs > 0, "--jobs must be at least 1");
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

fn find_runtime(name: &str) -> anyhow::Result<PathBuf> {
    let given = Path::new(name);
    if name.contains('/') {
        return std::path::absolute(given).with_context(|| format!("runtime {name}"));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("runtime {name}: not found in PATH"))
}
