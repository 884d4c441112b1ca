//! What the process may use of CPU, disk and memory nodes: `process.scheduler`,
//! `process.ioPriority`, `linux.personality`, `linux.memoryPolicy`, CPU affinity.

use super::{Context, PlanError, ProcessSection};
use crate::protocol::Step;
use crate::spec::{MemoryPolicy, Scheduler};

const POLICIES: [(&str, u32); 7] = [
    ("SCHED_OTHER", 0),
    ("SCHED_FIFO", 1),
    ("SCHED_RR", 2),
    ("SCHED_BATCH", 3),
    ("SCHED_ISO", 4),
    ("SCHED_IDLE", 5),
    ("SCHED_DEADLINE", 6),
];

const SCHEDULER_FLAGS: [(&str, u64); 7] = [
    ("SCHED_FLAG_RESET_ON_FORK", 0x01),
    ("SCHED_FLAG_RECLAIM", 0x02),
    ("SCHED_FLAG_DL_OVERRUN", 0x04),
    ("SCHED_FLAG_KEEP_POLICY", 0x08),
    ("SCHED_FLAG_KEEP_PARAMS", 0x10),
    ("SCHED_FLAG_UTIL_CLAMP_MIN", 0x20),
    ("SCHED_FLAG_UTIL_CLAMP_MAX", 0x40),
];

const IO_CLASSES: [(&str, u32); 3] =
    [("IOPRIO_CLASS_RT", 1), ("IOPRIO_CLASS_BE", 2), ("IOPRIO_CLASS_IDLE", 3)];

const DOMAINS: [(&str, u32); 2] = [("LINUX", 0), ("LINUX32", 8)];

const MEMORY_MODES: [(&str, u32); 7] = [
    ("MPOL_DEFAULT", 0),
    ("MPOL_PREFERRED", 1),
    ("MPOL_BIND", 2),
    ("MPOL_INTERLEAVE", 3),
    ("MPOL_LOCAL", 4),
    ("MPOL_PREFERRED_MANY", 5),
    ("MPOL_WEIGHTED_INTERLEAVE", 6),
];

const MEMORY_FLAGS: [(&str, u32); 3] = [
    ("MPOL_F_NUMA_BALANCING", 1 << 13),
    ("MPOL_F_RELATIVE_NODES", 1 << 14),
    ("MPOL_F_STATIC_NODES", 1 << 15),
];

/// Memory nodes that a mask has room for: the kernel's greatest MAX_NUMNODES.
const NODES: usize = 1024;

/// CPUs that an affinity mask has room for: the kernel's greatest NR_CPUS.
const CPUS: usize = 8192;

/// Names of memory policy modes, for `features`.
pub(crate) fn memory_policy_modes() -> Vec<&'static str> {
    MEMORY_MODES.iter().map(|(name, _)| *name).collect()
}

/// Names of memory policy flags, for `features`.
pub(crate) fn memory_policy_flags() -> Vec<&'static str> {
    MEMORY_FLAGS.iter().map(|(name, _)| *name).collect()
}

fn value<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

/// Scheduler and I/O priority.
pub(super) fn plan_scheduling(
    ctx: &mut Context<'_>,
    section: ProcessSection<'_>,
    cpuset: bool,
) -> Result<(), PlanError> {
    if let Some(scheduler) = &section.process.scheduler {
        let attributes = scheduler_attributes(section, scheduler)?;
        let pointer = section.at("/scheduler");
        let attributes = ctx.bytes(&attributes, &pointer)?;
        ctx.push(Step::SetScheduler { attributes, cpuset }, pointer);
    }
    if let Some(io) = &section.process.io_priority {
        let class = value(&IO_CLASSES, &io.class).ok_or_else(|| {
            let message = format!("invalid ioPriority.Class: {}", io.class);
            PlanError::new(section.at("/ioPriority/class"), message)
        })?;
        let level =
            u32::try_from(io.priority).ok().filter(|level| *level <= 7).ok_or_else(|| {
                let message = format!("invalid ioPriority.Priority: {}", io.priority);
                PlanError::new(section.at("/ioPriority/priority"), message)
            })?;
        ctx.push(Step::SetIoPriority { priority: class << 13 | level }, section.at("/ioPriority"));
    }
    Ok(())
}

