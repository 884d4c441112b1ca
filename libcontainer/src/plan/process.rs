//! `process`: arguments, environment, directory, user.

use super::annotations::{HANDLER, keeps_groups, pointer};
use super::capabilities::{CapabilitySets, plan_bounding, plan_sets};
use super::{Context, DescriptorSource, PlanError};
use crate::protocol::{Reserve, Slot, Step, Texts};
use crate::spec::Process;

/// The kernel's "no change" in calls that set ids: taken as an id it would leave the process
/// what it is, root.
const NO_CHANGE: u32 = u32::MAX;

/// File mode creation mask where neither the configuration nor the caller has one.
const DEFAULT_UMASK: u32 = 0o022;

/// Bytes of `HOME=...` that fit; longer home directories count as not found.
const HOME_LENGTH: usize = 1024;

/// A process and its place in the document that it comes from.
#[derive(Clone, Copy)]
pub(crate) struct ProcessSection<'a> {
    pub(crate) process: &'a Process,
    /// `/process` in a config.json, empty in a document that is the process.
    pub(crate) base: &'static str,
}

impl ProcessSection<'_> {
    /// JSON pointer of something below the process.
    pub(crate) fn at(&self, below: &str) -> String {
        format!("{}{below}", self.base)
    }

    fn error(&self, below: &str, message: impl Into<String>) -> PlanError {
        PlanError::new(self.at(below), message)
    }
}

/// What is executed in the end.
#[derive(Clone, Copy)]
pub(super) struct Program {
    candidates: Texts,
    bare: bool,
    chosen: Reserve,
    args: Texts,
    pub(super) env: Texts,
    pub(super) home: Reserve,
    vector: Reserve,
}

/// The working directory during the change of user.
#[derive(Clone, Copy)]
pub(super) struct Directory {
    path: crate::protocol::Text,
    entered: Slot,
}

/// Checks that do not depend on the order of steps.
pub(super) fn check_process(section: ProcessSection<'_>) -> Result<(), PlanError> {
    let process = section.process;
    if process.args.is_empty() {
        return Err(section.error("/args", "args must not be empty"));
    }
    if process.cwd.is_empty() {
        return Err(section.error("/cwd", "Cwd property must not be empty"));
    }
    if !process.cwd.starts_with('/') {
        return Err(section.error("/cwd", "Cwd must be an absolute path"));
    }
    if !process.command_line.is_empty() {
        return Err(section.error("/commandLine", "commandLine is for Windows containers alone"));
    }
    check_user(section)
}

fn check_user(section: ProcessSection<'_>) -> Result<(), PlanError> {
    let user = &section.process.user;
    let refused = |id: u32, what: &str, below: String| {
        let message =
            format!("{what} {id} is no user or group: the kernel takes it as \"no change\"");
        Err(section.error(&below, message))
    };
    if user.uid == NO_CHANGE {
        return refused(user.uid, "uid", "/user/uid".to_owned());
    }
    if user.gid == NO_CHANGE {
        return refused(user.gid, "gid", "/user/gid".to_owned());
    }
    if let Some(index) = user.additional_gids.iter().position(|gid| *gid == NO_CHANGE) {
        return refused(NO_CHANGE, "gid", format!("/user/additionalGids/{index}"));
    }
    if !user.username.is_empty() {
        return Err(section.error("/user/username", "username is for Windows containers alone"));
    }
    if let Some(mask) = user.umask.filter(|mask| *mask > 0o777) {
        return Err(
            section.error("/user/umask", format!("umask {mask:#o} is not a file mode mask"))
        );
    }
    Ok(())
}

/// Stores arguments, environment and the candidates of the program's path.
pub(super) fn plan_program(
    ctx: &mut Context<'_>,
    section: ProcessSection<'_>,
) -> Result<Program, PlanError> {
    let process = section.process;
    let mut env = environment(section)?;
    let home_is_set =
        env.iter().any(|entry| entry.strip_prefix("HOME=").is_some_and(|home| !home.is_empty()));
    env.retain(|entry| *entry != "HOME=");
    let listen = ctx.options.listen_fds;
    let activation = [format!("LISTEN_FDS={listen}"), "LISTEN_PID=1".to_owned()];
    if listen > 0 {
        env.retain(|entry| !entry.starts_with("LISTEN_FDS=") && !entry.starts_with("LISTEN_PID="));
        env.extend(activation.iter().map(String::as_str));
    }
    let name = process.args.first().map(String::as_str).unwrap_or_default();
    let bare = !name.contains('/');
    let candidates = if bare { candidates(name, &env) } else { vec![name.to_owned()] };
    let args = ctx.options.handler.as_ref().unwrap_or(&process.args);
    let pointers = args.len() + 1 + env.len() + 2;
    let at = |error| PlanError::data(&section.at("/args"), error);
    Ok(Program {
        candidates: ctx.texts(candidates, &section.at("/args/0"))?,
        bare,
        chosen: ctx.init.reserve(8).map_err(at)?,
        args: ctx.texts(args, &section.at("/args"))?,
        env: ctx.texts(&env, &section.at("/env"))?,
        home: if home_is_set {
            Reserve::default()
        } else {
            ctx.init.reserve(HOME_LENGTH).map_err(at)?
        },
        vector: ctx.init.reserve(pointers * size_of::<usize>()).map_err(at)?,
    })
}

