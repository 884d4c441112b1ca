//! Groups on the running kernel.

use std::io::Write;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use super::*;

#[test]
fn the_machine_has_a_layout() {
    let layout = Layout::probe().unwrap();
    assert!(!layout.hierarchies.is_empty());
    for hierarchy in &layout.hierarchies {
        let own = hierarchy.mount_point.join(&hierarchy.own).join("cgroup.procs");
        let procs = std::fs::read_to_string(&own).unwrap();
        let us = std::process::id().to_string();
        assert!(procs.lines().any(|pid| pid == us), "{} lacks us", own.display());
    }
}

#[test]
fn groups_are_made_and_removed() {
    let fixture = Fixture::new();
    let created = fixture.create();
    let has_v2 = fixture.location.v2().is_some();
    assert_eq!(created.descriptors.directory.is_some(), has_v2);
    let v1 = fixture.location.groups.len() - usize::from(has_v2);
    assert_eq!(created.descriptors.tasks.len(), v1);
    assert_eq!(created.location, fixture.location);
    for group in &fixture.location.groups {
        assert!(group.file("cgroup.procs").exists(), "{group:?}");
    }
    // A group that is there and empty is taken as it is.
    fixture.create();
    remove(&fixture.location).unwrap();
    assert!(!fixture.exists());
    remove(&fixture.location).unwrap();
}

#[test]
fn undo_removes_parents_that_were_made() {
    let name = unique();
    let fixture = Fixture::at(&format!("{name}/a/b"));
    fixture.create().undo().unwrap();
    for group in &fixture.location.groups {
        let parent = group.directory();
        let top = parent.ancestors().find(|path| path.ends_with(&name)).unwrap();
        assert!(!top.exists(), "{}", top.display());
    }
}

/// The child's way in: `0` into every `tasks` file, by a process of one thread.
#[test]
fn a_child_joins_by_descriptors() {
    let mut fixture = Fixture::new();
    let created = fixture.create();
    let descriptors: Vec<String> =
        created.descriptors.tasks.iter().map(|fd| fd.as_raw_fd().to_string()).collect();
    let pid = std::process::id();
    let script = "pid=$1; shift; for fd; do echo 0 > /proc/$pid/fd/$fd || exit 7; done; \
                  cat /proc/self/cgroup";
    let output = Command::new("/bin/sh")
        .args(["-c", script, "sh", &pid.to_string()])
        .args(descriptors)
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    for group in fixture.location.groups.iter().filter(|group| group.version == Version::V1) {
        let line = text.lines().find(|line| line.contains(&group.controllers.join(","))).unwrap();
        assert!(line.ends_with(group.path()), "{line}");
    }
    fixture.reap();
}

#[test]
fn groups_with_processes_are_refused() {
    let mut fixture = Fixture::new();
    fixture.create();
    fixture.start();
    fixture.start();
    let error = create(&fixture.layout, &fixture.location, &Resources::default()).unwrap_err();
    assert_eq!(error.message, "container's cgroup is not empty: 2 process(es) found");
    assert!(fixture.exists(), "the groups belong to somebody");
}

#[test]
fn processes_in_sub_groups_count() {
    let mut fixture = Fixture::new();
    fixture.create();
    let pid = fixture.start();
    let below = sub(&fixture.location, &["deep".to_owned()]).unwrap();
    create(&fixture.layout, &below, &Resources::default()).unwrap();
    attach(&below, pid).unwrap();
    assert!(pids(&fixture.location, false).unwrap().is_empty());
    assert_eq!(pids(&fixture.location, true).unwrap(), [pid]);
    let error = create(&fixture.layout, &fixture.location, &Resources::default()).unwrap_err();
    assert!(error.message.contains("is not empty: 1 process(es) found"), "{error}");
    let present = of_process(&fixture.location, pid).unwrap();
    assert_eq!(present.groups, below.groups);
    assert_eq!(of_process(&older_record(&fixture.location), pid).unwrap(), present);
    fixture.reap();
    remove(&fixture.location).unwrap();
    assert!(!fixture.exists());
}

