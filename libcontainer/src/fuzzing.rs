//! Entry points of the fuzz targets: the pure parts that read what others wrote. Each panics where
//! something does not hold that has to hold for every input. No part of the library's interface.

#![allow(clippy::expect_used)]

use crate::cgroup::{DevicePolicy, Layout};
use crate::host::Host;
use crate::plan::{MountOptions, Options, plan_create};
use crate::protocol::Record as Packet;
use crate::spec::{Resources, Spec};
use crate::state::Record;

/// A configuration is planned, or refused with a JSON pointer and a message.
pub fn plan(config: &[u8]) {
    let Ok(spec) = Spec::parse(config) else { return };
    let rootless = [false, true];
    for rootless in rootless {
        let options = Options {
            id: "fuzz".to_owned(),
            bundle: "/bundle".to_owned(),
            rootless,
            console: rootless,
            ..Options::default()
        };
        if let Err(error) = plan_create(&spec, &options, &Host::fixed()) {
            assert!(error.pointer.is_empty() || error.pointer.starts_with('/'), "{error:?}");
            assert!(!error.message.is_empty(), "{error:?}");
        }
    }
}

/// Resources are checked against each layout of cgroups, and their device rules are decided.
pub fn resources(json: &[u8]) {
    let Ok(resources) = Resources::parse(json) else { return };
    for mountinfo in [V1, V2] {
        let layout = Layout::parse(mountinfo, b"0::/\n");
        if let Err(error) = crate::cgroup::check(&resources, &layout) {
            assert!(!error.to_string().is_empty());
        }
    }
    if let Ok(policy) = DevicePolicy::plan(&resources, &[]) {
        assert!(!format!("{policy:?}").is_empty());
    }
}

const V1: &[u8] = b"30 25 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
    31 25 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
const V2: &[u8] = b"30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";

/// What can be read of a state.json is the same after it was written.
pub fn state(json: &[u8]) {
    let Ok(record) = Record::parse(json) else { return };
    let written = record.to_json().expect("a record can be written");
    let again = Record::parse(&written).expect("what was written can be read");
    assert_eq!(record, again);
}

/// A packet of the child is refused, or the same after it was encoded.
pub fn record(packet: &[u8]) {
    let Some(record) = Packet::decode(packet) else { return };
    let again = Packet::decode(&record.encode()).expect("what was encoded can be decoded");
    assert_eq!(record.text(), again.text());
    assert_eq!((record.step, record.errno, record.value), (again.step, again.errno, again.value));
}

/// Each option is one of the kernel's, or data of the file system.
pub fn mount_options(lines: &str) {
    let options: Vec<String> = lines.lines().map(str::to_owned).collect();
    let parsed = MountOptions::parse(&options);
    assert!(parsed.data.len() <= options.len());
    assert_eq!(parsed.flags & parsed.cleared, 0, "a flag both set and cleared: {options:?}");
}

/// The kernel's files on cgroups, in whatever state a process may see them.
pub fn cgroup_files(bytes: &[u8]) {
    let split = bytes.windows(2).position(|pair| pair == b"\n\n").unwrap_or(bytes.len());
    let (mountinfo, memberships) = bytes.split_at(split);
    let layout = Layout::parse(mountinfo, memberships);
    assert!(!format!("{layout:?}").is_empty());
}

/// A value in the text form of GVariant has one type, or what is wrong is told.
#[cfg(feature = "systemd")]
pub fn gvariant(text: &str) {
    match crate::cgroup::systemd::parse_gvariant(text) {
        Ok(value) => assert!(!value.value_signature().to_string().is_empty()),
        Err(words) => assert!(words.contains("byte"), "{words}"),
    }
}
