//! The content of state.json.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Identity;
use crate::cgroup::Location;
use crate::error::{Error, ErrorKind, Result};
use crate::rdt::Group;
use crate::spec::Resources;

/// Version of the format. A release reads all formats up to its own: fields are added with
/// defaults, and a field that changes its meaning changes its name and this number.
const FORMAT: u32 = 1;

/// How far a container has come by its own record. Creating and deleting are intents, written
/// before the first change that they need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// Its creator works on it, or died over it.
    Creating,
    /// It was committed.
    Created,
    /// Its deletion has begun.
    Deleting,
}

/// What is remembered of a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Version of the format.
    pub(crate) format: u32,
    /// How far it has come.
    pub(crate) phase: Phase,
    /// Its id.
    pub(crate) id: String,
    /// Absolute path of the bundle.
    pub(crate) bundle: PathBuf,
    /// Absolute path of the root file system.
    pub(crate) rootfs: PathBuf,
    /// `ociVersion` of the configuration.
    pub(crate) oci_version: String,
    /// When its creation began, RFC 3339.
    pub(crate) created: String,
    /// Annotations of the configuration.
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
    /// User who created it.
    pub(crate) uid: u32,
    /// Who creates it.
    pub(crate) creator: Identity,
    /// Its process, from the clone on.
    pub(crate) init: Option<Identity>,
    /// Its cgroups; none where it stays in its creator's.
    pub(crate) cgroup: Option<Location>,
    /// Its class of service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rdt: Option<Group>,
    /// Its processes end with its first one: it has a pid namespace of its own.
    pub(crate) own_pid_namespace: bool,
    /// An ordinary user runs it.
    #[serde(default)]
    pub(crate) rootless: bool,
    /// It was created with the session keyring of its creator.
    #[serde(default)]
    pub(crate) no_new_keyring: bool,
    /// The root was changed without pivot_root.
    #[serde(default)]
    pub(crate) no_pivot: bool,
    /// Whether there are poststart or poststop hooks in config.json, which is only read then.
    #[serde(default)]
    pub(crate) has_late_hooks: bool,
    /// Number of the child's first step after the start gate: startContainer hooks, then execve.
    #[serde(default)]
    pub(crate) first_late_step: u32,
    /// Limits, once they were changed; else they are those of config.json.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resources: Option<Resources>,
    /// Where its process's standard descriptors led when it was created, as procfs shows them; none
    /// for a terminal. A restore gives it others for the pipes among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) descriptors: Vec<String>,
}

impl Record {
    /// The number of the format that this release writes.
    pub(crate) const FORMAT: u32 = FORMAT;

    /// Reads the content of state.json.
    pub(crate) fn parse(json: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let unreadable = |error: serde_json::Error| {
            Error::new(ErrorKind::State, format!("state.json cannot be read: {error}"))
        };
        let record = match serde_json::from_slice::<Self>(json) {
            Ok(record) if record.format <= FORMAT => return Ok(record),
            other => other,
        };
        let version: Version = serde_json::from_slice(json).map_err(unreadable)?;
        if version.format > FORMAT {
            let message = format!(
                "state.json was written by a later release (format {}; this one reads up to {FORMAT})",
                version.format
            );
            return Err(Error::new(ErrorKind::State, message));
        }
        record.map_err(unreadable)
    }

    /// The content of state.json.
    pub(crate) fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| {
            Error::new(ErrorKind::State, format!("state.json cannot be written: {error}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the first release wrote. It stays readable: never change this text.
    const FIRST_FORMAT: &str = r#"{"format":1,"phase":"created","id":"c1","bundle":"/b",
        "rootfs":"/b/rootfs","oci_version":"1.3.0","created":"2026-11-21T10:00:00Z","uid":0,
        "creator":{"pid":1,"start_time":2},"init":{"pid":3,"start_time":4},"cgroup":null,
        "own_pid_namespace":true,"from_the_future":{"x":1}}"#;

    #[test]
    fn the_first_format_stays_readable() {
        let record = Record::parse(FIRST_FORMAT.as_bytes()).unwrap();
        assert_eq!(record.init, Some(Identity { pid: 3, start_time: 4 }));
        assert!(!record.rootless && !record.has_late_hooks && record.resources.is_none());
        assert_eq!(Record::parse(&record.to_json().unwrap()).unwrap(), record);
    }

    #[test]
    fn a_later_format_is_named() {
        for json in [
            FIRST_FORMAT.replace("\"format\":1", "\"format\":9"),
            r#"{"format":9,"other":true}"#.to_owned(),
        ] {
            let error = Record::parse(json.as_bytes()).unwrap_err();
            assert!(error.to_string().contains("later release (format 9"), "{error}");
        }
        for json in ["", "[]", "{}", r#"{"format":1}"#, r#"{"format":-1}"#] {
            let error = Record::parse(json.as_bytes()).unwrap_err();
            assert!(error.to_string().starts_with("state.json cannot be read: "), "{error}");
        }
    }
}
