//! Steps on the root and its mounts, carried out by the real kernel in namespaces of their own.

#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

mod mounts;
mod process;
mod race;
mod root;
mod user_namespace;

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::host::Host;
use crate::plan::{
    Context, Options, plan_devices, plan_late_readonly, plan_masks, plan_mounts, plan_namespaces,
    plan_pivot, plan_readonly_root, plan_root,
};
use crate::protocol::words_mounts::sentence;
use crate::protocol::{Program, Record, Step, SyncPoint};
use crate::spec::Spec;
use crate::sys::test_child::{Refused, TestChild};

thread_local! {
    /// What the kernel lacks for the containers of this test.
    static REFUSED: Cell<Refused> = const { Cell::new(Refused::NOTHING) };
}

/// Runs a test on this kernel, as on older ones, and as in an outer container.
fn on_every_kernel(test: impl Fn()) {
    for refused in
        [Refused::NOTHING, Refused::MOUNT_API_ALONE, Refused::OLD_KERNEL, Refused::OLD_FILTER]
    {
        REFUSED.set(refused);
        test();
    }
}

/// A bundle with an empty root file system.
struct Bundle {
    directory: tempfile::TempDir,
    no_pivot: bool,
    host: Host,
    /// Steps before the root is looked at.
    entry: fn(&mut Context<'_>),
}

impl Bundle {
    fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("husk-mounts-").tempdir_in("/var/tmp");
        let directory = directory.unwrap();
        fs::create_dir(directory.path().join("rootfs")).unwrap();
        Self { directory, no_pivot: false, host: Host::fixed(), entry: |_| {} }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join(below)
    }

    fn rootfs(&self, below: &str) -> PathBuf {
        self.path("rootfs").join(below)
    }

    fn program(&self, mut config: serde_json::Value) -> Program {
        config["ociVersion"] = json!("1.3.0");
        if config.get("root").is_none() {
            config["root"] = json!({"path": "rootfs"});
        }
        if config["linux"].get("namespaces").is_none() {
            config["linux"]["namespaces"] = json!([{"type": "mount"}]);
        }
        let spec = Spec::parse(config.to_string().as_bytes()).unwrap();
        let options = Options {
            id: "test".to_owned(),
            bundle: self.directory.path().to_str().unwrap().to_owned(),
            no_pivot: self.no_pivot,
            ..Options::default()
        };
        let namespaces = plan_namespaces(spec.linux.as_ref(), &self.host).unwrap();
        let mut ctx = Context::new(&spec, &options, &self.host, namespaces);
        (self.entry)(&mut ctx);
        plan_root(&mut ctx).unwrap();
        let late = plan_mounts(&mut ctx).unwrap();
        plan_devices(&mut ctx).unwrap();
        ctx.push(Step::Meet { point: SyncPoint::Mounted }, "");
        plan_pivot(&mut ctx).unwrap();
        plan_late_readonly(&mut ctx, late);
        plan_readonly_root(&mut ctx).unwrap();
        plan_masks(&mut ctx).unwrap();
        ctx.push(Step::Meet { point: SyncPoint::Created }, "");
        ctx.init
    }

    /// Runs a configuration up to the end of all steps on mounts.
    fn run(&self, config: serde_json::Value) -> Result<Container, String> {
        let program = self.program(config);
        let child =
            TestChild::start(crate::init::run, &program, libc::CLONE_NEWNS as u64, REFUSED.get())
                .unwrap();
        finish(&program, child)
    }
}

/// Waits for the end of all steps on mounts.
fn finish(program: &Program, child: TestChild) -> Result<Container, String> {
    let words = |record: Record| {
        let step = &program.steps()[record.step as usize];
        sentence(step, program, &record)
            .unwrap_or_else(|| format!("{} has no words for {record:?}", step.name()))
    };
    let mounts = |child: &TestChild| {
        let text = fs::read_to_string(format!("/proc/{}/mountinfo", child.pid())).unwrap();
        text.lines().map(Mount::parse).collect()
    };
    child.wait(SyncPoint::Mounted).map_err(words)?;
    let before = mounts(&child);
    child.go_on();
    child.wait(SyncPoint::Created).map_err(words)?;
    Ok(Container { before, mounts: mounts(&child), child })
}

struct Container {
    /// Before the change of the root, with the host's.
    before: Vec<Mount>,
    mounts: Vec<Mount>,
    child: TestChild,
}

impl Container {
    fn path(&self, below: &str) -> PathBuf {
        Path::new(&format!("/proc/{}/root", self.child.pid())).join(below.trim_start_matches('/'))
    }

    /// The topmost mount at a path.
    #[track_caller]
    fn mount(&self, point: &str) -> &Mount {
        self.find(point).unwrap_or_else(|| panic!("nothing at {point}: {:?}", self.points()))
    }

    fn find(&self, point: &str) -> Option<&Mount> {
        self.mounts.iter().rev().find(|mount| mount.point == point)
    }

    fn points(&self) -> Vec<&str> {
        self.mounts.iter().map(|mount| mount.point.as_str()).collect()
    }
}

#[derive(Debug)]
struct Mount {
    root: String,
    point: String,
    options: Vec<String>,
    tags: Vec<String>,
    kind: String,
    data: String,
}

impl Mount {
    fn parse(line: &str) -> Self {
        let (front, back) = line.split_once(" - ").unwrap();
        let front: Vec<&str> = front.split(' ').collect();
        let back: Vec<&str> = back.split(' ').collect();
        let words = |text: &str| text.split(',').map(str::to_owned).collect();
        Self {
            root: front[3].to_owned(),
            point: front[4].to_owned(),
            options: words(front[5]),
            tags: front[6..].iter().map(|tag| (*tag).to_owned()).collect(),
            kind: back[0].to_owned(),
            data: back[2].to_owned(),
        }
    }

    fn has(&self, option: &str) -> bool {
        self.options.iter().any(|known| known == option)
    }
}

fn usual_mounts() -> serde_json::Value {
    json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
         "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
        {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
         "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
        {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
         "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
         "options": ["nosuid", "noexec", "nodev"]},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs",
         "options": ["nosuid", "noexec", "nodev", "ro"]},
    ])
}
