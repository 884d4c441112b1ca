//! `linux.intelRdt`: the container's class of service.

use super::{Context, PlanError};
use crate::rdt::Group;

/// Checks what the configuration asks for against what the machine has.
pub(super) fn plan_rdt(ctx: &Context<'_>) -> Result<Option<Group>, PlanError> {
    let Some(config) = ctx.linux().and_then(|linux| linux.intel_rdt.as_ref()) else {
        return Ok(None);
    };
    let error = |below: &str, message: String| {
        Err(PlanError::new(format!("/linux/intelRdt{below}"), message))
    };
    let Some(resctrl) = &ctx.host.resctrl else {
        let message = "intelRdt is specified in config, but Intel RDT is not enabled";
        return Err(PlanError::new("/linux/intelRdt", message)
            .with_hint("a resctrl file system must be mounted, usually at /sys/fs/resctrl"));
    };
    let clos = config.clos_id.as_str();
    if matches!(clos, "." | "..") || (clos.len() > 1 && clos.contains('/')) || clos.contains('\0') {
        return error("/closID", format!("invalid intelRdt.ClosID {clos:?}"));
    }
    if !config.l3_cache_schema.is_empty() && !resctrl.shares_cache {
        let message =
            "intelRdt.l3CacheSchema is specified in config, but Intel RDT/CAT is not enabled";
        return error("/l3CacheSchema", message.to_owned());
    }
    if !config.mem_bw_schema.is_empty() && !resctrl.shares_bandwidth {
        let message =
            "intelRdt.memBwSchema is specified in config, but Intel RDT/MBA is not enabled";
        return error("/memBwSchema", message.to_owned());
    }
    if !config.mem_bw_schema.is_empty() && !config.mem_bw_schema.starts_with("MB:") {
        let message =
            format!("intelRdt.memBwSchema {:?} does not start with MB:", config.mem_bw_schema);
        return error("/memBwSchema", message);
    }
    if config.mem_bw_schema.contains('\n') {
        return error("/memBwSchema", "intelRdt.memBwSchema is not one line".to_owned());
    }
    if let Some(index) = config.schemata.iter().position(|line| line.contains('\n')) {
        let message = "an element of intelRdt.schemata is not one line".to_owned();
        return error(&format!("/schemata/{index}"), message);
    }
    Ok(Some(Group::new(resctrl, &ctx.options.id, config)))
}
