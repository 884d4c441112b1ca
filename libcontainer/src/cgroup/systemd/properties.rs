//! `linux.resources` as properties of a unit. What systemd does not carry is written to files
//! afterwards; what it carries must be said to it, or it takes the file back some time.

use std::collections::BTreeMap;

use zbus::wire::{Array, Signature};
use zbus::{Structure, Variant};

use crate::cgroup::convert;
use crate::cgroup::devices::{DevicePolicy, Kind};
use crate::cgroup::{Error, Result};
use crate::spec::{Cpu, Memory, Resources};

/// Name and value.
pub(crate) type Property = (String, Variant<'static>);

/// What systemd takes for "no limit", of memory, tasks and CPU time.
const INFINITY: u64 = u64::MAX;

/// Length of a period in microseconds where none is given, as in the kernel.
const PERIOD: u64 = 100_000;

/// The first systemd with CPUQuotaPeriodUSec.
const HAS_QUOTA_PERIOD: u32 = 242;

/// The first one with AllowedCPUs and AllowedMemoryNodes.
const HAS_CPUSET: u32 = 244;

/// The first one that takes a CPUWeight of 0, "idle".
const HAS_IDLE: u32 = 252;

/// Limits as properties. `version` is asked for only where it matters.
///
/// # Errors
/// A value that cannot be converted, or what `version` answered.
pub(crate) fn of_resources(
    resources: &Resources,
    unified: bool,
    version: &mut dyn FnMut() -> Result<u32>,
) -> Result<Vec<Property>> {
    let mut table = Table { unified, version, properties: BTreeMap::new() };
    if let Some(memory) = &resources.memory {
        table.add_memory(memory)?;
    }
    if let Some(cpu) = &resources.cpu {
        table.add_cpu(cpu)?;
    }
    if let Some(limit) = resources.pids.as_ref().and_then(|pids| pids.limit) {
        table.add_limit("TasksMax", &convert::pids(limit));
    }
    let weight = resources.block_io.as_ref().and_then(|block_io| block_io.weight);
    if let Some(weight) = weight.filter(|weight| *weight != 0) {
        match convert::io_weight(weight) {
            Some(weight) if unified => table.add("IOWeight", weight),
            _ => table.add("BlockIOWeight", u64::from(weight)),
        }
    }
    if unified {
        for (name, value) in &resources.unified {
            table
                .add_unified(name, value.trim())
                .map_err(|error| error.pointing(&format!("/linux/resources/unified/{name}")))?;
        }
    }
    Ok(table.properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// The quota that systemd has for this one, so that the file does not change when systemd writes it
/// some time.
pub(crate) fn rounded_quota(quota: i64, period: Option<u64>) -> i64 {
    let period = period.filter(|period| *period != 0).unwrap_or(PERIOD);
    match quota {
        1.. => {
            let time = u128::from(per_second(quota.unsigned_abs(), period));
            i64::try_from(time * u128::from(period) / 1_000_000).unwrap_or(quota)
        }
        _ => quota,
    }
}

/// Microseconds in a second, in whole percents. `period` is not 0.
fn per_second(quota: u64, period: u64) -> u64 {
    let exact = u128::from(quota) * 1_000_000 / u128::from(period);
    u64::try_from(exact.div_ceil(10_000) * 10_000).unwrap_or(INFINITY)
}

/// Each property once: of doubled ones (`unified` names files that other limits set as well) the
/// last holds.
struct Table<'a> {
    unified: bool,
    version: &'a mut dyn FnMut() -> Result<u32>,
    properties: BTreeMap<&'static str, Variant<'static>>,
}

impl Table<'_> {
    fn add(&mut self, name: &'static str, value: u64) {
        self.properties.insert(name, Variant::U64(value));
    }

    /// `max` or a number, as files of cgroup v2 have it. Another text is for the kernel to refuse.
    fn add_limit(&mut self, name: &'static str, text: &str) {
        match text {
            "max" => self.add(name, INFINITY),
            number => {
                if let Ok(number) = number.parse() {
                    self.add(name, number);
                }
            }
        }
    }

    fn add_memory(&mut self, memory: &Memory) -> Result<()> {
        let limit = memory.limit.unwrap_or(0);
        if let Some(text) = convert::limit(limit) {
            self.add_limit(if self.unified { "MemoryMax" } else { "MemoryLimit" }, &text);
        }
        if !self.unified {
            return Ok(());
        }
        if let Some(text) = convert::limit(memory.reservation.unwrap_or(0)) {
            self.add_limit("MemoryLow", &text);
        }
        let swap = convert::swap(memory.swap.unwrap_or(0), limit)
            .map_err(|words| Error::at("/linux/resources/memory/swap", words))?;
        if let Some(text) = swap {
            self.add_limit("MemorySwapMax", &text);
        }
        Ok(())
    }

    fn add_cpu(&mut self, cpu: &Cpu) -> Result<()> {
        let shares = cpu.shares.unwrap_or(0);
        match convert::cpu_weight(shares) {
            _ if self.unified && cpu.idle == Some(1) => self.add_idle()?,
            Some(weight) if self.unified => self.add("CPUWeight", weight),
            Some(_) => self.add("CPUShares", shares),
            None => {}
        }
        let quota = cpu.quota.filter(|quota| *quota != 0);
        self.add_quota(quota, cpu.period.filter(|period| *period != 0))?;
        // On v1 systemd only shows them, and callers look there.
        self.add_set("AllowedCPUs", &cpu.cpus)
            .map_err(|error| error.pointing("/linux/resources/cpu/cpus"))?;
        self.add_set("AllowedMemoryNodes", &cpu.mems)
            .map_err(|error| error.pointing("/linux/resources/cpu/mems"))
    }

    fn add_idle(&mut self) -> Result<()> {
        if (self.version)()? >= HAS_IDLE {
            self.add("CPUWeight", 0);
        }
        Ok(())
    }

    /// systemd keeps the quota as time per second, and in whole percents: it is rounded up.
    fn add_quota(&mut self, quota: Option<i64>, period: Option<u64>) -> Result<()> {
        if quota.is_none() && period.is_none() {
            return Ok(());
        }
        if let Some(period) = period
            && (self.version)()? >= HAS_QUOTA_PERIOD
        {
            self.add("CPUQuotaPeriodUSec", period);
        }
        let per_second = match quota {
            Some(quota @ 1..) => per_second(quota.unsigned_abs(), period.unwrap_or(PERIOD)),
            _ => INFINITY,
        };
        self.add("CPUQuotaPerSecUSec", per_second);
        Ok(())
    }

    /// A list such as `0-3,7` as a set of bits.
    fn add_set(&mut self, name: &'static str, list: &str) -> Result<()> {
        if list.trim().is_empty() || (self.version)()? < HAS_CPUSET {
            return Ok(());
        }
        let bits = parse_set(list).ok_or_else(|| Error::new(format!("invalid list {list:?}")))?;
        self.properties.insert(name, Variant::new(bits));
        Ok(())
    }

    /// A file of cgroup v2. What is not here is only written.
    fn add_unified(&mut self, name: &str, value: &str) -> Result<()> {
        let property = match name {
            "memory.max" => "MemoryMax",
            "memory.high" => "MemoryHigh",
            "memory.low" => "MemoryLow",
            "memory.min" => "MemoryMin",
            "memory.swap.max" => "MemorySwapMax",
            "memory.zswap.max" => "MemoryZSwapMax",
            "pids.max" => "TasksMax",
            "cpu.weight" => "CPUWeight",
            "io.weight" => {
                self.add_limit("IOWeight", value.strip_prefix("default ").unwrap_or(value));
                return Ok(());
            }
            "cpu.idle" if value == "1" => return self.add_idle(),
            "cpuset.cpus" => return self.add_set("AllowedCPUs", value),
            "cpuset.mems" => return self.add_set("AllowedMemoryNodes", value),
            "cpu.max" => {
                let mut words = value.split_whitespace();
                let quota = words.next().map_or(-1, |word| word.parse().unwrap_or(-1));
                return self.add_quota(
                    Some(quota),
                    words.next().and_then(|word| word.parse().ok()).filter(|period| *period != 0),
                );
            }
            _ => return Ok(()),
        };
        self.add_limit(property, value);
        Ok(())
    }
}

/// The greatest number of a CPU or memory node that is taken: the kernel has fewer.
const GREATEST: usize = 1 << 16;

/// The bits of a list, lowest first; none for a list that is none.
fn parse_set(list: &str) -> Option<Vec<u8>> {
    let mut bits = Vec::new();
    for range in list.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last > GREATEST {
            return None;
        }
        for number in first..=last {
            if bits.len() <= number / 8 {
                bits.resize(number / 8 + 1, 0_u8);
            }
            if let Some(byte) = bits.get_mut(number / 8) {
                *byte |= 1 << (number % 8);
            }
        }
    }
    Some(bits)
}

