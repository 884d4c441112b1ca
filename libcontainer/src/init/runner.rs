//! Executes the steps in order.

use super::report::{self, Failure};
use super::{
    console, descriptors, device, gate, home, hook, identity, mask, mount, namespaces, process,
    procfs, program, root,
};
use crate::protocol::{Bytes, Reserve, Slot, Step, Text, Texts, text_at};
use crate::sys::block::View;
use crate::sys::{Errno, identity as credentials, namespaces as kernel, raw, scheduling};

/// What the steps work on.
pub(crate) struct Child<'a> {
    /// Texts and bytes of the program.
    pub(crate) data: &'a [u8],
    /// Descriptor of each slot, -1 while it is empty.
    pub(crate) slots: &'a mut [i32],
    /// Descriptors that survive the first act, ascending.
    pub(crate) kept: &'a [i32],
    /// Working space; whoever uses it knows nothing of its content.
    pub(crate) scratch: &'a mut [u8],
    /// Working space that outlasts steps.
    pub(crate) reserved: &'a mut [u8],
    /// Directory and path below it of the root file system on the host.
    pub(crate) root_path: (Text, Text),
    /// A seccomp filter is loaded: from now on reports and waits use read and write alone.
    pub(crate) filtered: bool,
    /// Index of the step that is executed.
    pub(crate) step: u32,
    /// Whether each step's end is reported.
    pub(crate) traced: bool,
}

/// Result of a step.
pub(crate) type Outcome = Result<(), Failure>;

/// Carries out the program. The last step is an execve or an exit; a failing step is reported
/// and ends the process.
pub(crate) fn run(view: View<'_>, traced: bool) -> ! {
    let View { steps, slots, kept, data, scratch, reserved } = view;
    let mut child = Child {
        data,
        slots,
        kept,
        scratch,
        reserved,
        root_path: Default::default(),
        filtered: false,
        step: 0,
        traced,
    };
    for step in steps {
        match execute(&mut child, step) {
            Ok(()) if child.traced => report::traced(&child),
            Ok(()) => {}
            Err(failure) => report::failed(&child, &failure),
        }
        child.step = child.step.wrapping_add(1);
    }
    raw::exit_group(0)
}

fn execute(child: &mut Child<'_>, step: &Step) -> Outcome {
    match *step {
        Step::ArrangeDescriptors { first, count } => descriptors::arrange(child, first, count),
        Step::ResetSignals {} => descriptors::reset_signals(),
        Step::EndOnSignals {} => descriptors::end_on_signals(),
        Step::JoinCgroups { first, count } => descriptors::join_cgroups(child, first, count),
        Step::SetDumpable { dumpable } => descriptors::set_dumpable(dumpable),
        Step::Meet { point } => report::meet(child, point, 0),
        Step::PrepareMounts { .. }
        | Step::OpenRoot { .. }
        | Step::MakeParentPrivate {}
        | Step::BindRoot { .. }
        | Step::PivotRoot {}
        | Step::MoveRoot { .. }
        | Step::ChangeRoot {}
        | Step::SetRootPropagation { .. } => root::execute(child, step),
        Step::MountFilesystem { .. }
        | Step::MountBind { .. }
        | Step::MountTree { .. }
        | Step::ReceiveTrees { .. }
        | Step::Unmount { .. }
        | Step::SetMountPropagation { .. }
        | Step::SetMountAttributes { .. }
        | Step::MakeReadonly { .. } => mount::execute(child, step),
        Step::MakeDevice { .. }
        | Step::MakeLink { .. }
        | Step::MakeCoreLink {}
        | Step::MakePtmx {} => device::execute(child, step),
        Step::ReadonlyPath { .. } | Step::MaskPath { .. } => mask::execute(child, step),
        Step::JoinNamespace { namespace, kind, postpone } => {
            namespaces::join(child, namespace, kind, postpone)
        }
        Step::JoinPostponed { namespace, kind } => {
            namespaces::join_postponed(child, namespace, kind)
        }
        Step::JoinProcess { process, kinds } => namespaces::join_process(child, process, kinds),
        Step::CheckMappings { uids, gids } => namespaces::check_mappings(child, uids, gids),
        Step::OffsetClocks { offsets } => namespaces::offset_clocks(child, offsets),
        Step::Unshare { kinds } => done(kernel::unshare(kinds)),
        Step::CloneInit { kinds } => namespaces::clone_init(child, kinds),
        Step::BecomeRoot { tolerate_denied, keep_groups } => {
            namespaces::become_root(tolerate_denied, keep_groups)
        }
        Step::JoinKeyring { name } => namespaces::join_keyring(child, name),
        Step::RaiseLoopback {} => done(scheduling::raise_loopback()),
        Step::OpenProc {} => procfs::open(child),
        _ => execute_process(child, step),
    }
}

