//! What the kernel counted in a container's groups, by the files of v1 or v2.

mod shape;
mod v1;
mod v2;

use std::collections::BTreeMap;
use std::path::Path;

pub use shape::{
    BlockIoEntry, BlockIoStats, CpuStats, CpuUsage, CpusetStats, HugepageStats, MemoryEntry,
    MemoryStats, NoInterface, PidsStats, Pressure, PressureLine, Stats, Throttling,
};

use super::{Error, Group, Location, Result, Version, file};

/// Reads the statistics of a container's groups.
///
/// # Errors
/// A file that is there cannot be read, or holds something else than it should.
pub(crate) fn stats(location: &Location) -> Result<Stats> {
    let mut stats = Stats { is_unified: location.is_unified(), ..Stats::default() };
    if location.is_unified() {
        v2::read(location, &mut stats)?;
    } else {
        v1::read(location, &mut stats)?;
    }
    stats.hugetlb = hugepages(location)?;
    Ok(stats)
}

/// The text of a file; `None` where the kernel or the group lacks it.
fn text(group: &Group, name: &str) -> Result<Option<String>> {
    match file::read(&group.file(name)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(error),
    }
}

/// A number; `None` where the file is not there.
fn number(group: &Group, name: &str) -> Result<Option<u64>> {
    let Some(text) = text(group, name)? else { return Ok(None) };
    parse_number(text.trim()).map(Some).ok_or_else(|| malformed(group, name, &text))
}

/// As [`number`], where a file that is not there says as much as 0.
fn number_or_zero(group: &Group, name: &str) -> Result<u64> {
    Ok(number(group, name)?.unwrap_or(0))
}

/// `max` is the largest number. Some counters of memory become negative for a moment, since the
/// kernel collects them from all CPUs without a lock.
fn parse_number(word: &str) -> Option<u64> {
    match word {
        "max" => Some(u64::MAX),
        word if word.strip_prefix('-').is_some_and(|rest| rest.parse::<u64>().is_ok()) => Some(0),
        word => word.parse().ok(),
    }
}

/// Lines of a key and a number.
fn table(group: &Group, name: &str) -> Result<BTreeMap<String, u64>> {
    let Some(text) = text(group, name)? else { return Ok(BTreeMap::new()) };
    text.lines()
        .map(|line| {
            let (key, value) = line.split_once(' ')?;
            Some((key.to_owned(), parse_number(value.trim())?))
        })
        .collect::<Option<_>>()
        .ok_or_else(|| malformed(group, name, &text))
}

fn malformed(group: &Group, name: &str, text: &str) -> Error {
    let line = text.lines().next().unwrap_or_default();
    Error::new(format!("read {}: {line:?} is not understood", group.file(name).display()))
}

/// Huge pages of all sizes that the machine has and the group counts. On a hybrid their
/// controller may be on v2.
fn hugepages(location: &Location) -> Result<BTreeMap<String, HugepageStats>> {
    let mut found = BTreeMap::new();
    let Some(group) = location.v1("hugetlb").or_else(|| location.v2()) else { return Ok(found) };
    for size in page_sizes() {
        if let Some(stats) = hugepages_of(group, &size)? {
            found.insert(size, stats);
        }
    }
    Ok(found)
}

/// Values of reservations are preferred (Linux 5.7): they are what limits apply to first.
fn hugepages_of(group: &Group, size: &str) -> Result<Option<HugepageStats>> {
    for prefix in [format!("hugetlb.{size}.rsvd"), format!("hugetlb.{size}")] {
        let value = |suffix: &str| number(group, &format!("{prefix}.{suffix}"));
        let usage = match group.version {
            Version::V1 => value("usage_in_bytes")?,
            Version::V2 => value("current")?,
        };
        let Some(usage) = usage else { continue };
        let (max, failcnt) = match group.version {
            Version::V1 => (value("max_usage_in_bytes")?, value("failcnt")?),
            Version::V2 => {
                (None, table(group, &format!("hugetlb.{size}.events"))?.get("max").copied())
            }
        };
        let (max, failcnt) = (max.unwrap_or(0), failcnt.unwrap_or(0));
        return Ok(Some(HugepageStats { usage, max, failcnt }));
    }
    Ok(None)
}

/// Sizes of huge pages as cgroups spell them: `2MB`, from `hugepages-2048kB`.
fn page_sizes() -> Vec<String> {
    let entries = std::fs::read_dir(Path::new("/sys/kernel/mm/hugepages"));
    let names = entries.into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.filter_map(|name| page_size(name.to_str()?)).collect()
}

fn page_size(directory: &str) -> Option<String> {
    let kilobytes =
        directory.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse::<u64>().ok()?;
    Some(match kilobytes {
        0..1024 => format!("{kilobytes}KB"),
        1024..1_048_576 => format!("{}MB", kilobytes >> 10),
        _ => format!("{}GB", kilobytes >> 20),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_the_kernel_writes_them() {
        for (word, number) in [
            ("0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("max", Some(u64::MAX)),
            ("-4096", Some(0)),
            ("", None),
            ("-", None),
            ("-x", None),
            ("1 2", None),
        ] {
            assert_eq!(parse_number(word), number, "{word:?}");
        }
    }

    #[test]
    fn sizes_of_pages_as_cgroups_spell_them() {
        for (directory, size) in [
            ("hugepages-64kB", Some("64KB")),
            ("hugepages-2048kB", Some("2MB")),
            ("hugepages-1048576kB", Some("1GB")),
            ("hugepages-", None),
            ("other", None),
        ] {
            assert_eq!(page_size(directory).as_deref(), size, "{directory}");
        }
    }

    #[test]
    fn empty_values_are_left_out_and_objects_are_not() {
        let json = serde_json::to_value(Stats::default()).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "cpu": { "usage": { "kernel": 0, "user": 0 }, "throttling": {} },
                "cpuset": {
                    "cpu_exclusive": 0, "mem_hardwall": 0, "mem_exclusive": 0,
                    "memory_migrate": 0, "memory_spread_page": 0, "memory_spread_slab": 0,
                    "memory_pressure": 0, "sched_load_balance": 0, "sched_relax_domain_level": 0,
                },
                "memory": {
                    "usage": { "limit": 0, "failcnt": 0 },
                    "swap": { "limit": 0, "failcnt": 0 },
                    "kernel": { "limit": 0, "failcnt": 0 },
                    "kernelTCP": { "limit": 0, "failcnt": 0 },
                },
                "pids": {},
                "blkio": {},
                "hugetlb": {},
                "intel_rdt": {},
                "network_interfaces": null,
            })
        );
    }
}
