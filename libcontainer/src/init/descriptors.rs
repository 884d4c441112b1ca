//! The child's first acts: descriptors, signals, cgroups.

use super::report::Failure;
use super::runner::{Child, Outcome};
use crate::protocol::Slot;
use crate::sys::{Errno, child, raw};

/// Puts 0 to 2 and the preserved descriptors in their places and closes whatever no slot holds.
/// The parent has opened every descriptor of the table above the last preserved number.
pub(super) fn arrange(child: &mut Child<'_>, first: Slot, count: u16) -> Outcome {
    for (place, slot) in (0_i32..).zip([Slot::STDIN, Slot::STDOUT, Slot::STDERR]) {
        place_descriptor(child, slot, place)?;
    }
    for index in 0..count {
        let slot = Slot(first.0.saturating_add(index));
        place_descriptor(child, slot, i32::from(index).saturating_add(3))?;
    }
    close_gaps(child, i32::from(count).saturating_add(3))
}

fn place_descriptor(child: &mut Child<'_>, slot: Slot, place: i32) -> Outcome {
    let fd = child.fd(slot).map_err(|failure| failure.at(place as u32))?;
    if fd == place {
        raw::fcntl(fd, libc::F_SETFD, 0)?;
        return Ok(());
    }
    raw::dup3(fd, place, 0).map_err(|errno| Failure::from(errno).at(place as u32))?;
    // The original goes with the gaps' owner: it is in `kept`, so close it here.
    raw::close(fd);
    if let Some(entry) = child.slots.get_mut(usize::from(slot.0)) {
        *entry = place;
    }
    Ok(())
}

/// Closes every descriptor from `from` on that is not kept: they are others' control sockets,
/// terminals and locks (CVE-2024-21626 is of this kind).
fn close_gaps(child: &Child<'_>, from: i32) -> Outcome {
    let mut next = from;
    for fd in child.kept.iter().copied().filter(|fd| *fd >= from) {
        if fd > next {
            close_between(next, fd.saturating_sub(1))?;
        }
        next = fd.saturating_add(1);
    }
    close_between(next, i32::MAX)
}

pub(super) fn close_between(first: i32, last: i32) -> Outcome {
    match raw::close_range(first as u32, last as u32, 0) {
        // Linux before 5.9, or a filter that does not know the call.
        Err(Errno(libc::ENOSYS | libc::EPERM)) => {
            child::close_listed(first, last).map_err(Failure::from)
        }
        result => result.map_err(Failure::from),
    }
}

/// Default action for every signal: Rust programs ignore SIGPIPE, and execve would keep that.
pub(super) fn reset_signals() -> Outcome {
    for signal in 1..=64 {
        if signal != libc::SIGKILL && signal != libc::SIGSTOP {
            child::default_signal(signal)?;
        }
    }
    child::unblock_signals()?;
    Ok(())
}

/// Gives the signals that end a program an effect on the first process of a pid namespace, too.
/// execve takes it back.
pub(super) fn end_on_signals() -> Outcome {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        child::end_on_signal(signal)?;
    }
    Ok(())
}

/// Joins cgroup v1 hierarchies: a single-threaded writer of `0` is moved without the RCU grace
/// period that a write of a pid to `cgroup.procs` waits for.
pub(super) fn join_cgroups(child: &mut Child<'_>, first: Slot, count: u16) -> Outcome {
    for index in 0..count {
        let slot = Slot(first.0.saturating_add(index));
        // The parent fills as many as the group has hierarchies.
        let Ok(tasks) = child.fd(slot) else {
            break;
        };
        raw::write(tasks, b"0").map_err(|errno| Failure::from(errno).at(index.into()))?;
        child.drop_slot(slot);
    }
    Ok(())
}

pub(super) fn set_dumpable(dumpable: bool) -> Outcome {
    child::prctl(libc::PR_SET_DUMPABLE, usize::from(dumpable), 0, 0, 0)?;
    Ok(())
}
