//! Executes the steps in order.

use super::report::{self, Failure};
use super::{descriptors, device, mask, mount, root};
use crate::protocol::{Bytes, Slot, Step, Text, Texts, text_at};
use crate::sys::block::View;
use crate::sys::{Errno, raw};

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
        Step::JoinCgroups { first, count } => descriptors::join_cgroups(child, first, count),
        Step::SetDumpable { dumpable } => descriptors::set_dumpable(dumpable),
        Step::Meet { point } => report::meet(child, point, 0),
        Step::PrepareMounts { .. }
        | Step::OpenRoot { .. }
        | Step::MakeParentPrivate {}
        | Step::BindRoot {}
        | Step::PivotRoot {}
        | Step::MoveRoot { .. }
        | Step::ChangeRoot {}
        | Step::SetRootPropagation { .. } => root::execute(child, step),
        Step::MountFilesystem { .. }
        | Step::MountBind { .. }
        | Step::MountTree { .. }
        | Step::ReceiveTrees { .. }
        | Step::SetMountPropagation { .. }
        | Step::SetMountAttributes { .. }
        | Step::MakeReadonly { .. } => mount::execute(child, step),
        Step::MakeDevice { .. }
        | Step::MakeLink { .. }
        | Step::MakeCoreLink {}
        | Step::MakePtmx {} => device::execute(child, step),
        Step::ReadonlyPath { .. } | Step::MaskPath { .. } => mask::execute(child, step),
        _ => Err(Failure::from(Errno(libc::ENOSYS))),
    }
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

    /// One text of a list, with its NUL.
    pub(crate) fn text_of(&self, texts: Texts, index: u32) -> Result<&'a [u8], Failure> {
        let text = text_at(self.data, texts, index).ok_or(Errno(libc::EFAULT))?;
        self.text(text)
    }
}
