//! Events of the tasks, published to containerd.
