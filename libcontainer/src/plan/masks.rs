//! `linux.maskedPaths` and `linux.readonlyPaths`.

use std::collections::BTreeSet;

use super::annotations::mount_context_type;
use super::mounts::clean;
use super::root::plan_unbindable;
use super::{Context, PlanError};
use crate::protocol::Step;

/// Read-only paths first: a masked path below one of them still hides what it should.
pub(crate) fn plan_masks(ctx: &mut Context<'_>) -> Result<(), PlanError> {
    plan_paths(ctx)?;
    plan_unbindable(ctx)
}

fn plan_paths(ctx: &mut Context<'_>) -> Result<(), PlanError> {
    let Some(linux) = ctx.linux() else { return Ok(()) };
    for (index, path) in linux.readonly_paths.iter().enumerate() {
        let pointer = format!("/linux/readonlyPaths/{index}");
        let path = ctx.text(path, &pointer)?;
        ctx.push(Step::ReadonlyPath { path }, pointer);
    }
    if linux.masked_paths.is_empty() {
        return Ok(());
    }
    let (shared, null) = (ctx.init.slot(), ctx.init.slot());
    let (options, data) = label_options(ctx)?;
    let mut seen = BTreeSet::new();
    for (index, path) in linux.masked_paths.iter().enumerate() {
        // A second mask over the first hides nothing more, and engines that join lists repeat paths.
        if !seen.insert(clean(path)) {
            continue;
        }
        let pointer = format!("/linux/maskedPaths/{index}");
        let path = ctx.text(path, &pointer)?;
        ctx.push(Step::MaskPath { path, options, data, shared, null }, pointer);
    }
    Ok(())
}

type Options = (crate::protocol::Texts, crate::protocol::Text);

fn label_options(ctx: &mut Context<'_>) -> Result<Options, PlanError> {
    let label = ctx.linux().map(|linux| linux.mount_label.as_str()).unwrap_or_default();
    let pointer = "/linux/mountLabel";
    if label.is_empty() {
        return Ok((ctx.texts::<&str>([], pointer)?, ctx.text("", pointer)?));
    }
    let kind = mount_context_type(&ctx.spec.annotations)?;
    let options = ctx.texts([format!("{kind}={label}")], pointer)?;
    Ok((options, ctx.text(format!("{kind}=\"{label}\""), pointer)?))
}
