//! Whose a unit is. Names of units are all systemd has, and one that is gone may be started again by
//! somebody else: another runtime, or the same with another root directory.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::kill::collect_pids;
use super::{Group, Location, Result, Version};

impl Location {
    /// Takes down which groups the unit has, which was just started.
    #[cfg(feature = "systemd")]
    pub(super) fn number_groups(&mut self) {
        let directories = self.groups.iter().map(|group| self.top_of(group));
        let numbers = directories.map(|directory| number_of(&directory).unwrap_or_default());
        let numbers = numbers.collect();
        if let Some(unit) = &mut self.unit {
            unit.numbers = numbers;
        }
    }

    /// What of it is the container's still: without groups that somebody else has made since, and
    /// without the unit if that is another's. `init` is the container's process, if that lives;
    /// `is_started` says whether the unit was certainly started for the container.
    ///
    /// # Errors
    /// The groups cannot be read.
    pub(crate) fn own(&self, init: Option<u32>, is_started: bool) -> Result<Location> {
        let mut own = self.clone();
        let Some(unit) = &self.unit else { return Ok(own) };
        if unit.numbers.is_empty() {
            if !is_started && !self.may_hold(init)? {
                own.groups.clear();
                own.unit = None;
            }
            return Ok(own);
        }
        let numbered = self.groups.iter().zip(&unit.numbers);
        let others: Vec<&Group> = numbered
            .filter(|(group, number)| {
                number_of(&self.top_of(group)).is_some_and(|present| present != **number)
            })
            .map(|(group, _)| group)
            .collect();
        own.groups.retain(|group| !others.contains(&group));
        if others.into_iter().any(|group| self.is_known_by(group)) {
            own.unit = None;
            // systemd may have taken groups of ours for the other unit, where they were left.
            for group in std::mem::take(&mut own.groups) {
                if self.processes(&group)?.is_empty() {
                    own.groups.push(group);
                }
            }
        }
        Ok(own)
    }

    fn processes(&self, group: &Group) -> Result<Vec<i32>> {
        let mut pids = Vec::new();
        collect_pids(&self.top_of(group), true, &mut pids)?;
        Ok(pids)
    }

    /// Whether the unit may be the container's, whose creator was killed before or after it was
    /// started. After the start it has the process; an empty scope is nobody's.
    fn may_hold(&self, init: Option<u32>) -> Result<bool> {
        let mut pids = Vec::new();
        for group in self.groups.iter().filter(|group| self.is_known_by(group)) {
            pids.extend(self.processes(group)?);
        }
        let is_slice = self.unit.as_ref().is_some_and(super::systemd::Unit::is_slice);
        let is_member = init.is_some_and(|pid| pids.contains(&pid.cast_signed()));
        Ok(is_member || pids.is_empty() && !is_slice)
    }

    /// Whether systemd knows the unit by this group.
    fn is_known_by(&self, group: &Group) -> bool {
        match self.v1("name=systemd") {
            Some(known) => known == group,
            None => group.version == Version::V2,
        }
    }
}

/// The inode number of a group, which the kernel gives once; none where there is no group.
fn number_of(directory: &Path) -> Option<u64> {
    directory.metadata().ok().map(|metadata| metadata.ino())
}
