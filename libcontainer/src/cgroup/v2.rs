//! Limits on cgroup v2, and those of v2 controllers on a hybrid.

use std::collections::BTreeMap;

use super::{Error, Group, Location, Result, Version, check, convert, create, file, v1};
use crate::spec::{BlockIo, Cpu, Memory, Resources};

/// Sets all limits.
pub(super) fn apply(
    location: &Location,
    resources: &Resources,
    warnings: &mut Vec<String>,
) -> Result<()> {
    let Some(group) = location.v2() else { return Ok(()) };
    if let Some(limit) = resources.pids.as_ref().and_then(|pids| pids.limit) {
        let pointer = "/linux/resources/pids/limit";
        write(group, "pids", "pids.max", &convert::pids(limit), pointer)?;
    }
    if let Some(memory) = &resources.memory {
        apply_memory(group, memory)?;
    }
    if let Some(block_io) = &resources.block_io {
        apply_io(group, block_io, warnings)?;
    }
    if let Some(cpu) = &resources.cpu {
        apply_cpu(group, cpu)?;
        apply_cpuset(group, cpu)?;
    }
    apply_hugepages(location, resources)?;
    apply_rdma(location, resources)?;
    apply_unified(group, &resources.unified)
}

/// Writes a value. A file that is not there means that the group lacks the controller.
fn write(group: &Group, controller: &str, name: &str, value: &str, pointer: &str) -> Result<()> {
    match file::write(&group.file(name), value) {
        Err(error) if error.is(libc::ENOENT) && !has_controller(group, controller) => {
            Err(check::absent(controller, pointer))
        }
        result => result.map_err(|error| error.pointing(pointer)),
    }
}

fn has_controller(group: &Group, controller: &str) -> bool {
    file::read(&group.file("cgroup.controllers"))
        .is_ok_and(|list| list.split_whitespace().any(|present| present == controller))
}

fn apply_memory(group: &Group, memory: &Memory) -> Result<()> {
    const POINTER: &str = "/linux/resources/memory";
    let limit = memory.limit.unwrap_or(0);
    let swap = memory.swap.unwrap_or(0);
    let pointer = format!("{POINTER}/swap");
    let only_swap =
        convert::swap(swap, limit).map_err(|words| Error::at(pointer.as_str(), words))?;
    if let Some(value) = only_swap {
        match write(group, "memory", "memory.swap.max", &value, &pointer) {
            // Without swap, these two hold anyway.
            Err(error) if error.is(libc::ENOENT) && matches!(value.as_str(), "max" | "0") => {}
            result => result?,
        }
    }
    if let Some(value) = convert::limit(limit) {
        write(group, "memory", "memory.max", &value, &format!("{POINTER}/limit"))?;
    }
    if let Some(value) = convert::limit(memory.reservation.unwrap_or(0)) {
        write(group, "memory", "memory.low", &value, &format!("{POINTER}/reservation"))?;
    }
    Ok(())
}

fn apply_cpu(group: &Group, cpu: &Cpu) -> Result<()> {
    if let Some(idle) = cpu.idle {
        write(group, "cpu", "cpu.idle", &idle.to_string(), "/linux/resources/cpu/idle")?;
    }
    if let Some(weight) = cpu.shares.and_then(convert::cpu_weight) {
        let pointer = "/linux/resources/cpu/shares";
        write(group, "cpu", "cpu.weight", &weight.to_string(), pointer)
            .map_err(|error| v1::explain_idle(cpu, error))?;
    }
    let quota = cpu.quota.filter(|quota| *quota != 0);
    let period = cpu.period.filter(|period| *period != 0);
    let burst = cpu.burst.map(|burst| burst.to_string());
    let write_burst =
        |burst: &String| write(group, "cpu", "cpu.max.burst", burst, "/linux/resources/cpu/burst");
    // A burst above the quota is refused, and so is a quota below the burst.
    let mut postponed = None;
    if let Some(burst) = burst {
        match write_burst(&burst) {
            Err(error) if error.is(libc::EINVAL) && quota.is_some() => postponed = Some(burst),
            result => result?,
        }
    }
    if quota.is_some() || period.is_some() {
        let value = cpu_max(group, quota, period)?;
        let pointer = match quota {
            Some(_) => "/linux/resources/cpu/quota",
            None => "/linux/resources/cpu/period",
        };
        write(group, "cpu", "cpu.max", &value, pointer)?;
    }
    postponed.as_ref().map_or(Ok(()), write_burst)
}

/// The line for cpu.max. What is not given stays as it is.
fn cpu_max(group: &Group, quota: Option<i64>, period: Option<u64>) -> Result<String> {
    let quota = match quota {
        Some(quota @ 1..) => quota.to_string(),
        Some(_) => "max".to_owned(),
        None => {
            let present = match file::read(&group.file("cpu.max")) {
                Err(error) if error.is(libc::ENOENT) => String::new(),
                result => result?,
            };
            present.split_whitespace().next().unwrap_or("max").to_owned()
        }
    };
    Ok(match period {
        Some(period) => format!("{quota} {period}"),
        None => quota,
    })
}

fn apply_cpuset(group: &Group, cpu: &Cpu) -> Result<()> {
    let lists = [
        ("cpuset.cpus", &cpu.cpus, "/linux/resources/cpu/cpus"),
        ("cpuset.mems", &cpu.mems, "/linux/resources/cpu/mems"),
    ];
    for (name, list, pointer) in lists {
        if !list.is_empty() {
            write(group, "cpuset", name, list, pointer)?;
        }
    }
    Ok(())
}

