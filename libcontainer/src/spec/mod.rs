//! config.json as it is written: a lenient model of the runtime specification, version 1.3.
//!
//! Nothing is interpreted here. Names of actions, flags and namespaces stay strings and numbers
//! keep their full range, so that `plan` can complain about each with its JSON pointer.
//! <https://github.com/opencontainers/runtime-spec/blob/v1.3.0/config.md>

mod capability;
mod linux;
mod namespace;
pub(crate) mod object;
mod process;
mod resources;
mod seccomp;

pub(crate) use capability::{capability_name, known_capabilities};
pub use linux::*;
pub(crate) use namespace::NamespaceKind;
pub use process::*;
pub use resources::*;
pub use seccomp::*;

use std::collections::BTreeMap;

use object::object;
use serde::de::DeserializeOwned;

object! {
    /// A whole config.json.
    Spec {
        /// Version of the specification that the bundle follows (SemVer, required).
        oci_version: String = "ociVersion",
        /// Root file system.
        root: Option<Root> = "root",
        /// Additional mounts, in order.
        mounts: Vec<Mount> = "mounts",
        /// Container process.
        process: Option<Process> = "process",
        /// Host name inside the UTS namespace.
        hostname: String = "hostname",
        /// NIS domain name inside the UTS namespace.
        domainname: String = "domainname",
        /// Callbacks of the container's life.
        hooks: Option<Hooks> = "hooks",
        /// Arbitrary metadata.
        annotations: BTreeMap<String, String> = "annotations",
        /// Linux section.
        linux: Option<Linux> = "linux",
        /// Solaris section: ignored beside `linux`.
        solaris: Option<serde_json::Value> = "solaris",
        /// Windows section: ignored beside `linux`.
        windows: Option<serde_json::Value> = "windows",
        /// Virtual machine section: ignored beside `linux`.
        vm: Option<serde_json::Value> = "vm",
        /// z/OS section: ignored beside `linux`.
        zos: Option<serde_json::Value> = "zos",
        /// FreeBSD section: ignored beside `linux`.
        freebsd: Option<serde_json::Value> = "freebsd",
    }
}

object! {
    /// `root`: the container's root file system.
    Root {
        /// Path of the root file system, absolute or relative to the bundle.
        path: String = "path",
        /// Whether the root file system is read-only inside the container.
        readonly: bool = "readonly",
    }
}

object! {
    /// One entry of `mounts`.
    Mount {
        /// Where it is mounted inside the container.
        destination: String = "destination",
        /// File system type as in /proc/filesystems; of no effect for bind mounts.
        kind: String = "type",
        /// Device name, or file or directory for bind mounts (relative to the bundle).
        source: String = "source",
        /// Options in the manner of fstab, in order.
        options: Vec<String> = "options",
        /// User id mappings of an id-mapped mount.
        uid_mappings: Vec<IdMapping> = "uidMappings",
        /// Group id mappings of an id-mapped mount.
        gid_mappings: Vec<IdMapping> = "gidMappings",
    }
}

object! {
    /// A range of ids: `size` ids from `container_id` on are `host_id` and following outside.
    IdMapping {
        /// First id inside.
        container_id: u32 = "containerID",
        /// First id outside.
        host_id: u32 = "hostID",
        /// Number of ids.
        size: u32 = "size",
    }
}

object! {
    /// `hooks`.
    Hooks {
        /// Deprecated: after create, before start, in the runtime's namespaces.
        prestart: Vec<Hook> = "prestart",
        /// During create, in the runtime's namespaces.
        create_runtime: Vec<Hook> = "createRuntime",
        /// During create, in the container's namespaces, before pivot_root.
        create_container: Vec<Hook> = "createContainer",
        /// During start, in the container's namespaces.
        start_container: Vec<Hook> = "startContainer",
        /// After start, in the runtime's namespaces.
        poststart: Vec<Hook> = "poststart",
        /// After delete, in the runtime's namespaces.
        poststop: Vec<Hook> = "poststop",
    }
}

object! {
    /// One hook.
    Hook {
        /// Absolute path of the program.
        path: String = "path",
        /// Arguments including `argv[0]`; the path alone when empty.
        args: Vec<String> = "args",
        /// Environment, `NAME=value`.
        env: Vec<String> = "env",
        /// Seconds after which the hook is killed; more than zero.
        timeout: Option<i64> = "timeout",
    }
}

