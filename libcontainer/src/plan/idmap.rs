//! Mappings of a mount's own: as `uidMappings` and `gidMappings`, or behind `idmap=` as crun reads
//! them.

use std::borrow::Cow;

use super::options::MountOptions;
use super::{Context, PlanError};
use crate::spec::{IdMapping, Mount};

type Mappings<'a> = Cow<'a, [IdMapping]>;

/// The mappings of users and groups; those of the option where it has some.
pub(super) fn mappings<'a>(
    ctx: &Context<'a>,
    mount: &'a Mount,
    options: &MountOptions,
    pointer: &str,
) -> Result<(Mappings<'a>, Mappings<'a>), PlanError> {
    let Some(text) = &options.map_text else {
        let (uids, gids) = (mount.uid_mappings.as_slice(), mount.gid_mappings.as_slice());
        return Ok((Cow::Borrowed(uids), Cow::Borrowed(gids)));
    };
    let (own_uids, own_gids) = super::user_namespace::mappings(ctx);
    let (mut uids, mut gids) = (Vec::new(), Vec::new());
    for part in text.split(';').filter(|part| !part.is_empty()) {
        let read = match part.split_once('=') {
            Some(("uids", ranges)) => ranges_of(ranges, own_uids).map(|ranges| uids = ranges),
            Some(("gids", ranges)) => ranges_of(ranges, own_gids).map(|ranges| gids = ranges),
            _ => None,
        };
        if read.is_none() {
            let message = format!("invalid mapping specified {part:?} in idmap={text}");
            return Err(PlanError::new(format!("{pointer}/options"), message));
        }
    }
    Ok((Cow::Owned(uids), Cow::Owned(gids)))
}

/// Triplets of ids on the file system, ids on the host and lengths. After `@` the second one is an
/// id of the container.
fn ranges_of(text: &str, container: &[IdMapping]) -> Option<Vec<IdMapping>> {
    text.split('#')
        .filter(|range| !range.is_empty())
        .map(|range| range_of(range, container))
        .collect()
}

fn range_of(range: &str, container: &[IdMapping]) -> Option<IdMapping> {
    let (is_relative, range) = match range.strip_prefix('@') {
        Some(rest) => (true, rest),
        None => (false, range),
    };
    let numbers: Option<Vec<u32>> = range.split('-').map(|number| number.parse().ok()).collect();
    let &[container_id, host_id, size] = numbers?.as_slice() else { return None };
    let host_id = if is_relative { outside(host_id, container)? } else { host_id };
    Some(IdMapping { container_id, host_id, size })
}

/// The host's id of one of the container's.
fn outside(id: u32, container: &[IdMapping]) -> Option<u32> {
    container.iter().find_map(|range| {
        let offset = id.checked_sub(range.container_id).filter(|offset| *offset < range.size)?;
        range.host_id.checked_add(offset)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triplets_and_relative_ones() {
        let own = [
            IdMapping { container_id: 0, host_id: 0, size: 1 },
            IdMapping { container_id: 1, host_id: 2, size: 1000 },
        ];
        let read = |text| {
            let ranges = ranges_of(text, &own)?.into_iter();
            Some(ranges.map(|r| (r.container_id, r.host_id, r.size)).collect::<Vec<_>>())
        };
        assert_eq!(read("0-1-10#10-11-10"), Some(vec![(0, 1, 10), (10, 11, 10)]));
        assert_eq!(read("@1-3-10"), Some(vec![(1, 4, 10)]));
        for wrong in ["1", "1-2", "1-2-3-4", "a-2-3", "1--3", "@1-5000-1", "1-2-4294967296"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
