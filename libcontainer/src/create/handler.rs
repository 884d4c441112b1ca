//! Handlers: programs of the host that run a container's program instead of the kernel, such as an
//! engine for WebAssembly.
//!
//! Nothing is loaded into this program. The handler is opened before the clone and executed by its
//! descriptor inside the container, as its user and with its rights. It is a clone of its mount
//! that cannot be written through, or a sealed copy, so that /proc/PID/exe leads the container to
//! nothing that it could change (CVE-2019-5736).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, ErrorKind, Result, kernel_words};
use crate::plan::annotations::{CONTAINER_TYPE, HANDLER, WASM_VARIANT, pointer};
use crate::spec::Spec;
use crate::sys::process;

/// Where handlers are described unless the caller names another file.
const CONFIGURATION: &str = "/etc/husk/handlers.json";

/// Longer configurations are none.
const LONGEST: u64 = 1 << 20;

/// What annotations put behind a handler's name to have it run only what it is for.
const SMART: &str = "-smart";

/// A handler that is ready to be executed.
#[derive(Debug)]
pub(crate) struct Handler {
    pub(crate) program: OwnedFd,
    pub(crate) arguments: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Configuration {
    handlers: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    path: PathBuf,
    #[serde(default = "program_and_arguments")]
    args: Vec<String>,
    #[serde(default)]
    suffixes: Vec<String>,
}

/// The word that stands for the first argument of `process.args`.
const PROGRAM: &str = "{program}";

/// The word that stands for all others.
const ARGUMENTS: &str = "{args}";

fn program_and_arguments() -> Vec<String> {
    vec![PROGRAM.to_owned(), ARGUMENTS.to_owned()]
}

/// Which handler the annotations ask for.
struct Wanted<'a> {
    name: &'a str,
    annotation: &'static str,
    /// Only for programs with one of the handler's suffixes.
    smart: bool,
}

/// Opens the handler that the annotations of a container ask for. The pause container of a pod
/// needs none: its annotations are those of the pod.
pub(crate) fn choose(spec: &Spec, named: Option<&Path>) -> Result<Option<Handler>> {
    let Some(wanted) = wanted(spec)? else { return Ok(None) };
    let path = named.unwrap_or(Path::new(CONFIGURATION));
    let failed = |error: Error| error.at(pointer(wanted.annotation));
    let mut configuration = read(path, &wanted).map_err(failed)?;
    let Some(entry) = configuration.handlers.remove(wanted.name) else {
        let message = format!("handler {:?} is not in {}", wanted.name, path.display());
        return Err(failed(Error::new(ErrorKind::Unsupported, message)));
    };
    let arguments = spec.process.as_ref().map(|process| process.args.as_slice());
    let arguments = arguments.unwrap_or_default();
    let program = arguments.first().map(String::as_str).unwrap_or_default();
    if wanted.smart && !entry.suffixes.iter().any(|suffix| program.ends_with(suffix.as_str())) {
        return Ok(None);
    }
    let program = open(&entry.path).map_err(failed)?;
    Ok(Some(Handler { program, arguments: expand(&entry, arguments) }))
}

fn wanted(spec: &Spec) -> Result<Option<Wanted<'_>>> {
    let annotation = |name: &str| spec.annotations.get(name).map(String::as_str);
    if annotation(CONTAINER_TYPE) == Some("sandbox") {
        return Ok(None);
    }
    if let Some(value) = annotation(HANDLER) {
        let smart = value.ends_with(SMART);
        let name = value.strip_suffix(SMART).unwrap_or(value);
        return Ok(Some(Wanted { name, annotation: HANDLER, smart }));
    }
    let smart = match annotation(WASM_VARIANT) {
        Some("compat") => false,
        Some("compat-smart") => true,
        // Another variant asks for nothing that a handler does.
        _ => return Ok(None),
    };
    Ok(Some(Wanted { name: "wasm", annotation: WASM_VARIANT, smart }))
}

fn read(path: &Path, wanted: &Wanted<'_>) -> Result<Configuration> {
    let asked = format!("handler {:?} is asked for", wanted.name);
    let file = open_trusted(path).map_err(|error| error.within(&asked))?;
    let mut text = String::new();
    file.take(LONGEST)
        .read_to_string(&mut text)
        .map_err(|error| Error::io(ErrorKind::System, "read", path.display(), &error))?;
    serde_json::from_str(&text).map_err(|error| {
        Error::new(ErrorKind::InvalidOption, format!("{}: {error}", path.display()))
    })
}

