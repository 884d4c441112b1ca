//! Other ids, other bundles, other groups, other namespaces than those of the checkpoint.

use std::fs;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::scene::{COUNTER, IGNORE, Scene};
use crate::support::{cgroups, eventually};

#[test]
fn another_id_and_another_bundle() {
    let Some(scene) = Scene::counter() else { return };
    let scene = scene.running();
    scene.checkpoint("");
    let before = scene.count();
    let moved = crate::support::scratch();
    for name in ["rootfs", "config.json", "images"] {
        let mut copy = Command::new("cp");
        copy.arg("-a").arg(scene.bundle.path().join(name)).arg(moved.path());
        assert!(copy.status().unwrap().success());
    }
    fs::remove_dir_all(scene.bundle.rootfs()).unwrap();
    let (other, moved) = (format!("{}-other", scene.bundle.id()), moved.path());
    let place = moved.display();
    scene
        .silent(&format!(
            "restore --detach --bundle {place} --image-path {place}/images {IGNORE} \
             --pid-file {place}/pid {other}"
        ))
        .code(0);
    let state = scene.line(&format!("state {other}")).code(0).out;
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    assert_eq!((&state["status"], &state["id"]), (&json!("running"), &json!(other)));
    assert_eq!(state["bundle"], json!(moved));
    let pid = fs::read_to_string(moved.join("pid")).unwrap();
    assert_eq!(pid, state["pid"].to_string());
    eventually("the counter goes on", || {
        let count = fs::read_to_string(moved.join("rootfs/count")).ok()?;
        (count.trim().parse::<u64>().ok()? > before).then_some(())
    });
    scene.line(&format!("delete --force {other}")).code(0);
}

/// In all modes the groups and their limits are those of config.json.
#[test]
fn modes_of_managing_groups() {
    // Where the container has no group of its own criu saves those of the whole machine, which others
    // remove meanwhile; on v2 it mounts the file system anew and so changes its options for all.
    if !cgroups::is_v1("pids") {
        eprintln!("skipped: criu would touch the groups of others");
        return;
    }
    let Some(scene) = Scene::new(COUNTER, |config| {
        config["linux"]["resources"] = json!({"pids": {"limit": 64}});
    }) else {
        return;
    };
    let scene = scene.running();
    let group = || cgroups::group(scene.pid(), "pids");
    let first = group();
    for mode in ["soft", "full", "ignore"] {
        let flags = format!("--image-path {mode} --work-path work --manage-cgroups-mode {mode}");
        scene.line(&format!("checkpoint {flags} ID")).code(0);
        scene.silent(&format!("restore -d {flags} ID")).code(0);
        scene.counts_on();
        assert_eq!(group(), first, "{mode}");
        assert_eq!(cgroups::value(scene.pid(), "pids", "pids.max", "pids.max"), "64", "{mode}");
    }
    let flags = "--image-path strict --work-path work --manage-cgroups-mode strict";
    scene.line(&format!("checkpoint {flags} ID")).code(0);
    let told = scene.silent(&format!("restore -d {flags} ID"));
    told.fails(1, "--manage-cgroups-mode strict does not allow: restore with soft or full");
    scene.bundle.assert_gone();
    scene.silent(&format!("restore -d {} ID", flags.replace("mode strict", "mode soft"))).code(0);
    scene.counts_on();
}

#[test]
fn another_group_is_that_of_the_configuration() {
    if !cgroups::has_controller("pids") {
        eprintln!("skipped: no pids controller");
        return;
    }
    let Some(scene) = Scene::counter() else { return };
    let scene = scene.running();
    let first = cgroups::group(scene.pid(), "pids");
    scene.checkpoint("");
    let mut config = scene.bundle.config(&["sh", "-c", COUNTER]);
    let name = format!("{}-moved", scene.bundle.id());
    config["linux"]["cgroupsPath"] = json!(name);
    scene.bundle.write(&config);
    scene.restore("");
    scene.counts_on();
    let second = cgroups::group(scene.pid(), "pids");
    assert!(second != first && second.ends_with(&name), "{first:?} {second:?}");
    assert!(!first.exists());
}

/// Namespaces of somebody else, kept by a process of it that reaps.
struct Holder(Child);

impl Holder {
    fn new() -> Self {
        let script = "echo up; while :; do sleep 0.05; done";
        let mut command = Command::new("unshare");
        command.args(["-u", "-i", "-p", "-f", "--kill-child", "sh", "-c", script]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut word = [0; 2];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut word).unwrap();
        Self(child)
    }

    fn path(&self, name: &str) -> String {
        format!("/proc/{}/ns/{name}", self.0.id())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn namespaces_by_path_are_joined_again() {
    let Some(scene) = Scene::counter() else { return };
    let holder = Holder::new();
    for (index, kind, file) in
        [(2, "ipc", "ipc"), (3, "uts", "uts"), (0, "pid", "pid_for_children")]
    {
        let mut config = scene.bundle.config(&["sh", "-c", COUNTER]);
        assert_eq!(config["linux"]["namespaces"][index]["type"], kind);
        config["linux"]["namespaces"][index]["path"] = json!(holder.path(file));
        if kind == "uts" {
            config.as_object_mut().unwrap().remove("hostname");
        }
        scene.bundle.write(&config);
        scene.run("");
        let namespace = || fs::read_link(format!("/proc/{}/ns/{kind}", scene.pid())).unwrap();
        let (first, session) = (namespace(), scene.pid().to_string());
        assert_eq!(first, fs::read_link(holder.path(file)).unwrap(), "{kind}");
        let line = format!("--image-path {kind} {IGNORE} ID");
        scene.line(&format!("checkpoint {line}")).code(0);
        eventually("its processes are reaped", || {
            let found = fs::read_dir("/proc").unwrap().flatten().any(|entry| {
                let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
                let mut lines = status.lines();
                // In the session of the container's process, alive or not.
                lines.any(|line| {
                    line.strip_prefix("NSsid:")
                        .is_some_and(|ids| ids.split_whitespace().any(|id| id == session))
                })
            });
            (!found).then_some(())
        });
        scene.silent(&format!("restore -d {line}")).code(0);
        scene.counts_on();
        assert_eq!(namespace(), first, "{kind}");
        scene.line("delete --force ID").code(0);
    }
    let mut config = scene.bundle.config(&["sh", "-c", COUNTER]);
    let path = json!({"type": "cgroup", "path": "/proc/self/ns/cgroup"});
    config["linux"]["namespaces"].as_array_mut().unwrap().push(path);
    scene.bundle.write(&config);
    let told = scene.silent(&format!("restore -d --image-path ipc {IGNORE} ID"));
    told.fails(1, "criu cannot restore a container into a cgroup namespace by path");
}

/// The clocks of a time namespace go on from where they were.
#[test]
fn offsets_of_clocks_come_back() {
    let Some(scene) = Scene::new(COUNTER, |config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.push(json!({"type": "time"}));
        let offset = json!({"secs": 1_000_000, "nanosecs": 0});
        config["linux"]["timeOffsets"] = json!({"boottime": offset, "monotonic": offset});
    }) else {
        return;
    };
    let scene = scene.running();
    scene.checkpoint("");
    scene.restore("");
    scene.counts_on();
    let told = scene.line("exec ID cat /proc/uptime").code(0);
    let uptime: f64 = told.out.split(' ').next().unwrap().parse().unwrap();
    assert!(uptime > 1_000_000.0, "{uptime}");
}
