//! `mounts`: what is mounted where, in which order, with which flags.

use std::borrow::Cow;

use libc::{MS_BIND, MS_RDONLY, MS_REC, MS_REMOUNT};

use super::annotations::mount_context_type;
use super::idmap;
use super::options::{LinkRules, MapScope, MountOptions};
use super::root::host_root;
use super::{Context, NamespaceKind, PlanError, PlannedTree, TreeMapping};
use crate::protocol::mount::{Device, Flags, Rules, rule};
use crate::protocol::{Slot, Step, SyncPoint, Text, Texts};
use crate::spec::{IdMapping, Mount, Spec};

/// Mounts that become read-only after the runtime has written to them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LateReadonly(Vec<(Slot, Text, String)>);

/// Files of a procfs that may be replaced: they inform, nothing is decided by writing to them.
/// A destination elsewhere in /proc would let the configuration fake what the runtime writes to
/// (CVE-2019-16884).
const REPLACEABLE_IN_PROC: [&str; 11] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/net/dev",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

/// File systems that take their options one by one through the mount API; the others get the
/// joined text by mount(2), which some parse themselves.
const BY_PARAMETERS: [&str; 8] =
    ["tmpfs", "proc", "sysfs", "mqueue", "devpts", "cgroup", "cgroup2", "ramfs"];

const CAP_SYS_ADMIN: u8 = 21;

/// fsconfig(2) takes values up to this length.
const LONGEST_PARAMETER: usize = 255;

/// What mount(2) alone can ask for of a file system.
const CLASSIC_FLAGS: u64 = libc::MS_SYNCHRONOUS
    | libc::MS_DIRSYNC
    | libc::MS_MANDLOCK
    | libc::MS_SILENT
    | libc::MS_POSIXACL
    | libc::MS_I_VERSION
    | libc::MS_LAZYTIME
    | libc::MS_REMOUNT;

/// Plans the mounts in their order.
pub(crate) fn plan_mounts(ctx: &mut Context<'_>) -> Result<LateReadonly, PlanError> {
    let mut late = LateReadonly::default();
    let current = ctx.init.slot();
    let mut requests = Vec::new();
    for (index, mount) in ctx.spec.mounts.iter().enumerate() {
        requests.push(Request::read(ctx, mount, format!("/mounts/{index}"))?);
    }
    plan_received_trees(ctx, &requests);
    for request in &requests {
        plan_mount(ctx, request, current, &mut late)?;
    }
    Ok(late)
}

/// Plans mounts into a running container. The list is the whole document.
pub(super) fn plan_added_mounts(ctx: &mut Context<'_>) -> Result<(), PlanError> {
    let mut late = LateReadonly::default();
    let current = ctx.init.slot();
    for (index, mount) in ctx.spec.mounts.iter().enumerate() {
        let request = Request::read(ctx, mount, format!("/{index}"))?;
        plan_mount(ctx, &request, current, &mut late)?;
    }
    plan_late_readonly(ctx, late);
    Ok(())
}

/// Makes the late read-only mounts read-only.
pub(crate) fn plan_late_readonly(ctx: &mut Context<'_>, late: LateReadonly) {
    for (mount, destination, pointer) in late.0 {
        ctx.push(Step::MakeReadonly { mount, destination }, pointer);
    }
}

/// A bind mount on /dev brings its own devices.
pub(super) fn provides_dev(spec: &Spec) -> bool {
    spec.mounts.iter().any(|mount| {
        MountOptions::parse(&mount.options).is_bind() && clean(&mount.destination) == "/dev"
    })
}

/// The path from `/`, without `.`, `..` and doubled slashes, as runc reads destinations.
pub(super) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// One entry of `mounts`, read.
pub(super) struct Request<'a> {
    pub(super) pointer: String,
    pub(super) destination: String,
    pub(super) kind: &'a str,
    pub(super) source: String,
    /// A bind mount of what lies in the container's own root file system: what earlier entries
    /// mounted there belongs to it.
    is_inside: bool,
    pub(super) options: MountOptions,
    uid_mappings: Cow<'a, [IdMapping]>,
    gid_mappings: Cow<'a, [IdMapping]>,
}

