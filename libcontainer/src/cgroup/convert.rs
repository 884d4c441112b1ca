//! Values of v1, in which config.json is written, as v2 takes them.

/// CPU shares (2 to 262144, default 1024) as weight (1 to 10000, default 100), by the quadratic
/// that meets all three points; runc, crun and youki use it since 2025. None for 0, which means
/// unset.
pub(super) fn cpu_weight(shares: u64) -> Option<u64> {
    match shares {
        0 => None,
        1..=2 => Some(1),
        262_144.. => Some(10_000),
        _ => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            Some(10_f64.powf(exponent).ceil() as u64)
        }
    }
}

/// A blkio weight (10 to 1000) as one of io (1 to 10000). None for 0, which means unset.
pub(super) fn io_weight(weight: u16) -> Option<u64> {
    match weight {
        0 => None,
        weight => Some(1 + (u64::from(weight).saturating_sub(10)) * 9999 / 990),
    }
}

/// Limit of memory and swap together (0: unset, -1: none) as a limit of swap alone. None when
/// nothing is to be written.
///
/// # Errors
/// What cannot be converted, in runc's words.
pub(super) fn swap(swap: i64, memory: i64) -> Result<Option<String>, String> {
    match (swap, memory) {
        // Without a limit of memory, one of swap makes no sense if it was not asked for.
        (0, -1) | (-1, _) => Ok(Some("max".to_owned())),
        (0, _) => Ok(None),
        (swap, _) if swap < -1 => Err(format!("invalid memory+swap value: {swap}")),
        (swap, -1) => Ok(Some(swap.to_string())),
        (_, 0) => Err("unable to set swap limit without memory limit".to_owned()),
        (_, memory) if memory < 0 => Err(format!("invalid memory value: {memory}")),
        (swap, memory) if swap < memory => {
            Err("memory+swap limit should be >= memory limit".to_owned())
        }
        (swap, memory) => Ok(Some((swap - memory).to_string())),
    }
}

/// A number of bytes where -1 means no limit. None for 0, which means unset.
pub(super) fn limit(value: i64) -> Option<String> {
    match value {
        0 => None,
        -1 => Some("max".to_owned()),
        value => Some(value.to_string()),
    }
}

/// A limit of tasks. No group takes 0 from systemd, so it becomes 1 everywhere, as with runc: a
/// container's process is in its group already, and can start no other either way.
pub(super) fn pids(limit: i64) -> String {
    match limit {
        ..0 => "max".to_owned(),
        0 => "1".to_owned(),
        limit => limit.to_string(),
    }
}
