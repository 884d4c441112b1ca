//! Options of the runtime, as containerd passes them on.
//!
//! Their type depends on the client and on its version. All are read by field number where the
//! generated messages lack them, so that options of old and new releases are understood alike.

mod config;

use std::path::Path;

use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::well_known_types::empty::Empty;
use containerd_shim_protos::protobuf::{Message, UnknownValueRef};
use containerd_shim_protos::shim::oci;

/// What may be set for a runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) no_pivot_root: bool,
    pub(crate) no_new_keyring: bool,
    /// Cgroup of the shim itself; empty for that of containerd.
    pub(crate) shim_cgroup: String,
    /// Owner of pipes that take a container's streams.
    pub(crate) io_uid: u32,
    pub(crate) io_gid: u32,
    /// Directory of the containers' state; empty for the default.
    pub(crate) root: String,
    pub(crate) systemd_cgroup: bool,
    pub(crate) criu_path: String,
    pub(crate) criu_image_path: String,
    pub(crate) criu_work_path: String,
}

/// Options of a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CheckpointOptions {
    /// Whether the container ends with it.
    pub(crate) exit: bool,
    pub(crate) open_tcp: bool,
    pub(crate) external_unix_sockets: bool,
    pub(crate) terminal: bool,
    pub(crate) file_locks: bool,
    pub(crate) empty_namespaces: Vec<String>,
    /// soft, full or strict.
    pub(crate) cgroups_mode: String,
    pub(crate) image_path: String,
    pub(crate) work_path: String,
    pub(crate) parent_path: String,
}

/// Reads the options of a runtime. Returns warnings as well: a type or a name that is not known is
/// one.
///
/// # Errors
/// A known option has a value that makes no sense, or a configuration file cannot be read.
pub(crate) fn decode(any: Option<&Any>) -> Result<(Options, Vec<String>), String> {
    let mut warnings = Vec::new();
    // containerd sends an empty one for a runtime without options.
    let Some(any) = any.filter(|any| !any.type_url.is_empty()) else {
        return Ok((Options::default(), warnings));
    };
    let options = match name_of(any) {
        "containerd.runc.v1.Options" => of_runc(any, &mut warnings)?,
        "containerd.linux.runc.CreateOptions" => of_old_clients(&fields(any)?),
        // The name within containerd 1.2 to 1.4 is the second.
        "runtimeoptions.v1.Options" | "cri.runtimeoptions.v1.Options" => {
            of_file(&fields(any)?, &mut warnings)?
        }
        _ => {
            warnings.push(format!("options of type {:?} are not known: ignored", any.type_url));
            Options::default()
        }
    };
    Ok((options, warnings))
}

/// The name of a message, without the host that some encoders put before it.
pub(crate) fn name_of(any: &Any) -> &str {
    any.type_url.rsplit('/').next().unwrap_or_default()
}

fn of_runc(any: &Any, warnings: &mut Vec<String>) -> Result<Options, String> {
    let given = oci::Options::parse_from_bytes(&any.value).map_err(|e| malformed(any, &e))?;
    warn_of_binary(&given.binary_name, warnings);
    if !given.task_api_address.is_empty() {
        warnings.push("TaskApiAddress is ignored: the shim serves its tasks itself".to_owned());
    }
    // Of containerd before 2.0.
    let criu_path = match given.special_fields.unknown_fields().get(8) {
        Some(UnknownValueRef::LengthDelimited(path)) => text(path),
        _ => String::new(),
    };
    Ok(Options {
        no_pivot_root: given.no_pivot_root,
        no_new_keyring: given.no_new_keyring,
        shim_cgroup: given.shim_cgroup,
        io_uid: given.io_uid,
        io_gid: given.io_gid,
        root: given.root,
        systemd_cgroup: given.systemd_cgroup,
        criu_path,
        criu_image_path: given.criu_image_path,
        criu_work_path: given.criu_work_path,
    })
}

fn warn_of_binary(name: &str, warnings: &mut Vec<String>) {
    if !name.is_empty() {
        warnings.push(format!("BinaryName {name:?} is ignored: the shim is its own runtime"));
    }
}

