//! `org.systemd.property.*`: further properties of the unit. Annotations may come from whoever may
//! start a pod, and properties can do more than a container may (CVE-2024-3154): so only those are
//! taken that concern the unit's own end, limits and description.

use std::collections::BTreeMap;

use zbus::Variant;

use super::gvariant;
use super::properties::Property;
use crate::cgroup::{Error, Result};

const PREFIX: &str = "org.systemd.property.";

/// Properties that may be set. None of them starts or stops another unit, runs a program, moves
/// the unit or its processes, or loosens what config.json asks for of devices.
const ALLOWED: [&str; 41] = [
    "After",
    "AllowedCPUs",
    "AllowedMemoryNodes",
    "Before",
    "BlockIOAccounting",
    "CPUAccounting",
    "CPUQuotaPerSecUSec",
    "CPUQuotaPeriodUSec",
    "CPUShares",
    "CPUWeight",
    "CollectMode",
    "DefaultDependencies",
    "Description",
    "Documentation",
    "IOAccounting",
    "IOWeight",
    "IPAccounting",
    "KillMode",
    "KillSignal",
    "ManagedOOMMemoryPressure",
    "ManagedOOMMemoryPressureLimit",
    "ManagedOOMPreference",
    "ManagedOOMSwap",
    "MemoryAccounting",
    "MemoryHigh",
    "MemoryLimit",
    "MemoryLow",
    "MemoryMax",
    "MemoryMin",
    "MemorySwapMax",
    "MemoryZSwapMax",
    "OOMPolicy",
    "RuntimeMaxUSec",
    "SendSIGHUP",
    "SendSIGKILL",
    "StartupCPUWeight",
    "StartupIOWeight",
    "SurviveFinalKillSignal",
    "TasksAccounting",
    "TasksMax",
    "TimeoutStopUSec",
];

/// The properties that annotations ask for.
///
/// # Errors
/// A property that is not allowed, or a value that is none, with the annotation's JSON pointer.
pub(crate) fn properties(annotations: &BTreeMap<String, String>) -> Result<Vec<Property>> {
    let mut properties = Vec::new();
    for (key, text) in annotations {
        let Some(name) = key.strip_prefix(PREFIX) else { continue };
        let pointer = || crate::pointer::below("/annotations", key);
        properties.push(
            property(name, text).map_err(|words| {
                Error::at(pointer(), format!("annotation {key}={text}: {words}"))
            })?,
        );
    }
    Ok(properties)
}

fn property(name: &str, text: &str) -> std::result::Result<Property, String> {
    if name.len() < 3 || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err("this is no name of a property".to_owned());
    }
    let value = gvariant::parse(text)?;
    let (name, value) = in_microseconds(name, value)?;
    if !ALLOWED.contains(&name.as_str()) {
        return Err(format!("the property {name} is not among those that an annotation may set"));
    }
    Ok((name, value))
}

/// Unit files count in seconds, D-Bus in microseconds: `TimeoutStopSec` is `TimeoutStopUSec` there.
fn in_microseconds(
    name: &str,
    value: Variant<'static>,
) -> std::result::Result<(String, Variant<'static>), String> {
    let seconds =
        name.strip_suffix("Sec").filter(|rest| rest.ends_with(|c: char| c.is_lowercase()));
    let Some(stem) = seconds else { return Ok((name.to_owned(), value)) };
    let whole = |seconds: u64| seconds.checked_mul(1_000_000);
    let microseconds = match value {
        Variant::U8(seconds) => whole(seconds.into()),
        Variant::U16(seconds) => whole(seconds.into()),
        Variant::U32(seconds) => whole(seconds.into()),
        Variant::U64(seconds) => whole(seconds),
        Variant::I16(seconds) => u64::try_from(seconds).ok().and_then(whole),
        Variant::I32(seconds) => u64::try_from(seconds).ok().and_then(whole),
        Variant::I64(seconds) => u64::try_from(seconds).ok().and_then(whole),
        Variant::F64(seconds) if (0.0..1e12).contains(&seconds) => Some((seconds * 1e6) as u64),
        _ => None,
    };
    match microseconds {
        Some(microseconds) => Ok((format!("{stem}USec"), Variant::U64(microseconds))),
        None => Err("this is no number of seconds".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(key: &str, text: &str) -> Result<Vec<Property>> {
        properties(&BTreeMap::from([(key.to_owned(), text.to_owned())]))
    }

    #[test]
    fn allowed_properties_are_set() {
        for (name, text, value) in [
            ("TimeoutStopUSec", "uint64 5000000", Variant::U64(5_000_000)),
            ("CollectMode", "'inactive-or-failed'", Variant::new("inactive-or-failed")),
            ("DefaultDependencies", "true", Variant::Bool(true)),
            ("After", "['crio.service']", Variant::new(vec!["crio.service".to_owned()])),
        ] {
            let properties = of(&format!("org.systemd.property.{name}"), text).unwrap();
            assert_eq!(properties, [(name.to_owned(), value)]);
        }
        assert_eq!(of("org.systemd.other", "x").unwrap(), []);
    }

    #[test]
    fn seconds_become_microseconds() {
        for (text, microseconds) in
            [("5", 5_000_000), ("1.5", 1_500_000), ("uint64 1", 1_000_000), ("byte 0", 0)]
        {
            assert_eq!(
                of("org.systemd.property.TimeoutStopSec", text).unwrap(),
                [("TimeoutStopUSec".to_owned(), Variant::U64(microseconds))],
                "{text}"
            );
        }
        for text in ["-1", "'5s'", "true", "-0.5", "uint64 18446744073709551615"] {
            assert!(of("org.systemd.property.TimeoutStopSec", text).is_err(), "{text}");
        }
    }

    #[test]
    fn others_are_refused_by_name() {
        for (name, text) in [
            ("ExecStart", "'/bin/sh'"),
            ("FailureAction", "'poweroff'"),
            ("JobTimeoutSec", "5"),
            ("Conflicts", "['sshd.service']"),
            ("PIDs", "[uint32 1]"),
            ("Slice", "'-.slice'"),
            ("DevicePolicy", "'auto'"),
            ("DeviceAllow", "[('/dev/sda', 'rw')]"),
            ("Delegate", "false"),
            ("OnFailure", "['x.service']"),
            ("", "true"),
            ("A b", "true"),
            ("After", "nothing"),
        ] {
            let key = format!("org.systemd.property.{name}");
            let error = of(&key, text).unwrap_err();
            assert!(error.to_string().starts_with(&format!("annotation {key}=")), "{error}");
            assert_eq!(error.pointer, Some(format!("/annotations/{key}")));
        }
        let mut sorted = ALLOWED;
        sorted.sort_unstable();
        assert_eq!(sorted, ALLOWED);
    }
}
