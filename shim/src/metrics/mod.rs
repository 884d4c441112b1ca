//! Statistics of a container in containerd's messages.
