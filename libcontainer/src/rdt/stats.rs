//! What `events` tells of the resctrl groups, in runc's shape.

use std::path::Path;

use serde::Serialize;

use super::read;
use crate::error::{Error, ErrorKind, Result};

/// Statistics of Intel RDT: empty where the container is in no group.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct IntelRdtStats {
    /// How the L3 caches can be shared out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3_cache_info: Option<CacheInfo>,
    /// L3 line of the top group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub l3_cache_schema_root: String,
    /// L3 line of the container's group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub l3_cache_schema: String,
    /// How the memory's bandwidth can be shared out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mem_bw_info: Option<MemoryBandwidthInfo>,
    /// Bandwidth line of the top group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mem_bw_schema_root: String,
    /// Bandwidth line of the container's group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mem_bw_schema: String,
    /// All lines of the container's group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schemata: Vec<String>,
    /// Memory traffic, one entry for each cache, in the order of the directories' names.
    #[serde(rename = "mbm_stats", skip_serializing_if = "Option::is_none")]
    pub memory_bandwidth: Option<Vec<MemoryBandwidth>>,
    /// Use of the caches, in the same order.
    #[serde(rename = "cmt_stats", skip_serializing_if = "Option::is_none")]
    pub cache_usage: Option<Vec<CacheUsage>>,
}

/// How the L3 caches can be shared out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CacheInfo {
    /// The bits of a whole cache, hexadecimal.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cbm_mask: String,
    /// Fewest bits of a share.
    pub min_cbm_bits: u64,
    /// How many groups there may be.
    pub num_closids: u64,
}

/// How the memory's bandwidth can be shared out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MemoryBandwidthInfo {
    /// Step of a share, in per cent.
    pub bandwidth_gran: u64,
    /// Whether delays grow linearly with shares: 1 or 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub delay_linear: u64,
    /// Smallest share, in per cent.
    pub min_bandwidth: u64,
    /// How many groups there may be.
    pub num_closids: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Memory traffic through one cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct MemoryBandwidth {
    /// Bytes to and from all memory.
    #[serde(rename = "mbm_total_bytes")]
    pub total: u64,
    /// Bytes to and from the memory of the same node.
    #[serde(rename = "mbm_local_bytes")]
    pub local: u64,
}

/// Use of one cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CacheUsage {
    /// Bytes in it.
    #[serde(rename = "llc_occupancy")]
    pub occupancy: u64,
}

/// Reads everything that this machine has. Without a group that only counts, the numbers are those
/// of the whole class of service.
pub(super) fn read_all(
    root: &Path,
    group: &Path,
    monitoring: Option<&Path>,
) -> Result<IntelRdtStats> {
    let mut stats = IntelRdtStats::default();
    let top = lines(&root.join("schemata"))?;
    stats.schemata = lines(&group.join("schemata"))?;
    let info = root.join("info");
    if info.join("L3").is_dir() {
        stats.l3_cache_info = Some(CacheInfo {
            cbm_mask: read(&info.join("L3/cbm_mask"))?.trim().to_owned(),
            min_cbm_bits: number(&info.join("L3/min_cbm_bits"))?,
            num_closids: number(&info.join("L3/num_closids"))?,
        });
        stats.l3_cache_schema_root = line_of(&top, "L3");
        stats.l3_cache_schema = line_of(&stats.schemata, "L3");
    }
    if info.join("MB").is_dir() {
        stats.mem_bw_info = Some(MemoryBandwidthInfo {
            bandwidth_gran: number(&info.join("MB/bandwidth_gran"))?,
            delay_linear: number(&info.join("MB/delay_linear"))?,
            min_bandwidth: number(&info.join("MB/min_bandwidth"))?,
            num_closids: number(&info.join("MB/num_closids"))?,
        });
        stats.mem_bw_schema_root = line_of(&top, "MB");
        stats.mem_bw_schema = line_of(&stats.schemata, "MB");
    }
    if info.join("L3_MON").is_dir() {
        let features = lines(&info.join("L3_MON/mon_features"))?;
        count(&mut stats, &features, &monitoring.unwrap_or(group).join("mon_data"))?;
    }
    Ok(stats)
}

/// Sums are the reader's matter: each cache counts for itself.
fn count(stats: &mut IntelRdtStats, features: &[String], data: &Path) -> Result<()> {
    let has = |name: &str| features.iter().any(|feature| feature == name);
    let (total, local) = (has("mbm_total_bytes"), has("mbm_local_bytes"));
    let failed =
        |error: std::io::Error| Error::io(ErrorKind::System, "read", data.display(), &error);
    let mut caches = Vec::new();
    for entry in std::fs::read_dir(data).map_err(failed)? {
        caches.push(entry.map_err(failed)?.path());
    }
    caches.sort();
    let counted = |there: bool, path: &Path, name: &str| match there {
        true => number(&path.join(name)),
        false => Ok(0),
    };
    if total || local {
        let all = caches.iter().map(|cache| {
            Ok(MemoryBandwidth {
                total: counted(total, cache, "mbm_total_bytes")?,
                local: counted(local, cache, "mbm_local_bytes")?,
            })
        });
        stats.memory_bandwidth = Some(all.collect::<Result<_>>()?);
    }
    if has("llc_occupancy") {
        let all = caches
            .iter()
            .map(|cache| Ok(CacheUsage { occupancy: number(&cache.join("llc_occupancy"))? }));
        stats.cache_usage = Some(all.collect::<Result<_>>()?);
    }
    Ok(())
}

fn lines(path: &Path) -> Result<Vec<String>> {
    Ok(read(path)?.trim().lines().map(|line| line.trim().to_owned()).collect())
}

fn line_of(lines: &[String], resource: &str) -> String {
    lines.iter().rfind(|line| line.contains(resource)).cloned().unwrap_or_default()
}

/// `Unavailable` and `Unassigned`, what the kernel says of a counter that it cannot read at the
/// moment, count as nothing.
fn number(path: &Path) -> Result<u64> {
    let text = read(path)?;
    match text.trim() {
        "Unavailable" | "Unassigned" => Ok(0),
        number => number.parse().map_err(|_| {
            let message = format!("{} holds no number: {number:?}", path.display());
            Error::new(ErrorKind::System, message)
        }),
    }
}
