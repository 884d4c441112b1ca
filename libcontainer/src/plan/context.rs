//! What all sections of a plan share while it is made.

use super::namespaces::Namespaces;
use super::{DescriptorSource, NamespaceKind, PlanError, PlannedDescriptor, PlannedTree};
use crate::host::Host;
use crate::protocol::{Bytes, Program, Slot, Step, Text, Texts};
use crate::spec::{Linux, Spec};

/// What the caller of create chooses, beside the bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Id of the container.
    pub(crate) id: String,
    /// Absolute path of the bundle.
    pub(crate) bundle: String,
    /// The root is changed by MS_MOVE and chroot: pivot_root fails on an initramfs.
    pub(crate) no_pivot: bool,
    /// The process keeps the caller's session keyring.
    pub(crate) no_new_keyring: bool,
    /// Descriptors that are passed on beside 0 to 2 and those of `listen_fds`.
    pub(crate) preserve_fds: u32,
    /// Descriptors from 3 on of socket activation: LISTEN_FDS of the caller.
    pub(crate) listen_fds: u32,
    /// Somebody receives the console that `process.terminal` asks for.
    pub(crate) console: bool,
    /// Whoever receives the console passes its output on to a terminal, which translates newlines.
    pub(crate) plain_newlines: bool,
    /// The caller's rights suffice for neither cgroups nor mappings of other ids, and errors of
    /// that kind are tolerated where runc tolerates them.
    pub(crate) rootless: bool,
    /// Where a seccomp agent listens, if neither configuration nor annotation names one.
    pub(crate) seccomp_receiver: Option<String>,
    /// Arguments of the host's program that runs the container's instead of the kernel.
    pub(crate) handler: Option<Vec<String>>,
    /// The container runs: sources of bind mounts lie outside of it and are opened by the parent.
    pub(crate) from_outside: bool,
    /// File mode creation mask of a process for which config.json has none, if not 022.
    pub(crate) umask: Option<u32>,
    /// The caller's user may see the process that waits for `start`.
    pub(crate) joinable: bool,
    /// systemd makes the cgroup and moves the child into it, at the first meeting.
    pub(crate) systemd_cgroup: bool,
}

/// The plan in the making: inputs that all sections read, outputs that all sections add to.
pub(crate) struct Context<'a> {
    /// config.json.
    pub(crate) spec: &'a Spec,
    /// The caller's choices.
    pub(crate) options: &'a Options,
    /// Facts about this machine.
    pub(crate) host: &'a Host,
    /// Which namespaces the container has.
    pub(crate) namespaces: Namespaces,
    /// Program of the container's process.
    pub(crate) init: Program,
    /// Descriptors that the parent opens before the clone.
    pub(crate) descriptors: Vec<PlannedDescriptor>,
    /// Detached trees that the parent makes.
    pub(crate) trees: Vec<PlannedTree>,
    /// Things that are wrong but not refused.
    pub(crate) warnings: Vec<String>,
}

impl<'a> Context<'a> {
    /// An empty plan.
    pub(crate) fn new(
        spec: &'a Spec,
        options: &'a Options,
        host: &'a Host,
        namespaces: Namespaces,
    ) -> Self {
        Self {
            spec,
            options,
            host,
            namespaces,
            init: Program::new(),
            descriptors: Vec::new(),
            trees: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The `linux` section, where the configuration has one.
    pub(crate) fn linux(&self) -> Option<&'a Linux> {
        self.spec.linux.as_ref()
    }

    /// The parent moves the process into a class of service.
    pub(crate) fn has_rdt(&self) -> bool {
        self.linux().is_some_and(|linux| linux.intel_rdt.is_some())
    }

    /// The container has a namespace of this kind that is not the caller's, not even by its path.
    pub(crate) fn has_own(&self, kind: NamespaceKind) -> bool {
        self.namespaces.creates(kind)
            || self
                .namespaces
                .joined(kind)
                .is_some_and(|joined| !self.host.own_namespaces.contains(&joined.path))
    }

    /// Appends a step of the container's process.
    pub(crate) fn push(&mut self, step: Step, pointer: impl Into<String>) {
        self.init.push(step, pointer);
    }

    /// Stores a text of the configuration.
    pub(crate) fn text(
        &mut self,
        text: impl AsRef<[u8]>,
        pointer: &str,
    ) -> Result<Text, PlanError> {
        self.init.text(text).map_err(|error| PlanError::data(pointer, error))
    }

    /// Stores a list of texts of the configuration.
    pub(crate) fn texts<T: AsRef<[u8]>>(
        &mut self,
        texts: impl IntoIterator<Item = T>,
        pointer: &str,
    ) -> Result<Texts, PlanError> {
        self.init.texts(texts).map_err(|error| PlanError::data(pointer, error))
    }

    /// Stores bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8], pointer: &str) -> Result<Bytes, PlanError> {
        self.init.bytes(bytes).map_err(|error| PlanError::data(pointer, error))
    }

    /// Has the parent open a descriptor before the clone; the slot is where the child finds it.
    pub(crate) fn open(&mut self, source: DescriptorSource, pointer: impl Into<String>) -> Slot {
        let slot = self.init.slot();
        self.descriptors.push(PlannedDescriptor { slot, source, pointer: pointer.into() });
        slot
    }

    /// Number of descriptors from 3 on that the process keeps.
    pub(crate) fn preserved(&self) -> u16 {
        let count = self.options.listen_fds.saturating_add(self.options.preserve_fds);
        u16::try_from(count).unwrap_or(u16::MAX)
    }

    /// New slots one after the other; the first of them.
    pub(crate) fn slots(&mut self, count: u16) -> Slot {
        let first = self.init.slot();
        for _ in 1..count {
            self.init.slot();
        }
        first
    }

    /// Notes something that is wrong but not refused.
    pub(crate) fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }
}
