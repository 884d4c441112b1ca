//! Intel RDT: shares of the processor's caches and of the memory's bandwidth, by the resctrl file
//! system.
//!
//! A container is in a group that controls its share (a directory at the top, its class of
//! service), and may have a group within it that only counts. What is written is checked by the
//! kernel, which says more in a file of its own than by the error number: that is quoted.

mod schema;
mod stats;

use std::io::ErrorKind as Io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use stats::{CacheInfo, CacheUsage, IntelRdtStats, MemoryBandwidth, MemoryBandwidthInfo};

use crate::error::{Error, ErrorKind, Result, kernel_words};
use crate::spec::IntelRdt;

/// The mounted file system, and what of it the hardware and the kernel's command line permit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Resctrl {
    /// Where it is mounted.
    pub(crate) root: PathBuf,
    /// L3 caches can be shared out.
    pub(crate) shares_cache: bool,
    /// Memory bandwidth can be shared out.
    pub(crate) shares_bandwidth: bool,
}

impl Resctrl {
    /// The file system that is mounted at `root`.
    pub(crate) fn at(root: PathBuf) -> Self {
        let has = |name: &str| root.join("info").join(name).is_dir();
        let (shares_cache, shares_bandwidth) = (has("L3"), has("MB"));
        Self { root, shares_cache, shares_bandwidth }
    }

    /// Finds the mount point in the text of mountinfo. Who has several of them has one at the
    /// usual place.
    pub(crate) fn mount_point(mountinfo: &str) -> Option<&str> {
        let points = mountinfo.lines().filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let point = before.split(' ').nth(4)?;
            after.starts_with("resctrl ").then_some(point)
        });
        points.clone().find(|point| *point == "/sys/fs/resctrl").or_else(|| points.clone().next())
    }
}

/// The groups of one container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Group {
    root: PathBuf,
    path: PathBuf,
    monitoring: Option<PathBuf>,
    /// The container made the group that controls, and takes it along.
    is_own: bool,
    config: IntelRdt,
}

impl Group {
    /// The groups of container `id`. Nothing is made.
    pub(crate) fn new(resctrl: &Resctrl, id: &str, config: &IntelRdt) -> Self {
        let root = resctrl.root.clone();
        let path = match config.clos_id.as_str() {
            "" => root.join(id),
            "/" => root.clone(),
            clos => root.join(clos),
        };
        let monitoring = config.enable_monitoring.then(|| path.join("mon_groups").join(id));
        let is_own = config.clos_id.is_empty();
        Self { root, path, monitoring, is_own, config: config.clone() }
    }

    /// The group as it is recorded before it is made: one that is there already belongs to
    /// somebody else.
    pub(crate) fn intended(&self) -> Self {
        Self { is_own: self.is_own && !self.path.exists(), ..self.clone() }
    }

    /// The group that controls.
    pub(crate) fn directory(&self) -> &Path {
        &self.path
    }

    /// Whether the group that controls is there.
    pub(crate) fn exists(&self) -> bool {
        self.path.is_dir()
    }

    fn has_schema(&self) -> bool {
        let config = &self.config;
        !(config.l3_cache_schema.is_empty()
            && config.mem_bw_schema.is_empty()
            && config.schemata.is_empty())
    }

    /// Makes the groups and moves a process with one thread into them.
    pub(crate) fn enter(&self, pid: u32) -> Result<()> {
        self.make().and_then(|()| self.join(pid)).map_err(|error| {
            error.within("unable to apply Intel RDT configuration").at("/linux/intelRdt")
        })
    }

    fn make(&self) -> Result<()> {
        let is_named = !self.config.clos_id.is_empty();
        if is_named && !self.has_schema() {
            return std::fs::metadata(&self.path).map(drop).map_err(|error| {
                let message = format!(
                    "clos dir not accessible (must be pre-created when schemata, l3CacheSchema \
                     and memBwSchema are empty): stat {}: {}",
                    self.path.display(),
                    kernel_words(&error)
                );
                Error::new(ErrorKind::System, message)
            });
        }
        let is_new = self.make_directory(&self.path)?;
        if is_named && !is_new { self.compare() } else { Ok(()) }
    }