/// Opens a file that belongs to root and that nobody else may write.
fn open_trusted(path: &Path) -> Result<File> {
    let refused = |why: &str| {
        let message = format!("{}: {why}", path.display());
        Err(Error::new(ErrorKind::Unsupported, message))
    };
    if !path.is_absolute() {
        return refused("a handler's path must be absolute");
    }
    let file = fs::OpenOptions::new()
        .read(true)
        // A FIFO in its place must not hold anybody up.
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(|error| Error::io(ErrorKind::Unsupported, "open", path.display(), &error))?;
    let status = file
        .metadata()
        .map_err(|error| Error::io(ErrorKind::System, "stat", path.display(), &error))?;
    if !status.is_file() {
        return refused("it is no file");
    }
    if status.uid() != 0 || status.mode() & 0o022 != 0 {
        return refused("it must belong to root, and nobody else may write to it");
    }
    Ok(file)
}

/// Opens a handler's program. Inside the container there is neither an interpreter of the host nor
/// a library.
fn open(path: &Path) -> Result<OwnedFd> {
    let file = open_trusted(path)?;
    if let Some(why) = unsuitable(&file) {
        let message = format!("{}: {why}", path.display());
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    match process::read_only_clone(file.as_fd()) {
        Ok(clone) => Ok(clone),
        Err(errno) => {
            log::debug!("{}: copied, since its mount cannot be cloned: {errno}", path.display());
            let failed =
                |why: String| Error::new(ErrorKind::System, format!("{}: {why}", path.display()));
            let content = fs::read(path).map_err(|error| failed(kernel_words(&error)))?;
            process::sealed_memory(c"handler", &content, true)
                .map_err(|errno| failed(errno.to_string()))
        }
    }
}

/// Why a file cannot run where nothing of the host is.
fn unsuitable(file: &File) -> Option<&'static str> {
    const HEADER: usize = 64;
    const ENTRY: usize = 56;
    const INTERPRETER: u32 = 3;
    let mut header = [0; HEADER];
    if file.read_exact_at(&mut header, 0).is_err() || !header.starts_with(b"\x7fELF\x02") {
        return Some("a handler must be a 64-bit ELF program");
    }
    let offset = u64::from_ne_bytes(*header[32..].first_chunk()?);
    let size = u16::from_ne_bytes(*header[54..].first_chunk()?);
    let count = u16::from_ne_bytes(*header[56..].first_chunk()?);
    for index in 0..u64::from(count) {
        let mut entry = [0; ENTRY];
        let at = offset.checked_add(index * u64::from(size))?;
        file.read_exact_at(&mut entry, at).ok()?;
        if u32::from_ne_bytes(*entry.first_chunk()?) == INTERPRETER {
            return Some("a handler must be linked statically: the host's libraries are not there");
        }
    }
    None
}

fn expand(entry: &Entry, arguments: &[String]) -> Vec<String> {
    let name = entry.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (program, rest) = match arguments.split_first() {
        Some((program, rest)) => (program.as_str(), rest),
        None => ("", arguments),
    };
    let words = entry.args.iter().flat_map(|word| match word.as_str() {
        ARGUMENTS => rest.to_vec(),
        word => vec![word.replace(PROGRAM, program)],
    });
    [name].into_iter().chain(words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(annotations: &[(&str, &str)]) -> Spec {
        let annotations =
            annotations.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Spec { annotations: annotations.collect(), ..Spec::default() }
    }

    #[test]
    fn annotations_choose_a_handler() {
        for (annotations, expected) in [
            (&[][..], None),
            (&[("run.oci.handler", "wasm")], Some(("wasm", false))),
            (&[("run.oci.handler", "wasm-smart")], Some(("wasm", true))),
            (&[("run.oci.handler", "other")], Some(("other", false))),
            (&[("module.wasm.image/variant", "compat")], Some(("wasm", false))),
            (&[("module.wasm.image/variant", "compat-smart")], Some(("wasm", true))),
            (&[("module.wasm.image/variant", "else")], None),
            (&[("run.oci.handler", "x"), ("io.kubernetes.cri.container-type", "sandbox")], None),
            (
                &[("run.oci.handler", "x"), ("io.kubernetes.cri.container-type", "container")],
                Some(("x", false)),
            ),
        ] {
            let spec = spec(annotations);
            let wanted = wanted(&spec).unwrap();
            let wanted = wanted.as_ref().map(|wanted| (wanted.name, wanted.smart));
            assert_eq!(wanted, expected, "{annotations:?}");
        }
    }

    #[test]
    fn arguments_are_put_in_their_places() {
        let entry = |args: &[&str]| Entry {
            path: "/usr/bin/engine".into(),
            args: args.iter().map(|word| (*word).to_owned()).collect(),
            suffixes: Vec::new(),
        };
        let given = ["/app.wasm", "a", "b"].map(str::to_owned);
        let all = program_and_arguments();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        assert_eq!(expand(&entry(&all), &given), ["engine", "/app.wasm", "a", "b"]);
        let words = ["run", "--module={program}", "--", "{args}"];
        assert_eq!(
            expand(&entry(&words), &given),
            ["engine", "run", "--module=/app.wasm", "--", "a", "b"]
        );
    }
}
