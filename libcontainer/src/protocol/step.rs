//! The child's vocabulary: each step is one act with everything that it needs.

use std::fmt::Write as _;

use super::mount::{Device, Flags, Mode, Rules};
use super::{Bytes, Program, Reserve, Text, Texts};

/// Index into the child's table of descriptors.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot(pub(crate) u16);

impl Slot {
    /// Socket to the parent (SOCK_SEQPACKET).
    pub(crate) const CONTROL: Slot = Slot(0);
    /// pidfd of the creator: the child's lease until the container is created.
    pub(crate) const LEASE: Slot = Slot(1);
    /// FIFO through which `start` opens the gate.
    pub(crate) const GO: Slot = Slot(2);
    /// FIFO through which the child tells `start` its result.
    pub(crate) const RESULT: Slot = Slot(3);
    /// The three standard descriptors of the process.
    pub(crate) const STDIN: Slot = Slot(4);
    /// See [`Slot::STDIN`].
    pub(crate) const STDOUT: Slot = Slot(5);
    /// See [`Slot::STDIN`].
    pub(crate) const STDERR: Slot = Slot(6);
    /// The root file system, opened and kept up to date by the steps on it.
    pub(crate) const ROOT: Slot = Slot(7);
    /// A procfs that nothing can be mounted over.
    pub(crate) const PROC: Slot = Slot(8);
    /// First slot that plans hand out.
    pub(crate) const FIRST_PLANNED: Slot = Slot(16);
    /// No descriptor.
    pub(crate) const NONE: Slot = Slot(u16::MAX);
}

/// Where parent and child meet. The numbers follow the order of a creation.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SyncPoint {
    /// S1: the child is in its cgroup; the parent writes mappings, oom_score_adj, affinity.
    Up = 1,
    /// S2: the namespaces exist; the parent moves network devices into that of the network.
    Network = 2,
    /// S2 as well: the parent hands over trees mapped by the container's own user namespace.
    Namespaces = 3,
    /// S3: everything is mounted; the parent sets limits and runs its hooks.
    Mounted = 4,
    /// S4: the root is changed; the parent sets resource limits.
    Limits = 5,
    /// S5: the seccomp listener is there; its number is in the record's `value`.
    Listener = 6,
    /// S6: everything but execve is done; the parent commits.
    Created = 7,
}

impl SyncPoint {
    /// The point with this number.
    pub(crate) fn from_number(number: u64) -> Option<Self> {
        [
            Self::Up,
            Self::Network,
            Self::Namespaces,
            Self::Mounted,
            Self::Limits,
            Self::Listener,
            Self::Created,
        ]
        .into_iter()
        .find(|point| *point as u64 == number)
    }
}

/// How a value of a step is shown to people (`husk plan`, errors).
pub(crate) trait Show {
    fn show(&self, program: &Program) -> String;
}

macro_rules! show_debug {
    ($($type:ty),*) => {
        $(impl Show for $type {
            fn show(&self, _: &Program) -> String {
                format!("{self:?}")
            }
        })*
    };
}
show_debug!(bool, i32, i64, u8, u16, u32, u64, SyncPoint);

impl Show for Slot {
    fn show(&self, _: &Program) -> String {
        match *self {
            Slot::NONE => "none".to_owned(),
            Slot(number) => format!("@{number}"),
        }
    }
}

impl Show for Text {
    fn show(&self, program: &Program) -> String {
        format!("{:?}", program.show(*self))
    }
}

impl Show for Texts {
    fn show(&self, program: &Program) -> String {
        format!("{:?}", program.show_all(*self))
    }
}

impl Show for Bytes {
    fn show(&self, _: &Program) -> String {
        format!("{} bytes", self.length)
    }
}

impl Show for Reserve {
    fn show(&self, _: &Program) -> String {
        format!("{} bytes reserved", self.length)
    }
}