/// containerd.linux.runc.CreateOptions: what ctr of containerd 1.x sends to runtimes that it does
/// not know.
fn of_old_clients(fields: &Fields) -> Options {
    Options {
        no_pivot_root: fields.number(1) != 0,
        no_new_keyring: fields.number(8) != 0,
        shim_cgroup: fields.text(9),
        io_uid: fields.number(10) as u32,
        io_gid: fields.number(11) as u32,
        criu_work_path: fields.text(12),
        criu_image_path: fields.text(13),
        ..Options::default()
    }
}

/// runtimeoptions.v1.Options: a configuration, in a file or in the message itself.
fn of_file(fields: &Fields, warnings: &mut Vec<String>) -> Result<Options, String> {
    let path = fields.text(2);
    if path.is_empty() {
        return config::read(&fields.text(3), warnings).map_err(|e| format!("ConfigBody: {e}"));
    }
    let body = config::load(Path::new(&path)).map_err(|e| format!("ConfigPath {path}: {e}"))?;
    config::read(&body, warnings).map_err(|error| format!("ConfigPath {path}: {error}"))
}

/// Reads the options of a checkpoint, and warnings as [`decode`].
///
/// # Errors
/// The message cannot be read.
pub(crate) fn decode_checkpoint(
    any: Option<&Any>,
) -> Result<(CheckpointOptions, Vec<String>), String> {
    let Some(any) = any.filter(|any| !any.type_url.is_empty()) else {
        return Ok((CheckpointOptions::default(), Vec::new()));
    };
    // The paths have other numbers in containerd 1.x's own type.
    let (image_path, work_path) = match name_of(any) {
        "containerd.runc.v1.CheckpointOptions" => (8, 9),
        "containerd.linux.runc.CheckpointOptions" => (9, 8),
        _ => {
            let warning = format!("options of type {:?} are not known: ignored", any.type_url);
            return Ok((CheckpointOptions::default(), vec![warning]));
        }
    };
    let fields = fields(any)?;
    let options = CheckpointOptions {
        exit: fields.number(1) != 0,
        open_tcp: fields.number(2) != 0,
        external_unix_sockets: fields.number(3) != 0,
        terminal: fields.number(4) != 0,
        file_locks: fields.number(5) != 0,
        empty_namespaces: fields.texts(6).collect(),
        cgroups_mode: fields.text(7),
        image_path: fields.text(image_path),
        work_path: fields.text(work_path),
        parent_path: fields.text(10),
    };
    Ok((options, Vec::new()))
}

/// What the answer to Pids says of a process that is not the first of its container.
pub(crate) fn process_details(exec_id: &str) -> Any {
    let details =
        oci::ProcessDetails { exec_id: exec_id.to_owned(), ..oci::ProcessDetails::default() };
    Any {
        type_url: "containerd.runc.v1.ProcessDetails".to_owned(),
        // Fails for missing required fields alone, and version 3 of the language has none.
        value: details.write_to_bytes().unwrap_or_default(),
        ..Any::default()
    }
}

/// The fields of a message by their numbers.
struct Fields(Empty);

fn fields(any: &Any) -> Result<Fields, String> {
    Empty::parse_from_bytes(&any.value).map(Fields).map_err(|error| malformed(any, &error))
}

fn malformed(any: &Any, error: &dyn std::fmt::Display) -> String {
    format!("options of type {:?}: {error}", any.type_url)
}

impl Fields {
    fn values(&self, number: u32) -> impl Iterator<Item = UnknownValueRef<'_>> {
        let fields = self.0.special_fields.unknown_fields().iter();
        fields.filter(move |(other, _)| *other == number).map(|(_, value)| value)
    }

    /// The last one holds, 0 without any.
    fn number(&self, number: u32) -> u64 {
        let numbers = self.values(number).filter_map(|value| match value {
            UnknownValueRef::Varint(value) => Some(value),
            _ => None,
        });
        numbers.last().unwrap_or(0)
    }

    fn text(&self, number: u32) -> String {
        self.texts(number).last().unwrap_or_default()
    }

    fn texts(&self, number: u32) -> impl Iterator<Item = String> {
        self.values(number).filter_map(|value| match value {
            UnknownValueRef::LengthDelimited(bytes) => Some(text(bytes)),
            _ => None,
        })
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests;
