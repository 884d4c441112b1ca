//! Tests on the running kernel, in groups of their own below the caller's. They run on the host
//! as it is and, by [`again_on_v2`], where /sys/fs/cgroup is v2 alone.

mod data;
mod devices;
mod kernel;
mod rootless;
mod stats;

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::freezer::{FreezerState, freezer_state};
use super::kill::wait_empty;
use super::*;

/// Moves a process into groups.
fn attach(location: &Location, pid: i32) -> Result<()> {
    let pid = pid.to_string();
    location.groups.iter().try_for_each(|group| file::write(&group.file("cgroup.procs"), &pid))
}

/// A container's groups, removed with all that is in them when the test ends.
struct Fixture {
    layout: Layout,
    location: Location,
    children: Vec<Child>,
}

impl Fixture {
    fn new() -> Fixture {
        Self::at(&format!("{}/inner", unique()))
    }

    fn at(path: &str) -> Fixture {
        // Controllers are enabled in all parents; those that are not the test's own stay as they
        // are.
        let mut layout = Layout::probe().unwrap();
        for hierarchy in &mut layout.hierarchies {
            if hierarchy.version == Version::V2 {
                hierarchy.controllers.clear();
            }
        }
        let location = locate(&layout, Some(path), "unused", false).unwrap();
        Fixture { layout, location, children: Vec::new() }
    }

    fn create(&self) -> Created {
        create(&self.layout, &self.location, &Resources::default()).unwrap()
    }

    /// Starts a process that waits for ever, in the groups.
    fn start(&mut self) -> i32 {
        let child = Command::new("/bin/sleep")
            .arg("1000")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        self.children.push(child);
        attach(&self.location, pid).unwrap();
        pid
    }

    fn reap(&mut self) {
        for mut child in self.children.drain(..) {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Group of a controller on v1, of v2 where v2 is alone.
    fn group(&self, controller: &str) -> &Group {
        self.location.v1(controller).or_else(|| self.location.v2()).unwrap()
    }

    fn is_unified(&self) -> bool {
        self.location.is_unified()
    }

    fn exists(&self) -> bool {
        self.location.groups.iter().any(|group| group.directory().exists())
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        for child in &mut self.children {
            child.kill().ok();
        }
        thaw(&self.location).ok();
        for child in &mut self.children {
            child.wait().ok();
        }
        remove(&self.location).ok();
        // The parents were made by the test as well.
        for group in &self.location.groups {
            if group.path().contains("husk-test-")
                && let Some(parent) = group.directory().parent()
                && parent.to_string_lossy().contains("husk-test-")
            {
                std::fs::remove_dir(parent).ok();
            }
        }
    }
}

fn unique() -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    format!("husk-test-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

fn read(group: &Group, name: &str) -> String {
    std::fs::read_to_string(group.file(name)).unwrap().trim().to_owned()
}

fn resources(json: &str) -> Resources {
    serde_json::from_str(json).unwrap()
}

/// Runs these tests once more where cgroup v2 is alone.
#[test]
fn again_on_v2() {
    const INSIDE: &str = "cgroup2";
    if std::env::var("HUSK_TEST_ENV").is_ok_and(|environment| environment == INSIDE) {
        assert_eq!(Layout::probe().unwrap().mode, Mode::Unified);
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/env/cgroup2");
    let output = Command::new(script)
        .arg(std::env::current_exe().unwrap())
        .args(["cgroup::tests::", "--test-threads=4"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.contains("cgroup::tests::again_on_v2 ... ok"), "{text}");
}