impl<'a> Request<'a> {
    fn read(ctx: &mut Context<'a>, mount: &'a Mount, pointer: String) -> Result<Self, PlanError> {
        if mount.destination.is_empty() {
            let message = "mount destination must not be empty";
            return Err(PlanError::new(format!("{pointer}/destination"), message));
        }
        if !mount.destination.starts_with('/') {
            ctx.warn(format!(
                "mount destination {} is not absolute: it is taken from / on ({pointer}/destination)",
                mount.destination
            ));
        }
        let options = MountOptions::parse(&mount.options);
        let source = match options.is_bind() {
            true => bind_source(ctx, mount, &pointer)?,
            false => mount.source.clone(),
        };
        let (uid_mappings, gid_mappings) = idmap::mappings(ctx, mount, &options, &pointer)?;
        let request = Self {
            destination: without_root(ctx, clean(&mount.destination)),
            is_inside: options.is_bind() && is_below(&clean(&source), &host_root(ctx)),
            kind: &mount.kind,
            source,
            options,
            uid_mappings,
            gid_mappings,
            pointer,
        };
        request.check(ctx)?;
        Ok(request)
    }

    fn check(&self, ctx: &Context<'_>) -> Result<(), PlanError> {
        let LinkRules { copy, keep_source, keep_destination } = self.options.links;
        if copy && (keep_source || keep_destination) {
            let message = format!(
                "invalid mount {}: copy-symlink is for links that are made again, src-nofollow and \
                 dest-nofollow for those that are mounted",
                self.destination
            );
            return Err(self.error("options", message));
        }
        if self.options.is_bind() && !self.options.data.is_empty() {
            let message = format!(
                "invalid mount {}: bind mounts cannot have any filesystem-specific options applied: {}",
                self.destination,
                self.options.data.join(",")
            );
            return Err(self.error("options", message));
        }
        if ctx.options.from_outside && self.options.links != LinkRules::default() {
            let message = format!(
                "invalid mount {}: links are followed in mounts of running containers",
                self.destination
            );
            return Err(self.error("options", message));
        }
        if self.options.copy_up && (self.kind != "tmpfs" || self.destination == "/") {
            let message = format!(
                "invalid mount {}: tmpcopyup is for a tmpfs that is not on /",
                self.destination
            );
            return Err(self.error("options", message));
        }
        if self.is_mapped() {
            self.check_mapping(ctx)?;
        }
        if self.options.recursive_set | self.options.recursive_clear != 0 && !ctx.host.mount_setattr
        {
            let message = format!(
                "invalid mount {}: recursive mount attributes need mount_setattr(2) (Linux 5.12)",
                self.destination
            );
            return Err(self.error("options", message));
        }
        self.check_proc()
    }

    fn error(&self, field: &str, message: String) -> PlanError {
        PlanError::new(format!("{}/{field}", self.pointer), message)
    }

    fn is_mapped(&self) -> bool {
        self.options.map.is_some() || !self.uid_mappings.is_empty() || !self.gid_mappings.is_empty()
    }

    fn check_mapping(&self, ctx: &Context<'_>) -> Result<(), PlanError> {
        let own = !self.uid_mappings.is_empty() || !self.gid_mappings.is_empty();
        let problem = if !self.options.is_bind() {
            "id-mapped mounts are only supported for bind-mounts"
        } else if ctx.options.rootless {
            "id-mapped mounts are not supported for rootless containers"
        } else if own && (self.uid_mappings.is_empty() || self.gid_mappings.is_empty()) {
            "id-mapped mounts must have both uid and gid mappings specified"
        } else if !own && !ctx.namespaces.has(NamespaceKind::User) {
            "id-mapped mounts without mappings need a user namespace"
        } else if !ctx.host.mount_setattr {
            "id-mapped mounts need mount_setattr(2) (Linux 5.12)"
        } else {
            return Ok(());
        };
        Err(self.error("options", format!("invalid mount {}: {problem}", self.destination)))
    }

    /// Nothing may be mounted inside /proc but what is known to be harmless.
    fn check_proc(&self) -> Result<(), PlanError> {
        if self.destination == "/proc" {
            if self.kind != "proc" && !self.options.is_bind() {
                let why = "cannot be mounted because it is not of type proc";
                return Err(self.error("type", self.proc_message(why)));
            }
        } else if self.destination.starts_with("/proc/") && !self.is_replaceable() {
            let why = "cannot be mounted because it is inside /proc";
            return Err(self.error("destination", self.proc_message(why)));
        }
        Ok(())
    }

