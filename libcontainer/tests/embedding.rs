//! The library inside a program that has threads, children and habits of its own.
//!
//! Each test runs in a process of its own: what it compares is process-wide.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use libcontainer::{Container, CreateOptions, ErrorKind, ExecOptions, ExitStatus, Status};
use serde_json::json;
use tempfile::TempDir;

/// Runs `body` in a new process of this test program, started by a shell after `preparation`.
fn alone(name: &str, preparation: &str, body: fn()) {
    if std::env::var_os("HUSK_TEST_ALONE").is_some() {
        return body();
    }
    let script = format!("{preparation}\nexec \"$@\"");
    let output = Command::new("/bin/sh")
        .args(["-c", &script, "sh"])
        .arg(std::env::current_exe().expect("own program"))
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env("HUSK_TEST_ALONE", "1")
        .stdin(Stdio::null())
        .output()
        .expect("own program starts");
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&text));
}

/// A bundle with busybox, and a state directory.
struct Place {
    dir: TempDir,
    null: File,
}

impl Place {
    fn new(script: &str) -> Place {
        let dir = tempfile::Builder::new()
            .prefix("husk-e-")
            .tempdir_in("/var/tmp")
            .expect("temporary directory");
        let rootfs = dir.path().join("rootfs");
        for directory in ["bin", "proc", "dev", "sys", "tmp"] {
            fs::create_dir_all(rootfs.join(directory)).expect("rootfs");
        }
        let busybox = rootfs.join("bin/busybox");
        // By another process: what this one's other threads fork must not hold it open for writing.
        let copied = Command::new("cp").args(["/bin/busybox".as_ref(), busybox.as_path()]).status();
        // Some of these programs take or refuse the status of every child; it has ended then.
        if let Err(error) = &copied {
            assert_eq!(error.raw_os_error(), Some(nix::libc::ECHILD), "{error}");
        }
        let length = |path: &Path| fs::metadata(path).expect("busybox").len();
        assert_eq!(length(&busybox), length(Path::new("/bin/busybox")));
        for applet in ["sh", "true", "sleep", "cat"] {
            std::os::unix::fs::symlink("busybox", rootfs.join("bin").join(applet)).expect("applet");
        }
        let config = json!({
            "ociVersion": "1.2.0",
            "process": { "user": { "uid": 0, "gid": 0 }, "args": ["/bin/sh", "-c", script], "env": ["PATH=/bin"], "cwd": "/" },
            "root": { "path": "rootfs" },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] }
            ],
            "linux": { "namespaces": [{ "type": "pid" }, { "type": "mount" }, { "type": "ipc" }, { "type": "uts" }] }
        });
        fs::write(dir.path().join("config.json"), config.to_string()).expect("config.json");
        let null = File::options().read(true).write(true).open("/dev/null").expect("/dev/null");
        Place { dir, null }
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn options(&self, id: &str) -> CreateOptions<'_> {
        let mut options = CreateOptions::new(self.state(), id, self.dir.path());
        options
            .stdio(self.null.as_fd(), self.null.as_fd(), self.null.as_fd())
            .accept_unprotected_program(true);
        options
    }
}

fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("e{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Whether holders of a pidfd learn how a process ended after somebody else has taken its status:
/// since Linux 6.15. Without that what a host's other thread took first is unknown.
fn kernel_keeps_exit_statuses() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("osrelease");
    let mut numbers = release.split(['.', '-']).map(|n| n.trim().parse::<u32>().expect("a number"));
    (numbers.next(), numbers.next()) >= (Some(6), Some(15))
}

