//! `hooks`: those of the runtime's namespaces are the parent's, the others are steps.

use super::annotations::{HOOKS_STDERR, HOOKS_STDOUT, pointer};
use super::process::Program;
use super::root::host_root;
use super::{Context, DescriptorSource, PlanError, PlannedHooks};
use crate::protocol::{Reserve, Slot, Step, Text};
use crate::spec::{Hook, Hooks};

/// The hooks that the parent runs, checked.
pub(super) fn plan_parent_hooks(ctx: &Context<'_>) -> Result<PlannedHooks, PlanError> {
    let Some(hooks) = &ctx.spec.hooks else {
        return Ok(PlannedHooks::default());
    };
    check_hooks(hooks)?;
    Ok(PlannedHooks {
        prestart: hooks.prestart.clone(),
        create_runtime: hooks.create_runtime.clone(),
        poststart: hooks.poststart.clone(),
        poststop: hooks.poststop.clone(),
    })
}

fn check_hooks(hooks: &Hooks) -> Result<(), PlanError> {
    let kinds = [
        ("prestart", &hooks.prestart),
        ("createRuntime", &hooks.create_runtime),
        ("createContainer", &hooks.create_container),
        ("startContainer", &hooks.start_container),
        ("poststart", &hooks.poststart),
        ("poststop", &hooks.poststop),
    ];
    for (kind, list) in kinds {
        for (index, hook) in list.iter().enumerate() {
            check_hook(hook, &format!("/hooks/{kind}/{index}"))?;
        }
    }
    Ok(())
}

fn check_hook(hook: &Hook, pointer: &str) -> Result<(), PlanError> {
    if !hook.path.starts_with('/') {
        let message = format!("hook path {:?} is not an absolute path", hook.path);
        return Err(PlanError::new(format!("{pointer}/path"), message));
    }
    if let Some(timeout) = hook.timeout.filter(|timeout| *timeout <= 0) {
        let message = format!("hook timeout {timeout} is not greater than zero");
        return Err(PlanError::new(format!("{pointer}/timeout"), message));
    }
    for (below, texts) in [("args", &hook.args), ("env", &hook.env)] {
        if let Some(index) = texts.iter().position(|text| text.contains('\0')) {
            let message = "invalid value: contains a NUL byte";
            return Err(PlanError::new(format!("{pointer}/{below}/{index}"), message));
        }
    }
    Ok(())
}

/// Files for what hooks of the container's namespaces write; none for the error's text.
#[derive(Clone, Copy)]
pub(super) struct HookOutput {
    pub(super) out: Slot,
    pub(super) error: Slot,
}

/// Has the files opened that annotations name.
pub(super) fn plan_hook_output(ctx: &mut Context<'_>) -> HookOutput {
    let hooks = ctx.spec.hooks.as_ref();
    let runs_any = hooks.is_some_and(|hooks| {
        !hooks.create_container.is_empty() || !hooks.start_container.is_empty()
    });
    let mut open = |name: &str| match ctx.spec.annotations.get(name) {
        Some(path) if runs_any => {
            let path = hook_output_path(path, &ctx.options.bundle);
            ctx.open(DescriptorSource::Append(path), pointer(name))
        }
        _ => Slot::NONE,
    };
    HookOutput { out: open(HOOKS_STDOUT), error: open(HOOKS_STDERR) }
}

/// A path of an annotation is relative to the bundle.
pub(crate) fn hook_output_path(path: &str, bundle: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("{bundle}/{path}") }
}

/// createContainer: in the container's namespaces, before the root changes, so that their paths
/// are those of the runtime. They start in the root file system, as hooks that put libraries there
/// expect.
pub(super) fn plan_create_container(
    ctx: &mut Context<'_>,
    output: HookOutput,
) -> Result<(), PlanError> {
    let hooks = ctx.spec.hooks.as_ref().map(|hooks| hooks.create_container.as_slice());
    let hooks = hooks.unwrap_or_default();
    if hooks.is_empty() {
        return Ok(());
    }
    let state = plan_state(ctx, "creating")?;
    for (index, hook) in hooks.iter().enumerate() {
        push_hook(ctx, "createContainer", index, hook, (state, output), None)?;
    }
    Ok(())
}

