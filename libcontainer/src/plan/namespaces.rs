//! `linux.namespaces`: which are new, which are joined.

use super::{NamespaceKind, NamespacePath, PlanError};
use crate::host::Host;
use crate::spec::Linux;

/// The container's namespaces.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Namespaces {
    created: Vec<NamespaceKind>,
    joined: Vec<(NamespaceKind, NamespacePath)>,
}

impl Namespaces {
    /// A namespace of this kind is made for the container.
    pub(crate) fn creates(&self, kind: NamespaceKind) -> bool {
        self.created.contains(&kind)
    }

    /// The container joins an existing namespace of this kind.
    pub(crate) fn joins(&self, kind: NamespaceKind) -> bool {
        self.joined(kind).is_some()
    }

    /// The path of the namespace of this kind that the container joins.
    pub(crate) fn joined(&self, kind: NamespaceKind) -> Option<&NamespacePath> {
        self.joined.iter().find(|(joined, _)| *joined == kind).map(|(_, path)| path)
    }

    /// The container has a namespace of this kind that is not the caller's, new or joined.
    pub(crate) fn has(&self, kind: NamespaceKind) -> bool {
        self.creates(kind) || self.joins(kind)
    }

    /// All paths, in the order of the configuration.
    pub(crate) fn paths(&self) -> impl Iterator<Item = (NamespaceKind, &NamespacePath)> {
        self.joined.iter().map(|(kind, path)| (*kind, path))
    }

    /// The kernel's flags of the new namespaces.
    pub(crate) fn created_flags(&self) -> u64 {
        self.created.iter().map(|kind| kind.flag()).fold(0, |flags, flag| flags | flag)
    }
}

/// Reads `linux.namespaces`: known kinds, once each, absolute paths, kinds that the kernel has.
pub(crate) fn plan_namespaces(linux: Option<&Linux>, host: &Host) -> Result<Namespaces, PlanError> {
    let mut namespaces = Namespaces::default();
    let entries = linux.map(|linux| linux.namespaces.as_slice()).unwrap_or_default();
    for (index, entry) in entries.iter().enumerate() {
        let pointer = format!("/linux/namespaces/{index}");
        let kind = NamespaceKind::of(&entry.kind).ok_or_else(|| {
            let message = format!("namespace {:?} does not exist", entry.kind);
            PlanError::new(format!("{pointer}/type"), message)
        })?;
        if namespaces.has(kind) {
            let message =
                format!("malformed spec file: duplicated ns {{{:?} {:?}}}", entry.kind, entry.path);
            return Err(PlanError::new(pointer, message));
        }
        if host.namespaces & kind.flag() == 0 {
            let message = format!("the kernel has no {} namespaces", kind.name());
            return Err(PlanError::new(format!("{pointer}/type"), message));
        }
        if entry.path.is_empty() {
            namespaces.created.push(kind);
        } else {
            let path = plan_path(&entry.path, kind, format!("{pointer}/path"))?;
            namespaces.joined.push((kind, path));
        }
    }
    Ok(namespaces)
}

fn plan_path(path: &str, kind: NamespaceKind, pointer: String) -> Result<NamespacePath, PlanError> {
    if !path.starts_with('/') {
        let message = format!("namespace path {path:?} is not an absolute path");
        return Err(PlanError::new(pointer, message));
    }
    if path.contains('\0') {
        let message = format!("namespace path {path:?} contains a NUL byte");
        return Err(PlanError::new(pointer, message));
    }
    Ok(NamespacePath { path: path.to_owned(), kind: kind.flag(), pointer })
}
