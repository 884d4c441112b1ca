//! What containerd says to a shim that it starts, and what it expects to read back.
