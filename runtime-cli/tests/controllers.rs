//! Controllers that the other tests have not: classes and priorities of packets, the weights of BFQ, RDMA.
//!
//! Mounting or loading them changes the groups of a whole machine, so that is done in tests/vm alone; elsewhere the tests say so and end.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use support::cgroups::{self, has_controller, is_v1};
use support::{Bundle, Told, told};

/// Whether the machine is the test's own.
fn is_own_machine() -> bool {
    let own = std::env::var("HUSK_TEST_ENV").is_ok_and(|name| name == "vm");
    if !own {
        eprintln!("skipped: what is mounted and loaded here is not for a test to change");
    }
    own
}

fn configured(args: &[&str], resources: &Value) -> Bundle {
    Bundle::with(args, |config| config["linux"]["resources"] = resources.clone())
}

/// `run` where net_cls and net_prio have a hierarchy beside cgroup2, of a container on the machine's network that shows both.
fn run_with_network(network: &Value) -> Told {
    const LAYOUT: &str = "mount -t tmpfs cgroup /sys/fs/cgroup && cd /sys/fs/cgroup && \
         mkdir unified net_cls,net_prio && mount -t cgroup2 cgroup2 unified && \
         mount -t cgroup -o net_cls,net_prio cgroup net_cls,net_prio && cd \"$OLDPWD\" && exec \"$@\"";
    const LOOK: &str =
        "cd /sys/fs/cgroup/net_cls,net_prio && cat net_cls.classid net_prio.ifpriomap";
    let bundle = Bundle::with(&["sh", "-c", LOOK], |config| {
        config["linux"]["resources"] = json!({ "network": network });
        config["linux"]["namespaces"] =
            json!([{ "type": "pid" }, { "type": "mount" }, { "type": "cgroup" }]);
        config["hostname"] = Value::Null;
        config["mounts"].as_array_mut().unwrap().push(json!({
            "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"],
        }));
    });
    let husk = bundle.command();
    let mut inside = Command::new("unshare");
    inside
        .args(["--mount", "--propagation", "private", "sh", "-c", LAYOUT, "sh"])
        .arg(husk.get_program());
    inside.args(husk.get_args()).args(["run", bundle.id()]).current_dir(bundle.path());
    inside.envs(husk.get_envs().filter_map(|(name, value)| Some((name, value?))));
    told(&mut inside, [""; 0])
}

#[test]
fn packets_have_a_class_and_priorities() {
    if !is_own_machine() {
        return;
    }
    let network =
        json!({ "classID": 0x0010_0001, "priorities": [{ "name": "lo", "priority": 5 }] });
    let told = run_with_network(&network).code(0);
    assert!(told.out.starts_with("1048577\n"), "{told:?}");
    assert!(told.out.lines().any(|line| line == "lo 5"), "{told:?}");
    let unknown = json!({ "priorities": [{ "name": "nosuch0", "priority": 5 }] });
    run_with_network(&unknown).fails(1, "/linux/resources/network/priorities/0");
}

/// The device number of a disk whose scheduler is BFQ.
fn disk_of_bfq() -> (u64, u64) {
    for module in ["bfq", "null_blk"] {
        assert!(Command::new("modprobe").arg(module).status().unwrap().success(), "{module}");
    }
    fs::write("/sys/block/nullb0/queue/scheduler", "bfq").unwrap();
    let number = fs::read_to_string("/sys/block/nullb0/dev").unwrap();
    let (major, minor) = number.trim().split_once(':').unwrap();
    (major.parse().unwrap(), minor.parse().unwrap())
}

#[test]
fn weights_are_those_of_bfq() {
    let v1 = is_v1("blkio");
    // With v1 the files are there where BFQ is part of the kernel.
    if !v1 && !is_own_machine() {
        return;
    }
    let mut weights = json!({ "weight": 500 });
    let mut wanted = vec![if v1 { "500".to_owned() } else { "default 500".to_owned() }];
    if !v1 {
        let (major, minor) = disk_of_bfq();
        weights["weightDevice"] = json!([{ "major": major, "minor": minor, "weight": 300 }]);
        wanted.push(format!("{major}:{minor} 300"));
    }
    let bundle = configured(&["sleep", "1000"], &json!({ "blockIO": weights }));
    let told = bundle.detached("run -d ID");
    if v1 && told.code != Some(0) {
        told.fails(1, "blkio.bfq.weight: no such file or directory");
        return;
    }
    told.code(0);
    let value = |name: &str| {
        let pid = u32::try_from(bundle.state()["pid"].as_u64().unwrap()).unwrap();
        cgroups::value(pid, "blkio", &format!("blkio.{name}"), &format!("io.{name}"))
    };
    assert_eq!(value("bfq.weight").lines().collect::<Vec<_>>(), wanted);
    bundle.line("update --blkio-weight 200 ID").code(0);
    assert!(value("bfq.weight").starts_with(wanted[0].replace("500", "200").as_str()));
}

#[test]
fn an_rdma_device_that_is_missing_is_named() {
    if !has_controller("rdma") {
        eprintln!("skipped: no RDMA controller");
        return;
    }
    let bundle = configured(
        &["true"],
        &json!({ "rdma": { "husk0": { "hcaHandles": 2, "hcaObjects": 100 } } }),
    );
    let told = bundle.line("run ID").fails(1, "/linux/resources/rdma/husk0");
    assert!(told.err.contains("rdma.max"), "{told:?}");
}
