//! One call of a verb: what it was given and where its messages go.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use libcontainer::Container;

use crate::args::{Flags, Verb};
use crate::inherited::Inherited;
use crate::log::Log;
use crate::text;

/// The name that the program was started under decides about words and directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// `husk`, or `runc` when started as that.
    pub(crate) name: &'static str,
}

impl Program {
    /// Program for `argv[0]`.
    pub(crate) fn named(argv0: Option<&OsStr>) -> Self {
        let name = argv0.and_then(|path| Path::new(path).file_name());
        let name = if name == Some(OsStr::new("runc")) { "runc" } else { "husk" };
        Self { name }
    }
}

/// Everything that a verb gets.
pub(crate) struct Call<'a> {
    pub(crate) program: Program,
    pub(crate) verb: &'static Verb,
    pub(crate) globals: &'a Flags<'a>,
    pub(crate) flags: &'a Flags<'a>,
    pub(crate) operands: &'a [&'a OsStr],
    pub(crate) inherited: Inherited,
    pub(crate) log: &'a Log,
}

impl Call<'_> {
    /// The id that the first positional argument names.
    ///
    /// # Errors
    /// It cannot be one.
    pub(crate) fn id(&self) -> Result<&str> {
        let id = self.operands.first().copied().unwrap_or_default();
        id.to_str().ok_or_else(|| anyhow!("invalid container ID format: {id:?}"))
    }

    /// The container that the first positional argument names.
    ///
    /// # Errors
    /// There is none, or its record cannot be read.
    pub(crate) fn container(&self) -> Result<Container> {
        Ok(Container::open(&self.root()?, self.id()?)?)
    }

    /// Remembers warnings of the library.
    pub(crate) fn warn_all(&self, warnings: &[String]) {
        for warning in warnings {
            self.log.warn(warning);
        }
    }

    /// As [`root`].
    ///
    /// # Errors
    /// As [`root`].
    pub(crate) fn root(&self) -> Result<PathBuf> {
        root(self.program, self.globals)
    }

    /// Makes the default root below XDG_RUNTIME_DIR, if that is the one in use.
    ///
    /// # Errors
    /// What mkdir(2) or chmod(2) answered.
    pub(crate) fn make_runtime_root(&self) -> Result<()> {
        let (root, in_runtime_dir) = default_root(self.program);
        if !in_runtime_dir || self.globals.text("root").is_some() {
            return Ok(());
        }
        let shown = root.display();
        let mut builder = fs::DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(&root)
            .map_err(|error| text::tried(format_args!("mkdir {shown}"), &error))?;
        // The XDG base directory specification lets a cleaner remove what lacks this bit.
        fs::set_permissions(&root, fs::Permissions::from_mode(0o1700))
            .map_err(|error| text::tried(format_args!("chmod {shown}"), &error))
    }
}

/// The directory of all containers' states: `--root`, or a default that depends on the name of
/// the program and on who runs it.
///
/// # Errors
/// `--root` names the root directory, under whichever name.
pub(crate) fn root(program: Program, globals: &Flags<'_>) -> Result<PathBuf> {
    let Some(root) = globals.given("root") else {
        return Ok(default_root(program).0);
    };
    if root.is_empty() || is_root_directory(Path::new(root)) {
        bail!("Option --root argument should not be set to /");
    }
    Ok(std::path::absolute(root)?)
}

/// Default state directory, and whether it lies below XDG_RUNTIME_DIR.
fn default_root(program: Program) -> (PathBuf, bool) {
    let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty());
    match runtime_dir.filter(|_| has_runtime_dir()) {
        Some(runtime_dir) => (Path::new(&runtime_dir).join(program.name), true),
        None => (Path::new("/run").join(program.name), false),
    }
}

/// Ordinary users keep state below XDG_RUNTIME_DIR; so does root of a user namespace, unless it
/// acts as the user `root` there.
fn has_runtime_dir() -> bool {
    if !nix::unistd::geteuid().is_root() {
        return true;
    }
    let Ok(map) = fs::read_to_string("/proc/self/uid_map") else {
        return false;
    };
    let initial = map.split_whitespace().eq(["0", "0", "4294967295"]);
    !initial && std::env::var_os("USER").is_none_or(|user| user != "root")
}

fn is_root_directory(path: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    identity(path).is_some_and(|found| Some(found) == identity(Path::new("/")))
}

/// Writes to standard output.
///
/// # Errors
/// What write(2) answered: a caller that reads no more must not make it a panic.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| text::tried("write to standard output", &error))
}
