//! containerd's Task service.