/// The environment without duplicates: the last one holds.
fn environment<'a>(section: ProcessSection<'a>) -> Result<Vec<&'a str>, PlanError> {
    let entries = &section.process.env;
    for (index, entry) in entries.iter().enumerate() {
        let complaint = match entry.find('=') {
            None => "missing '='",
            Some(0) => "name cannot be empty",
            Some(_) if entry.contains('\0') => "contains nul byte (\\x00)",
            Some(_) => continue,
        };
        let message = format!("invalid environment variable: {complaint}");
        return Err(section.error(&format!("/env/{index}"), message));
    }
    let mut seen = std::collections::HashSet::new();
    let mut kept: Vec<&str> = entries
        .iter()
        .rev()
        .map(String::as_str)
        .filter(|entry| seen.insert(entry.split('=').next()))
        .collect();
    kept.reverse();
    Ok(kept)
}

/// Where a bare name is looked for. Relative directories of PATH are left out: what they mean
/// depends on the working directory.
fn candidates(name: &str, env: &[&str]) -> Vec<String> {
    let path = env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or_default();
    if name.is_empty() {
        return Vec::new();
    }
    path.split(':')
        .filter(|directory| directory.starts_with('/'))
        .map(|directory| format!("{}/{name}", directory.trim_end_matches('/')))
        .collect()
}

/// Makes the working directory inside the root.
pub(super) fn plan_directory(
    ctx: &mut Context<'_>,
    section: ProcessSection<'_>,
) -> Result<Directory, PlanError> {
    let pointer = section.at("/cwd");
    let path = ctx.text(&section.process.cwd, &pointer)?;
    Ok(Directory { path, entered: ctx.init.slot() })
}

/// `MakeWorkingDirectory` of [`plan_directory`]'s directory.
pub(super) fn plan_make_directory(
    ctx: &mut Context<'_>,
    section: ProcessSection<'_>,
    directory: Directory,
) {
    ctx.push(Step::MakeWorkingDirectory { path: directory.path }, section.at("/cwd"));
}

/// From root of the container to its user: directory, capabilities, groups, ids, mask.
/// `setgroups_denied` says that the user namespace forbids to set groups.
pub(super) fn plan_identity(
    ctx: &mut Context<'_>,
    section: ProcessSection<'_>,
    directory: Directory,
    program: Program,
    setgroups_denied: bool,
) -> Result<(), PlanError> {
    let user = &section.process.user;
    let sets = CapabilitySets::plan(ctx, section);
    let Directory { path, entered } = directory;
    ctx.push(Step::EnterDirectory { path, entered }, section.at("/cwd"));
    if program.home.length > 0 {
        let step = Step::FindHome { uid: user.uid, home: program.home };
        ctx.push(step, section.at("/user/uid"));
    }
    plan_bounding(ctx, section, sets)?;
    if !section.process.terminal {
        ctx.push(Step::OwnStdio { uid: user.uid }, section.at("/user/uid"));
    }
    let groups: Vec<u8> = user.additional_gids.iter().flat_map(|gid| gid.to_ne_bytes()).collect();
    if setgroups_denied && !groups.is_empty() && !keeps_groups(ctx) {
        let message = "cannot set any additional groups in a rootless container";
        return Err(section.error("/user/additionalGids", message));
    }
    let pointer = section.at("/user/additionalGids");
    if !keeps_groups(ctx) {
        let groups = ctx.bytes(&groups, &pointer)?;
        ctx.push(Step::SetGroups { groups, tolerate_denied: setgroups_denied }, pointer);
    }
    ctx.push(Step::SetIds { uid: user.uid, gid: user.gid }, section.at("/user"));
    let mask = user.umask.or(ctx.options.umask).unwrap_or(DEFAULT_UMASK);
    ctx.push(Step::SetUmask { mask }, section.at("/user/umask"));
    ctx.push(Step::ConfirmDirectory { path, entered }, section.at("/cwd"));
    plan_sets(ctx, section, sets);
    // What a handler makes of the first argument is its own affair.
    if ctx.options.handler.is_none() {
        let Program { candidates, bare, chosen, .. } = program;
        ctx.push(Step::FindProgram { candidates, bare, chosen }, section.at("/args/0"));
    }
    Ok(())
}

/// Has the host's program opened that runs the container's.
pub(super) fn plan_handler(ctx: &mut Context<'_>) -> Slot {
    match ctx.options.handler {
        Some(_) => ctx.open(DescriptorSource::Handler, pointer(HANDLER)),
        None => Slot::NONE,
    }
}

/// The end of every program.
pub(super) fn plan_execute(
    ctx: &mut Context<'_>,
    section: ProcessSection<'_>,
    program: Program,
    handler: Slot,
) {
    let Program { candidates, chosen, args, env, home, vector, .. } = program;
    if handler != Slot::NONE {
        let step = Step::ExecuteHandler { handler, args, env, home, vector };
        ctx.push(step, pointer(HANDLER));
        return;
    }
    let step = Step::Execute { candidates, chosen, args, env, home, vector };
    ctx.push(step, section.at("/args"));
}
