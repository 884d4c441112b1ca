//! `exec`: what it costs, where its process runs, and what it leaves when it fails.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use serde_json::json;
use support::{Bundle, Told, cgroups};

fn running(bundle: Bundle) -> Bundle {
    bundle.detached("run -d ID").code(0);
    bundle
}

fn pid(bundle: &Bundle) -> u32 {
    u32::try_from(bundle.state()["pid"].as_u64().unwrap()).unwrap()
}

/// Calls by which processes and mounts come, as strace writes them.
fn trace(bundle: &Bundle, arguments: &[&str]) -> Vec<String> {
    const CALLS: &str = "trace=clone,clone3,fork,vfork,execve,execveat,mount,move_mount,fsmount,\
                         open_tree,umount2,pivot_root,unshare";
    let file = bundle.path().join("trace");
    let mut command = Command::new("/usr/bin/strace");
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .args(["-f", "-qq", "-e", CALLS, "-o"])
        .arg(&file)
        .arg(support::program())
        .arg("--root")
        .arg(bundle.path().join("state"))
        .args(["exec", bundle.id()])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let output = command.output().expect("strace");
    assert!(output.status.success(), "{output:?}");
    let text = fs::read_to_string(&file).expect("trace");
    fs::remove_file(&file).expect("trace");
    // Calls that others interrupt are split; their beginnings count.
    let calls = text.lines().filter_map(|line| line.split_once(' ')).map(|(_, call)| call.trim());
    calls.filter(|call| !call.starts_with("<... ")).map(str::to_owned).collect()
}

fn count(calls: &[String], wanted: impl Fn(&str) -> bool) -> usize {
    calls.iter().filter(|call| wanted(call)).count()
}

/// One process is cloned, and no mount becomes part of any namespace. The runtime executes itself
/// again, from a clone of its mount, only where the container could reach its file.
#[test]
fn it_costs_one_clone_and_no_mount() {
    let plain = running(Bundle::new(&["sleep", "1000"]));
    let with_users = Bundle::with(&["sleep", "1000"], |config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.push(json!({"type": "user"}));
        for ids in ["uidMappings", "gidMappings"] {
            config["linux"][ids] = json!([{"containerID": 0, "hostID": 1_000_000, "size": 65_536}]);
        }
    });
    // Root of a user namespace is a stranger here.
    fs::set_permissions(with_users.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let with_users = running(with_users);
    for (bundle, again) in [(&plain, 1), (&with_users, 0)] {
        let mounts = || fs::read_to_string(format!("/proc/{}/mountinfo", pid(bundle))).unwrap();
        let before = mounts();
        let calls = trace(bundle, &["true"]);
        let cloned = count(&calls, |call| {
            let clones = ["clone(", "clone3(", "fork(", "vfork("];
            clones.iter().any(|name| call.starts_with(name)) && !call.contains("CLONE_THREAD")
        });
        assert_eq!(cloned, 1, "{calls:#?}");
        let attaches = ["mount(", "move_mount(", "fsmount(", "umount2(", "pivot_root(", "unshare("];
        let mounted = count(&calls, |call| attaches.iter().any(|name| call.starts_with(name)));
        assert_eq!(mounted, 0, "{calls:#?}");
        assert_eq!(count(&calls, |call| call.starts_with("execveat(")), again, "{calls:#?}");
        let copied = count(&calls, |call| call.contains("OPEN_TREE_CLONE"));
        assert_eq!(copied, again, "{calls:#?}");
        // strace's own, and the container's program.
        let executed = count(&calls, |call| call.starts_with("execve(") && call.ends_with("= 0"));
        assert_eq!(executed, 2, "{calls:#?}");
        assert_eq!(mounts(), before);
    }
}

fn failed_with(told: Told, words: &[&str]) {
    let err = told.fails(255, "exec failed: ").err;
    for words in words {
        assert!(err.contains(words), "{words:?} in {err}");
    }
}

