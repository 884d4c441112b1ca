//! Watches containers for processes that the kernel killed for lack of memory.
