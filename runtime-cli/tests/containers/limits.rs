//! Limits that hold, under load that stress-ng and others make.

use std::fs;

use serde_json::json;

use crate::support::{Container, has_controller};

/// Number after a key in a file like `cpu.stat`.
fn counter(text: &str, key: &str) -> u64 {
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix(key))
        .unwrap_or_else(|| panic!("no {key} in {text}"));
    line.trim().parse().expect("a number")
}

#[test]
fn memory_hog_is_killed_inside_and_nothing_outside() {
    if !has_controller("memory") {
        return absent_controller_is_named("memory", json!({ "memory": { "limit": 67_108_864 } }));
    }
    let mut container = Container::debian(&["tail", "/dev/zero"]);
    container.config["linux"]["resources"] =
        json!({ "memory": { "limit": 67_108_864, "swap": 67_108_864 } });
    let neighbour = Container::shell("sleep 1000");
    neighbour.create_and_start();
    let outcome = container.run();
    assert_eq!(outcome.code(), 137, "{}", outcome.stderr);
    assert_eq!(neighbour.state()["status"], "running");
    assert_eq!(container.left_behind(), Vec::<String>::new());
}

#[test]
fn workers_die_of_the_limit_and_the_master_lives() {
    if !has_controller("memory") {
        return absent_controller_is_named("memory", json!({ "memory": { "limit": 67_108_864 } }));
    }
    let mut container = Container::debian(&[
        "stress-ng",
        "--temp-path",
        "/tmp",
        "--vm",
        "1",
        "--vm-bytes",
        "256m",
        "--vm-populate",
        "--oomable",
        "--timeout",
        "20s",
    ]);
    container.config["linux"]["resources"] =
        json!({ "memory": { "limit": 67_108_864, "swap": 67_108_864 } });
    container.create_and_start();
    container.wait_for_status("stopped");
    let failed = container
        .cgroup_file("memory.oom_control")
        .or_else(|| container.cgroup_file("memory.events"))
        .expect("memory cgroup");
    assert!(counter(&failed, "oom_kill ") > 0, "{failed}");
}

#[test]
fn cpu_quota_throttles() {
    let resources = json!({ "cpu": { "quota": 20_000, "period": 100_000 } });
    if !has_controller("cpu") {
        return absent_controller_is_named("cpu", resources);
    }
    let mut container =
        Container::debian(&["stress-ng", "--temp-path", "/tmp", "--cpu", "2", "--timeout", "2s"]);
    container.config["linux"]["resources"] = resources;
    container.create_and_start();
    container.wait_for_status("stopped");
    let stat = container.cgroup_file("cpu.stat").expect("cpu cgroup");
    assert!(counter(&stat, "nr_throttled ") > 0, "{stat}");
}

#[test]
fn pids_limit_refuses_one_more() {
    let resources = json!({ "pids": { "limit": 8 } });
    if !has_controller("pids") {
        return absent_controller_is_named("pids", resources);
    }
    let mut container = Container::debian(&[
        "stress-ng",
        "--temp-path",
        "/tmp",
        "--fork",
        "4",
        "--fork-max",
        "8",
        "--timeout",
        "1s",
    ]);
    container.config["linux"]["resources"] = resources;
    container.create_and_start();
    container.wait_for_status("stopped");
    assert_eq!(container.cgroup_file("pids.max").as_deref(), Some("8\n"));
    let events = container.cgroup_file("pids.events").expect("pids cgroup");
    assert!(counter(&events, "max ") > 0, "{events}");
}

#[test]
fn oom_score_adj_is_what_was_asked() {
    let mut container = Container::shell("cat /proc/self/oom_score_adj");
    container.config["process"]["oomScoreAdj"] = json!(517);
    assert_eq!(container.run().succeeded().stdout, "517\n");
}

#[test]
fn oom_score_adj_is_untouched_when_unset() {
    let own = fs::read_to_string("/proc/self/oom_score_adj").expect("oom_score_adj");
    assert_eq!(Container::shell("cat /proc/self/oom_score_adj").run().succeeded().stdout, own);
}

/// Where a controller is not there, its limit is an error that names it, and nothing stays.
fn absent_controller_is_named(controller: &str, resources: serde_json::Value) {
    let mut container = Container::shell("true");
    container.config["linux"]["resources"] = resources;
    let outcome = container.run();
    assert_eq!(outcome.code(), 1, "{}", outcome.stderr);
    assert!(outcome.stderr.contains(controller), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("/linux/resources"), "{}", outcome.stderr);
    assert_eq!(container.left_behind(), Vec::<String>::new());
}
