//! The shim's own log, written to the FIFO that containerd reads.
