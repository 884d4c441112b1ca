//! The demonstration runs without a bundle, side by side, and leaves nothing.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::thread;

use support::{Told, copy_program, husk, scratch, told};

fn assert_shown(told: &Told) {
    assert_eq!(told.code, Some(0), "{told:?}");
    for words in [
        "\n  process id          1\n",
        "\n  host name           husk-demo\n",
        "\n  files in /          dev husk proc sys\n",
        "\n  network devices     lo\n",
        "CAP_KILL",
        "\n  open files          64\n",
        "\n  no_new_privs        1\n",
        "write to /          refused: read-only file system",
        "write to /proc/sys  refused: read-only file system",
        "\n  create ",
        "\n    pivot root ",
        "\n  start ",
        "\n  delete ",
    ] {
        assert!(told.out.contains(words), "{words:?} in {}\n{}", told.out, told.err);
    }
    let own = told.out.lines().find(|line| line.contains("own namespaces")).unwrap();
    for namespace in ["ipc", "mnt", "net", "pid", "uts"] {
        assert!(own.contains(namespace), "{own}");
    }
}

#[test]
fn as_root_it_shows_limits_and_namespaces() {
    let scratch = scratch();
    let told = told(husk().env("TMPDIR", scratch.path()), ["demo"]);
    assert_shown(&told);
    // With cgroup2 alone on a host that has its controllers on v1, the demo says why there are none.
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let v1 = mounts.lines().any(|l| l.contains(" cgroup ") && l.contains("memory"));
    let v2 = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    if !v1 && !v2.contains("memory") {
        assert!(told.out.contains("controller memory not available"), "{}", told.out);
    } else {
        assert!(told.out.contains("\n  memory              64 MiB\n"), "{}", told.out);
        assert!(told.out.contains("\n  processes           16\n"), "{}", told.out);
    }
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[test]
fn several_run_side_by_side() {
    let run = || told(&mut husk(), ["demo"]);
    let threads: Vec<_> = (0..4).map(|_| thread::spawn(run)).collect();
    for thread in threads {
        assert_shown(&thread.join().unwrap());
    }
}

#[test]
fn as_an_ordinary_user_it_has_a_user_namespace() {
    let scratch = scratch();
    let program = scratch.path().join("husk");
    copy_program(support::program(), &program);
    let home = scratch.path().join("home");
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(1000), Some(1000)).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(scratch.path(), mode).unwrap();
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid=1000", "--regid=1000", "--clear-groups"]).arg(&program);
    command.env("TMPDIR", &home).env("XDG_RUNTIME_DIR", &home).current_dir("/");
    let told = told(&mut command, ["demo"]);
    assert_shown(&told);
    let own = told.out.lines().find(|line| line.contains("own namespaces")).unwrap();
    assert!(own.contains("user"), "{own}");
    assert!(told.out.contains("1 from 1000"), "{}", told.out);
    assert_eq!(fs::read_dir(&home).unwrap().count(), 0);
}