/// startContainer hooks: their number, and the slot of the state that is made while the process
/// may still do everything.
pub(super) fn plan_start_state(ctx: &mut Context<'_>) -> Result<Slot, PlanError> {
    let hooks = ctx.spec.hooks.as_ref().map(|hooks| hooks.start_container.as_slice());
    if hooks.unwrap_or_default().is_empty() {
        return Ok(Slot::NONE);
    }
    plan_state(ctx, "created")
}

/// startContainer: as the container's user, after `start`.
pub(super) fn plan_start_container(
    ctx: &mut Context<'_>,
    state: Slot,
    output: HookOutput,
    program: Program,
) -> Result<(), PlanError> {
    let hooks = ctx.spec.hooks.as_ref().map(|hooks| hooks.start_container.as_slice());
    for (index, hook) in hooks.unwrap_or_default().iter().enumerate() {
        push_hook(ctx, "startContainer", index, hook, (state, output), Some(program))?;
    }
    Ok(())
}

/// A hook without an environment of its own gets that of `inherited`.
fn push_hook(
    ctx: &mut Context<'_>,
    kind: &str,
    index: usize,
    hook: &Hook,
    (state, HookOutput { out, error }): (Slot, HookOutput),
    inherited: Option<Program>,
) -> Result<(), PlanError> {
    let pointer = format!("/hooks/{kind}/{index}");
    let path = ctx.text(&hook.path, &pointer)?;
    let args = if hook.args.is_empty() {
        ctx.texts([&hook.path], &pointer)?
    } else {
        ctx.texts(&hook.args, &pointer)?
    };
    let (env, home) = match inherited {
        Some(program) if hook.env.is_empty() => (program.env, program.home),
        _ => (ctx.texts(&hook.env, &pointer)?, Reserve::default()),
    };
    let pointers = args.count as usize + 1 + env.count as usize + 2;
    let vector = ctx
        .init
        .reserve(pointers * size_of::<usize>())
        .map_err(|error| PlanError::data(&pointer, error))?;
    let timeout = hook.timeout.and_then(|timeout| u64::try_from(timeout).ok()).unwrap_or(0);
    let name = ctx.text(kind, &pointer)?;
    let index = index as u32;
    let directory = match inherited {
        Some(_) => Text::default(),
        None => ctx.text(host_root(ctx), &pointer)?,
    };
    let step = Step::RunHook {
        name,
        index,
        path,
        directory,
        args,
        env,
        home,
        timeout,
        state,
        out,
        error,
        vector,
    };
    ctx.push(step, pointer);
    Ok(())
}

/// The container's state in two parts, between which the child puts its own pid: the pid inside
/// its namespace, which nobody else knows.
fn plan_state(ctx: &mut Context<'_>, status: &str) -> Result<Slot, PlanError> {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let before = format!(
        "{{\"ociVersion\":{},\"id\":{},\"status\":{},\"pid\":",
        quoted(&ctx.spec.oci_version),
        quoted(&ctx.options.id),
        quoted(status),
    );
    let mut after = format!(",\"bundle\":{}", quoted(&ctx.options.bundle));
    if !ctx.spec.annotations.is_empty() {
        let annotations: serde_json::Map<String, serde_json::Value> = ctx
            .spec
            .annotations
            .iter()
            .map(|(key, value)| (key.clone(), value.as_str().into()))
            .collect();
        after.push_str(",\"annotations\":");
        after.push_str(&serde_json::Value::from(annotations).to_string());
    }
    after.push('}');
    let before = ctx.bytes(before.as_bytes(), "/hooks")?;
    let after = ctx.bytes(after.as_bytes(), "/hooks")?;
    let state = ctx.init.slot();
    ctx.push(Step::PrepareHookState { state, before, after }, "/hooks");
    Ok(state)
}