    fn proc_message(&self, why: &str) -> String {
        let Self { source, destination, .. } = self;
        format!("error mounting {source:?} to rootfs at {destination:?}: {destination:?} {why}")
    }

    fn is_replaceable(&self) -> bool {
        REPLACEABLE_IN_PROC.contains(&self.destination.as_str())
    }

    /// Rules that come from the destination alone.
    fn destination_rules(&self) -> u32 {
        let mut rules = 0;
        if self.is_replaceable() {
            rules |= rule::INSIDE_PROC;
        }
        if self.destination == "/proc" && self.options.is_bind() {
            rules |= rule::SOURCE_IS_PROC;
        }
        if self.destination == "/" {
            rules |= rule::OVER_ROOT;
        }
        rules
    }

    /// /dev and tmpfs stay writable until the runtime is done with them. `remount` makes no mount
    /// that could be changed later.
    fn is_late(&self) -> bool {
        !self.options.is_bind()
            && self.options.flags & (MS_RDONLY | MS_REMOUNT) == MS_RDONLY
            && (self.kind == "tmpfs" || self.destination == "/dev")
    }
}

/// Some callers name destinations by their path on the host; runc takes the root file system's
/// path off their front.
fn without_root(ctx: &Context<'_>, destination: String) -> String {
    let root = clean(&host_root(ctx));
    match is_below(&destination, &root) {
        true => clean(&destination[root.len()..]),
        false => destination,
    }
}