#[test]
fn frozen_groups_are_refused() {
    let fixture = Fixture::new();
    fixture.create();
    freeze(&fixture.location).unwrap();
    let refused = create(&fixture.layout, &fixture.location, &Resources::default());
    assert_eq!(refused.unwrap_err().message, "container's cgroup unexpectedly frozen");
    // A child in a group below would stop as well.
    let below = sub(&fixture.location, &["deep".to_owned()]).unwrap();
    let refused = create(&fixture.layout, &below, &Resources::default());
    assert_eq!(refused.unwrap_err().message, "container's cgroup unexpectedly frozen");
    assert!(!below.groups.iter().any(|group| group.directory().exists()), "it was undone");
    thaw(&fixture.location).unwrap();
    fixture.create();
}

#[test]
fn processes_freeze_and_thaw() {
    let mut fixture = Fixture::new();
    assert_eq!(freezer_state(&fixture.location).unwrap(), FreezerState::Undefined);
    fixture.create();
    fixture.start();
    assert_eq!(freezer_state(&fixture.location).unwrap(), FreezerState::Thawed);
    freeze(&fixture.location).unwrap();
    assert!(is_frozen(&fixture.location).unwrap());
    freeze(&fixture.location).unwrap();
    thaw(&fixture.location).unwrap();
    assert!(!is_frozen(&fixture.location).unwrap());
}

/// Zombies of ours stay in their groups' lists on some kernels, so they are reaped meanwhile.
#[test]
fn all_processes_are_killed_also_frozen_ones() {
    for frozen in [false, true] {
        let mut fixture = Fixture::new();
        fixture.create();
        fixture.start();
        let pid = fixture.start();
        let below = sub(&fixture.location, &["deep".to_owned()]).unwrap();
        create(&fixture.layout, &below, &Resources::default()).unwrap();
        attach(&below, pid).unwrap();
        if frozen {
            freeze(&fixture.location).unwrap();
        }
        let children: Vec<Child> = fixture.children.drain(..).collect();
        let reaper = std::thread::spawn(move || {
            for mut child in children {
                child.wait().unwrap();
            }
        });
        kill_all(&fixture.location).unwrap();
        reaper.join().unwrap();
        assert!(pids(&fixture.location, true).unwrap().is_empty());
        wait_empty(&fixture.location, Instant::now() + Duration::from_secs(5)).unwrap();
        remove(&fixture.location).unwrap();
        assert!(!fixture.exists());
        kill_all(&fixture.location).unwrap();
    }
}

/// Without cgroup.kill, and while new processes come all the time.
#[test]
fn processes_that_multiply_are_killed_by_signals() {
    let mut fixture = Fixture::new();
    fixture.create();
    let script = "read line; while :; do sleep 1000 & sleep 0.001; done";
    let mut parent = Command::new("/bin/sh")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    attach(&fixture.location, i32::try_from(parent.id()).unwrap()).unwrap();
    parent.stdin.take().unwrap().write_all(b"\n").unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while pids(&fixture.location, true).unwrap().len() < 4 {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    let reaper = std::thread::spawn(move || parent.wait().unwrap());
    super::super::kill::kill_one_by_one(&fixture.location, deadline).unwrap();
    assert!(pids(&fixture.location, true).unwrap().is_empty());
    reaper.join().unwrap();
    fixture.reap();
}

#[test]
fn a_living_process_holds_its_group_and_is_named() {
    let mut fixture = Fixture::new();
    fixture.create();
    let pid = fixture.start();
    let error = remove(&fixture.location).unwrap_err();
    assert!(error.message.contains("device or resource busy"), "{error}");
    assert!(error.message.contains(&format!("process(es) {pid} are in it")), "{error}");
    assert!(wait_empty(&fixture.location, Instant::now()).is_err());
}

#[test]
fn only_cgroups_are_touched() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    let group = root.join("group");
    std::fs::create_dir_all(&group).unwrap();
    std::fs::File::create(group.join("cgroup.procs")).unwrap().write_all(b"1\n").unwrap();
    for version in ["v1", "v2"] {
        let text = format!(
            r#"{{"groups":[{{"version":"{version}","controllers":["freezer","devices"],
                "root":"{}","path":"group"}}]}}"#,
            root.display()
        );
        let location: Location = serde_json::from_str(&text).unwrap();
        let words = "is not on a cgroup file system";
        assert!(remove(&location).unwrap_err().message.contains(words));
        assert!(pids(&location, true).unwrap_err().message.contains(words));
        assert!(kill_all(&location).is_err());
        assert!(attach(&location, 1).unwrap_err().message.contains(words));
        assert!(delegate(&location, 1, 1).is_ok_and(|()| version == "v1") || version == "v2");
    }
    assert_eq!(std::fs::read(group.join("cgroup.procs")).unwrap(), b"1\n");
}

