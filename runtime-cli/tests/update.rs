//! `update`: limits of living containers, in the kernel's files.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};
use support::{Bundle, Told, cgroups};

const MIB: u64 = 1 << 20;

/// A running container with limits of every kind that this machine has.
struct Limited {
    bundle: Bundle,
    pid: u32,
}

impl Limited {
    fn new() -> Self {
        Self::with(json!({
            "memory": { "limit": 32 * MIB, "reservation": 24 * MIB },
            "cpu": { "shares": 100, "quota": 500_000, "period": 1_000_000 },
            "pids": { "limit": 20 },
        }))
    }

    fn with(resources: Value) -> Self {
        let bundle = Bundle::with(&["sleep", "1000"], |config| {
            config["linux"]["resources"] = resources;
        });
        bundle.detached("run -d ID").code(0);
        let pid = bundle.state()["pid"].as_u64().unwrap();
        Self { bundle, pid: u32::try_from(pid).unwrap() }
    }

    fn update(&self, flags: &str) -> Told {
        self.bundle.line(&format!("update {flags} ID"))
    }

    fn update_by_stdin(&self, resources: &str) -> Told {
        let mut command = self.bundle.command();
        command.args(["update", "--resources=-", self.bundle.id()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(resources.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        Told {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    fn value(&self, controller: &str, v1: &str, v2: &str) -> String {
        cgroups::value(self.pid, controller, v1, v2)
    }

    #[track_caller]
    fn memory(&self) -> String {
        self.value("memory", "memory.limit_in_bytes", "memory.max")
    }

    #[track_caller]
    fn reservation(&self) -> String {
        self.value("memory", "memory.soft_limit_in_bytes", "memory.low")
    }

    #[track_caller]
    fn pids(&self) -> String {
        self.value("pids", "pids.max", "pids.max")
    }

    /// Quota and period, as v2 writes them.
    #[track_caller]
    fn quota(&self) -> String {
        if !cgroups::is_v1("cpu") {
            return self.value("cpu", "", "cpu.max");
        }
        let quota = self.value("cpu", "cpu.cfs_quota_us", "");
        let quota = if quota == "-1" { "max" } else { &quota };
        format!("{quota} {}", self.value("cpu", "cpu.cfs_period_us", ""))
    }

    #[track_caller]
    fn record(&self) -> Value {
        let path = self.bundle.path().join("state").join(self.bundle.id()).join("state.json");
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    }
}

/// Where the controllers have no limits the refusal is tested instead.
fn has_limits() -> bool {
    ["memory", "cpu", "cpuset", "pids"].into_iter().all(cgroups::has_controller)
}

#[test]
fn each_flag_changes_its_limit_and_no_other() {
    if !has_limits() {
        return;
    }
    let container = Limited::new();
    assert_eq!(container.memory(), (32 * MIB).to_string());
    container.update("--memory 64M").code(0);
    assert_eq!(container.memory(), (64 * MIB).to_string());
    assert_eq!(container.reservation(), (24 * MIB).to_string());
    container.update("--memory-reservation 33554432").code(0);
    assert_eq!(container.reservation(), (32 * MIB).to_string());
    assert_eq!(container.pids(), "20");
    container.update("--pids-limit 10").code(0);
    assert_eq!(container.pids(), "10");
    container.update("--pids-limit=-1").code(0);
    assert_eq!(container.pids(), "max");
    container.update("--cpu-period 900000").code(0);
    assert_eq!(container.quota(), "500000 900000");
    container.update("--cpu-quota 600000").code(0);
    assert_eq!(container.quota(), "600000 900000");
    container.update("--cpu-quota -1").code(0);
    assert_eq!(container.quota(), "max 900000");
    container.update("--cpu-share 200").code(0);
    if cgroups::is_v1("cpu") {
        assert_eq!(container.value("cpu", "cpu.shares", ""), "200");
    }
    container.update("--cpuset-cpus 0 --cpuset-mems 0").code(0);
    assert_eq!(container.value("cpuset", "cpuset.cpus", "cpuset.cpus"), "0");
    container.update("--memory -1").code(0);
    let unlimited = container.memory();
    assert!(unlimited == "max" || unlimited.parse::<u64>().unwrap() > 1 << 60, "{unlimited}");
    assert_eq!(container.quota(), "max 900000", "other limits stay");
    // Nothing given is nothing to do.
    container.update("").code(0);
}

#[test]
fn limits_of_memory_and_swap_rise_and_fall_together() {
    if !cgroups::has_controller("memory") {
        return;
    }
    let container = Limited::new();
    let group = cgroups::group(container.pid, "memory");
    let swap =
        if cgroups::is_v1("memory") { "memory.memsw.limit_in_bytes" } else { "memory.swap.max" };
    if !group.join(swap).exists() {
        return;
    }
    for (memory, both) in [(30, 50), (60, 80), (20, 20), (64, 200)] {
        container.update(&format!("--memory {memory}M --memory-swap {both}m")).code(0);
        assert_eq!(container.memory(), (memory * MIB).to_string());
        let expected = if cgroups::is_v1("memory") { both } else { both - memory };
        assert_eq!(container.value("memory", swap, swap), (expected * MIB).to_string());
    }
    // One alone, where v2 has to know the other one.
    container.update("--memory-swap 100M").code(0);
    let expected = if cgroups::is_v1("memory") { 100 } else { 36 };
    assert_eq!(container.value("memory", swap, swap), (expected * MIB).to_string());
    container.update("--memory 200M").fails(1, "cannot update /linux/resources/memory/");
    assert_eq!(container.memory(), (64 * MIB).to_string());
    container.update("--memory -1").code(0);
    let unlimited = container.value("memory", swap, swap);
    assert!(unlimited == "max" || unlimited.parse::<u64>().unwrap() > 1 << 60, "{unlimited}");
}

#[test]
fn burst_and_idle_of_the_cpu() {
    if !cgroups::has_controller("cpu") {
        return;
    }
    let container = Limited::new();
    container.update("--cpu-burst 200000").code(0);
    assert_eq!(container.value("cpu", "cpu.cfs_burst_us", "cpu.max.burst"), "200000");
    // A burst above the quota fits once both are there.
    container.update("--cpu-burst 700000 --cpu-quota 800000").code(0);
    assert_eq!(container.quota(), "800000 1000000");
    assert_eq!(container.value("cpu", "cpu.cfs_burst_us", "cpu.max.burst"), "700000");
    container.update("--cpu-idle 1").code(0);
    assert_eq!(container.value("cpu", "cpu.idle", "cpu.idle"), "1");
    container.update("--cpu-idle 0").code(0);
    assert_eq!(container.value("cpu", "cpu.idle", "cpu.idle"), "0");
}

#[test]
fn real_time_of_the_cpu() {
    let container = Limited::with(json!({}));
    let group = cgroups::group(container.pid, "cpu");
    let flags = "--cpu-rt-period 900000 --cpu-rt-runtime 0";
    if !cgroups::is_v1("cpu") {
        container.update(flags).fails(1, "/linux/resources/cpu/realtimePeriod");
    } else if group.join("cpu.rt_period_us").exists() {
        container.update(flags).code(0);
        assert_eq!(container.value("cpu", "cpu.rt_period_us", ""), "900000");
    } else {
        let told = container.update("--cpu-rt-period 900000");
        told.fails(1, "cannot update /linux/resources/cpu/realtimePeriod: ");
    }
}

#[test]
fn resources_come_from_a_file_or_from_standard_input() {
    if !has_limits() {
        return;
    }
    let container = Limited::new();
    let resources = r#"{ "memory": { "limit": 67108864 }, "pids": { "limit": 7 },
        "cpu": { "quota": 300000, "cpus": "0" }, "unknown": {} }"#;
    let told = container.update_by_stdin(resources).code(0);
    assert_eq!((told.out.as_str(), told.err.as_str()), ("", ""));
    assert_eq!(container.memory(), (64 * MIB).to_string());
    assert_eq!(container.pids(), "7");
    assert_eq!(container.quota(), "300000 1000000");
    fs::write(container.bundle.path().join("r"), r#"{"pids":{"limit":9}}"#).unwrap();
    for (flag, limit) in [("-r r", 9), ("--resources=r", 9), ("--resources r --pids-limit 3", 9)] {
        container.update("--pids-limit 5").code(0);
        container.update(flag).code(0);
        assert_eq!(container.pids(), limit.to_string(), "{flag}");
    }
    let broken = r#"{"memory":{"limit":"64M"}}"#;
    container.update_by_stdin(broken).fails(1, "resources of standard input: /memory/limit: ");
    container.update_by_stdin("").fails(1, "resources of standard input: ");
    container.update("-r none").fails(1, "open none: no such file or directory");
    assert_eq!(container.pids(), "9");
}

#[test]
fn changes_are_recorded_once_the_kernel_took_them() {
    if !has_limits() {
        return;
    }
    let container = Limited::new();
    assert_eq!(container.record().get("resources"), None);
    container.update("--memory 64M").code(0);
    let recorded = &container.record()["resources"];
    assert_eq!(recorded["memory"]["limit"], 64 * MIB);
    assert_eq!(recorded["memory"]["reservation"], 24 * MIB);
    assert_eq!(recorded["pids"]["limit"], 20);
    // The kernel takes the first limit and refuses the second one: the first is set back.
    let failed = container.update("--memory 48M --pids-limit 99999999");
    failed.fails(1, "cannot update /linux/resources/pids/limit: write \\\"99999999\\\" to ");
    assert_eq!(container.memory(), (64 * MIB).to_string());
    assert_eq!(container.pids(), "20");
    assert_eq!(&container.record()["resources"], recorded);
}

#[test]
fn a_limit_below_the_usage_is_rejected_where_that_was_asked_for() {
    if !cgroups::has_controller("memory") {
        return;
    }
    let container = Limited::new();
    let told = container.update_by_stdin(r#"{"memory":{"limit":4096,"checkBeforeUpdate":true}}"#);
    told.fails(1, "rejecting memory limit 4096 <= usage ");
    assert_eq!(container.memory(), (32 * MIB).to_string());
}

#[test]
fn device_rules_stay() {
    let container = Limited::with(json!({}));
    let rules = || match cgroups::is_v1("devices") {
        true => container.value("devices", "devices.list", ""),
        // The program on v2 has no text: what it does is asked.
        false => String::new(),
    };
    let before = rules();
    let told = container.update_by_stdin(r#"{"devices":[{"allow":true,"access":"rwm"}]}"#);
    told.code(0);
    assert_eq!(rules(), before);
    assert!(!before.contains("a *:* rwm"), "{before}");
    // A node that no rule allows, made from outside.
    let node = container.bundle.rootfs().join("kmsg");
    let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
    let kind = nix::sys::stat::SFlag::S_IFCHR;
    nix::sys::stat::mknod(&node, kind, mode, libc::makedev(1, 11)).unwrap();
    let told = container.bundle.husk(["exec", "ID", "sh", "-c", ": > /kmsg"]);
    told.fails(1, "Operation not permitted");
}

/// What Docker sends for limits that its user did not name.
#[test]
fn zero_is_no_limit() {
    let container = Limited::with(json!({}));
    let told = container.update_by_stdin(
        r#"{"blockIO":{"weight":0},"memory":{"limit":0,"reservation":0,"swap":0},
            "cpu":{"shares":0,"quota":0,"period":0,"cpus":"","mems":""}}"#,
    );
    assert_eq!((told.code, told.err.as_str()), (Some(0), ""));
}

#[test]
fn refusals_name_what_they_refuse() {
    let container = Limited::with(json!({}));
    for (flags, words) in [
        ("--memory 12x", "invalid value for memory: \\\"12x\\\""),
        ("--memory-swap=-5", "invalid value for memory-swap: \\\"-5\\\""),
        ("--cpu-period -1", "invalid value for cpu-period: \\\"-1\\\""),
        ("--cpu-quota ten", "invalid value for cpu-quota: \\\"ten\\\""),
        ("--cpu-idle x", "invalid value for cpu-idle: \\\"x\\\""),
        ("--blkio-weight 70000", "invalid value for blkio-weight: \\\"70000\\\""),
        ("--blkio-weight 5", "cannot update /linux/resources/blockIO/weight: "),
        ("--cpu-idle 2", "cannot update /linux/resources/cpu/idle: "),
        ("--cpuset-cpus a", "cannot update /linux/resources/cpu/cpus: "),
        ("--pids-limit x", "invalid value \\\"x\\\" for flag -pids-limit: parse error"),
    ] {
        container.update(flags).fails(1, words);
    }
    if !cgroups::has_controller("memory") {
        let told = container.update("--memory 64M").fails(1, "cannot set memory limit: ");
        assert!(told.err.contains("controller memory not available"), "{told:?}");
        assert!(told.err.contains("/linux/resources/memory/limit"), "{told:?}");
    }
    for flag in ["--kernel-memory 1m", "--kernel-memory-tcp=1m"] {
        let told = container.update(flag).code(0);
        assert!(told.err.contains("Kernel memory settings are ignored"), "{told:?}");
    }
    // Where a machine shares these out, the container must have been created with shares.
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let is_shared = mounts.contains(" - resctrl ");
    for (flag, words) in [
        ("--l3-cache-schema L3:0=f", "Intel RDT/CAT: l3 cache schema is not enabled"),
        ("--mem-bw-schema MB:0=20", "Intel RDT/MBA: memory bandwidth schema is not enabled"),
    ] {
        container.update(flag).fails(1, if is_shared { "Intel RDT" } else { words });
    }
    container.bundle.line("update none").fails(1, "container does not exist");
    container.bundle.line("kill ID KILL").code(0);
    container.bundle.await_status("stopped");
    container.update("--pids-limit 9").fails(1, "container not running");
}
