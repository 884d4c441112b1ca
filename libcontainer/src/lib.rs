//! OCI containers as a library.
//!
//! A container start is data: config.json is read into a [`spec::Spec`], the spec and the facts
//! about this machine are decided into a plan, and the plan is carried out by the parent and by
//! the child that becomes the container's process.
//!
//! ```text
//! config.json --read--> Spec --decide--> Plan --execute--> container
//!                spec/            plan/            create/ (parent), init/ (child)
//!                       host/ ----^
//! ```

mod container;
mod detached;
mod error;
mod features;
mod loop_device;
mod pattern;
mod pointer;
mod protect;

pub use checkpoint::{CheckpointOptions, ManageCgroups, NetworkLock, RestoreOptions};
pub use container::{
    CgroupDriver, Container, CreateOptions, Event, Events, ExecOptions, ExecProcess, ExitStatus,
    MemoryWatch, State, Status, keep_exit_statuses,
};
pub use detached::DetachedMount;
pub use error::{Error, ErrorKind, Result};
pub use features::*;
pub use loop_device::LoopDevice;
pub use pattern::Pattern;
pub use protect::protect_self;

pub mod footprint;
pub mod process;
pub mod seccomp;
pub mod spec;
pub mod terminal;

pub mod stats {
    //! Statistics of a container, as the verb `events` prints them.

    pub use crate::cgroup::stats::{
        BlockIoEntry, BlockIoStats, CpuStats, CpuUsage, CpusetStats, HugepageStats, MemoryEntry,
        MemoryStats, NoInterface, PidsStats, Pressure, PressureLine, Stats, Throttling,
    };
    pub use crate::rdt::{
        CacheInfo, CacheUsage, IntelRdtStats, MemoryBandwidth, MemoryBandwidthInfo,
    };
}

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;

mod host;

mod cgroup;

mod network;

mod rdt;

mod plan;

mod protocol;

mod init;

mod create;

mod exec;

mod checkpoint;

mod sys;

mod state;