/// Steps on the process itself, after its namespaces and its root.
fn execute_process(child: &mut Child<'_>, step: &Step) -> Outcome {
    match *step {
        Step::SetAffinity { mask } => process::set_affinity(child, mask),
        Step::ReopenNull {} => process::reopen_null(),
        Step::MakeWorkingDirectory { path } => process::make_working_directory(child, path),
        Step::StartSession {} => process::start_session(),
        Step::Console { uid, rows, columns, newlines, device } => {
            console::make(child, uid, rows, columns, newlines, device)
        }
        Step::SetHostname { name } => done(scheduling::set_hostname(child.bytes_of(name)?)),
        Step::SetDomainname { name } => done(scheduling::set_domainname(child.bytes_of(name)?)),
        Step::WriteSysctl { path, value } => procfs::write_parameter(child, path, value),
        Step::WriteLabel { path, fallback, label } => {
            procfs::write_label(child, path, fallback, label)
        }
        Step::ForbidNewPrivileges {} => process::forbid_new_privileges(),
        Step::SetScheduler { attributes, .. } => process::set_scheduler(child, attributes),
        Step::SetIoPriority { priority } => done(scheduling::set_io_priority(priority)),
        Step::SetPersonality { domain } => done(scheduling::set_personality(domain)),
        Step::SetMemoryPolicy { mode, nodes } => process::set_memory_policy(child, mode, nodes),
        Step::LoadSeccomp { filter, flags, listener } => {
            identity::load_filter(child, filter, flags, listener)
        }
        Step::EnterDirectory { path, entered } => identity::enter_directory(child, path, entered),
        Step::ConfirmDirectory { path, entered } => {
            identity::confirm_directory(child, path, entered)
        }
        Step::FindHome { uid, home } => home::find(child, uid, home),
        Step::LimitBounding { kept, last } => identity::limit_bounding(kept, last),
        Step::OwnStdio { uid } => identity::own_stdio(uid),
        Step::SetGroups { groups, tolerate_denied } => {
            identity::set_groups(child, groups, tolerate_denied)
        }
        Step::SetIds { uid, gid } => identity::set_ids(uid, gid),
        Step::SetUmask { mask } => identity::set_umask(mask),
        Step::SetCapabilities { effective, permitted, inheritable } => {
            done(credentials::set_capabilities(effective, permitted, inheritable))
        }
        Step::SetAmbient { set } => identity::set_ambient(child, set),
        _ => execute_end(child, step),
    }
}

