//! Options of the runtime, as containerd passes them on.
