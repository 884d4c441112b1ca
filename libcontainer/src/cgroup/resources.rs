//! Changed limits beside those of before. Device rules are never among them: they are not
//! changed after the creation.

use crate::spec::{BlockIo, Cpu, Memory, Pids, Resources, ThrottleDevice, WeightDevice};

/// Overwrites each field that is given.
macro_rules! overwrite {
    ($old:ident, $new:ident: $($field:ident),*) => {
        $(if $new.$field.is_some() { $old.$field = $new.$field; })*
    };
}

/// What is to be written for a change. v2 limits swap alone where config.json limits memory and
/// swap together: there each of the two values needs the other one.
pub(crate) fn completed(new: &Resources, old: &Resources, unified: bool) -> Resources {
    let mut completed = Resources { devices: Vec::new(), ..new.clone() };
    let Some(memory) = completed.memory.as_mut().filter(|_| unified) else { return completed };
    let given = |value: Option<i64>| value.is_some_and(|value| value != 0);
    let (limit, swap) = old.memory.as_ref().map_or((None, None), |old| (old.limit, old.swap));
    match (given(memory.limit), given(memory.swap)) {
        (true, false) if memory.limit != Some(-1) => memory.swap = memory.swap.or(swap),
        (false, true) => memory.limit = limit,
        _ => {}
    }
    completed
}

/// Changes the recorded limits by those that were set: what is not given stays.
pub(crate) fn merge(old: &mut Resources, new: &Resources) {
    if let Some(new) = &new.memory {
        merge_memory(old.memory.get_or_insert_default(), new);
    }
    if let Some(new) = &new.cpu {
        merge_cpu(old.cpu.get_or_insert_default(), new);
    }
    if let Some(limit) = new.pids.as_ref().and_then(|pids| pids.limit) {
        old.pids = Some(Pids { limit: Some(limit) });
    }
    if let Some(new) = &new.block_io {
        merge_block_io(old.block_io.get_or_insert_default(), new);
    }
    for limit in &new.hugepage_limits {
        let known = old.hugepage_limits.iter_mut().find(|old| old.page_size == limit.page_size);
        match known {
            Some(known) => known.limit = limit.limit,
            None => old.hugepage_limits.push(limit.clone()),
        }
    }
    if new.network.is_some() {
        old.network.clone_from(&new.network);
    }
    old.rdma.extend(new.rdma.iter().map(|(device, limits)| (device.clone(), limits.clone())));
    old.unified.extend(new.unified.iter().map(|(name, value)| (name.clone(), value.clone())));
}

fn merge_memory(old: &mut Memory, new: &Memory) {
    // Without a limit of memory, the one of both together is lifted as well.
    if new.limit == Some(-1) && new.swap.is_none() {
        old.swap = None;
    }
    overwrite!(old, new: limit, reservation, swap, kernel, kernel_tcp, swappiness,
        disable_oom_killer, use_hierarchy, check_before_update);
}

fn merge_cpu(old: &mut Cpu, new: &Cpu) {
    let given = |value: u64| value != 0;
    overwrite!(old, new: burst, idle, realtime_runtime, realtime_period);
    old.shares = new.shares.filter(|value| given(*value)).or(old.shares);
    old.period = new.period.filter(|value| given(*value)).or(old.period);
    old.quota = new.quota.filter(|quota| *quota != 0).or(old.quota);
    for (old, new) in [(&mut old.cpus, &new.cpus), (&mut old.mems, &new.mems)] {
        if !new.is_empty() {
            old.clone_from(new);
        }
    }
}

fn merge_block_io(old: &mut BlockIo, new: &BlockIo) {
    overwrite!(old, new: weight, leaf_weight);
    for device in &new.weight_device {
        merge_weight(&mut old.weight_device, device);
    }
    for (old, new) in [
        (&mut old.throttle_read_bps_device, &new.throttle_read_bps_device),
        (&mut old.throttle_write_bps_device, &new.throttle_write_bps_device),
        (&mut old.throttle_read_iops_device, &new.throttle_read_iops_device),
        (&mut old.throttle_write_iops_device, &new.throttle_write_iops_device),
    ] {
        for device in new {
            merge_throttle(old, device);
        }
    }
}