/// JSON that is not the expected object.
#[derive(Debug, thiserror::Error)]
#[error("{pointer}: {message}")]
pub struct ParseError {
    /// JSON pointer of the offending value; `/` alone for the document.
    pub pointer: String,
    /// What is wrong, with line and column.
    pub message: String,
}

impl Spec {
    /// Reads the bytes of a config.json.
    ///
    /// # Errors
    /// [`ParseError`] for text that is no JSON and for values of another type than the
    /// specification's.
    ///
    /// ```
    /// let spec = libcontainer::spec::Spec::parse(br#"{"ociVersion":"1.3.0"}"#).unwrap();
    /// assert_eq!(spec.oci_version, "1.3.0");
    /// ```
    pub fn parse(json: &[u8]) -> Result<Self, ParseError> {
        parse(json)
    }
}

impl Process {
    /// Reads a `process` object, as `exec --process` takes it.
    ///
    /// # Errors
    /// As [`Spec::parse`].
    pub fn parse(json: &[u8]) -> Result<Self, ParseError> {
        parse(json)
    }
}

impl Mount {
    /// Reads a list of mounts, as `mounts add` takes it.
    ///
    /// # Errors
    /// As [`Spec::parse`].
    pub fn parse_list(json: &[u8]) -> Result<Vec<Self>, ParseError> {
        parse(json)
    }
}

impl Resources {
    /// Reads a `linux.resources` object, as `update --resources` takes it.
    ///
    /// # Errors
    /// As [`Spec::parse`].
    pub fn parse(json: &[u8]) -> Result<Self, ParseError> {
        parse(json)
    }
}

impl Seccomp {
    /// Reads a `linux.seccomp` object.
    ///
    /// # Errors
    /// As [`Spec::parse`].
    pub fn parse(json: &[u8]) -> Result<Self, ParseError> {
        parse(json)
    }
}

/// The path to an error is worth its price only when there is one: valid input is read without it.
fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, ParseError> {
    serde_json::from_slice(json).or_else(|_| located(json))
}

fn located<T: DeserializeOwned>(json: &[u8]) -> Result<T, ParseError> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        ParseError { pointer: pointer(error.path()), message: error.inner().to_string() }
    })?;
    deserializer
        .end()
        .map_err(|error| ParseError { pointer: "/".to_owned(), message: error.to_string() })?;
    Ok(value)
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => pointer = crate::pointer::below(&pointer, key),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    if pointer.is_empty() {
        pointer.push('/');
    }
    pointer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_carry_their_pointer() {
        for (json, expected) in [
            (r#"{"mounts":[{"destination":"/a"},{"options":["ro",7]}]}"#, "/mounts/1/options/1"),
            (
                r#"{"linux":{"resources":{"memory":{"limit":"1G"}}}}"#,
                "/linux/resources/memory/limit",
            ),
            (r#"{"process":{"user":{"uid":-1}}}"#, "/process/user/uid"),
            (r#"{"process":{"user":{"uid":4294967296}}}"#, "/process/user/uid"),
            (r#"[]"#, "/"),
            (r#"{} {}"#, "/"),
        ] {
            assert_eq!(Spec::parse(json.as_bytes()).unwrap_err().pointer, expected, "{json}");
        }
    }

    #[test]
    fn null_is_absent() {
        let json =
            br#"{"ociVersion":"1.0.2","mounts":null,"linux":{"devices":null,"resources":null}}"#;
        let spec = Spec::parse(json).unwrap();
        assert!(spec.mounts.is_empty());
        assert_eq!(spec.linux, Some(Linux::default()));
    }

    #[test]
    fn case_alone_makes_no_unknown_key() {
        let json = br#"{"Linux":{"hugepageLimits":[],"resources":{"PIDS":{"LIMIT":7}}}}"#;
        let spec = Spec::parse(json).unwrap();
        let pids = spec.linux.unwrap().resources.unwrap().pids.unwrap();
        assert_eq!(pids.limit, Some(7));
        let misspelled = Spec::parse(br#"{"linus":{}}"#).unwrap();
        assert_eq!(misspelled.linux, None);
    }
}