/// The kernel's `struct sched_attr` (48 bytes, version 0).
fn scheduler_attributes(
    section: ProcessSection<'_>,
    scheduler: &Scheduler,
) -> Result<Vec<u8>, PlanError> {
    let error = |below: &str, message: String| {
        Err(PlanError::new(section.at(&format!("/scheduler/{below}")), message))
    };
    if scheduler.policy.is_empty() {
        return error("policy", "scheduler policy is required".to_owned());
    }
    let Some(policy) = value(&POLICIES, &scheduler.policy) else {
        return error("policy", format!("invalid scheduler policy: {}", scheduler.policy));
    };
    if !(-20..=19).contains(&scheduler.nice) {
        return error("nice", format!("invalid scheduler.nice: {}", scheduler.nice));
    }
    let real_time = matches!(scheduler.policy.as_str(), "SCHED_FIFO" | "SCHED_RR");
    if scheduler.priority != 0 && !real_time {
        let message = "scheduler.priority can only be specified for SchedFIFO or SchedRR policy";
        return error("priority", message.to_owned());
    }
    if !(0..=99).contains(&scheduler.priority) {
        return error("priority", format!("invalid scheduler.priority: {}", scheduler.priority));
    }
    if scheduler.policy != "SCHED_DEADLINE" {
        for (below, time) in [
            ("runtime", scheduler.runtime),
            ("deadline", scheduler.deadline),
            ("period", scheduler.period),
        ] {
            if time != 0 {
                let message = "scheduler runtime/deadline/period can only be specified for SchedDeadline policy";
                return error(below, message.to_owned());
            }
        }
    }
    let mut flags = 0;
    for (index, name) in scheduler.flags.iter().enumerate() {
        match value(&SCHEDULER_FLAGS, name) {
            Some(flag) => flags |= flag,
            None => {
                return error(&format!("flags/{index}"), format!("invalid scheduler flag: {name}"));
            }
        }
    }
    let mut attributes = Vec::with_capacity(48);
    attributes.extend(48_u32.to_ne_bytes());
    attributes.extend(policy.to_ne_bytes());
    attributes.extend(flags.to_ne_bytes());
    attributes.extend(scheduler.nice.to_ne_bytes());
    attributes.extend(scheduler.priority.to_ne_bytes());
    for time in [scheduler.runtime, scheduler.deadline, scheduler.period] {
        attributes.extend(time.to_ne_bytes());
    }
    Ok(attributes)
}

/// `linux.personality`.
pub(super) fn plan_personality(ctx: &mut Context<'_>) -> Result<(), PlanError> {
    let Some(personality) = ctx.linux().and_then(|linux| linux.personality.as_ref()) else {
        return Ok(());
    };
    let Some(domain) = value(&DOMAINS, &personality.domain) else {
        let message = format!("invalid personality domain: {}", personality.domain);
        return Err(PlanError::new("/linux/personality/domain", message));
    };
    if let Some(flag) = personality.flags.first() {
        let message = format!("invalid personality flag: {flag}");
        return Err(PlanError::new("/linux/personality/flags/0", message));
    }
    ctx.push(Step::SetPersonality { domain }, "/linux/personality");
    Ok(())
}

/// `linux.memoryPolicy`.
pub(super) fn plan_memory_policy(ctx: &mut Context<'_>) -> Result<(), PlanError> {
    let Some(policy) = ctx.linux().and_then(|linux| linux.memory_policy.as_ref()) else {
        return Ok(());
    };
    let mode = memory_mode(policy)?;
    let nodes = parse_list(&policy.nodes, NODES).map_err(|complaint| {
        let message = format!("invalid memory policy node {:?}: {complaint}", policy.nodes);
        PlanError::new("/linux/memoryPolicy/nodes", message)
    })?;
    check_node_count(policy, &nodes)?;
    let nodes = ctx.bytes(&nodes, "/linux/memoryPolicy/nodes")?;
    ctx.push(Step::SetMemoryPolicy { mode, nodes }, "/linux/memoryPolicy");
    Ok(())
}

