//! The shim as containerd drives it: by its actions and over its socket, with real containers.

mod bootstrap;
mod checkpoint;
mod containerd;
mod crash;
mod events;
mod info;
mod life;
mod limits;
mod pod;
mod rootfs;
mod safety;
mod streams;
mod stuck;
mod support;
