//! The process of one case: its directories, its deadline, its guard.

use crate::bundle::Bundle;
use crate::case::{Case, Stop, Verdict, skipped};
use crate::command_line::Request;
use crate::fault::{self, Fault};
use crate::guard::{Guard, end_descendants, remove_groups};
use crate::runtime::{Answer, Runtime, parse_json};
use crate::{probe, sections};
use anyhow::Context;
use nix::mount::MsFlags;
use nix::sched::CloneFlags;
use serde_json::{Value, json};
use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The hidden first argument.
pub(crate) const PART: &str = "__case";

/// What all cases of one run share.
pub(crate) struct Place {
    directory: TempDir,
    runtime: PathBuf,
    timeout: u64,
    faults: OsString,
    arguments: Vec<OsString>,
}

impl Place {
    /// # Errors
    /// The temporary directory or the probe in it cannot be made.
    pub(crate) fn new(
        runtime: PathBuf,
        request: &Request,
        faults: &[Fault],
    ) -> anyhow::Result<Place> {
        let below = match std::env::var_os("TMPDIR") {
            Some(directory) => PathBuf::from(directory),
            None => PathBuf::from("/var/tmp"),
        };
        let directory = tempfile::Builder::new()
            .prefix("husk-conformance-")
            .tempdir_in(&below)
            .with_context(|| format!("make a directory in {}", below.display()))?;
        // Users other than root have to reach the probe and their root.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))?;
        let probe = directory.path().join("probe");
        fs::copy("/proc/self/exe", &probe).context("copy the suite's own binary")?;
        fs::set_permissions(&probe, fs::Permissions::from_mode(0o755))?;
        Ok(Place {
            directory,
            runtime,
            timeout: request.timeout,
            faults: fault::words(faults),
            arguments: request.arguments.iter().map(OsString::from).collect(),
        })
    }

    /// A copy of the suite's own binary, which stays when that is replaced.
    pub(crate) fn probe(&self) -> PathBuf {
        self.directory.path().join("probe")
    }

    pub(crate) fn case_arguments(&self, name: &str) -> Vec<OsString> {
        let own = [
            PART.into(),
            name.into(),
            self.directory.path().into(),
            self.runtime.clone().into(),
            self.timeout.to_string().into(),
            self.faults.clone(),
        ];
        own.into_iter().chain(self.arguments.iter().cloned()).collect()
    }
}

/// What a case works with.
pub(crate) struct Scene {
    /// The case's own directory.
    pub(crate) directory: PathBuf,
    /// The probe on the host, for hooks.
    pub(crate) probe: PathBuf,
    /// Part of every id and cgroup name of this case, of no other's.
    pub(crate) mark: String,
    pub(crate) runtime: Runtime,
    counter: Cell<u32>,
}

/// The case process: prints one line of JSON.
pub(crate) fn play(args: Vec<OsString>) -> ExitCode {
    let answer = match perform(&args) {
        Ok(()) => json!({ "result": "passed" }),
        Err(Stop::Skipped(why)) => json!({ "result": "skipped", "reason": why }),
        Err(Stop::Failed(why)) => json!({ "result": "failed", "reason": why }),
    };
    println!("{answer}");
    ExitCode::SUCCESS
}

fn perform(args: &[OsString]) -> Verdict {
    let [name, place, runtime, timeout, faults, arguments @ ..] = args else {
        return Err(Stop::Failed(
            "the case process takes five arguments, and those of the runtime".to_owned(),
        ));
    };
    let Some(case) = sections::all().into_iter().find(|case| *name == *case.name) else {
        return Err(Stop::Failed(format!("no case {}", name.display())));
    };
    let seconds = timeout.to_string_lossy().parse().unwrap_or(60);
    isolate()?;
    let guard = Guard::new();
    let scene = Scene::new(case, Path::new(place), Path::new(runtime), faults, arguments)?;
    watch(Duration::from_secs(seconds), scene.mark.clone());
    let verdict = (case.run)(&scene);
    let left = guard.leftovers(&scene.mark, scene.runtime.root());
    match verdict {
        Ok(()) if !left.is_empty() => {
            Err(Stop::Failed(format!("left behind: {}", left.join("; "))))
        }
        verdict => verdict,
    }
}

/// A mount namespace of the case's own, so that what leaks ends with it;
/// orphans of the runtime become children of this process.
fn isolate() -> Verdict {
    nix::sched::unshare(CloneFlags::CLONE_NEWNS)?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
    nix::sys::prctl::set_child_subreaper(true)?;
    Ok(())
}

fn watch(limit: Duration, mark: String) {
    std::thread::spawn(move || {
        let deadline = Instant::now() + limit;
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            std::thread::sleep(left);
        }
        end_descendants();
        remove_groups(&mark);
        let why = format!("timed out after {} s", limit.as_secs());
        println!("{}", json!({ "result": "failed", "reason": why }));
        std::process::exit(0);
    });
}

/// What tells this run from others, whose processes may have the same numbers in pid namespaces of
/// their own: the random end of its directory's name.
fn run_of(place: &Path) -> String {
    let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.rsplit('-').next().unwrap_or_default().to_owned()
}

impl Scene {
    fn new(
        case: &Case,
        place: &Path,
        runtime: &Path,
        faults: &OsStr,
        arguments: &[OsString],
    ) -> Result<Scene, Stop> {
        let directory = place.join(case.name);
        fs::create_dir(&directory)?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755))?;
        let probe = place.join("probe");
        Ok(Scene {
            runtime: Runtime::new(runtime, &directory, faults, &probe, arguments)?,
            directory,
            probe,
            mark: format!("hc{}-{}", run_of(place), std::process::id()),
            counter: Cell::new(0),
        })
    }

    pub(crate) fn number(&self) -> u32 {
        self.counter.set(self.counter.get() + 1);
        self.counter.get()
    }

    /// A bundle that runs the probe and reports.
    ///
    /// # Errors
    /// The bundle cannot be written.
    pub(crate) fn bundle(&self) -> Result<Bundle<'_>, Stop> {
        Bundle::new(self)
    }

    /// A command of the runtime, with the global options.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn invoke<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<Answer, Stop> {
        let number = self.number();
        let log = self.directory.join(format!("{number}.log"));
        let out = self.directory.join(format!("{number}.out"));
        self.runtime.finish(self.runtime.command(&log, args), &log, &out)
    }

    /// What the runtime says of itself.
    ///
    /// # Errors
    /// Skipped when it has no `features` command.
    pub(crate) fn features(&self) -> Result<Value, Stop> {
        let answer = self.invoke(&["features"])?;
        if !answer.succeeded() {
            return skipped("the runtime has no features command (it MAY provide one)");
        }
        parse_json(&answer.stdout, "features")
    }

    /// # Errors
    /// Skipped when the runtime's features do not list the item.
    pub(crate) fn require_feature(&self, list: &str, item: &str) -> Verdict {
        let features = self.features()?;
        let found = features.pointer(list).and_then(Value::as_array);
        if found.is_some_and(|items| items.iter().any(|each| each == item)) {
            return Ok(());
        }
        skipped(format!("the runtime's features do not list {item} in {list}"))
    }

    /// A hard link of the probe.
    ///
    /// # Errors
    /// The link cannot be made.
    pub(crate) fn place_probe(&self, root: &Path) -> Verdict {
        Ok(fs::hard_link(&self.probe, root.join(probe::PATH.trim_start_matches('/')))?)
    }
}
