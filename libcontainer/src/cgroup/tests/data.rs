//! What needs no kernel.

use std::path::PathBuf;

use super::super::convert;
use super::*;

const HYBRID_MOUNTS: &str = "\
23 1 0:20 / /sys rw - sysfs sysfs rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:7 - cgroup cgroup rw,cpu,cpuacct
33 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
36 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer
34 31 0:37 /outer /sys/fs/cgroup/name\\040with\\011blanks rw - cgroup cgroup rw,xattr,name=systemd
35 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

const MEMBERSHIPS: &str = "\
17:hugetlb:/
9:name=systemd:/outer/inner
5:freezer:/
4:memory:/a/b
2:cpu,cpuacct:/
0::/u
";

fn hybrid() -> Layout {
    Layout::parse(HYBRID_MOUNTS.as_bytes(), MEMBERSHIPS.as_bytes())
}

fn unified() -> Layout {
    let mounts = "31 1 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
    let mut layout = Layout::parse(mounts.as_bytes(), b"0::/user/session\n");
    layout.hierarchies[0].controllers = ["cpu", "memory", "pids"].map(str::to_owned).to_vec();
    layout
}

fn directories(layout: &Layout, path: Option<&str>) -> Vec<String> {
    let location = locate(layout, path, "box", false).unwrap();
    location.groups.iter().map(|group| group.directory().to_str().unwrap().to_owned()).collect()
}

#[test]
fn layout_of_a_hybrid() {
    let layout = hybrid();
    assert_eq!(layout.mode, Mode::Hybrid);
    let points: Vec<_> =
        layout.hierarchies.iter().map(|h| h.mount_point.to_str().unwrap()).collect();
    assert_eq!(
        points,
        [
            "/sys/fs/cgroup/cpu,cpuacct",
            "/sys/fs/cgroup/memory",
            "/sys/fs/cgroup/freezer",
            "/sys/fs/cgroup/name with\tblanks",
            "/sys/fs/cgroup/unified"
        ]
    );
    assert_eq!(layout.hierarchies[0].controllers, ["cpu", "cpuacct"]);
    assert_eq!(layout.hierarchies[1].own, PathBuf::from("a/b"));
    // The mount shows only what is below /outer.
    assert_eq!(layout.hierarchies[3].own, PathBuf::from("inner"));
    assert!(layout.controller("hugetlb").is_none(), "hugetlb is not mounted here");
}