/// Device rules, so that systemd sets the same ones when it is reloaded. It knows only what is
/// allowed: a policy that allows all but some devices is left open here, and our own rules, which
/// hold beside those of systemd on cgroup v2, deny them.
pub(crate) fn of_devices(policy: &DevicePolicy) -> Vec<Property> {
    let entry = Signature::structure([Signature::Str, Signature::Str]);
    let mut allowed = Array::new(&entry);
    if !policy.allows {
        for (device, access) in &policy.exceptions {
            let kind = match device.kind {
                Kind::Block => "block",
                Kind::Character => "char",
            };
            let path = match (device.major, device.minor) {
                (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
                (Some(major), None) => format!("{kind}-{major}"),
                (None, None) => format!("{kind}-*"),
                // systemd has no words for a minor number of any driver.
                (None, Some(_)) => continue,
            };
            let fields = Structure::from((path, access.letters()));
            if let Err(error) = allowed.append(Variant::Structure(fields)) {
                log::debug!("a device rule is no property: {error}");
            }
        }
    }
    let mode = if policy.allows { "auto" } else { "strict" };
    vec![
        ("DevicePolicy".to_owned(), Variant::new(mode)),
        ("DeviceAllow".to_owned(), Variant::Array(allowed)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(json: &str, unified: bool, version: u32) -> Vec<String> {
        let resources: Resources = serde_json::from_str(json).unwrap();
        of_resources(&resources, unified, &mut || Ok(version))
            .unwrap()
            .into_iter()
            .map(|(name, value)| match value {
                Variant::U64(INFINITY) => format!("{name}=infinity"),
                Variant::U64(value) => format!("{name}={value}"),
                other => format!("{name}={:?}", Vec::<u8>::try_from(other).unwrap()),
            })
            .collect()
    }

    #[test]
    fn quotas_are_those_of_systemd() {
        for (quota, period, rounded) in [
            (600_000, Some(900_000), 603_000),
            (500_000, Some(1_000_000), 500_000),
            (25_001, None, 26_000),
            (-1, Some(100_000), -1),
            (0, None, 0),
            (50_000, Some(0), 50_000),
        ] {
            assert_eq!(rounded_quota(quota, period), rounded, "{quota} {period:?}");
        }
    }

    #[test]
    fn every_limit_that_systemd_carries() {
        let all = r#"{"memory": {"limit": 1048576, "reservation": 4096, "swap": 2097152},
            "cpu": {"shares": 1024, "quota": 25000, "period": 50000, "cpus": "0-1,9", "mems": "0"},
            "pids": {"limit": 7}, "blockIO": {"weight": 100}}"#;
        assert_eq!(
            properties(all, true, 252),
            [
                "AllowedCPUs=[3, 2]",
                "AllowedMemoryNodes=[1]",
                "CPUQuotaPerSecUSec=500000",
                "CPUQuotaPeriodUSec=50000",
                "CPUWeight=100",
                "IOWeight=910",
                "MemoryLow=4096",
                "MemoryMax=1048576",
                "MemorySwapMax=1048576",
                "TasksMax=7",
            ]
        );
        assert_eq!(
            properties(all, false, 252),
            [
                "AllowedCPUs=[3, 2]",
                "AllowedMemoryNodes=[1]",
                "BlockIOWeight=100",
                "CPUQuotaPerSecUSec=500000",
                "CPUQuotaPeriodUSec=50000",
                "CPUShares=1024",
                "MemoryLimit=1048576",
                "TasksMax=7",
            ]
        );
        // systemd of 2018: neither cpusets nor periods.
        assert_eq!(
            properties(r#"{"cpu": {"quota": 1, "period": 3, "cpus": "0"}}"#, true, 239),
            ["CPUQuotaPerSecUSec=340000"]
        );
        assert_eq!(properties("{}", true, 252), [""; 0]);
    }

    #[test]
    fn no_limit_is_infinity() {
        let lifted = r#"{"memory": {"limit": -1, "reservation": -1, "swap": -1},
            "cpu": {"quota": -1}, "pids": {"limit": -1}}"#;
        assert_eq!(
            properties(lifted, true, 252),
            [
                "CPUQuotaPerSecUSec=infinity",
                "MemoryLow=infinity",
                "MemoryMax=infinity",
                "MemorySwapMax=infinity",
                "TasksMax=infinity",
            ]
        );
        assert_eq!(properties(r#"{"pids": {"limit": 0}}"#, true, 252), ["TasksMax=1"]);
        assert_eq!(
            properties(r#"{"memory": {"limit": 0}, "cpu": {"quota": 0}}"#, true, 252),
            [""; 0]
        );
    }

    #[test]
    fn a_quota_is_rounded_up_to_percents() {
        for (quota, period, expected) in [
            (1, 100_000, 10_000),
            (50_000, 100_000, 500_000),
            (33_333, 100_000, 340_000),
            (200_000, 100_000, 2_000_000),
            (i64::MAX, 1, INFINITY),
        ] {
            let json = format!(r#"{{"cpu": {{"quota": {quota}, "period": {period}}}}}"#);
            let expected = match expected {
                INFINITY => "infinity".to_owned(),
                number => number.to_string(),
            };
            assert_eq!(
                properties(&json, true, 252),
                [format!("CPUQuotaPerSecUSec={expected}"), format!("CPUQuotaPeriodUSec={period}")]
            );
        }
    }

    #[test]
    fn an_idle_group_needs_a_systemd_that_knows_it() {
        let idle = r#"{"cpu": {"idle": 1}}"#;
        assert_eq!(properties(idle, true, 252), ["CPUWeight=0"]);
        assert_eq!(properties(idle, true, 251), [""; 0]);
        assert_eq!(properties(idle, false, 252), [""; 0]);
        let both = r#"{"cpu": {"idle": 0, "shares": 2}}"#;
        assert_eq!(properties(both, true, 252), ["CPUWeight=1"]);
    }

    #[test]
    fn files_of_v2_are_translated() {
        let unified = r#"{"memory": {"limit": 5}, "unified": {
            "memory.max": "1048576", "memory.high": "max", "memory.min": "4096\n",
            "memory.oom.group": "1", "pids.max": "99", "cpu.weight": "42", "io.weight": "default 50",
            "cpu.max": "max 50000", "cpuset.cpus": "2", "hugetlb.2MB.max": "0", "memory.low": "x"}}"#;
        assert_eq!(
            properties(unified, true, 252),
            [
                "AllowedCPUs=[4]",
                "CPUQuotaPerSecUSec=infinity",
                "CPUQuotaPeriodUSec=50000",
                "CPUWeight=42",
                "IOWeight=50",
                "MemoryHigh=infinity",
                "MemoryMax=1048576",
                "MemoryMin=4096",
                "TasksMax=99",
            ]
        );
        assert_eq!(
            properties(r#"{"unified": {"cpu.max": "10000"}}"#, true, 252),
            ["CPUQuotaPerSecUSec=100000"]
        );
        let wrong: Resources =
            serde_json::from_str(r#"{"unified": {"cpuset.cpus": "3-1"}}"#).unwrap();
        let error = of_resources(&wrong, true, &mut || Ok(252)).unwrap_err();
        assert_eq!(error.pointer.as_deref(), Some("/linux/resources/unified/cpuset.cpus"));
    }

    #[test]
    fn sets_are_bits() {
        assert_eq!(parse_set("0"), Some(vec![1]));
        assert_eq!(parse_set("0-7, 16\n"), Some(vec![255, 0, 1]));
        for wrong in ["a", "3-1", "0-", "99999999", "0-99999999", "1-2-3"] {
            assert_eq!(parse_set(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn device_rules_are_a_list_of_what_is_allowed() {
        let json = r#"{"devices": [{"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"},
            {"allow": true, "type": "b", "major": 8, "access": "r"},
            {"allow": true, "type": "b", "minor": 5, "access": "r"}]}"#;
        let resources: Resources = serde_json::from_str(json).unwrap();
        let properties = of_devices(&DevicePolicy::plan(&resources, &[]).unwrap());
        assert_eq!(properties[0].1, Variant::new("strict"));
        assert_eq!(properties[1].1.value_signature().to_string(), "a(ss)");
        let shown = format!("{:?}", properties[1].1);
        for path in
            ["/dev/char/10:229", "block-8", "char-*", "block-*", "/dev/char/1:3", "char-136"]
        {
            assert!(shown.contains(&format!("{path:?}")), "{path}: {shown}");
        }
        let open: Resources = serde_json::from_str(r#"{"devices": [{"allow": true}]}"#).unwrap();
        let properties = of_devices(&DevicePolicy::plan(&open, &[]).unwrap());
        assert_eq!(properties[0].1, Variant::new("auto"));
        assert_eq!(
            properties[1].1,
            Variant::Array(Array::new(&Signature::try_from("(ss)").unwrap()))
        );
    }
}