#[test]
fn sub_cgroups() {
    let bundle = running(Bundle::new(&["sleep", "1000"]));
    let pid = pid(&bundle);
    let exec = |flags: &[&str], program: &[&str]| {
        bundle.husk([&["exec", "--pid-file", "pid"], flags, &["ID"], program].concat())
    };
    let show: &[&str] = &["cat", "/proc/self/cgroup"];
    let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    for flags in [&[][..], &["--cgroup", "/"]] {
        assert_eq!(exec(flags, show).code(0).out, own, "{flags:?}");
    }
    fs::remove_file(bundle.path().join("pid")).unwrap();
    let nothing = "no such file or directory";
    failed_with(exec(&["--cgroup", ".."], show), &["bad sub cgroup path: .."]);
    failed_with(exec(&["--cgroup", "a/../../b"], show), &["bad sub cgroup path: a/../../b"]);
    failed_with(exec(&["--cgroup", "none"], show), &[" adding pid ", " to cgroups: ", nothing]);
    failed_with(exec(&["--cgroup", "whaaat:/"], show), &["unknown controller whaaat"]);
    failed_with(exec(&["--cgroup", ":/"], show), &["empty <controller> prefix"]);
    failed_with(exec(&["--cgroup", "a", "--cgroup", "b"], show), &["missing <controller>: prefix"]);
    assert!(!bundle.path().join("pid").exists());

    let controllers: Vec<&str> =
        ["memory", "pids", "freezer"].into_iter().filter(|name| cgroups::is_v1(name)).collect();
    if controllers.is_empty() {
        let group = cgroups::group(pid, "");
        fs::create_dir(group.join("below")).unwrap();
        let told = exec(&["--cgroup", "below"], show).code(0);
        assert_eq!(told.out.trim(), format!("{}/below", own.trim()));
        fs::remove_dir(group.join("below")).unwrap();
        return;
    }
    for controller in controllers {
        let missing = format!("{controller}:none");
        failed_with(
            exec(&["--cgroup", &missing], show),
            &[" adding pid ", " to cgroups: ", nothing],
        );
        let twice =
            ["--cgroup", &format!("{controller}:/"), "--cgroup", &format!("{controller}:/")];
        failed_with(exec(&twice, show), &["specified multiple times"]);
        let group = cgroups::group(pid, controller).join("below");
        fs::create_dir(&group).unwrap();
        let told = exec(&["--cgroup", &format!("{controller}:below")], show).code(0);
        let changed: Vec<&str> = told.out.lines().filter(|line| !own.contains(line)).collect();
        let line = changed.iter().find(|line| line.contains(controller));
        assert!(line.is_some_and(|line| line.ends_with("/below")), "{told:?}");
        assert_eq!(changed.len(), 1, "the other hierarchies stay: {told:?}");
        fs::remove_dir(&group).unwrap();
    }
}

/// execve is what the profile ends: the container's own process has not come to it.
#[test]
fn a_process_that_is_killed_before_it_executes_is_a_failure() {
    let bundle = Bundle::with(&["sleep", "1000"], |config| {
        config["process"]["noNewPrivileges"] = true.into();
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["execve", "execveat"], "action": "SCMP_ACT_KILL_PROCESS"}],
        });
    });
    bundle.detached("create ID").code(0);
    let told = bundle.line("exec --pid-file pid ID true");
    told.fails(255, "exec failed: unable to start container process: the process ended");
    assert!(!bundle.path().join("pid").exists());
}

