//! Mounts of a task's root file system.