/// The file system is an imitation of plain files, which have to be there and to go by hand.
#[test]
fn a_class_of_service_is_joined_and_left() {
    alone("a_class_of_service_is_joined_and_left", "", || {
        let place = Place::new("sleep 1000");
        let tree = place.dir.path().join("resctrl");
        for (name, text) in [
            ("schemata", "L3:0=7ff\n"),
            ("info/L3/cbm_mask", "7ff\n"),
            ("info/L3/min_cbm_bits", "2\n"),
            ("info/L3/num_closids", "16\n"),
        ] {
            let path = tree.join(name);
            fs::create_dir_all(path.parent().expect("a directory")).expect("resctrl");
            fs::write(path, text).expect("resctrl");
        }
        let asks = |rdt: serde_json::Value| {
            let path = place.dir.path().join("config.json");
            let text = fs::read(&path).expect("config.json");
            let mut config: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
            config["linux"]["intelRdt"] = rdt;
            fs::write(path, config.to_string()).expect("config.json");
        };
        let id = unique();
        let group = tree.join(&id);
        let read = |name: &str| fs::read_to_string(group.join(name)).expect(name);
        let mut options = place.options(&id);
        options.resctrl(&tree);

        asks(json!({ "closID": "gold" }));
        let error = Container::create(&options).expect_err("no such class");
        assert!(error.to_string().contains("clos dir not accessible"), "{error}");
        asks(json!({ "memBwSchema": "MB:0=50" }));
        let error = Container::create(&options).expect_err("no bandwidth to share");
        assert_eq!(error.pointer(), Some("/linux/intelRdt/memBwSchema"));
        assert!(!place.state().join(&id).exists() && !group.exists());

        asks(json!({ "l3CacheSchema": "L3:0=f" }));
        let container = Container::create(&options).expect("create");
        assert_eq!(read("tasks"), container.pid().expect("pid").to_string());
        assert_eq!(read("schemata"), "L3:0=f\n");
        container.start().expect("start");
        let mut process = ExecOptions::new(container.process().expect("process"));
        process
            .stdio(place.null.as_fd(), place.null.as_fd(), place.null.as_fd())
            .accept_unprotected_program(true);
        let further = container.exec(&process).expect("exec");
        assert_eq!(read("tasks"), further.pid().to_string());
        // It is a child of this program: the pid namespace lasts until its status is taken.
        further.kill(nix::libc::SIGKILL).expect("kill");
        further.wait().expect("wait");
        container.update_rdt("L3:0=3", "").expect("update");
        let error = container.update_rdt("", "MB:0=20").expect_err("no bandwidth to share");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let container = Container::open(&place.state(), &id).expect("open");
        let stats = container.stats().expect("stats").intel_rdt;
        assert_eq!(
            (stats.l3_cache_schema_root, stats.l3_cache_schema),
            ("L3:0=7ff".into(), "L3:0=3".into())
        );

        for name in ["tasks", "schemata"] {
            fs::remove_file(group.join(name)).expect(name);
        }
        Container::force_delete(&place.state(), &id).expect("delete");
        assert!(!group.exists() && tree.exists());
    });
}

#[test]
fn program_with_busy_threads_creates_containers() {
    alone("program_with_busy_threads_creates_containers", "", || {
        const THREADS: usize = 8;
        const CONTAINERS: u32 = 500;
        let place = Place::new("exit 0");
        let left = AtomicU32::new(CONTAINERS);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                // Beside each creator, a thread that holds malloc's and the thread list's locks as often as it can.
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        let blocks: Vec<Vec<u8>> = (1..64).map(|n| vec![0; n * 997]).collect();
                        let inner =
                            std::thread::spawn(move || blocks.iter().map(Vec::len).sum::<usize>());
                        assert!(inner.join().expect("inner thread") > 0);
                    }
                });
            }
            let creators: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        while left
                            .try_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                            .is_ok()
                        {
                            let id = unique();
                            let container = Container::create(&place.options(&id)).expect("create");
                            assert_eq!(container.status().expect("status"), Status::Created);
                            Container::force_delete(&place.state(), &id).expect("delete");
                        }
                    })
                })
                .collect();
            let results: Vec<_> =
                creators.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
            done.store(true, Ordering::Relaxed);
            for result in results {
                result.expect("a creator failed");
            }
        });
        assert_eq!(fs::read_dir(place.state()).expect("state").count(), 0);
    });
}

/// Everything process-wide that a library could change.
fn snapshot() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut note = |key: &str, value: String| found.insert(key.to_owned(), value);
    note("cwd", fs::read_link("/proc/self/cwd").expect("cwd").display().to_string());
    note("root", fs::read_link("/proc/self/root").expect("root").display().to_string());
    note("environment", format!("{:?}", std::env::vars_os().collect::<BTreeMap<_, _>>()));
    for file in [
        "limits",
        "oom_score_adj",
        "cgroup",
        "mountinfo",
        "personality",
        "timerslack_ns",
        "uid_map",
        "sessionid",
    ] {
        note(file, fs::read_to_string(Path::new("/proc/self").join(file)).unwrap_or_default());
    }
    let kept = [
        "Umask",
        "Uid",
        "Gid",
        "Groups",
        "NSpid",
        "Sig",
        "Shd",
        "Cap",
        "NoNewPrivs",
        "Seccomp",
        "Cpus_allowed",
        "Mems_allowed",
        "CoreDumping",
        "THP",
    ];
    let changing = ["SigQ", "SigPnd", "ShdPnd"];
    for (file, prefix) in [("/proc/self/status", "process"), ("/proc/thread-self/status", "thread")]
    {
        for line in fs::read_to_string(file).expect("status").lines() {
            let key = line.split(':').next().unwrap_or_default();
            if kept.iter().any(|k| key.starts_with(k)) && !changing.contains(&key) {
                note(&format!("{prefix} {key}"), line.to_owned());
            }
        }
    }
    for directory in ["/proc/self/ns", "/proc/thread-self/ns", "/proc/self/fd"] {
        for entry in fs::read_dir(directory).expect("directory") {
            let path = entry.expect("entry").path();
            // The descriptor of this very reading is gone again.
            let Ok(target) = fs::read_link(&path) else { continue };
            if !target.starts_with("/proc") || directory.ends_with("ns") {
                let own = format!("/proc/{}", std::process::id());
                let stable = path.display().to_string().replace(&own, "/proc/self");
                note(&stable, target.display().to_string());
            }
        }
    }
    note("subreaper", format!("{:?}", nix::sys::prctl::get_child_subreaper()));
    note("dumpable", format!("{:?}", nix::sys::prctl::get_dumpable()));
    note("keepcaps", format!("{:?}", nix::sys::prctl::get_keepcaps()));
    note("threads", fs::read_dir("/proc/self/task").expect("tasks").count().to_string());
    note("children", fs::read_to_string("/proc/thread-self/children").unwrap_or_default());
    found
}