    /// A class of service that others may use as well keeps its shares.
    fn compare(&self) -> Result<()> {
        let present = read(&self.path.join("schemata"))?;
        let step = read(&self.root.join("info/MB/bandwidth_gran"));
        let step = step.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1);
        for wanted in [&self.config.l3_cache_schema, &self.config.mem_bw_schema] {
            if let Some(line) = wanted.lines().find(|line| !schema::holds(line, &present, step)) {
                let message = format!(
                    "the resctrl group {:?} has a different configuration than {line:?}",
                    self.config.clos_id
                );
                return Err(Error::new(ErrorKind::InvalidConfig, message));
            }
        }
        Ok(())
    }

    /// Moves a process with one thread into the groups.
    pub(crate) fn join(&self, pid: u32) -> Result<()> {
        self.add(&self.path, pid)?;
        let Some(monitoring) = &self.monitoring else { return Ok(()) };
        self.make_directory(monitoring)?;
        self.add(monitoring, pid)
    }

    fn add(&self, directory: &Path, pid: u32) -> Result<()> {
        std::fs::write(directory.join("tasks"), pid.to_string()).map_err(|error| {
            self.explained(format!("intelrdt: unable to add pid {pid}: {}", kernel_words(&error)))
        })
    }

    /// Whether the directory is new.
    fn make_directory(&self, directory: &Path) -> Result<bool> {
        match std::fs::create_dir(directory) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == Io::AlreadyExists => Ok(false),
            Err(error) => Err(self.explained(format!(
                "mkdir {}: {}",
                directory.display(),
                kernel_words(&error)
            ))),
        }
    }

    /// Sets the shares; without any in the configuration nothing is written.
    pub(crate) fn apply(&self) -> Result<()> {
        if !self.has_schema() {
            return Ok(());
        }
        let config = &self.config;
        let lines = [&config.l3_cache_schema, &config.mem_bw_schema].into_iter();
        let lines = lines.chain(&config.schemata).filter(|line| !line.is_empty());
        let text: String = lines.flat_map(|line| [line.as_str(), "\n"]).collect();
        std::fs::write(self.path.join("schemata"), &text).map_err(|error| {
            let words = kernel_words(&error);
            self.explained(format!("intelrdt: unable to write {text:?}: {words}"))
                .at("/linux/intelRdt")
        })
    }

    /// The same groups with other shares; empty ones stay as they are.
    pub(crate) fn with_schemas(&self, l3_cache: &str, mem_bw: &str) -> Result<Self> {
        check_shared(Some(&Resctrl::at(self.root.clone())), l3_cache, mem_bw)?;
        let mut changed = self.clone();
        for (place, value) in [
            (&mut changed.config.l3_cache_schema, l3_cache),
            (&mut changed.config.mem_bw_schema, mem_bw),
        ] {
            if !value.is_empty() {
                *place = value.to_owned();
            }
        }
        Ok(changed)
    }

    /// Removes what was made for the container alone. May be done again.
    pub(crate) fn remove(&self) -> Result<()> {
        let directory = if self.is_own { Some(&self.path) } else { self.monitoring.as_ref() };
        let Some(directory) = directory else { return Ok(()) };
        match std::fs::remove_dir(directory) {
            Err(error) if error.kind() != Io::NotFound => {
                let message = format!(
                    "unable to remove container's IntelRDT group: rmdir {}: {}",
                    directory.display(),
                    kernel_words(&error)
                );
                Err(Error::new(ErrorKind::System, message))
            }
            _ => Ok(()),
        }
    }

    /// What the kernel has counted, and the shares.
    pub(crate) fn stats(&self) -> Result<IntelRdtStats> {
        stats::read_all(&self.root, &self.path, self.monitoring.as_deref())
    }

    /// With the kernel's own words about the last command.
    fn explained(&self, message: String) -> Error {
        let message = match read(&self.root.join("info/last_cmd_status")) {
            Ok(status) => format!("{message}, last_cmd_status: {}", status.trim()),
            Err(_) => message,
        };
        Error::new(ErrorKind::System, message)
    }
}

/// Whether the machine shares out what these schemas are about, in runc's words.
pub(crate) fn check_shared(resctrl: Option<&Resctrl>, l3_cache: &str, mem_bw: &str) -> Result<()> {
    let error = |message: &str| Err(Error::new(ErrorKind::Unsupported, message));
    if !l3_cache.is_empty() && !resctrl.is_some_and(|resctrl| resctrl.shares_cache) {
        return error("Intel RDT/CAT: l3 cache schema is not enabled");
    }
    if !mem_bw.is_empty() && !resctrl.is_some_and(|resctrl| resctrl.shares_bandwidth) {
        return error("Intel RDT/MBA: memory bandwidth schema is not enabled");
    }
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path)
        .map_err(|error| Error::io(ErrorKind::System, "read", path.display(), &error))
}

#[cfg(test)]
mod tests;
