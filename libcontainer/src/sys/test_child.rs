//! A child for tests of the steps: a fork in namespaces of its own that carries out a program.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::block::{Block, View};
use super::raw::syscall6;
use crate::protocol::{Program, RECORD_LENGTH, Record, RecordKind, Slot, SyncPoint};

/// A running program; killed when dropped.
pub(crate) struct TestChild {
    pid: i32,
    control: OwnedFd,
}

impl TestChild {
    /// Clones with these `CLONE_NEW*` flags; the child runs the program by `run`. The calls of
    /// `refused` are answered with its errno.
    pub(crate) fn start(
        run: fn(View<'_>, bool) -> !,
        program: &Program,
        flags: u64,
        refused: Refused,
    ) -> io::Result<Self> {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
        let (ours, theirs) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        let mut slots = vec![-1; program.slot_count()];
        slots[usize::from(Slot::CONTROL.0)] = theirs.as_raw_fd();
        let mut block = Block::new(program, &slots)?;
        let flags = flags | libc::SIGCHLD as u64;
        // SAFETY: a plain fork: no stack, no thread ids. The child makes raw system calls on its
        // copy of the block and ends in exit_group.
        let pid = unsafe { syscall6(libc::SYS_clone, [flags as usize, 0, 0, 0, 0, 0]) };
        match pid {
            0 => {
                if !refused.calls.is_empty() {
                    refuse(refused);
                }
                run(block.view(), false)
            }
            pid if pid < 0 => Err(io::Error::from_raw_os_error(-(pid as i32))),
            pid => Ok(Self { pid: pid as i32, control: ours }),
        }
    }

    /// Waits for a sync point; a failed step's record is the error.
    pub(crate) fn wait(&self, point: SyncPoint) -> Result<(), Record> {
        loop {
            let mut packet = [0; RECORD_LENGTH];
            let length = super::raw::read(self.control.as_raw_fd(), &mut packet).unwrap();
            let record = Record::decode(&packet[..length]).expect("the child died silently");
            match record.kind {
                RecordKind::Reached if record.value == point as u64 => return Ok(()),
                RecordKind::Failed => return Err(record),
                _ => {}
            }
        }
    }

    /// Lets the child go on after a sync point.
    pub(crate) fn go_on(&self) {
        let packet = Record::new(RecordKind::Continue, 0).encode();
        super::raw::send(self.control.as_raw_fd(), &packet).unwrap();
    }

    /// Process id.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }
}

/// System calls that an old kernel does not have, or that the filter of an outer container
/// forbids.
#[derive(Clone, Copy)]
pub(crate) struct Refused {
    /// Numbers.
    pub(crate) calls: &'static [libc::c_long],
    /// The answer.
    pub(crate) errno: i32,
}

impl Refused {
    /// Everything works.
    pub(crate) const NOTHING: Self = Self { calls: &[], errno: 0 };
    /// Linux 5.1.
    pub(crate) const OLD_KERNEL: Self = Self { calls: NEW, errno: libc::ENOSYS };
    /// An outer container whose filter was written before these calls.
    pub(crate) const OLD_FILTER: Self = Self { calls: NEW, errno: libc::EPERM };
    /// Linux 5.4.
    pub(crate) const MOUNT_API_ALONE: Self = Self {
        calls: &[libc::SYS_openat2, libc::SYS_mount_setattr, libc::SYS_close_range],
        errno: libc::ENOSYS,
    };
}

const NEW: &[libc::c_long] = &[
    libc::SYS_openat2,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_mount_setattr,
    libc::SYS_close_range,
    libc::SYS_clone3,
    libc::SYS_memfd_create,
];

fn refuse(refused: Refused) {
    const LONGEST: usize = 16;
    let count = refused.calls.len().min(LONGEST);
    let code = |code: u32, jt: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf: 0, k };
    let mut filter = [code(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW); LONGEST + 3];
    filter[0] = code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0);
    for (index, number) in refused.calls.iter().take(count).enumerate() {
        let distance = (count - index) as u8;
        filter[index + 1] =
            code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, distance, *number as u32);
    }
    let answer = libc::SECCOMP_RET_ERRNO | refused.errno as u32;
    filter[count + 2] = code(libc::BPF_RET | libc::BPF_K, 0, answer);
    let program = libc::sock_fprog { len: (count + 3) as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program points to the filter, which outlives the call.
    let loaded = unsafe {
        syscall6(
            libc::SYS_seccomp,
            [
                libc::SECCOMP_SET_MODE_FILTER as usize,
                0,
                std::ptr::from_ref(&program) as usize,
                0,
                0,
                0,
            ],
        )
    };
    if loaded != 0 {
        super::raw::exit_group(99);
    }
}

impl Drop for TestChild {
    fn drop(&mut self) {
        // SAFETY: the child is ours and not reaped yet, so that the number is its own.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, std::ptr::null_mut(), libc::__WALL);
        }
    }
}