#[test]
fn caller_is_what_it_was() {
    alone("caller_is_what_it_was", "", || {
        let place = Place::new("exit 3");
        let waiting = Place::new("sleep 1000");
        let mut other =
            Command::new("/bin/sh").args(["-c", "exit 7"]).spawn().expect("a child of the program");
        let before = snapshot();

        let container = Container::run(&place.options(&unique())).expect("run");
        assert_eq!(container.wait().expect("wait").code(), 3);
        container.delete().expect("delete");
        drop(container);
        let id = unique();
        let container = Container::run(&waiting.options(&id)).expect("run");
        let mut exec = ExecOptions::new(container.process().expect("process"));
        exec.stdio(place.null.as_fd(), place.null.as_fd(), place.null.as_fd())
            .accept_unprotected_program(true);
        let process = container.exec(&exec).expect("exec");
        process.kill(9).expect("kill");
        assert_eq!(process.wait().expect("wait").code(), 137);
        drop(process);
        container.kill(9).expect("kill");
        assert_eq!(container.wait().expect("wait").code(), 137);
        container.delete().expect("delete");
        drop(container);
        let mut refused = waiting.options("bad/id");
        assert!(Container::create(refused.no_pivot(false)).is_err());

        let after = snapshot();
        for (key, value) in &before {
            assert_eq!(after.get(key), Some(value), "{key}");
        }
        assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
        assert_eq!(other.wait().expect("the program's own child").code(), Some(7));
    });
}

#[test]
fn host_that_ignores_sigchld_loses_nothing() {
    alone(
        "host_that_ignores_sigchld_loses_nothing",
        "set -- env --ignore-signal=CHLD \"$@\"",
        || {
            let status = fs::read_to_string("/proc/self/status").expect("status");
            let ignored =
                status.lines().find_map(|l| l.strip_prefix("SigIgn:")).expect("SigIgn").trim();
            let ignored = u64::from_str_radix(ignored, 16).expect("hexadecimal");
            assert_ne!(ignored & (1 << 16), 0, "SIGCHLD is ignored in this program");
            if !kernel_keeps_exit_statuses() {
                let place = Place::new("exit 0");
                let id = unique();
                let error = Container::run(&place.options(&id)).expect_err("no status to be had");
                assert_eq!(error.kind(), ErrorKind::HostReapsChildren, "{error}");
                assert!(!place.state().join(&id).exists(), "nothing was done");
                libcontainer::keep_exit_statuses().expect("SIGCHLD");
            }
            for code in [0, 3, 7] {
                let place = Place::new(&format!("exit {code}"));
                let container = Container::run(&place.options(&unique())).expect("run");
                assert_eq!(container.wait().expect("wait").code(), code);
                container.delete().expect("delete");
            }
        },
    );
}

#[test]
fn host_that_reaps_every_child_loses_nothing() {
    alone("host_that_reaps_every_child_loses_nothing", "", || {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    // ECHILD while there is no child.
                    if nix::sys::wait::waitpid(None, None).is_err() {
                        std::thread::yield_now();
                    }
                }
            });
            let codes = std::panic::catch_unwind(|| {
                for code in 0..12 {
                    let place = Place::new(&format!("exit {code}"));
                    let container = Container::run(&place.options(&unique())).expect("run");
                    let status = container.wait().expect("wait");
                    if kernel_keeps_exit_statuses() || status != ExitStatus::Unknown {
                        assert_eq!(status, ExitStatus::Exited(code));
                    }
                    container.delete().expect("delete");
                }
            });
            done.store(true, Ordering::Relaxed);
            codes.expect("the statuses");
        });
    });
}

#[test]
fn container_outlives_the_thread_that_created_it() {
    alone("container_outlives_the_thread_that_created_it", "", || {
        let place = Place::new("sleep 1000");
        let id = unique();
        std::thread::scope(|scope| {
            scope
                .spawn(|| Container::create(&place.options(&id)).expect("create"))
                .join()
                .expect("thread");
        });
        let container = Container::open(&place.state(), &id).expect("open");
        assert_eq!(container.status().expect("status"), Status::Created);
        container.start().expect("start");
        assert_eq!(container.status().expect("status"), Status::Running);
        Container::force_delete(&place.state(), &id).expect("delete");
    });
}

#[test]
fn unprotected_program_is_refused_before_anything_is_done() {
    alone("unprotected_program_is_refused_before_anything_is_done", "", || {
        let place = Place::new("true");
        let mut options = place.options("refused");
        let error = Container::create(options.accept_unprotected_program(false))
            .expect_err("the program could be overwritten");
        assert_eq!(error.kind(), ErrorKind::Unprotected);
        assert!(error.to_string().contains("protect_self"), "{error}");
        assert!(!place.state().join("refused").exists());
    });
}
