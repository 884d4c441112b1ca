//! Limits that a task is to have from now on.
