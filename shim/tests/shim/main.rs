//! The shim as containerd drives it: by its actions and over its socket, with real containers.

mod bootstrap;
mod checkpoint;
mod crash;
mod life;
mod pod;
mod safety;
mod streams;
mod stuck;
mod support;