/// What the kernel answers with EINVAL alone.
fn check_node_count(policy: &MemoryPolicy, nodes: &[u8]) -> Result<(), PlanError> {
    let count: u32 = nodes.iter().map(|byte| byte.count_ones()).sum();
    let message = match (policy.mode.as_str(), count) {
        ("MPOL_DEFAULT" | "MPOL_LOCAL", 1..) => {
            format!("memory policy mode requires 0 nodes but got {count}")
        }
        ("MPOL_DEFAULT" | "MPOL_LOCAL" | "MPOL_PREFERRED", _) | (_, 1..) => return Ok(()),
        (_, 0) => "memory policy mode requires at least one node but got 0".to_owned(),
    };
    Err(PlanError::new("/linux/memoryPolicy/nodes", message))
}

fn memory_mode(policy: &MemoryPolicy) -> Result<u32, PlanError> {
    let mut mode = value(&MEMORY_MODES, &policy.mode).ok_or_else(|| {
        let message = format!("invalid memory policy mode {:?}", policy.mode);
        PlanError::new("/linux/memoryPolicy/mode", message)
    })?;
    for (index, name) in policy.flags.iter().enumerate() {
        mode |= value(&MEMORY_FLAGS, name).ok_or_else(|| {
            let message = format!("invalid memory policy flag {name:?}");
            PlanError::new(format!("/linux/memoryPolicy/flags/{index}"), message)
        })?;
    }
    Ok(mode)
}

/// Lets the process run on all CPUs that its cpuset allows: what the caller's affinity was, and
/// what the kernel remembers of it since Linux 6.2, is not the container's.
pub(super) fn plan_affinity_reset(ctx: &mut Context<'_>) -> Result<(), PlanError> {
    let mask = ctx.bytes(&[0xff; CPUS / 8], "")?;
    ctx.push(Step::SetAffinity { mask }, "");
    Ok(())
}

/// `process.execCPUAffinity`, before (`initial`) and after the process is in its cgroup.
pub(super) fn plan_affinity(
    ctx: &mut Context<'_>,
    list: &str,
    pointer: String,
) -> Result<(), PlanError> {
    let mask = parse_cpus(list, &pointer)?;
    let mask = ctx.bytes(&mask, &pointer)?;
    ctx.push(Step::SetAffinity { mask }, pointer);
    Ok(())
}

/// Checks at create what only later processes of the container use.
pub(super) fn check_exec_affinity(section: ProcessSection<'_>) -> Result<(), PlanError> {
    let Some(affinity) = &section.process.exec_cpu_affinity else {
        return Ok(());
    };
    for (name, list) in [("initial", &affinity.initial), ("final", &affinity.last)] {
        if !list.is_empty() {
            parse_cpus(list, &section.at(&format!("/execCPUAffinity/{name}")))?;
        }
    }
    Ok(())
}

fn parse_cpus(list: &str, pointer: &str) -> Result<Vec<u8>, PlanError> {
    let complaint = match parse_list(list, CPUS) {
        Ok(mask) if mask.iter().any(|byte| *byte != 0) => return Ok(mask),
        Ok(_) => "it is empty".to_owned(),
        Err(complaint) => complaint,
    };
    Err(PlanError::new(pointer, format!("invalid CPU list {list:?}: {complaint}")))
}

/// Reads a list such as `0-3,7` into a mask of whole 64-bit words.
fn parse_list(list: &str, limit: usize) -> Result<Vec<u8>, String> {
    let mut mask = vec![0_u8; limit / 8];
    let mut last = 0;
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, end) = part.split_once('-').unwrap_or((part, part));
        let number = |digits: &str| {
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(format!("{part:?} is no number or range"));
            }
            let number = digits.parse::<usize>().ok().filter(|number| *number < limit);
            number.ok_or_else(|| format!("{digits} is too great"))
        };
        let (first, end) = (number(first)?, number(end)?);
        if first > end {
            return Err(format!("{part:?} ends before it begins"));
        }
        for bit in first..=end {
            if let Some(byte) = mask.get_mut(bit / 8) {
                *byte |= 1 << (bit % 8);
            }
        }
        last = last.max(end);
    }
    mask.truncate((last / 64 + 1) * 8);
    Ok(mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_numbers() {
        assert_eq!(parse_list("0-3,7", 64).unwrap(), [0x8f, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(parse_list("64", 128).unwrap()[8], 1);
        assert_eq!(parse_list("", 128).unwrap(), [0; 8]);
        for wrong in ["a", "1-", "-1", "3-1", "128", "1-2-3", "0x1", "+1"] {
            assert!(parse_list(wrong, 128).is_err(), "{wrong}");
        }
    }
}