#[test]
fn mounts_that_were_mounted_over_do_not_count() {
    let over = format!("{HYBRID_MOUNTS}40 31 0:50 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    let layout = Layout::parse(over.as_bytes(), MEMBERSHIPS.as_bytes());
    assert_eq!(layout.mode, Mode::Unified);
    assert_eq!(layout.hierarchies.len(), 1);
    assert_eq!(layout.hierarchies[0].mount_point, PathBuf::from("/sys/fs/cgroup"));

    let hidden = format!("{HYBRID_MOUNTS}41 33 0:51 / /sys/fs/cgroup/memory rw - tmpfs x rw\n");
    let layout = Layout::parse(hidden.as_bytes(), MEMBERSHIPS.as_bytes());
    assert!(layout.controller("memory").is_none());
    assert!(layout.controller("cpu").is_some());

    let sys = format!("{HYBRID_MOUNTS}42 23 0:51 / /sys/fs rw - tmpfs x rw\n");
    assert!(Layout::parse(sys.as_bytes(), MEMBERSHIPS.as_bytes()).hierarchies.is_empty());
}

#[test]
fn a_lone_v1_controller_makes_no_hybrid() {
    let mounts = "31 1 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n\
                  32 1 0:29 / /opt/net_cls rw - cgroup none rw,net_cls\n";
    let layout = Layout::parse(mounts.as_bytes(), b"1:net_cls:/\n0::/\n");
    assert_eq!(layout.mode, Mode::Unified);
    assert_eq!(layout.hierarchies.len(), 1);
}

#[test]
fn strange_lines_are_skipped() {
    let mounts = b"\xff\xfe\n1 2\n31 1 0:28 / /sys/fs/\xff rw - cgroup2 cgroup2 rw\nx y z\n\n";
    let layout = Layout::parse(mounts, b"\xff\n0::/\xfe\n::\n");
    assert_eq!(layout.hierarchies.len(), 1);
    let error = locate(&layout, None, "box", false).unwrap_err();
    assert!(error.message.contains("UTF-8"), "{error}");
}

#[test]
fn places() {
    let layout = hybrid();
    let root = "/sys/fs/cgroup";
    assert_eq!(
        directories(&layout, None),
        [
            format!("{root}/cpu,cpuacct/box"),
            format!("{root}/memory/a/b/box"),
            format!("{root}/name with\tblanks/inner/box"),
            format!("{root}/freezer/box"),
            format!("{root}/unified/u/box"),
        ]
    );
    assert_eq!(directories(&layout, Some("/x/y"))[1], format!("{root}/memory/x/y"));
    assert_eq!(directories(&layout, Some("x/./y//"))[1], format!("{root}/memory/a/b/x/y"));
    assert_eq!(directories(&layout, Some("../../../x"))[1], format!("{root}/memory/a/b/x"));
    assert_eq!(directories(&layout, Some("/../../x"))[1], format!("{root}/memory/x"));
    assert_eq!(directories(&layout, Some(".."))[1], format!("{root}/memory/a/b/box"));
    assert_eq!(directories(&unified(), None), [format!("{root}/user/box")]);
    for path in ["/", "//", "/..", "/a/..", "a\0b"] {
        let error = locate(&layout, Some(path), "box", false).unwrap_err();
        assert_eq!(error.pointer.as_deref(), Some("/linux/cgroupsPath"), "{path:?}");
    }
    assert!(locate(&Layout::parse(b"", b""), None, "box", false).is_err());
}

#[test]
fn locations_are_written_and_read_back() {
    let location = locate(&hybrid(), Some("/x"), "box", true).unwrap();
    let text = serde_json::to_string(&location).unwrap();
    assert_eq!(serde_json::from_str::<Location>(&text).unwrap(), location);
    for (root, path) in [
        ("/sys/fs/cgroup/../../etc", "x"),
        ("relative", "x"),
        ("/sys", "../x"),
        ("/sys", "/x"),
        ("/sys", "x//y"),
    ] {
        let text = format!(
            r#"{{"groups":[{{"version":"v1","controllers":[],"root":"{root}","path":"{path}"}}]}}"#
        );
        assert!(serde_json::from_str::<Location>(&text).is_err(), "{text}");
    }
}

#[test]
fn sub_groups_for_exec() {
    let location = locate(&hybrid(), Some("/x"), "box", false).unwrap();
    let path = |arguments: &[&str], controller: &str| {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        sub(&location, &arguments)
            .map(|sub| sub.v1(controller).unwrap().path().to_owned())
            .map_err(|error| error.message)
    };
    assert_eq!(path(&["a/b"], "memory").unwrap(), "x/a/b");
    assert_eq!(path(&["/"], "memory").unwrap(), "x");
    assert_eq!(path(&["cpu,memory:a", "freezer:b"], "memory").unwrap(), "x/a");
    assert_eq!(path(&["cpu:a", "freezer:b"], "memory").unwrap(), "x");
    assert_eq!(path(&[".."], "memory").unwrap_err(), "bad sub cgroup path: ..");
    assert_eq!(path(&["cpu:a/../.."], "cpu").unwrap_err(), "bad sub cgroup path: a/../..");
    assert_eq!(
        path(&["whaaat:/"], "cpu").unwrap_err(),
        "unknown controller whaaat in SubCgroupPaths"
    );
    assert!(path(&["cpu:a", "b"], "cpu").unwrap_err().contains("missing <controller>: prefix"));
    assert!(path(&["cpu,:a"], "cpu").unwrap_err().contains("empty <controller> prefix"));
    assert!(path(&["cpu:a", "cpu:b"], "cpu").unwrap_err().contains("multiple times"));
}

#[test]
fn weights() {
    let weights = [(0, None), (1, Some(1)), (2, Some(1)), (1024, Some(100))];
    for (shares, weight) in weights {
        assert_eq!(convert::cpu_weight(shares), weight, "{shares}");
    }
    assert_eq!(convert::cpu_weight(2000), Some(170));
    assert_eq!(convert::cpu_weight(262_144), Some(10_000));
    assert_eq!(convert::cpu_weight(u64::MAX), Some(10_000));
    assert_eq!(convert::io_weight(10), Some(1));
    assert_eq!(convert::io_weight(1000), Some(10_000));
    assert_eq!(convert::io_weight(0), None);
    assert_eq!([-1, 0, 7].map(convert::pids), ["max", "1", "7"]);
}

#[test]
fn swap_on_v2() {
    let swap = |swap, memory| convert::swap(swap, memory).map(|value| value.unwrap_or_default());
    assert_eq!(swap(300, 100).unwrap(), "200");
    assert_eq!(swap(100, 100).unwrap(), "0");
    assert_eq!(swap(-1, 100).unwrap(), "max");
    assert_eq!(swap(0, -1).unwrap(), "max");
    assert_eq!(swap(0, 100).unwrap(), "");
    assert_eq!(swap(50, -1).unwrap(), "50");
    assert_eq!(swap(50, 100).unwrap_err(), "memory+swap limit should be >= memory limit");
    assert_eq!(swap(50, 0).unwrap_err(), "unable to set swap limit without memory limit");
}

#[test]
fn values_that_are_refused() {
    let unified = unified();
    let hybrid = hybrid();
    let cases: [(&Layout, &str, &str, &str); 22] = [
        (&unified, r#"{"memory":{"limit":-2}}"#, "memory/limit", "invalid"),
        (&unified, r#"{"memory":{"swappiness":10}}"#, "memory/swappiness", "cgroup v2 has none"),
        (&hybrid, r#"{"memory":{"swappiness":101}}"#, "memory/swappiness", "0-100"),
        (&unified, r#"{"memory":{"disableOOMKiller":true}}"#, "memory/disableOOMKiller", "v2"),
        (&unified, r#"{"memory":{"swap":5}}"#, "memory/swap", "without memory limit"),
        (&unified, r#"{"cpu":{"realtimePeriod":5}}"#, "cpu/realtimePeriod", "v2 has none"),
        (&unified, r#"{"cpu":{"idle":2}}"#, "cpu/idle", "invalid cpu idle value: 2"),
        (&hybrid, r#"{"cpu":{"shares":1}}"#, "cpu/shares", "minimum allowed cpu-shares is 2"),
        (&hybrid, r#"{"cpu":{"shares":262145}}"#, "cpu/shares", "maximum allowed cpu-shares"),
        (&hybrid, r#"{"cpu":{"cpus":"0; x"}}"#, "cpu/cpus", "invalid list"),
        (&hybrid, r#"{"cpu":{"cpus":"0"}}"#, "cpu/cpus", "controller cpuset not available"),
        (
            &hybrid,
            r#"{"pids":{"limit":1}}"#,
            "pids/limit",
            "cannot set pids limit: container could not join or create cgroup",
        ),
        (&unified, r#"{"blockIO":{"weight":5}}"#, "blockIO/weight", "10-1000"),
        (&unified, r#"{"blockIO":{"leafWeight":50}}"#, "blockIO/leafWeight", "v2 has none"),
        (&unified, r#"{"blockIO":{"weight":50}}"#, "blockIO", "controller io not available"),
        (
            &unified,
            r#"{"hugepageLimits":[{"pageSize":"../x","limit":1}]}"#,
            "hugepageLimits/0/pageSize",
            "invalid page size",
        ),
        (
            &unified,
            r#"{"network":{"classID":1}}"#,
            "network/classID",
            "controller net_cls not available",
        ),
        (
            &unified,
            r#"{"unified":{"../x.y":"1"}}"#,
            "unified/..~1x.y",
            "must be a file name (no slashes)",
        ),
        (&unified, r#"{"unified":{"..":"1"}}"#, "unified/..", "CONTROLLER.PARAMETER"),
        (&unified, r#"{"unified":{"cgroup.procs":"0"}}"#, "unified/cgroup.procs", "no limit"),
        (
            &hybrid,
            r#"{"unified":{"memory.max":"1"}}"#,
            "unified",
            "invalid configuration: cannot use unified on cgroup v1",
        ),
        (&unified, r#"{"rdma":{"a b":{"hcaHandles":1}}}"#, "rdma/a b", "invalid RDMA device"),
    ];
    for (layout, json, pointer, words) in cases {
        let error = check(&resources(json), layout).unwrap_err();
        assert_eq!(error.pointer, Some(format!("/linux/resources/{pointer}")), "{json}");
        assert!(error.message.contains(words), "{json}: {error}");
    }
}

#[test]
fn values_that_are_accepted() {
    let json = r#"{"memory":{"limit":100,"swap":200,"kernel":5,"disableOOMKiller":false},
        "cpu":{"shares":1024,"quota":-1,"cpus":""},"pids":{"limit":0}}"#;
    let warnings = check(&resources(json), &unified()).unwrap();
    assert_eq!(
        warnings,
        [
            "Kernel memory settings are ignored and will be removed",
            "a limit of 0 lets the container start no other process; -1 is no limit (at \
             /linux/resources/pids/limit)"
        ]
    );
    assert!(check(&Resources::default(), &hybrid()).unwrap().is_empty());
}

#[test]
fn what_a_container_sees() {
    let layout = hybrid();
    let location = locate(&layout, Some("/x"), "box", false).unwrap();
    let mounts = mounts_for_container(&layout, &location);
    assert_eq!(mounts.len(), 4, "the v2 part of a hybrid is not shown");
    assert_eq!(mounts[0].name, "cpu,cpuacct");
    assert_eq!(mounts[0].links, ["cpu", "cpuacct"]);
    assert_eq!(mounts[0].options, "cpu,cpuacct");
    assert_eq!(mounts[0].group, "/sys/fs/cgroup/cpu,cpuacct/x");
    assert_eq!(mounts[3].options, "name=systemd");
    assert!(mounts[1].links.is_empty());

    let layout = unified();
    let location = locate(&layout, Some("/x"), "box", false).unwrap();
    let mounts = mounts_for_container(&layout, &location);
    assert!(matches!(mounts.as_slice(), [mount] if mount.name.is_empty() && mount.unified));
}