/// Declares the steps: the enum, each step's name, and how it is shown. A field's type is one
/// that implements [`Show`]; all are `Copy` and hold no pointers.
macro_rules! steps {
    ($($(#[$meta:meta])* $name:ident { $($field:ident: $type:ty),* $(,)? })*) => {
        /// One act of the child.
        #[repr(C, u32)]
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub(crate) enum Step {
            $($(#[$meta])* $name { $($field: $type),* },)*
        }

        impl Step {
            /// The step's name, as `plan`, errors and traces print it.
            pub(crate) fn name(&self) -> &'static str {
                match self {
                    $(Step::$name { .. } => stringify!($name),)*
                }
            }

            /// Name and arguments on one line.
            pub(crate) fn describe(&self, program: &Program) -> String {
                #[allow(unused_mut, reason = "steps without arguments append nothing")]
                let mut line = self.name().to_owned();
                match self {
                    $(Step::$name { $($field),* } => {
                        $(write!(line, " {}={}", stringify!($field), Show::show($field, program))
                            .unwrap_or_default();)*
                    })*
                }
                // `program` is not read by steps without arguments.
                let _ = program;
                line
            }
        }
    };
}

steps! {
    /// Puts the standard and the preserved descriptors in their places (`first` is the slot of
    /// descriptor 3, `count` their number) and closes everything that no slot holds.
    ArrangeDescriptors { first: Slot, count: u16 }
    /// Gives every signal its default action; execve alone would keep ignored ones ignored.
    ResetSignals {}
    /// Lets SIGHUP, SIGINT, SIGQUIT and SIGTERM end the first process of a pid namespace while it
    /// waits for its start: a caller may give the container up.
    EndOnSignals {}
    /// Joins cgroup v1 hierarchies by writing `0` into each `tasks` file: `count` slots from
    /// `first` on.
    JoinCgroups { first: Slot, count: u16 }
    /// Sets whether others may attach to this process, see PR_SET_DUMPABLE.
    SetDumpable { dumpable: bool }
    /// Tells the parent that this point is reached and waits for its answer.
    Meet { point: SyncPoint }
    // The root and its mounts. `set` and `clear` are `MOUNT_ATTR_*`.
    /// Modes are as asked for from now on (umask 0), and every mount of this namespace gets a
    /// propagation type before anything is mounted.
    PrepareMounts { propagation: Flags }
    /// Opens the root file system: no component of `path` below `directory` is a link.
    OpenRoot { directory: Text, path: Text }
    /// Makes the mount that the root file system lies on private: the bind on it must not reach
    /// the host, and pivot_root refuses a shared parent.
    MakeParentPrivate {}
    /// Binds the root file system on itself: pivot_root needs a mount. It is private unless the
    /// configuration wants to see what the host mounts there.
    BindRoot { propagation: Flags }
    /// Makes a file system and mounts it. `options` are its options one by one, `data` the same
    /// joined; where the kernel refuses it with EPERM or EBUSY, `fallback` is bound instead if
    /// it is not empty. The mount stays open in `mount`.
    MountFilesystem {
        kind: Text,
        source: Text,
        options: Texts,
        data: Text,
        fallback: Text,
        destination: Text,
        flags: Flags,
        cleared: Flags,
        rules: Rules,
        mount: Slot,
    }
    /// Binds a file or directory. `device` is the number that a bound device must have, `tree` a
    /// copy by the parent for a source that this process has no right to reach.
    MountBind {
        source: Text,
        destination: Text,
        recursive: bool,
        flags: Flags,
        cleared: Flags,
        rules: Rules,
        device: Device,
        tree: Slot,
        mount: Slot,
    }
    /// Attaches a tree that the parent made.
    MountTree {
        tree: Slot,
        source: Text,
        destination: Text,
        flags: Flags,
        cleared: Flags,
        rules: Rules,
        mount: Slot,
    }
    /// Receives the trees that are mapped by the container's own user namespace, in the order of
    /// the plan's trees, into `count` slots from `first` on: after its answer at
    /// [`SyncPoint::Namespaces`] the parent sends one `Continue` record with one descriptor for
    /// each.
    ReceiveTrees { first: Slot, count: u16 }
    /// Takes the mount on a destination away, with all below it; the last part of the path is no
    /// link.
    Unmount { destination: Text }
    /// Sets the propagation type of a mount.
    SetMountPropagation { mount: Slot, propagation: Flags, destination: Text }
    /// Sets attributes of a mount and all mounts below it (`MOUNT_ATTR_*`).
    SetMountAttributes { mount: Slot, set: u64, clear: u64, destination: Text }
    /// Makes a mount read-only, its other flags stay.
    MakeReadonly { mount: Slot, destination: Text }
    /// Makes a symbolic link in a directory of the root; one that is there stays.
    MakeLink { directory: Text, name: Text, target: Text }
    /// /dev/core, if the kernel has a kcore.
    MakeCoreLink {}
    /// Replaces /dev/ptmx by a link to the container's own multiplexer.
    MakePtmx {}
    /// Makes a device node, or accepts one that is there if it is the same device. Where nodes
    /// cannot be made (EPERM) the host's is bound.
    MakeDevice { path: Text, mode: Mode, device: Device, uid: u32, gid: u32 }
    /// Changes the root with pivot_root and detaches the old one.
    PivotRoot {}
    /// Changes the root with MS_MOVE and chroot, after covering the host's `full` procfs and sysfs
    /// mounts.
    MoveRoot { full: Texts }
    /// Changes the root of this process alone: the container has no mount namespace of its own.
    ChangeRoot {}
    /// Sets the propagation type of the container's root mount.
    SetRootPropagation { propagation: Flags }
    /// Makes a path read-only, if it is there.
    ReadonlyPath { path: Text }
    /// Hides a path, if it is there: a file by /dev/null, a directory by an empty file system
    /// (`options` and `data` are its options), which `shared` holds for the next one.
    /// `null` holds the verified /dev/null.
    MaskPath { path: Text, options: Texts, data: Text, shared: Slot, null: Slot }

    // Namespaces. `kind` and `kinds` are `CLONE_NEW*` flags.
    /// Joins a namespace. With `postpone` a refusal (EPERM) leaves it to `JoinPostponed`: its
    /// owner may be the user namespace that is joined in between.
    JoinNamespace { namespace: Slot, kind: u64, postpone: bool }
    /// Joins a namespace that `JoinNamespace` could not.
    JoinPostponed { namespace: Slot, kind: u64 }
    /// Joins namespaces of the process of a pidfd with one call; where the user namespace does
    /// not own all of them, one after the other.
    JoinProcess { process: Slot, kinds: u64 }
    /// Compares the mappings of the joined user namespace with those of the configuration:
    /// triples of u32.
    CheckMappings { uids: Bytes, gids: Bytes }
    /// Makes and enters a time namespace with these lines of timens_offsets.
    OffsetClocks { offsets: Text }
    /// Makes namespaces for this process.
    Unshare { kinds: u64 }
    /// Clones init as a sibling, which goes on with the next step; this process reports init's
    /// pid and ends.
    CloneInit { kinds: u64 }
    /// Becomes user and group 0 of the user namespace, without the caller's groups where the
    /// namespace permits that, unless they are kept.
    BecomeRoot { tolerate_denied: bool, keep_groups: bool }
    /// Joins a new session keyring that the same user may search.
    JoinKeyring { name: Text }
    /// Raises the loopback interface of a new network namespace.
    RaiseLoopback {}
    /// Opens a procfs of the process's pid namespace that nothing can be mounted over.
    OpenProc {}
    /// Sets the CPUs that the process may run on; the kernel takes those that its cpuset allows.
    SetAffinity { mask: Bytes }

    // The process.
    /// Puts the container's own /dev/null in the place of standard descriptors that are the
    /// host's.
    ReopenNull {}
    /// Makes the working directory inside the new root.
    MakeWorkingDirectory { path: Text }
    /// Becomes the leader of a new session.
    StartSession {}
    /// Makes a terminal of the container's devpts, sends its master to the parent and puts the
    /// other end in the place of the standard descriptors; with `device` also at /dev/console.
    /// With `newlines` those in its output stay as they are.
    Console { uid: u32, rows: u32, columns: u32, newlines: bool, device: bool }
    /// Sets the host name of the UTS namespace.
    SetHostname { name: Text }
    /// Sets the NIS domain name of the UTS namespace.
    SetDomainname { name: Text }
    /// Writes a kernel parameter; `path` is below /proc.
    WriteSysctl { path: Text, value: Text }
    /// Writes the label of the next execve; `fallback` is tried where `path` does not exist.
    WriteLabel { path: Text, fallback: Text, label: Text }
    /// No execve grants privileges any more.
    ForbidNewPrivileges {}
    /// Sets policy and priority: a `struct sched_attr`.
    SetScheduler { attributes: Bytes, cpuset: bool }
    /// Sets the I/O priority of the process group.
    SetIoPriority { priority: u32 }
    /// Sets the execution domain.
    SetPersonality { domain: u32 }
    /// Sets the memory policy; `nodes` is a mask.
    SetMemoryPolicy { mode: u32, nodes: Bytes }
    /// Loads a seccomp filter; with `listener` the parent takes its descriptor at
    /// `SyncPoint::Listener`.
    LoadSeccomp { filter: Bytes, flags: u32, listener: bool }
    /// Changes to the working directory while this process still is root. A refusal is left to
    /// `ConfirmDirectory`.
    EnterDirectory { path: Text, entered: Slot }
    /// Changes to the working directory as the container's user where root was refused, and
    /// checks that it lies inside the root.
    ConfirmDirectory { path: Text, entered: Slot }
    /// Looks up the user's home directory in /etc/passwd; `home` becomes `HOME=...`.
    FindHome { uid: u32, home: Reserve }
    /// Takes all capabilities but these from the bounding set.
    LimitBounding { kept: u64, last: u32 }
    /// Gives the standard descriptors to the container's user.
    OwnStdio { uid: u32 }
    /// Sets the supplementary groups (u32 each).
    SetGroups { groups: Bytes, tolerate_denied: bool }
    /// Becomes the container's user; permitted capabilities stay.
    SetIds { uid: u32, gid: u32 }
    /// Sets the file mode creation mask.
    SetUmask { mask: u32 }
    /// Sets the three capability sets of the process.
    SetCapabilities { effective: u64, permitted: u64, inheritable: u64 }
    /// Replaces the ambient set. What cannot be raised is reported and left out.
    SetAmbient { set: u64 }
    /// Chooses the first candidate that is an executable file. `bare` is a name that was looked
    /// up in PATH, where everything unusable counts as absent.
    FindProgram { candidates: Texts, bare: bool, chosen: Reserve }
    /// Closes all descriptors from `from` on but those of the gate, the hooks' state and output,
    /// and the handler.
    CloseDescriptors { from: u32, state: Slot, out: Slot, error: Slot, handler: Slot }
    /// Closes the control socket and the lease: the container is created.
    LeaveCreator {}
    /// Waits for `start`.
    AwaitStart {}
    /// Makes the state document of hooks: `before`, this process's pid, `after`.
    PrepareHookState { state: Slot, before: Bytes, after: Bytes }
    /// Runs a hook, in `directory` if that is not empty, and waits for it, at most `timeout`
    /// seconds if that is not 0. It writes to `out` and `error`, or for the error's text.
    RunHook { name: Text, index: u32, path: Text,
        directory: Text, args: Texts, env: Texts, home: Reserve, timeout: u64, state: Slot,
        out: Slot, error: Slot, vector: Reserve }
    /// Becomes the program.
    Execute { candidates: Texts, chosen: Reserve, args: Texts, env: Texts, home: Reserve, vector: Reserve }
    /// Becomes a program of the host, which runs the container's.
    ExecuteHandler { handler: Slot, args: Texts, env: Texts, home: Reserve, vector: Reserve }
}