#[test]
fn limits_of_memory() {
    let fixture = Fixture::new();
    fixture.create();
    let set = |json: &str| apply(&fixture.location, &resources(json), None);
    if fixture.is_unified() {
        let error = set(r#"{"memory":{"limit":67108864}}"#).unwrap_err();
        assert!(error.message.contains("controller memory not available"), "{error}");
        assert_eq!(error.pointer.as_deref(), Some("/linux/resources/memory/limit"));
        return;
    }
    let group = fixture.group("memory");
    let limits =
        || (read(group, "memory.limit_in_bytes"), read(group, "memory.memsw.limit_in_bytes"));
    let pair = |a: u64, b: u64| (a.to_string(), b.to_string());
    const M: u64 = 1 << 20;
    set(r#"{"memory":{"limit":67108864,"swap":134217728,"reservation":33554432,
        "swappiness":7,"useHierarchy":true}}"#)
    .unwrap();
    assert_eq!(limits(), pair(64 * M, 128 * M));
    assert_eq!(read(group, "memory.soft_limit_in_bytes"), (32 * M).to_string());
    assert_eq!(read(group, "memory.swappiness"), "7");
    // Up and down, each in the order that the kernel takes.
    set(r#"{"memory":{"limit":536870912,"swap":1073741824}}"#).unwrap();
    assert_eq!(limits(), pair(512 * M, 1024 * M));
    set(r#"{"memory":{"limit":33554432,"swap":33554432}}"#).unwrap();
    assert_eq!(limits(), pair(32 * M, 32 * M));
    set(r#"{"memory":{"limit":-1}}"#).unwrap();
    assert!(limits().0.parse::<u64>().unwrap() > 1 << 60);
    assert!(limits().1.parse::<u64>().unwrap() > 1 << 60);
    set(r#"{"memory":{"disableOOMKiller":true}}"#).unwrap();
    assert!(read(group, "memory.oom_control").contains("oom_kill_disable 1"));
}

#[test]
fn limits_below_the_usage_are_refused() {
    let fixture = Fixture::new();
    fixture.create();
    if fixture.is_unified() {
        return;
    }
    // 32 MiB of a file, written from within the group and charged to it.
    let directory = tempfile::tempdir().unwrap();
    let mut writer = Command::new("/bin/sh")
        .args(["-c", "read line; head -c 33554432 /dev/zero > \"$1\"", "sh"])
        .arg(directory.path().join("file"))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    attach(&fixture.location, i32::try_from(writer.id()).unwrap()).unwrap();
    writer.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert!(writer.wait().unwrap().success());
    assert!(
        read(fixture.group("memory"), "memory.usage_in_bytes").parse::<u64>().unwrap() > 1 << 20
    );
    let set = |json: &str| apply(&fixture.location, &resources(json), None).unwrap_err();
    let error = set(r#"{"memory":{"limit":1048576,"checkBeforeUpdate":true}}"#);
    assert!(error.message.starts_with("rejecting memory limit 1048576 <= usage "), "{error}");
    let error = set(r#"{"memory":{"limit":1048576,"swap":1048576,"checkBeforeUpdate":true}}"#);
    assert!(error.message.starts_with("rejecting memory+swap limit 1048576 <= usage"), "{error}");
}

#[test]
fn limits_of_cpu_and_tasks() {
    let fixture = Fixture::new();
    fixture.create();
    let set = |json: &str| apply(&fixture.location, &resources(json), None);
    if fixture.is_unified() {
        for (json, controller) in [
            (r#"{"cpu":{"shares":512}}"#, "cpu"),
            (r#"{"cpu":{"quota":5000}}"#, "cpu"),
            (r#"{"cpu":{"period":5000}}"#, "cpu"),
            (r#"{"cpu":{"cpus":"0"}}"#, "cpuset"),
            (r#"{"pids":{"limit":5}}"#, "pids"),
            (r#"{"blockIO":{"weight":50}}"#, "io"),
            (r#"{"rdma":{"mlx4_0":{"hcaHandles":3}}}"#, "rdma"),
        ] {
            let error = set(json).unwrap_err();
            let words = format!("cannot set {controller} limit: container could not join or");
            assert!(error.message.starts_with(&words), "{error}");
        }
        return;
    }
    let cpu = fixture.group("cpu");
    set(r#"{"cpu":{"shares":512,"quota":50000,"period":100000,"burst":20000}}"#).unwrap();
    assert_eq!(read(cpu, "cpu.shares"), "512");
    assert_eq!(read(cpu, "cpu.cfs_quota_us"), "50000");
    assert_eq!(read(cpu, "cpu.cfs_burst_us"), "20000");
    // What is not named stays.
    set(r#"{"cpu":{"period":200000}}"#).unwrap();
    assert_eq!(read(cpu, "cpu.cfs_quota_us"), "50000");
    assert_eq!(read(cpu, "cpu.cfs_period_us"), "200000");
    // A burst above the old quota and below the new one.
    set(r#"{"cpu":{"quota":90000,"burst":80000}}"#).unwrap();
    assert_eq!(read(cpu, "cpu.cfs_burst_us"), "80000");
    set(r#"{"cpu":{"quota":-1,"burst":0}}"#).unwrap();
    assert_eq!(read(cpu, "cpu.cfs_quota_us"), "-1");
    set(r#"{"cpu":{"idle":1}}"#).unwrap();
    assert_eq!(read(cpu, "cpu.idle"), "1");
    let error = set(r#"{"cpu":{"idle":1,"shares":100}}"#).unwrap_err();
    assert!(error.message.starts_with("unable to apply both"), "{error}");

    set(r#"{"pids":{"limit":17}}"#).unwrap();
    let tasks = fixture.group("pids");
    assert_eq!(read(tasks, "pids.max"), "17");
    set(r#"{"pids":{"limit":-1}}"#).unwrap();
    assert_eq!(read(tasks, "pids.max"), "max");

    let cpuset = fixture.group("cpuset");
    assert!(!read(cpuset, "cpuset.cpus").is_empty(), "filled when it was made");
    set(r#"{"cpu":{"cpus":"0","mems":"0"}}"#).unwrap();
    assert_eq!(read(cpuset, "cpuset.cpus"), "0");
    let error = set(r#"{"cpu":{"cpus":"4000"}}"#).unwrap_err();
    assert_eq!(error.pointer.as_deref(), Some("/linux/resources/cpu/cpus"));
    assert!(error.message.starts_with("write \"4000\" to /"), "{error}");
}

#[test]
fn throttles_of_block_devices() {
    let fixture = Fixture::new();
    fixture.create();
    if fixture.is_unified() {
        return;
    }
    // A weight needs a scheduler that this kernel may lack: then the file is named.
    let weight = apply(&fixture.location, &resources(r#"{"blockIO":{"weight":100}}"#), None);
    if let Err(error) = weight {
        assert!(error.message.contains("blkio.bfq.weight: no such file"), "{error}");
    }
    let Some(device) = block_device() else { return };
    let json = format!(
        r#"{{"blockIO":{{"throttleReadBpsDevice":[{{"major":{0},"minor":{1},"rate":1048576}}],
            "throttleWriteIOPSDevice":[{{"major":{0},"minor":{1},"rate":99}}]}}}}"#,
        device.0, device.1
    );
    apply(&fixture.location, &resources(&json), None).unwrap();
    let group = fixture.group("blkio");
    let (major, minor) = device;
    let line = format!("{major}:{minor} 1048576");
    assert_eq!(read(group, "blkio.throttle.read_bps_device"), line);
    assert_eq!(read(group, "blkio.throttle.write_iops_device"), format!("{major}:{minor} 99"));
}

/// A whole disk.
fn block_device() -> Option<(u32, u32)> {
    let disk = std::fs::read_dir("/sys/block").ok()?.next()?.ok()?;
    let text = std::fs::read_to_string(disk.path().join("dev")).ok()?;
    let (major, minor) = text.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[test]
fn limits_of_huge_pages() {
    let fixture = Fixture::new();
    let json = r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#;
    fixture.create();
    // The machine's controllers on v2 come to the group with the first limit on a hybrid.
    let set = apply(&fixture.location, &resources(json), None);
    let Some(group) = fixture.location.v1("hugetlb").or(fixture.location.v2()) else {
        assert!(set.unwrap_err().message.contains("controller hugetlb not available"));
        return;
    };
    if group.version == Version::V2 && !read(group, "cgroup.controllers").contains("hugetlb") {
        assert!(set.unwrap_err().message.contains("controller hugetlb not available"));
        return;
    }
    set.unwrap();
    let suffix = if group.version == Version::V1 { "limit_in_bytes" } else { "max" };
    assert_eq!(read(group, &format!("hugetlb.2MB.{suffix}")), "4194304");
    assert_eq!(read(group, &format!("hugetlb.2MB.rsvd.{suffix}")), "4194304");
    let unknown = r#"{"hugepageLimits":[{"pageSize":"3MB","limit":1}]}"#;
    let error = apply(&fixture.location, &resources(unknown), None).unwrap_err();
    assert_eq!(error.pointer.as_deref(), Some("/linux/resources/hugepageLimits/0"));
}

/// A group of the test's own stands for the top of the hierarchy: nothing above it is written.
#[test]
fn controllers_are_enabled_in_the_parents() {
    let fixture = Fixture::new();
    fixture.create();
    let Some(group) = fixture.location.v2() else { return };
    let top = group.directory();
    let held = read(group, "cgroup.controllers");
    let json = format!(
        r#"{{"groups":[{{"version":"v2","controllers":[],"root":"{}","path":"a/b"}}]}}"#,
        top.display()
    );
    let location: Location = serde_json::from_str(&json).unwrap();
    let mut layout = fixture.layout.clone();
    layout.mode = Mode::Unified;
    layout.hierarchies.retain(|hierarchy| hierarchy.version == Version::V2);
    // One that no kernel has must not keep the others away.
    layout.hierarchies[0].controllers =
        held.split_whitespace().chain(["nosuch"]).map(str::to_owned).collect();
    let created = create(&layout, &location, &Resources::default()).unwrap();
    assert_eq!(read(&location.groups[0], "cgroup.controllers"), held);
    assert_eq!(read(group, "cgroup.subtree_control"), held);
    created.undo().unwrap();
    assert!(!top.join("a").exists());
}

#[test]
fn files_by_name() {
    let fixture = Fixture::new();
    fixture.create();
    if !fixture.is_unified() {
        return;
    }
    let set = |json: &str| apply(&fixture.location, &resources(json), None);
    set(r#"{"unified":{"cgroup.max.descendants":"5"}}"#).unwrap();
    assert_eq!(read(fixture.group(""), "cgroup.max.descendants"), "5");
    let error = set(r#"{"unified":{"nosuch.max":"1"}}"#).unwrap_err();
    assert_eq!(
        error.message,
        "unified resource \"nosuch.max\" can't be set: controller \"nosuch\" not available"
    );
    let error = set(r#"{"unified":{"cgroup.max.depth":"x"}}"#).unwrap_err();
    assert!(error.message.contains("unable to set unified resource"), "{error}");
    assert!(error.is(libc::EINVAL), "{error:?}");
}

#[test]
fn the_v2_group_is_delegated() {
    use std::os::unix::fs::MetadataExt;
    let fixture = Fixture::new();
    fixture.create();
    delegate(&fixture.location, 1234, 2345).unwrap();
    let Some(group) = fixture.location.v2() else { return };
    for name in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
        let metadata = group.file(name).metadata().unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (1234, 2345), "{name}");
    }
    assert_eq!(group.file("cgroup.freeze").metadata().unwrap().uid(), 0);
}

#[test]
fn an_absent_group_is_an_error_of_joining() {
    let fixture = Fixture::new();
    assert!(open(&fixture.location).unwrap_err().message.contains("no such file or directory"));
}

/// A location as older releases wrote it.
fn older_record(location: &Location) -> Location {
    let mut record = serde_json::to_value(location).unwrap();
    for group in record["groups"].as_array_mut().unwrap() {
        assert!(group.as_object_mut().unwrap().remove("mounted").is_some());
    }
    serde_json::from_value(record).unwrap()
}
