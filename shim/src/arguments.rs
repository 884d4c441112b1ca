//! Flags that containerd gives to its shims.