#[test]
fn cpu_affinity() {
    let own = fs::read_to_string("/proc/self/status").unwrap();
    if !own.lines().any(|line| line.starts_with("Cpus_allowed_list:\t0-")) {
        eprintln!("skipped: it takes the CPUs 0 and 1");
        return;
    }
    let bundle = running(Bundle::with(&["sleep", "1000"], |config| {
        config["process"]["execCPUAffinity"] = json!({"initial": "0", "final": "1"});
    }));
    let exec = |process: serde_json::Value| {
        let file = bundle.path().join("process.json");
        fs::write(&file, process.to_string()).unwrap();
        bundle.line("--debug exec --process process.json ID").code(0)
    };
    let base = json!({"args": ["cat", "/proc/self/status"], "cwd": "/", "env": ["PATH=/bin"]});
    for (affinity, early, seen) in [
        (json!(null), "affinity: 0x1\"", "1"),
        (json!({"initial": "0-1", "final": "0"}), "affinity: 0x3\"", "0"),
        (json!({"initial": "1"}), "affinity: 0x2\"", "1"),
        (json!({"final": "1"}), "", "1"),
    ] {
        let mut process = base.clone();
        process["execCPUAffinity"] = affinity.clone();
        let told = exec(process);
        assert!(
            told.out.contains(&format!("Cpus_allowed_list:\t{seen}\n")),
            "{affinity}: {told:?}"
        );
        assert!(told.err.contains(early), "{affinity}: {told:?}");
        assert_eq!(told.err.contains("affinity: "), !early.is_empty(), "{affinity}: {told:?}");
    }
}

#[test]
fn what_the_process_does_not_say_is_as_for_the_containers_own() {
    let bundle = running(Bundle::with(&["sleep", "1000"], |config| {
        config["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 5});
        config["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_BE", "priority": 3});
        config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 99}]);
    }));
    let script = "cat /proc/self/stat; busybox ionice -p $$; ulimit -n";
    let process = json!({"args": ["sh", "-c", script], "cwd": "/", "env": ["PATH=/bin"]});
    fs::write(bundle.path().join("process.json"), process.to_string()).unwrap();
    let told = bundle.line("exec --process process.json ID").code(0);
    let stat: Vec<&str> = told.out.lines().next().unwrap().split_whitespace().collect();
    assert_eq!((stat[18], stat[40]), ("5", "3"), "{told:?}");
    assert!(told.out.ends_with("best-effort: prio 3\n99\n"), "{told:?}");
}

#[test]
fn flags_without_a_value_change_nothing() {
    let bundle = running(Bundle::new(&["sleep", "1000"]));
    let flags = ["--cwd", "", "--user=", "--process", "", "--pid-file", "", "--apparmor", ""];
    let more = ["--process-label", "", "--console-socket", "", "--no-new-privs=false"];
    let arguments = [&["exec"], &flags[..], &more[..], &["ID", "sh", "-c", "pwd; id -u"]].concat();
    assert_eq!(bundle.husk(arguments).code(0).out, "/\n0\n");
}

#[test]
fn descriptors_are_passed_on_where_that_is_asked_for() {
    let bundle = running(Bundle::new(&["sleep", "1000"]));
    fs::write(bundle.path().join("passed"), "from the file\n").unwrap();
    let husk = bundle.command();
    let shell = |flags: &str, script: &str| {
        let mut command = Command::new("/bin/sh");
        let line =
            format!("exec 3</dev/null 4<passed 5</; exec \"$@\" exec {flags} {}", bundle.id());
        command.args(["-c", &format!("{line} sh -c '{script}'"), "sh"]);
        command.arg(husk.get_program()).args(husk.get_args());
        command.current_dir(bundle.path()).stdin(Stdio::null());
        support::told(&mut command, [""; 0])
    };
    let told = shell("--preserve-fds=2", "cat <&4; ls /proc/self/fd").code(0);
    assert_eq!(told.out, "from the file\n0\n1\n2\n3\n4\n5\n", "5 is the directory that ls reads");
    let told = shell("", "ls /proc/self/fd").code(0);
    assert_eq!(told.out, "0\n1\n2\n3\n", "3 is the directory that ls reads");
    shell("--preserve-fds=90", "true").fails(255, "descriptor 6 is not open");
}

#[test]
fn debug_messages_tell_how_far_it_came() {
    let bundle = running(Bundle::new(&["sleep", "1000"]));
    let told = bundle.line("--debug exec ID true").code(0);
    for words in ["nsexec container setup", "child process in init()", "setns_init: about to exec"]
    {
        assert!(told.err.contains(words), "{words} in {told:?}");
    }
    assert!(told.err.lines().all(|line| line.contains("level=debug")), "{told:?}");
}