/// The end of a program: what is executed, and when.
fn execute_end(child: &mut Child<'_>, step: &Step) -> Outcome {
    match *step {
        Step::FindProgram { candidates, bare, chosen } => {
            program::find(child, candidates, bare, chosen)
        }
        Step::CloseDescriptors { from, state, out, error, handler } => {
            process::close_descriptors(child, from, [state, out, error, handler])
        }
        Step::LeaveCreator {} => {
            gate::leave_creator(child);
            Ok(())
        }
        Step::AwaitStart {} => gate::await_start(child),
        Step::PrepareHookState { state, before, after } => {
            hook::prepare_state(child, state, before, after)
        }
        Step::RunHook { .. } => hook::run_step(child, step),
        Step::Execute { candidates, chosen, args, env, home, vector } => {
            program::execute(child, candidates, chosen, args, env, home, vector)
        }
        Step::ExecuteHandler { handler, args, env, home, vector } => {
            program::execute_handler(child, handler, args, env, home, vector)
        }
        // All others have their arm above.
        _ => Err(Failure::from(Errno(libc::ENOSYS))),
    }
}

fn done(result: Result<(), Errno>) -> Outcome {
    result.map_err(Failure::from)
}

impl<'a> Child<'a> {
    /// The descriptor of a slot; EBADF when it is empty.
    pub(crate) fn fd(&self, slot: Slot) -> Result<i32, Failure> {
        match self.slots.get(usize::from(slot.0)) {
            Some(fd) if *fd >= 0 => Ok(*fd),
            _ => Err(Failure::from(Errno(libc::EBADF))),
        }
    }

    /// Puts a descriptor into a slot and closes the one that was there. Without a slot it is
    /// closed.
    pub(crate) fn keep(&mut self, slot: Slot, fd: i32) -> Outcome {
        if slot == Slot::NONE {
            raw::close(fd);
            return Ok(());
        }
        let place = self.slots.get_mut(usize::from(slot.0)).ok_or(Errno(libc::EBADF))?;
        let old = std::mem::replace(place, fd);
        if old >= 0 && old != fd {
            raw::close(old);
        }
        Ok(())
    }

    /// Closes a slot's descriptor and empties the slot.
    pub(crate) fn drop_slot(&mut self, slot: Slot) {
        if let Some(fd) = self.slots.get_mut(usize::from(slot.0))
            && *fd >= 0
        {
            raw::close(*fd);
            *fd = -1;
        }
    }

    /// Empties a slot whose descriptor lives on elsewhere.
    pub(crate) fn forget_slot(&mut self, slot: Slot) {
        if let Some(fd) = self.slots.get_mut(usize::from(slot.0)) {
            *fd = -1;
        }
    }

    /// A text without its NUL.
    pub(crate) fn bytes_of(&self, text: Text) -> Result<&'a [u8], Failure> {
        self.bytes(Bytes { offset: text.offset, length: text.length })
    }

    /// A text with its NUL at the end.
    pub(crate) fn text(&self, text: Text) -> Result<&'a [u8], Failure> {
        let start = text.offset as usize;
        let end = start.saturating_add(text.length as usize).saturating_add(1);
        self.data.get(start..end).ok_or_else(|| Failure::from(Errno(libc::EFAULT)))
    }

    /// Bytes of the program.
    pub(crate) fn bytes(&self, bytes: Bytes) -> Result<&'a [u8], Failure> {
        let start = bytes.offset as usize;
        let end = start.saturating_add(bytes.length as usize);
        self.data.get(start..end).ok_or_else(|| Failure::from(Errno(libc::EFAULT)))
    }

    /// Where in `reserved` a piece of it lies.
    pub(crate) fn reserved_range(
        &self,
        reserve: Reserve,
    ) -> Result<std::ops::Range<usize>, Failure> {
        let start = reserve.offset as usize;
        let end = start.saturating_add(reserve.length as usize);
        if end <= self.reserved.len() {
            Ok(start..end)
        } else {
            Err(Failure::from(Errno(libc::EFAULT)))
        }
    }

    /// One text of a list, with its NUL.
    pub(crate) fn text_of(&self, texts: Texts, index: u32) -> Result<&'a [u8], Failure> {
        let text = text_at(self.data, texts, index).ok_or(Errno(libc::EFAULT))?;
        self.text(text)
    }
}
