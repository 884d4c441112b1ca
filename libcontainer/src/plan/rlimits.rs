//! `process.rlimits`.

use super::{PlanError, PlannedRlimit, ProcessSection};

/// The kernel's limits in the order of their numbers (x86 and arm64 alike).
const NAMES: [&str; 16] = [
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
];

/// Reads the limits: known names, each once, soft not above hard.
pub(super) fn plan_rlimits(section: ProcessSection<'_>) -> Result<Vec<PlannedRlimit>, PlanError> {
    let mut planned: Vec<PlannedRlimit> = Vec::new();
    for (index, rlimit) in section.process.rlimits.iter().enumerate() {
        let pointer = section.at(&format!("/rlimits/{index}"));
        let resource = NAMES.iter().position(|name| *name == rlimit.kind).ok_or_else(|| {
            let message = format!("wrong rlimit value: {}", rlimit.kind);
            PlanError::new(format!("{pointer}/type"), message)
        })? as u32;
        if planned.iter().any(|other| other.resource == resource) {
            let message = format!("duplicate rlimit {}", rlimit.kind);
            return Err(PlanError::new(format!("{pointer}/type"), message));
        }
        if rlimit.soft > rlimit.hard {
            let message = format!(
                "the soft limit {} of {} is above the hard limit {}",
                rlimit.soft, rlimit.kind, rlimit.hard
            );
            return Err(PlanError::new(format!("{pointer}/soft"), message));
        }
        planned.push(PlannedRlimit {
            resource,
            name: rlimit.kind.clone(),
            soft: rlimit.soft,
            hard: rlimit.hard,
            pointer,
        });
    }
    Ok(planned)
}