/// Of doubled entries the last one holds.
fn merge_weight(devices: &mut Vec<WeightDevice>, new: &WeightDevice) {
    let same = |old: &&mut WeightDevice| (old.major, old.minor) == (new.major, new.minor);
    match devices.iter_mut().rev().find(same) {
        Some(old) => {
            overwrite!(old, new: weight, leaf_weight);
        }
        None => devices.push(new.clone()),
    }
}

fn merge_throttle(devices: &mut Vec<ThrottleDevice>, new: &ThrottleDevice) {
    let same = |old: &&mut ThrottleDevice| (old.major, old.minor) == (new.major, new.minor);
    match devices.iter_mut().rev().find(same) {
        Some(old) => old.rate = new.rate,
        None => devices.push(new.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(json: &str) -> Resources {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_is_not_given_stays() {
        let mut old = resources(
            r#"{"devices": [{"allow": false, "access": "rwm"}],
                "memory": {"limit": 100, "swap": 200, "reservation": 50},
                "cpu": {"shares": 7, "quota": 1000, "period": 2000, "cpus": "0-1"},
                "pids": {"limit": 9}, "unified": {"a.b": "1"}}"#,
        );
        let new = resources(
            r#"{"devices": [{"allow": true}], "memory": {"limit": 120},
                "cpu": {"quota": -1, "period": 0, "burst": 0, "mems": "0"}, "pids": {},
                "unified": {"c.d": "2"}}"#,
        );
        merge(&mut old, &new);
        let expected = resources(
            r#"{"devices": [{"allow": false, "access": "rwm"}],
                "memory": {"limit": 120, "swap": 200, "reservation": 50},
                "cpu": {"shares": 7, "quota": -1, "period": 2000, "burst": 0,
                        "cpus": "0-1", "mems": "0"},
                "pids": {"limit": 9}, "unified": {"a.b": "1", "c.d": "2"}}"#,
        );
        assert_eq!(old, expected);
    }

    #[test]
    fn devices_are_changed_or_added() {
        let mut old = resources(
            r#"{"blockIO": {"weight": 10,
                "weightDevice": [{"major": 8, "minor": 0, "weight": 20, "leafWeight": 30}],
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}]}}"#,
        );
        let new = resources(
            r#"{"blockIO": {
                "weightDevice": [{"major": 8, "minor": 0, "weight": 21},
                                 {"major": 8, "minor": 16, "weight": 22}],
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 2}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 3}]}}"#,
        );
        merge(&mut old, &new);
        let expected = resources(
            r#"{"blockIO": {"weight": 10,
                "weightDevice": [{"major": 8, "minor": 0, "weight": 21, "leafWeight": 30},
                                 {"major": 8, "minor": 16, "weight": 22}],
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 2}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 3}]}}"#,
        );
        assert_eq!(old, expected);
    }

    #[test]
    fn v2_needs_both_limits_of_memory() {
        let old = resources(r#"{"memory": {"limit": 100, "swap": 200}}"#);
        for (new, limit, swap) in [
            (r#"{"memory": {"limit": 120}}"#, Some(120), Some(200)),
            (r#"{"memory": {"swap": 300}}"#, Some(100), Some(300)),
            (r#"{"memory": {"limit": 120, "swap": 300}}"#, Some(120), Some(300)),
            (r#"{"memory": {"limit": -1}}"#, Some(-1), None),
            (r#"{"memory": {"limit": 120, "swap": 0}}"#, Some(120), Some(0)),
            (r#"{"memory": {"reservation": 1}}"#, None, None),
        ] {
            let memory = completed(&resources(new), &old, true).memory.unwrap();
            assert_eq!((memory.limit, memory.swap), (limit, swap), "{new}");
            assert_eq!(completed(&resources(new), &old, false), resources(new), "{new}");
        }
        let none = completed(&resources(r#"{"memory": {"swap": 300}}"#), &resources("{}"), true);
        assert_eq!(none.memory.unwrap().limit, None);
        assert_eq!(completed(&resources(r#"{"devices": [{}]}"#), &old, true), resources("{}"));
    }

    #[test]
    fn lifting_the_limit_of_memory_lifts_that_of_swap() {
        let mut old = resources(r#"{"memory": {"limit": 100, "swap": 200}}"#);
        merge(&mut old, &resources(r#"{"memory": {"limit": -1}}"#));
        assert_eq!(old, resources(r#"{"memory": {"limit": -1}}"#));
    }
}
