//! Namespaces that the container shares with others: they are not part of the images.

use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use super::criu::FIRST_PASSED;
use super::message::Options;
use crate::create::open_namespace;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::NamespacePath;
use crate::spec::{NamespaceKind, Spec};
use crate::sys::{namespaces, scheduling};

/// Those that CRIU leaves out of the images, and the word for each at the restore, as runc has it.
const LEFT_OUT: [(NamespaceKind, &str); 2] =
    [(NamespaceKind::Network, "extRootNetNS"), (NamespaceKind::Pid, "extRootPidNS")];

/// The first version that leaves namespaces of processes out.
pub(super) const LEAVES_PIDS_OUT: u32 = 31_500;

/// Whether the container has a namespace of this kind, new or joined.
pub(super) fn has(spec: &Spec, kind: NamespaceKind) -> bool {
    entries(spec).any(|(found, _, _)| found == kind)
}

/// Whether a namespace of this kind is made for the container.
pub(super) fn creates(spec: &Spec, kind: NamespaceKind) -> bool {
    entries(spec).any(|(found, path, _)| found == kind && path.is_empty())
}

fn entries(spec: &Spec) -> impl Iterator<Item = (NamespaceKind, &str, usize)> {
    let entries = spec.linux.iter().flat_map(|linux| &linux.namespaces).enumerate();
    entries.filter_map(|(index, entry)| {
        Some((NamespaceKind::of(&entry.kind)?, entry.path.as_str(), index))
    })
}

/// What a dump is told of namespaces by path: `net[INODE]:KEY`. The inode is that of the
/// container's process: the path may be gone by now.
pub(super) fn external(spec: &Spec, init: u32) -> Result<Vec<String>> {
    let mut external = Vec::new();
    for (kind, path, _) in entries(spec).filter(|(_, path, _)| !path.is_empty()) {
        let Some((_, key)) = LEFT_OUT.into_iter().find(|(left_out, _)| *left_out == kind) else {
            continue;
        };
        let name = kind.file_name();
        let own = format!("/proc/{init}/ns/{name}");
        let metadata = std::fs::metadata(&own)
            .map_err(|error| Error::io(ErrorKind::System, "stat", &own, &error))?;
        log::debug!("{path} is left out of the images");
        external.push(format!("{name}[{}]:{key}", metadata.ino()));
    }
    Ok(external)
}

/// Tells a restore which namespaces to join; what of it goes by descriptor.
pub(super) fn join(spec: &Spec, request: &mut Options) -> Result<Vec<OwnedFd>> {
    let mut passed = Vec::new();
    for (kind, path, index) in entries(spec).filter(|(_, path, _)| !path.is_empty()) {
        let pointer = format!("/linux/namespaces/{index}/path");
        let named = NamespacePath { path: path.to_owned(), kind: kind.flag(), pointer };
        if kind == NamespaceKind::Cgroup {
            let message = "criu cannot restore a container into a cgroup namespace by path";
            return Err(Error::new(ErrorKind::Unsupported, message).at(named.pointer));
        }
        let file = open_namespace(&named).map_err(|error| error.at(&named.pointer))?;
        match LEFT_OUT.into_iter().find(|(left_out, _)| *left_out == kind) {
            Some((_, key)) => {
                let number = FIRST_PASSED.saturating_add(passed.len() as i32);
                request.inherit_fd.push((key.to_owned(), number));
                passed.push(file);
            }
            None => request.join_ns.push((kind.file_name().to_owned(), path.to_owned())),
        }
    }
    Ok(passed)
}

/// Brings the loopback device of a new network up, as a creation does: CRIU restores none.
pub(super) fn raise_loopback(pid: u32) -> Result<()> {
    let path = format!("/proc/{pid}/ns/net");
    let kind = NamespaceKind::Network.flag();
    let network = open_namespace(&NamespacePath { path, kind, pointer: String::new() })?;
    // setns holds for the thread: this one ends.
    let raised = std::thread::scope(|scope| {
        let scratch = std::thread::Builder::new().spawn_scoped(scope, || {
            namespaces::setns(std::os::fd::AsRawFd::as_raw_fd(&network), kind)?;
            scheduling::raise_loopback()
        });
        scratch.map(std::thread::ScopedJoinHandle::join)
    });
    match raised {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(errno))) => {
            Err(Error::new(ErrorKind::System, format!("bring the loopback device up: {errno}")))
        }
        _ => Err(Error::new(ErrorKind::System, "bring the loopback device up: no thread for it")),
    }
}
