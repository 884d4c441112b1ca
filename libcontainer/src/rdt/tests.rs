//! The resctrl file system is imitated by plain files: machines with the hardware are rare. What
//! only the kernel does (files in new directories, checks of shares) is missing in it.

use std::fs;
use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;

use super::{Group, Resctrl};
use crate::spec::IntelRdt;

/// A tree as a machine with one socket has it.
struct Tree(TempDir);

impl Tree {
    fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        for (name, text) in [
            ("schemata", "    MB:0= 100\n    L3:0=7ff\n"),
            ("tasks", ""),
            ("info/last_cmd_status", "mask is not contiguous\n"),
            ("info/L3/cbm_mask", "7ff\n"),
            ("info/L3/min_cbm_bits", "2\n"),
            ("info/L3/num_closids", "16\n"),
            ("info/MB/bandwidth_gran", "10\n"),
            ("info/MB/delay_linear", "1\n"),
            ("info/MB/min_bandwidth", "10\n"),
            ("info/MB/num_closids", "8\n"),
            ("info/L3_MON/mon_features", "llc_occupancy\nmbm_total_bytes\nmbm_local_bytes\n"),
        ] {
            tree.write(name, text);
        }
        tree.make("mon_groups");
        tree
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn make(&self, name: &str) {
        fs::create_dir_all(self.path(name)).unwrap();
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn group(&self, config: serde_json::Value) -> Group {
        let config: IntelRdt = serde_json::from_value(config).unwrap();
        Group::new(&Resctrl::at(self.0.path().to_owned()), "c1", &config).intended()
    }

    /// The kernel's files go with their directory; plain ones do not.
    fn empty(&self, name: &str) {
        for entry in fs::read_dir(self.path(name)).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
}

#[test]
fn without_a_name_the_group_is_the_containers() {
    let tree = Tree::new();
    let group = tree.group(json!({
        "schemata": ["L2:0=3", "L2:1=3"], "memBwSchema": "MB:0=50", "l3CacheSchema": "L3:0=f"
    }));
    group.enter(42).unwrap();
    assert_eq!(tree.read("c1/tasks"), "42");
    assert!(!tree.path("c1/schemata").exists());
    group.apply().unwrap();
    // The order is the specification's.
    assert_eq!(tree.read("c1/schemata"), "L3:0=f\nMB:0=50\nL2:0=3\nL2:1=3\n");
    group.join(43).unwrap();
    assert_eq!(tree.read("c1/tasks"), "43");
    tree.empty("c1");
    group.remove().unwrap();
    assert!(!tree.path("c1").exists());
    group.remove().unwrap();
}

#[test]
fn a_group_that_was_there_stays() {
    let tree = Tree::new();
    tree.make("c1");
    let group = tree.group(json!({}));
    group.enter(42).unwrap();
    group.apply().unwrap();
    tree.empty("c1");
    group.remove().unwrap();
    assert!(tree.path("c1").exists());
}

#[test]
fn a_named_group_must_be_there_or_be_described() {
    let tree = Tree::new();
    let bare = tree.group(json!({ "closID": "gold" }));
    let error = bare.enter(42).unwrap_err().to_string();
    assert!(
        error.starts_with(
            "unable to apply Intel RDT configuration: clos dir not accessible (must be pre-created"
        ),
        "{error}"
    );
    assert!(!tree.path("gold").exists());

    let described = tree.group(json!({ "closID": "gold", "l3CacheSchema": "L3:0=f" }));
    described.enter(42).unwrap();
    described.apply().unwrap();
    assert_eq!(tree.read("gold/schemata"), "L3:0=f\n");
    bare.enter(43).unwrap();
    assert_eq!(tree.read("gold/tasks"), "43");
    tree.empty("gold");
    for group in [bare, described] {
        group.remove().unwrap();
    }
    // Others may have joined it.
    assert!(tree.path("gold").exists());
}

#[test]
fn shares_of_others_are_not_changed() {
    let tree = Tree::new();
    tree.write("gold/schemata", "    MB:0=  50\n    L3:0=00f\n");
    for config in [
        json!({ "closID": "gold", "l3CacheSchema": "L3:0=ff" }),
        json!({ "closID": "gold", "memBwSchema": "MB:0=60" }),
        json!({ "closID": "gold", "memBwSchema": "MB:1=50" }),
    ] {
        let error = tree.group(config).enter(42).unwrap_err().to_string();
        assert!(error.contains("has a different configuration"), "{error}");
        assert!(!tree.path("gold/tasks").exists());
    }
    let same = json!({ "closID": "gold", "l3CacheSchema": "L3:0=0F", "memBwSchema": "MB:0=45" });
    tree.group(same).enter(42).unwrap();
    assert_eq!(tree.read("gold/tasks"), "42");
}

#[test]
fn the_default_class_is_the_top() {
    let tree = Tree::new();
    let group = tree.group(json!({ "closID": "/", "enableMonitoring": true }));
    group.enter(42).unwrap();
    assert_eq!((tree.read("tasks"), tree.read("mon_groups/c1/tasks")), ("42".into(), "42".into()));
    tree.empty("mon_groups/c1");
    group.remove().unwrap();
    assert!(!tree.path("mon_groups/c1").exists() && tree.path("tasks").exists());
}

#[test]
fn a_monitoring_group_goes_with_its_class() {
    let tree = Tree::new();
    tree.make("c1/mon_groups");
    let mut group = tree.group(json!({ "enableMonitoring": true }));
    // The kernel makes the directory of monitoring groups.
    group.is_own = true;
    group.enter(42).unwrap();
    assert_eq!(tree.read("c1/mon_groups/c1/tasks"), "42");
    let error = group.remove().unwrap_err().to_string();
    assert!(error.starts_with("unable to remove container's IntelRDT group: "), "{error}");
}

#[test]
fn the_kernels_explanation_is_quoted() {
    let tree = Tree::new();
    let group = tree.group(json!({ "l3CacheSchema": "L3:0=5" }));
    tree.make("c1/schemata");
    let error = group.apply().unwrap_err().to_string();
    assert!(error.contains(r#"intelrdt: unable to write "L3:0=5\n": is a directory"#), "{error}");
    assert!(error.ends_with(", last_cmd_status: mask is not contiguous"), "{error}");
}

#[test]
fn shares_change_where_the_machine_has_them() {
    let tree = Tree::new();
    tree.make("c1");
    let group = tree.group(json!({ "l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=50" }));
    group.with_schemas("L3:0=3", "").unwrap().apply().unwrap();
    assert_eq!(tree.read("c1/schemata"), "L3:0=3\nMB:0=50\n");
    fs::remove_dir_all(tree.path("info/L3")).unwrap();
    fs::remove_dir_all(tree.path("info/MB")).unwrap();
    for (schemas, words) in [
        (("L3:0=3", ""), "Intel RDT/CAT: l3 cache schema is not enabled"),
        (("", "MB:0=20"), "Intel RDT/MBA: memory bandwidth schema is not enabled"),
    ] {
        let error = group.with_schemas(schemas.0, schemas.1).unwrap_err().to_string();
        assert_eq!(error, words);
    }
}

#[test]
fn statistics_are_in_runcs_shape() {
    let tree = Tree::new();
    tree.write("c1/schemata", "    MB:0=  50\n    L3:0=00f\n");
    let data = "c1/mon_groups/c1/mon_data";
    for (cache, numbers) in
        [("mon_L3_00", ["1", "2", "3"]), ("mon_L3_01", ["4", "Unavailable", "6"])]
    {
        let names = ["llc_occupancy", "mbm_total_bytes", "mbm_local_bytes"];
        for (name, number) in names.into_iter().zip(numbers) {
            tree.write(&format!("{data}/{cache}/{name}"), number);
        }
    }
    let group = tree.group(json!({ "enableMonitoring": true }));
    assert_eq!(
        serde_json::to_value(group.stats().unwrap()).unwrap(),
        json!({
            "l3_cache_info": { "cbm_mask": "7ff", "min_cbm_bits": 2, "num_closids": 16 },
            "l3_cache_schema_root": "L3:0=7ff",
            "l3_cache_schema": "L3:0=00f",
            "mem_bw_info": {
                "bandwidth_gran": 10, "delay_linear": 1, "min_bandwidth": 10, "num_closids": 8
            },
            "mem_bw_schema_root": "MB:0= 100",
            "mem_bw_schema": "MB:0=  50",
            "schemata": ["MB:0=  50", "L3:0=00f"],
            "mbm_stats": [
                { "mbm_total_bytes": 2, "mbm_local_bytes": 3 },
                { "mbm_total_bytes": 0, "mbm_local_bytes": 6 }
            ],
            "cmt_stats": [{ "llc_occupancy": 1 }, { "llc_occupancy": 4 }]
        })
    );
}

#[test]
fn the_mount_point_is_found() {
    let other = "30 1 0:30 / /sys rw - sysfs sysfs rw\n";
    let elsewhere = "31 1 0:31 / /mnt/r\\040x rw - resctrl resctrl rw\n";
    let usual = "32 1 0:31 / /sys/fs/resctrl rw shared:1 - resctrl resctrl rw\n";
    assert_eq!(Resctrl::mount_point(other), None);
    assert_eq!(Resctrl::mount_point(&format!("{other}{elsewhere}")), Some("/mnt/r\\040x"));
    let both = format!("{other}{elsewhere}{usual}");
    assert_eq!(Resctrl::mount_point(&both), Some("/sys/fs/resctrl"));
}