/// Both without `.` and `..`. Everything is below `/`, which says nothing.
pub(super) fn is_below(path: &str, root: &str) -> bool {
    let root = clean(root);
    root != "/"
        && path
            .strip_prefix(root.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn bind_source(ctx: &Context<'_>, mount: &Mount, pointer: &str) -> Result<String, PlanError> {
    if mount.source.is_empty() {
        let message = format!("bind mount {} has no source", mount.destination);
        return Err(PlanError::new(format!("{pointer}/source"), message));
    }
    match mount.source.starts_with('/') {
        true => Ok(mount.source.clone()),
        false => Ok(format!("{}/{}", ctx.options.bundle, mount.source)),
    }
}

fn plan_mount(
    ctx: &mut Context<'_>,
    request: &Request<'_>,
    current: Slot,
    late: &mut LateReadonly,
) -> Result<(), PlanError> {
    let is_late = request.is_late();
    let mount = if is_late { ctx.init.slot() } else { current };
    if request.options.is_bind() {
        plan_bind(ctx, request, mount)?;
    } else if request.kind == "cgroup" || request.kind == "cgroup2" {
        super::cgroup_mount::plan_cgroup_mount(ctx, request, mount)?;
    } else {
        plan_filesystem(ctx, request, mount, is_late)?;
    }
    plan_attributes(ctx, request, mount)?;
    if is_late {
        let destination = ctx.text(&request.destination, &request.pointer)?;
        late.0.push((mount, destination, request.pointer.clone()));
    }
    Ok(())
}

fn plan_bind(ctx: &mut Context<'_>, request: &Request<'_>, mount: Slot) -> Result<(), PlanError> {
    let pointer = request.pointer.as_str();
    let source = ctx.text(&request.source, &format!("{pointer}/source"))?;
    let destination = ctx.text(&request.destination, &format!("{pointer}/destination"))?;
    let MountOptions { flags, cleared, .. } = request.options;
    let mut rules = request.destination_rules();
    if request.options.changes_flags() {
        rules |= rule::CHANGE_FLAGS;
    }
    if flags & MS_REMOUNT != 0 {
        rules |= rule::KEEP_FLAGS;
    }
    let links = request.options.links;
    for (is_asked, rule) in [
        (links.copy, rule::COPY_LINK),
        (links.keep_source, rule::SOURCE_LINK),
        (links.keep_destination, rule::DESTINATION_LINK),
    ] {
        rules |= if is_asked { rule } else { 0 };
    }
    let flags = Flags(flags & !(MS_BIND | MS_REC | MS_REMOUNT));
    let (cleared, rules) = (Flags(cleared), Rules(rules));
    if request.is_mapped() || ctx.options.from_outside {
        let tree = plan_tree(ctx, request);
        let step = Step::MountTree { tree, source, destination, flags, cleared, rules, mount };
        ctx.push(step, pointer);
        return Ok(());
    }
    let follows = links == LinkRules::default();
    let tree = if may_be_out_of_reach(ctx) && !request.is_inside && follows {
        plan_tree(ctx, request)
    } else {
        Slot::NONE
    };
    let recursive = request.options.is_recursive();
    let step = Step::MountBind {
        source,
        destination,
        recursive,
        flags,
        cleared,
        rules,
        device: Device(0),
        tree,
        mount,
    };
    ctx.push(step, pointer);
    Ok(())
}

/// The root of a user namespace may lack the rights to walk to the source. A copy by the parent
/// is the second choice, since what the host locked on it is not locked any more.
fn may_be_out_of_reach(ctx: &Context<'_>) -> bool {
    ctx.namespaces.has(NamespaceKind::User)
        && !ctx.options.rootless
        && ctx.host.mount_api
        && ctx.host.has_capability(CAP_SYS_ADMIN)
}

/// The slot of the tree that the parent makes for a mount.
fn plan_tree(ctx: &mut Context<'_>, request: &Request<'_>) -> Slot {
    if let Some(tree) = ctx.trees.iter().find(|tree| tree.pointer == request.pointer) {
        return tree.slot;
    }
    let slot = ctx.init.slot();
    let mapping = if !request.is_mapped() {
        TreeMapping::Absent
    } else if request.uid_mappings.is_empty() {
        TreeMapping::Container
    } else {
        TreeMapping::Own(request.uid_mappings.to_vec(), request.gid_mappings.to_vec())
    };
    ctx.trees.push(PlannedTree {
        slot,
        source: request.source.clone(),
        recursive_bind: request.options.is_recursive(),
        recursive_map: request.options.map == Some(MapScope::Recursive),
        mapping,
        pointer: request.pointer.clone(),
    });
    slot
}

/// Trees that are mapped by the container's own user namespace arrive once it has its mappings.
/// Their slots follow each other, in the order of the mounts.
fn plan_received_trees(ctx: &mut Context<'_>, requests: &[Request<'_>]) {
    let mut first = None;
    let mut count = 0;
    for request in requests {
        if request.is_mapped() && request.uid_mappings.is_empty() {
            let slot = plan_tree(ctx, request);
            first.get_or_insert(slot);
            count += 1;
        }
    }
    if let Some(first) = first {
        ctx.push(Step::Meet { point: SyncPoint::Namespaces }, "/mounts");
        ctx.push(Step::ReceiveTrees { first, count }, "/mounts");
    }
}

fn plan_filesystem(
    ctx: &mut Context<'_>,
    request: &Request<'_>,
    mount: Slot,
    is_late: bool,
) -> Result<(), PlanError> {
    let mut rules = request.destination_rules();
    if matches!(request.kind, "proc" | "sysfs") {
        rules |= rule::ORDINARY_DIRECTORY;
    }
    if request.kind == "tmpfs" {
        rules |= rule::INHERIT_MODE;
    }
    if request.options.copy_up {
        rules |= rule::COPY_UP;
    }
    let mut data = request.options.data.clone();
    if request.kind == "devpts" {
        drop_unmapped_group(ctx, &mut data);
    }
    let mut options = request.options.clone();
    if is_late {
        options.flags &= !MS_RDONLY;
    }
    let filesystem = Filesystem {
        kind: request.kind,
        source: &request.source,
        destination: &request.destination,
        fallback: fallback(ctx, request.kind),
        data,
        labelled: !matches!(request.kind, "proc" | "sysfs"),
        flags: options.flags & !MS_REC,
        cleared: options.cleared,
        rules,
    };
    filesystem.plan(ctx, &request.pointer, mount)
}

/// A file system to be mounted; also those that no entry of `mounts` names.
pub(super) struct Filesystem<'a> {
    pub(super) kind: &'a str,
    pub(super) source: &'a str,
    pub(super) destination: &'a str,
    pub(super) fallback: &'a str,
    pub(super) data: Vec<String>,
    pub(super) labelled: bool,
    pub(super) flags: u64,
    pub(super) cleared: u64,
    pub(super) rules: u32,
}