fn apply_io(group: &Group, block_io: &BlockIo, warnings: &mut Vec<String>) -> Result<()> {
    const POINTER: &str = "/linux/resources/blockIO";
    let given = |weight: Option<u16>| weight.filter(|weight| *weight != 0);
    // The file of the BFQ scheduler takes the weights as they are; the other wants its own scale.
    let bfq = "io.bfq.weight";
    let has_bfq = (block_io.weight.is_some() || !block_io.weight_device.is_empty())
        && group.file(bfq).exists();
    let scaled = |weight: u16| match has_bfq {
        true => (bfq, u64::from(weight)),
        false => ("io.weight", convert::io_weight(weight).unwrap_or(1)),
    };
    if let Some(weight) = given(block_io.weight) {
        let (name, value) = scaled(weight);
        write(group, "io", name, &value.to_string(), &format!("{POINTER}/weight"))?;
    }
    for (index, device) in block_io.weight_device.iter().enumerate() {
        let Some(weight) = given(device.weight) else { continue };
        let (name, value) = scaled(weight);
        let line = format!("{}:{} {value}", device.major, device.minor);
        let pointer = format!("{POINTER}/weightDevice/{index}/weight");
        match write(group, "io", name, &line, &pointer) {
            // BFQ takes weights by device since Linux 5.4.
            Err(error) if has_bfq && error.is(libc::EINVAL) => warnings.push(error.to_string()),
            result => result?,
        }
    }
    let throttles = [
        ("rbps", "throttleReadBpsDevice", &block_io.throttle_read_bps_device),
        ("wbps", "throttleWriteBpsDevice", &block_io.throttle_write_bps_device),
        ("riops", "throttleReadIOPSDevice", &block_io.throttle_read_iops_device),
        ("wiops", "throttleWriteIOPSDevice", &block_io.throttle_write_iops_device),
    ];
    for (name, key, devices) in throttles {
        for (index, device) in devices.iter().enumerate() {
            let rate = match device.rate {
                // v1 lifts the throttle with 0, which is no value of io.max.
                0 => "max".to_owned(),
                rate => rate.to_string(),
            };
            let line = format!("{}:{} {name}={rate}", device.major, device.minor);
            write(group, "io", "io.max", &line, &format!("{POINTER}/{key}/{index}"))?;
        }
    }
    Ok(())
}

/// Limits of huge pages, of reservations too where the kernel has them (5.7): without, a
/// process would be killed by SIGBUS at the first touch instead of seeing mmap fail.
pub(super) fn apply_hugepages(location: &Location, resources: &Resources) -> Result<()> {
    let mut rsvd = true;
    for (index, limit) in resources.hugepage_limits.iter().enumerate() {
        let pointer = format!("/linux/resources/hugepageLimits/{index}");
        let (group, suffix) = match (location.v1("hugetlb"), location.v2()) {
            (Some(group), _) => (group, "limit_in_bytes"),
            (None, Some(group)) => {
                enable_on_hybrid(location, group, "hugetlb");
                (group, "max")
            }
            (None, None) => return Err(check::not_joined(location, "hugetlb", &pointer)),
        };
        let value = limit.limit.to_string();
        let size = &limit.page_size;
        if rsvd {
            let name = format!("hugetlb.{size}.rsvd.{suffix}");
            match file::write(&group.file(&name), &value) {
                Err(error) if error.is(libc::ENOENT) => rsvd = false,
                result => result.map_err(|error| error.pointing(&pointer))?,
            }
        }
        let name = format!("hugetlb.{size}.{suffix}");
        match group.version {
            Version::V1 => {
                file::write(&group.file(&name), &value).map_err(|error| error.pointing(&pointer))?
            }
            Version::V2 => write(group, "hugetlb", &name, &value, &pointer)?,
        }
    }
    Ok(())
}

/// The v2 part of a hybrid is left alone until a limit needs it, which may be an update.
fn enable_on_hybrid(location: &Location, group: &Group, controller: &str) {
    if !location.is_unified() && !has_controller(group, controller) {
        create::enable_controllers(group, &group.directory(), &[controller.to_owned()]);
    }
}

/// Limits of RDMA devices.
pub(super) fn apply_rdma(location: &Location, resources: &Resources) -> Result<()> {
    const POINTER: &str = "/linux/resources/rdma";
    for (device, limits) in &resources.rdma {
        let group = location.v1("rdma").or_else(|| location.v2());
        let group = group.ok_or_else(|| check::not_joined(location, "rdma", POINTER))?;
        if group.version == Version::V2 {
            enable_on_hybrid(location, group, "rdma");
        }
        let mut line = device.clone();
        for (key, value) in [("hca_handle", limits.hca_handles), ("hca_object", limits.hca_objects)]
        {
            if let Some(value) = value {
                line.push_str(&format!(" {key}={value}"));
            }
        }
        write(group, "rdma", "rdma.max", &line, &crate::pointer::below(POINTER, device))?;
    }
    Ok(())
}

/// Files of v2 as they are: each line of a value is one write.
fn apply_unified(group: &Group, values: &BTreeMap<String, String>) -> Result<()> {
    for (name, value) in values {
        let pointer = format!("/linux/resources/unified/{name}");
        let path = group.file(name);
        for line in value.lines().filter(|line| !line.is_empty()) {
            file::write(&path, line).map_err(|error| {
                let controller = name.split('.').next().unwrap_or_default();
                let absent = error.is(libc::ENOENT) && controller != "cgroup";
                if absent && !has_controller(group, controller) {
                    return Error::at(
                        pointer.as_str(),
                        format!(
                            "unified resource {name:?} can't be set: \
                             controller {controller:?} not available"
                        ),
                    );
                }
                error
                    .context(&format!("unable to set unified resource {name:?}"))
                    .pointing(&pointer)
            })?;
        }
    }
    Ok(())
}
