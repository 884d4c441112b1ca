//! The child's program in memory of its own.
//!
//! The host program may have marked its heap `MADV_DONTFORK`; this mapping is ours and is always
//! there after clone. It holds, in this order: the steps, the table of descriptors, the sorted
//! list of descriptors to keep, the data, the scratch space, and what the program reserves.

use std::io;
use std::ptr::NonNull;

use crate::protocol::{Program, SCRATCH_LENGTH, Step};

/// A [`Program`] with its descriptors, ready for the child.
pub(crate) struct Block {
    base: NonNull<u8>,
    length: usize,
    layout: Layout,
}

// SAFETY: the mapping belongs to the block alone, whichever thread holds it.
unsafe impl Send for Block {}

#[derive(Clone, Copy)]
struct Layout {
    steps: usize,
    slots: usize,
    kept: usize,
    data: usize,
    reserved: usize,
}

/// What the child sees of a [`Block`]: plain slices.
pub(crate) struct View<'a> {
    /// The steps in order.
    pub(crate) steps: &'a [Step],
    /// Descriptor of each slot, -1 while it is empty.
    pub(crate) slots: &'a mut [i32],
    /// Descriptors that survive the child's first act, in ascending order.
    pub(crate) kept: &'a [i32],
    /// Texts and bytes that the steps refer to.
    pub(crate) data: &'a [u8],
    /// Working space of one step.
    pub(crate) scratch: &'a mut [u8],
    /// Working space that outlasts steps.
    pub(crate) reserved: &'a mut [u8],
}

impl Block {
    /// Copies a program and the descriptors of its slots into a fresh mapping.
    pub(crate) fn new(program: &Program, slots: &[i32]) -> io::Result<Self> {
        let mut kept: Vec<i32> = slots.iter().copied().filter(|fd| *fd >= 0).collect();
        kept.sort_unstable();
        kept.dedup();
        let layout = Layout {
            steps: program.steps().len(),
            slots: slots.len(),
            kept: kept.len(),
            data: program.data().len(),
            reserved: program.reserved(),
        };
        let length = layout.reserved_offset() + layout.reserved;
        let base = map(length)?;
        let block = Self { base, length, layout };
        // SAFETY: the mapping is fresh, zeroed, `length` bytes long and exclusively ours; the
        // offsets come from `Layout`, lie inside it and are aligned for their types.
        unsafe {
            let steps = base.as_ptr().cast::<Step>();
            std::ptr::copy_nonoverlapping(program.steps().as_ptr(), steps, layout.steps);
            let table = base.as_ptr().add(layout.slots_offset()).cast::<i32>();
            std::ptr::copy_nonoverlapping(slots.as_ptr(), table, layout.slots);
            let list = base.as_ptr().add(layout.kept_offset()).cast::<i32>();
            std::ptr::copy_nonoverlapping(kept.as_ptr(), list, layout.kept);
            let data = base.as_ptr().add(layout.data_offset());
            std::ptr::copy_nonoverlapping(program.data().as_ptr(), data, layout.data);
        }
        Ok(block)
    }

    /// The child's view. `&mut` because there is one child for each block; the child of a clone
    /// has a copy of its own.
    pub(crate) fn view(&mut self) -> View<'_> {
        let base = self.base.as_ptr();
        let layout = self.layout;
        // SAFETY: `new` filled these disjoint ranges with values of these types; the borrow of
        // self keeps the mapping alive and unaliased.
        unsafe {
            View {
                steps: std::slice::from_raw_parts(base.cast::<Step>(), layout.steps),
                slots: std::slice::from_raw_parts_mut(
                    base.add(layout.slots_offset()).cast(),
                    layout.slots,
                ),
                kept: std::slice::from_raw_parts(
                    base.add(layout.kept_offset()).cast(),
                    layout.kept,
                ),
                data: std::slice::from_raw_parts(base.add(layout.data_offset()), layout.data),
                scratch: std::slice::from_raw_parts_mut(
                    base.add(layout.scratch_offset()),
                    SCRATCH_LENGTH,
                ),
                reserved: std::slice::from_raw_parts_mut(
                    base.add(layout.reserved_offset()),
                    layout.reserved,
                ),
            }
        }
    }
}

impl Layout {
    fn slots_offset(self) -> usize {
        (self.steps * size_of::<Step>()).next_multiple_of(16)
    }

    fn kept_offset(self) -> usize {
        self.slots_offset() + (self.slots * size_of::<i32>()).next_multiple_of(16)
    }

    fn data_offset(self) -> usize {
        self.kept_offset() + (self.kept * size_of::<i32>()).next_multiple_of(16)
    }

    fn scratch_offset(self) -> usize {
        self.data_offset() + self.data.next_multiple_of(16)
    }

    fn reserved_offset(self) -> usize {
        self.scratch_offset() + SCRATCH_LENGTH
    }
}

fn map(length: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: an anonymous private mapping at an address of the kernel's choice touches no
    // existing memory.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            length,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(address.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `map` with this length and nothing borrows it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.length) };
    }
}
