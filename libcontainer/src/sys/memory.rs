//! The memory of this process. For the parent.

use std::fs;

use super::errno::Result;
use super::raw::call;

/// Has all threads allocate from one heap.
pub(crate) fn use_one_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt takes integers, and may be called at any time.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Gives free parts of the heap back to the kernel.
pub(crate) fn trim_heap() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes an integer and locks the heap itself.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Address and length of this program's code in memory.
pub(crate) fn find_code() -> Option<(usize, usize)> {
    let here = find_code as *const () as usize;
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().find_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (first, end) = range.split_once('-')?;
        let first = usize::from_str_radix(first, 16).ok()?;
        let end = usize::from_str_radix(end, 16).ok()?;
        // A mapping that cannot be written and is private to the file is the file's content.
        let is_code = rest.starts_with("r-xp ") && (first..end).contains(&here);
        is_code.then(|| (first, end.saturating_sub(first)))
    })
}

/// Forgets the pages of code that [`find_code`] found: they are mapped again from the page cache
/// when they are executed.
pub(crate) fn forget_code((address, length): (usize, usize)) -> Result<()> {
    // SAFETY: the range is a private mapping of the program's file that was never writable, so
    // that its pages hold what the file holds, now and after they are read again.
    unsafe { call!(libc::SYS_madvise, address, length, libc::MADV_DONTNEED) }.map(drop)
}
