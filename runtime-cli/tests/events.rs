//! `events`: statistics and lack of memory of living containers.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};

use serde_json::{Value, json};
use support::{Bundle, cgroups};

/// A running `husk events`.
struct Events {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Events {
    /// It watches as soon as it has told the first statistics.
    fn of(bundle: &Bundle, flags: &[&str]) -> Self {
        let mut command = bundle.command();
        command.arg("events").args(flags).arg(bundle.id()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next event; `None` at the end.
    fn next(&mut self) -> Option<Value> {
        self.lines.next().map(|line| serde_json::from_str(&line.unwrap()).unwrap())
    }

    #[track_caller]
    fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let event = self.next().unwrap_or_else(|| panic!("it ended without {kind}"));
            if event["type"] == kind {
                return event;
            }
        }
    }

    #[track_caller]
    fn ends(mut self) {
        while let Some(event) = self.next() {
            assert_eq!(event["type"], "stats");
        }
        assert!(self.child.wait().unwrap().success());
    }

    /// Further lack of memory may be told: the kernel counts as it comes.
    #[track_caller]
    fn ends_after_more(mut self) {
        while self.next().is_some() {}
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn statistics_are_one_line_in_the_form_of_runc() {
    let limits = ["memory", "pids"].into_iter().all(cgroups::has_controller);
    let bundle = Bundle::with(&["sleep", "1000"], |config| {
        if limits {
            config["linux"]["resources"] =
                json!({ "memory": { "limit": 67_108_864 }, "pids": { "limit": 20 } });
        }
    });
    bundle.detached("run -d ID").code(0);
    let told = bundle.line("events --stats ID").code(0);
    let beginning = format!("{{\"type\":\"stats\",\"id\":\"{}\",\"data\":{{\"cpu\":", bundle.id());
    assert!(told.out.starts_with(&beginning), "{told:?}");
    assert_eq!(told.out.lines().count(), 1);
    let event: Value = serde_json::from_str(&told.out).unwrap();
    let data = &event["data"];
    assert_eq!(
        keys(data),
        ["blkio", "cpu", "cpuset", "hugetlb", "intel_rdt", "memory", "network_interfaces", "pids"]
    );
    assert_eq!(data["network_interfaces"], Value::Null);
    assert_eq!(data["pids"]["current"], 1);
    let cpu = &data["cpu"]["usage"];
    assert!(cpu["kernel"].is_u64() && cpu["user"].is_u64(), "{cpu}");
    // cpu.stat of v2 is there without the controller, too.
    assert!(cpu["total"].as_u64().unwrap() > 0, "{cpu}");
    if cgroups::is_v1("cpuacct") {
        let each = cpu["percpu"].as_array().unwrap();
        assert!(each.iter().map(|time| time.as_u64().unwrap()).sum::<u64>() > 0, "{cpu}");
        assert_eq!(each.len(), cpu["percpu_user"].as_array().unwrap().len());
    }
    if limits {
        assert_eq!(data["pids"]["limit"], 20);
        let memory = &data["memory"];
        assert_eq!(memory["usage"]["limit"], 67_108_864);
        assert!(memory["usage"]["usage"].as_u64().unwrap() > 0, "{memory}");
        assert!(memory["raw"].as_object().unwrap().len() > 10, "{memory}");
    }
    let pid = u32::try_from(bundle.state()["pid"].as_u64().unwrap()).unwrap();
    let pressure = fs::read_to_string(cgroups::group(pid, "cpu").join("cpu.pressure"));
    assert_eq!(data["cpu"]["psi"].is_object(), pressure.is_ok(), "{data}");
    if pressure.is_ok() {
        for part in ["cpu", "memory", "blkio"] {
            assert_eq!(keys(&data[part]["psi"]["some"]), ["avg10", "avg300", "avg60", "total"]);
        }
    }
    bundle.line("pause ID").code(0);
    bundle.line("events --stats ID").code(0);
    bundle.line("resume ID").code(0);
}

#[test]
fn they_come_at_intervals_until_the_container_ends() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.detached("create ID").code(0);
    let mut events = Events::of(&bundle, &["--interval=10ms"]);
    for _ in 0..3 {
        let event = events.next_of("stats");
        assert_eq!(event["id"], bundle.id());
        assert!(event["data"]["memory"].is_object());
    }
    bundle.line("start ID").code(0);
    events.next_of("stats");
    bundle.line("delete --force ID").code(0);
    events.ends();
}

#[test]
fn who_waits_for_a_long_interval_is_told_of_the_end() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.detached("run -d ID").code(0);
    let mut events = Events::of(&bundle, &["--interval", "1h"]);
    let descriptors = format!("/proc/{}/fd", events.child.id());
    support::eventually("it knows the process", || {
        let mut links = fs::read_dir(&descriptors).unwrap().flatten();
        links.find(|link| {
            fs::read_link(link.path()).is_ok_and(|to| to.to_string_lossy().contains("pidfd"))
        })
    });
    bundle.line("kill ID KILL").code(0);
    assert_eq!(events.next(), None);
    events.child.wait().unwrap();
}

/// The script waits until the test has begun to watch.
fn hungry(meal: &str) -> Option<Bundle> {
    if !cgroups::has_controller("memory") {
        return None;
    }
    let script = format!("until [ -e /tmp/go ]; do sleep 0.02; done; {meal}");
    let bundle = Bundle::with(&["sh", "-c", &script], |config| {
        config["linux"]["resources"] =
            json!({ "memory": { "limit": 33_554_432, "swap": 33_554_432 } });
    });
    bundle.detached("run -d ID").code(0);
    Some(bundle)
}

#[test]
fn lack_of_memory_is_told_while_the_container_goes_on() {
    let Some(bundle) = hungry("busybox tail /dev/zero; touch /tmp/after; sleep 1000") else {
        return;
    };
    let mut events = Events::of(&bundle, &["--interval", "20ms"]);
    events.next_of("stats");
    fs::write(bundle.rootfs().join("tmp/go"), "").unwrap();
    assert_eq!(events.next_of("oom"), json!({ "type": "oom", "id": bundle.id() }));
    assert_eq!(bundle.state()["status"], "running");
    support::eventually("the script goes on", || {
        bundle.rootfs().join("tmp/after").exists().then_some(())
    });
    bundle.line("delete --force ID").code(0);
    events.ends_after_more();
}

#[test]
fn lack_of_memory_is_told_before_the_end_that_it_causes() {
    let Some(bundle) = hungry("exec busybox tail /dev/zero") else { return };
    let mut events = Events::of(&bundle, &["--interval", "20ms"]);
    events.next_of("stats");
    fs::write(bundle.rootfs().join("tmp/go"), "").unwrap();
    events.next_of("oom");
    events.ends_after_more();
    assert_eq!(bundle.state()["status"], "stopped");
}

#[test]
fn refusals_have_the_words_of_runc() {
    let bundle = Bundle::new(&["true"]);
    bundle.detached("run ID").code(0);
    bundle.line("events --stats none").fails(1, "container does not exist");
    bundle.detached("create ID").code(0);
    for interval in ["0", "0s", "-5s"] {
        let told = bundle.line(&format!("events --interval={interval} ID"));
        told.fails(1, "duration interval must be greater than 0");
    }
    for interval in ["5", "x", ""] {
        let told = bundle.line(&format!("events --interval={interval} ID"));
        told.fails(1, "for flag -interval: parse error");
    }
    bundle.line("kill ID KILL").code(0);
    bundle.await_status("stopped");
    let words = format!("container with id {} is not running", bundle.id());
    bundle.line("events --stats ID").fails(1, &words);
    bundle.line("events ID").fails(1, &words);
}
