//! What the running kernel counts.

use std::os::fd::AsFd;
use std::time::Duration;

use super::*;
use crate::sys::pidfd;

#[test]
fn tasks_and_time_are_counted() {
    let mut fixture = Fixture::new();
    fixture.create();
    assert_eq!(stats(&fixture.location).unwrap().pids.current, 0);
    fixture.start();
    fixture.start();
    let counted = stats(&fixture.location).unwrap();
    assert_eq!(counted.pids.current, 2);
    let memory = fixture.location.v1("memory");
    assert_eq!(memory.is_some(), counted.memory.raw.contains_key("hierarchical_memory_limit"));
    if let Some(group) = memory {
        std::fs::write(group.file("memory.limit_in_bytes"), "67108864").unwrap();
        let counted = stats(&fixture.location).unwrap();
        assert_eq!(counted.memory.usage.limit, 67_108_864);
        assert_eq!(counted.memory_events.get("under_oom"), Some(&0));
    }
    if let Some(group) = fixture.location.v1("cpuset") {
        assert!(!read(group, "cpuset.cpus").is_empty());
        assert!(!counted.cpuset.cpus.is_empty() && !counted.cpuset.mems.is_empty());
        assert_eq!(counted.cpuset.sched_relax_domain_level, -1);
    }
    fixture.reap();
}

#[test]
fn groups_that_are_gone_count_nothing() {
    let fixture = Fixture::new();
    let is_unified = fixture.location.is_unified();
    let nothing = Stats { is_unified, ..Stats::default() };
    assert_eq!(stats(&fixture.location).unwrap(), nothing);
}

/// v1 signals the removal of a group through the same descriptor.
#[test]
fn the_end_of_a_group_is_no_lack_of_memory() {
    let fixture = Fixture::new();
    fixture.create();
    let watch = OomWatch::new(&fixture.location).unwrap();
    let has_memory =
        fixture.location.v1("memory").is_some() || fixture.group("").file("memory.events").exists();
    assert_eq!(watch.is_some(), has_memory);
    let Some(mut watch) = watch else { return };
    assert!(!watch.has_occurred().unwrap());
    remove(&fixture.location).unwrap();
    if fixture.location.v1("memory").is_some() {
        let signal = [(Some(watch.as_fd()), libc::POLLIN)];
        assert_ne!(pidfd::poll(signal, Some(Duration::from_secs(60))).unwrap(), [0]);
    }
    assert!(!watch.has_occurred().unwrap());
}
