//! How much memory a program holds that embeds this library and rests most of the time, such as a
//! shim of which one runs for each pod.

use std::sync::OnceLock;

use crate::sys::memory;

/// Has all threads of this program allocate from one heap: threads that come and go for single
/// operations leave no heaps behind. For programs, at their begin.
pub fn use_one_heap() {
    memory::use_one_heap();
}

/// Gives back what is not needed at rest: free parts of the heap, and the program's code, which is
/// mapped from the page cache again where it is executed, by a minor fault for each 64 KiB. For
/// programs, when nothing happened for a while.
///
/// Not for a program whose file may be overwritten in place.
pub fn shrink() {
    static CODE: OnceLock<Option<(usize, usize)>> = OnceLock::new();
    memory::trim_heap();
    let Some(code) = *CODE.get_or_init(memory::find_code) else { return };
    if let Err(errno) = memory::forget_code(code) {
        log::debug!("forget the pages of code: {errno}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_goes_on_after_it() {
        use_one_heap();
        assert!(memory::find_code().is_some_and(|(_, length)| length > 4096));
        let threads: Vec<_> = (0..4_usize)
            .map(|thread| std::thread::spawn(move || vec![thread; 1 << 16].iter().sum::<usize>()))
            .collect();
        shrink();
        let sums = threads.into_iter().map(|thread| thread.join().unwrap());
        assert_eq!(sums.sum::<usize>(), 6 << 16);
        shrink();
    }
}