impl Filesystem<'_> {
    pub(super) fn plan(
        self,
        ctx: &mut Context<'_>,
        pointer: &str,
        mount: Slot,
    ) -> Result<(), PlanError> {
        let mut rules = self.rules;
        let joined = self.data.join(",");
        let mut parameters: Vec<String> =
            joined.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let mut data = joined.clone();
        let label = ctx.linux().map(|linux| linux.mount_label.as_str()).unwrap_or_default();
        if self.labelled && !label.is_empty() {
            let kind = mount_context_type(&ctx.spec.annotations)?;
            parameters.push(format!("{kind}={label}"));
            data = join(&data, &format!("{kind}=\"{label}\""));
        }
        let too_long = |text: &str| text.len() > LONGEST_PARAMETER;
        if !BY_PARAMETERS.contains(&self.kind)
            || self.flags & CLASSIC_FLAGS != 0
            || joined.contains(['"', '\\'])
            || parameters.iter().any(|parameter| too_long(parameter))
            || too_long(self.source)
        {
            rules |= rule::CLASSIC;
            parameters.clear();
        }
        let kind = ctx.text(self.kind, &format!("{pointer}/type"))?;
        let source = ctx.text(self.source, &format!("{pointer}/source"))?;
        let options: Texts = ctx.texts(parameters, &format!("{pointer}/options"))?;
        let data = ctx.text(data, &format!("{pointer}/options"))?;
        let fallback = ctx.text(self.fallback, pointer)?;
        let destination = ctx.text(self.destination, &format!("{pointer}/destination"))?;
        let (flags, cleared, rules) = (Flags(self.flags), Flags(self.cleared), Rules(rules));
        let step = Step::MountFilesystem {
            kind,
            source,
            options,
            data,
            fallback,
            destination,
            flags,
            cleared,
            rules,
            mount,
        };
        ctx.push(step, pointer);
        Ok(())
    }
}

fn join(data: &str, more: &str) -> String {
    if data.is_empty() { more.to_owned() } else { format!("{data},{more}") }
}

/// What is bound where the kernel refuses the file system because the namespace that it shows is
/// not the container's own.
fn fallback(ctx: &Context<'_>, kind: &str) -> &'static str {
    let in_user_namespace = ctx.namespaces.has(NamespaceKind::User) || ctx.host.in_user_namespace;
    if !in_user_namespace {
        return "";
    }
    match kind {
        "sysfs" if !ctx.namespaces.creates(NamespaceKind::Network) => "/sys",
        "proc" if !ctx.namespaces.has(NamespaceKind::Pid) => "/proc",
        "mqueue" if !ctx.namespaces.creates(NamespaceKind::Ipc) => "/dev/mqueue",
        _ => "",
    }
}

/// devpts refuses a group that its user namespace does not know; the default configuration asks
/// for 5 (tty).
fn drop_unmapped_group(ctx: &Context<'_>, data: &mut Vec<String>) {
    if !ctx.namespaces.creates(NamespaceKind::User) {
        return;
    }
    let mappings = ctx.linux().map(|linux| linux.gid_mappings.as_slice()).unwrap_or_default();
    let is_mapped = |gid: u32| {
        mappings.iter().any(|range| {
            gid >= range.container_id
                && u64::from(gid) < u64::from(range.container_id) + u64::from(range.size)
        })
    };
    data.retain(|option| match option.strip_prefix("gid=").map(str::parse::<u32>) {
        Some(Ok(gid)) => is_mapped(gid),
        _ => true,
    });
}

/// What is set on the mount once it is there: propagation in order, then recursive attributes.
fn plan_attributes(
    ctx: &mut Context<'_>,
    request: &Request<'_>,
    mount: Slot,
) -> Result<(), PlanError> {
    let destination = ctx.text(&request.destination, &request.pointer)?;
    for propagation in request.options.propagation.iter().copied() {
        ctx.push(
            Step::SetMountPropagation { mount, propagation: Flags(propagation), destination },
            request.pointer.as_str(),
        );
    }
    let (set, clear) = (request.options.recursive_set, request.options.recursive_clear);
    if set | clear != 0 {
        ctx.push(
            Step::SetMountAttributes { mount, set, clear, destination },
            request.pointer.as_str(),
        );
    }
    Ok(())
}
