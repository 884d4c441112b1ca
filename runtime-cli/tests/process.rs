//! What a container's process is: user, rights, limits, directory, environment, descriptors.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::{Bundle, Told, copy_program, write_program};

/// Runs a script in a container with a changed `process`.
fn run(script: &str, process: Value) -> Told {
    prepared(script, process, |_| {})
}

/// As [`run`], after `prepare` had the bundle.
fn prepared(script: &str, process: Value, prepare: impl FnOnce(&Bundle)) -> Told {
    let bundle = Bundle::with(&["sh", "-c", script], |config| merge(config, "process", process));
    prepare(&bundle);
    bundle.line("run ID")
}

fn merge(config: &mut Value, section: &str, changes: Value) {
    for (key, value) in changes.as_object().unwrap() {
        config[section][key] = value.clone();
    }
}

/// A line of /proc/self/status in what a container printed.
fn status<'a>(told: &'a Told, name: &str) -> &'a str {
    let line = told.out.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {told:?}")).trim()
}

#[test]
fn user_groups_and_mask() {
    let user =
        json!({"user": {"uid": 1000, "gid": 1001, "additionalGids": [5, 70000], "umask": 63}});
    let told = run("cat /proc/self/status; umask; : > /tmp/made", user.clone());
    // The root's /tmp belongs to root.
    assert_eq!(told.code, Some(1), "{told:?}");
    assert_eq!(status(&told, "Uid"), "1000\t1000\t1000\t1000");
    assert_eq!(status(&told, "Gid"), "1001\t1001\t1001\t1001");
    assert_eq!(status(&told, "Groups"), "5 70000");
    assert!(told.out.ends_with("0077\n"), "{told:?}");
    let told = run("umask; cat /proc/self/status", json!({})).code(0);
    assert!(told.out.starts_with("0022\n"), "{told:?}");
    assert_eq!(status(&told, "Groups"), "", "no groups of the caller");
}

#[test]
fn ids_that_are_none_are_refused() {
    for (user, place) in [
        (json!({"uid": 4294967295_u32, "gid": 0}), "/process/user/uid"),
        (json!({"uid": 0, "gid": 4294967295_u32}), "/process/user/gid"),
        (json!({"additionalGids": [4294967295_u32]}), "/process/user/additionalGids/0"),
        (json!({"uid": 4294967296_u64}), "/process/user/uid"),
        (json!({"uid": -1}), "/process/user/uid"),
        (json!({"uid": "0"}), "/process/user/uid"),
    ] {
        run("true", json!({"user": user})).fails(1, place);
    }
}

#[test]
fn environment() {
    let env = json!(["PATH=/bin", "A=1", "B=x\ny", "A=2", "HOME="]);
    let told = run("env", json!({"env": env, "user": {"uid": 12, "gid": 0}})).code(0);
    assert!(told.out.contains("A=2\n") && !told.out.contains("A=1"), "{told:?}");
    assert!(told.out.contains("B=x\ny\n"), "{told:?}");
    assert!(told.out.contains("HOME=/\n"), "{told:?}");
    let told = run("env", json!({"env": ["PATH=/bin", "HOME=/own"]})).code(0);
    assert!(told.out.contains("HOME=/own\n"), "{told:?}");
    for env in [json!(["A"]), json!(["=1"])] {
        run("true", json!({"env": env})).fails(1, "invalid environment variable");
    }
}

#[test]
fn home_comes_from_the_containers_passwd() {
    let home = |uid: u32, prepare: &dyn Fn(&Bundle)| {
        let user = json!({"user": {"uid": uid, "gid": 0}});
        let told = prepared("echo $HOME", user, |bundle| prepare(bundle)).code(0);
        told.out.trim().to_owned()
    };
    let passwd = |text: &str| {
        let text = text.to_owned();
        move |bundle: &Bundle| fs::write(bundle.rootfs().join("etc/passwd"), &text).unwrap()
    };
    let lines = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:";
    assert_eq!(home(0, &passwd(lines)), "/root");
    assert_eq!(home(1000, &passwd(lines)), "/home/user", "the last line has no end");
    assert_eq!(home(1, &passwd(lines)), "/");
    // A numeric name is no uid (CVE-2016-3697).
    assert_eq!(home(1000, &passwd("1000:x:0:0::/evil:\n")), "/");
    // Lines beyond every window, then the one that counts.
    let long = format!("a:x:1:1:{}:/a:\nb:x:7:7::/b:\n", "x".repeat(30_000));
    assert_eq!(home(7, &passwd(&long)), "/b");
    assert_eq!(home(5, &passwd(&"\n".repeat(100_000))), "/");
}

/// An image must not be able to hold the runtime up by what it has as /etc/passwd.
#[test]
fn a_hostile_passwd_costs_nothing() {
    for kind in ["fifo", "device", "endless", "huge", "directory", "dangling"] {
        let told = prepared("echo $HOME", json!({}), |bundle| {
            let path = bundle.rootfs().join("etc/passwd");
            match kind {
                "fifo" => nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
                "device" => symlink("/dev/zero", &path).unwrap(),
                "endless" => symlink("/proc/self/fd/0", &path).unwrap(),
                "huge" => fs::File::create(&path).unwrap().set_len(1 << 30).unwrap(),
                "directory" => fs::create_dir(&path).unwrap(),
                _ => symlink("/nowhere", &path).unwrap(),
            }
        });
        assert_eq!(told.code(0).out, "/\n", "{kind}");
    }
}

#[test]
fn what_cannot_be_executed_is_said_as_callers_read_it() {
    let args = |args: Value| prepared_args(args, |_| {});
    for (name, words) in [
        ("nosuchcmd", r#"exec: "nosuchcmd": executable file not found in $PATH"#),
        ("", r#"exec: "": executable file not found in $PATH"#),
        ("/nosuchcmd", r#"exec: "/nosuchcmd": stat /nosuchcmd: no such file or directory"#),
        ("/etc", r#"exec: "/etc": is a directory"#),
        ("./nosuch", r#"exec: "./nosuch": stat ./nosuch: no such file or directory"#),
    ] {
        let told = args(json!([name]));
        assert_eq!(told.code, Some(1), "{told:?}");
        // The log quotes the message once more.
        let err = told.err.replace("\\\"", "\"");
        assert!(err.contains(&format!("error during container init: {words}")), "{err}");
    }
    args(json!([])).fails(1, "args must not be empty");
    let plain = |mode: u32| {
        move |bundle: &Bundle| {
            let path = bundle.rootfs().join("plain");
            write_program(path, "neither script nor program", mode);
        }
    };
    let told = prepared_args(json!(["/plain"]), plain(0o644));
    assert!(told.fails(1, "permission denied").err.contains("/plain"));
    prepared_args(json!(["/plain"]), plain(0o755)).fails(1, "exec /plain: exec format error");
}

fn prepared_args(args: Value, prepare: impl FnOnce(&Bundle)) -> Told {
    let bundle = Bundle::with(&[], |config| config["process"]["args"] = args);
    prepare(&bundle);
    bundle.line("run ID")
}

#[test]
fn the_working_directory() {
    let told = run("pwd; busybox stat -c '%a %u' /new/deep", json!({"cwd": "/new/deep"})).code(0);
    assert_eq!(told.out, "/new/deep\n755 0\n");
    run("true", json!({"cwd": "relative"})).fails(1, "Cwd must be an absolute path");
    run("true", json!({"cwd": ""})).fails(1, "Cwd property must not be empty");
    let words = "set in config.json failed: not a directory";
    run("true", json!({"cwd": "/bin/busybox"})).fails(1, words);
    // Only its owner may enter it: root does so before it becomes somebody else.
    let user = json!({"cwd": "/own", "user": {"uid": 1000, "gid": 1000}});
    let told = prepared("pwd", user, |bundle| {
        let own = bundle.rootfs().join("own");
        fs::create_dir(&own).unwrap();
        fs::set_permissions(&own, fs::Permissions::from_mode(0o700)).unwrap();
    });
    assert_eq!(told.code(0).out, "/own\n");
}

/// A directory of the caller is no way out of the container (CVE-2024-21626).
#[test]
fn no_descriptor_leads_outside() {
    let bundle = Bundle::script("readlink /proc/self/cwd; ls /");
    let mut config = bundle.config(&["sh", "-c", "readlink /proc/self/cwd"]);
    for number in 3..40 {
        config["process"]["cwd"] = format!("/proc/self/fd/{number}").into();
        bundle.write(&config);
        // The caller holds directories of the host at 9 and 20.
        let mut command = Command::new("sh");
        let husk = bundle.command();
        command.args(["-c", "exec 9</ 20</etc; exec \"$@\"", "sh"]).arg(husk.get_program());
        command.args(husk.get_args()).args(["run", bundle.id()]);
        command.current_dir(bundle.path()).stdin(Stdio::null());
        let output = command.output().unwrap();
        if output.status.success() {
            // What the runtime itself has open then is the container's own root.
            assert_eq!(String::from_utf8_lossy(&output.stdout), "/\n", "{number}");
        }
        bundle.line("delete --force ID").code(0);
    }
}

#[test]
fn capabilities() {
    let told = run("cat /proc/self/status", json!({"capabilities": null})).code(0);
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status(&told, set), "0000000000000000", "{set}");
    }
    let sets = json!({
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NOT_KNOWN"], "permitted": ["CAP_CHOWN", "CAP_KILL"],
        "effective": ["CAP_KILL"], "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"],
    });
    let user = json!({"uid": 1000, "gid": 1000});
    let told = run("cat /proc/self/status", json!({"capabilities": sets, "user": user})).code(0);
    for (set, value) in [
        ("CapInh", "0000000000000020"),
        // An execve as an ordinary user leaves what is ambient.
        ("CapPrm", "0000000000000020"),
        ("CapEff", "0000000000000020"),
        ("CapBnd", "0000000000000021"),
        ("CapAmb", "0000000000000020"),
    ] {
        assert_eq!(status(&told, set), value, "{set}");
    }
    assert!(told.err.contains("CAP_NOT_KNOWN"), "{told:?}");
    // Without being inheritable none can be ambient, and none becomes so (CVE-2022-29162).
    let sets =
        json!({"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "ambient": ["CAP_KILL"]});
    let told = run("cat /proc/self/status", json!({"capabilities": sets})).code(0);
    assert!(told.err.contains("can't raise ambient capability CAP_KILL: "), "{told:?}");
    assert_eq!(status(&told, "CapInh"), "0000000000000000");
    assert_eq!(status(&told, "CapAmb"), "0000000000000000");
}

#[test]
fn limits() {
    let limits = json!([
        {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}
    ]);
    let told = run("ulimit -n; ulimit -Hn; ulimit -c", json!({"rlimits": limits})).code(0);
    assert_eq!(told.out, "100\n200\n0\n");
    let bogus = json!([{"type": "RLIMIT_BOGUS", "soft": 1, "hard": 1}]);
    run("true", json!({"rlimits": bogus})).fails(1, "wrong rlimit value: RLIMIT_BOGUS");
    let twice = json!([{"type": "RLIMIT_CORE"}, {"type": "RLIMIT_CORE"}]);
    run("true", json!({"rlimits": twice})).fails(1, "/process/rlimits/1");
}

#[test]
fn no_new_privileges() {
    for (wanted, seen) in [(true, "1"), (false, "0")] {
        let told = run("cat /proc/self/status", json!({"noNewPrivileges": wanted})).code(0);
        assert_eq!(status(&told, "NoNewPrivs"), seen);
    }
}

#[test]
fn oom_score_adj_is_set_or_untouched() {
    let own = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    let script = "cat /proc/self/oom_score_adj";
    assert_eq!(run(script, json!({})).code(0).out, own, "absent means untouched");
    assert_eq!(run(script, json!({"oomScoreAdj": 723})).code(0).out, "723\n");
    run(script, json!({"oomScoreAdj": 1001})).fails(1, "/process/oomScoreAdj");
}

#[test]
fn scheduling() {
    let script = "cat /proc/self/stat; busybox ionice -p $$";
    let process = json!({
        "scheduler": {"policy": "SCHED_BATCH", "nice": 5},
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 3},
    });
    let told = run(script, process).code(0);
    let stat: Vec<&str> = told.out.lines().next().unwrap().split_whitespace().collect();
    assert_eq!((stat[18], stat[40]), ("5", "3"), "{told:?}");
    assert!(told.out.contains("best-effort: prio 3"), "{told:?}");
    let none = json!({"scheduler": {"policy": "SCHED_NONE"}});
    run("true", none).fails(1, "invalid scheduler policy: SCHED_NONE");
}

#[test]
fn personality_and_memory_policy() {
    let bundle = Bundle::with(
        &["sh", "-c", "cat /proc/self/personality; cat /proc/self/numa_maps"],
        |config| {
            config["linux"]["personality"] = json!({"domain": "LINUX32"});
            config["linux"]["memoryPolicy"] = json!({"mode": "MPOL_INTERLEAVE", "nodes": "0"});
        },
    );
    let told = bundle.line("run ID").code(0);
    assert!(told.out.starts_with("00000008\n"), "{told:?}");
    assert!(told.out.contains(" interleave:0 "), "{told:?}");
}

/// The caller's own affinity is not the container's.
#[test]
fn affinity_is_what_the_cpuset_allows() {
    let bundle = Bundle::script("cat /proc/self/status");
    let all = fs::read_to_string("/proc/self/status").unwrap();
    let husk = bundle.command();
    let mut command = Command::new("/bin/busybox");
    command.args(["taskset", "1"]).arg(husk.get_program()).args(husk.get_args());
    command.args(["run", bundle.id()]).current_dir(bundle.path()).stdin(Stdio::null());
    let output = command.output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    let allowed = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("Cpus_allowed_list"));
        line.unwrap_or_default().to_owned()
    };
    assert_eq!(allowed(&out), allowed(&all), "{output:?}");
}

#[test]
fn sysctl() {
    let script = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax";
    let configured = |sysctl: Value| {
        Bundle::with(&["sh", "-c", script], |config| {
            config["linux"]["sysctl"] = sysctl;
            config["linux"]["readonlyPaths"] = json!(["/proc/sys"]);
        })
    };
    let bundle = configured(json!({"net.ipv4.ip_forward": "1", "kernel/msgmax": "8193"}));
    assert_eq!(bundle.line("run ID").code(0).out, "1\n8193\n");
    let panic = fs::read("/proc/sys/kernel/panic").unwrap();
    for key in
        ["kernel.panic", "net/../kernel/panic", "net.ipv4/../../kernel.panic", "vm.swappiness"]
    {
        let told = configured(json!({key: "7"})).line("run ID");
        assert!(told.fails(1, "sysctl").err.contains("/linux/sysctl/"), "{key}");
    }
    assert_eq!(fs::read("/proc/sys/kernel/panic").unwrap(), panic);
    let told = configured(json!({"kernel.panic": "7"})).line("run ID");
    let err = told.err.replace("\\\"", "\"");
    assert!(
        err.contains(r#"sysctl "kernel.panic" is not in a separate kernel namespace"#),
        "{err}"
    );
    let told = configured(json!({"net.ipv4.no_such_key": "7"})).line("run ID");
    told.fails(1, "no such file or directory");
}

#[test]
fn standard_descriptors_belong_to_the_user() {
    let bundle = Bundle::with(&["sh", "-c", "echo again > /dev/stdout"], |config| {
        config["process"]["user"] = json!({"uid": 1234, "gid": 1234});
    });
    bundle.detached("run ID").code(0);
    let out = fs::metadata(bundle.path().join("out")).unwrap();
    assert_eq!(out.uid(), 1234);
    assert_eq!(bundle.output(), "again\n");
}

#[test]
fn the_callers_null_device_stays_the_callers() {
    let before = fs::metadata("/dev/null").unwrap();
    run("true", json!({"user": {"uid": 1234, "gid": 1234}})).code(0);
    let after = fs::metadata("/dev/null").unwrap();
    assert_eq!(
        (before.uid(), before.gid(), before.mode()),
        (after.uid(), after.gid(), after.mode())
    );
}

/// Runs with directories open at 3 to 6 in the caller.
fn with_descriptors(bundle: &Bundle, environment: &str, flags: &str) -> String {
    let husk = bundle.command();
    let script = format!("exec 3</ 4</etc 5</tmp 6</usr; {environment} exec \"$@\" run {flags}");
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{script} {}", bundle.id()), "sh"]).arg(husk.get_program());
    command.args(husk.get_args()).current_dir(bundle.path()).stdin(Stdio::null());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn only_the_descriptors_that_were_asked_for() {
    const LIST: &str = "for n in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do \
                        [ -e /proc/$$/fd/$n ] && echo /fd/$n ''; done; env";
    let bundle = Bundle::script(LIST);
    let out = with_descriptors(&bundle, "", "");
    assert!(!out.contains("/fd/3 ") && out.contains("/fd/2 "), "{out}");
    let bundle = Bundle::script(LIST);
    let out = with_descriptors(&bundle, "", "--preserve-fds 2");
    assert!(out.contains("/fd/3 ") && out.contains("/fd/4 ") && !out.contains("/fd/5 "), "{out}");
    let bundle = Bundle::script(LIST);
    let environment = "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=a";
    let out = with_descriptors(&bundle, environment, "--preserve-fds 1");
    assert!(out.contains("/fd/4 ") && !out.contains("/fd/5 "), "{out}");
    assert!(out.contains("LISTEN_FDS=1\n") && out.contains("LISTEN_PID=1\n"), "{out}");
}

/// Activation is for the first process: an engine that is activated itself may exec.
#[test]
fn exec_takes_no_part_in_activation() {
    let bundle = Bundle::script("exec sleep 1000");
    bundle.line("run -d ID").code(0);
    let husk = bundle.command();
    let mut command = Command::new("sh");
    command.args(["-c", "LISTEN_PID=$$ LISTEN_FDS=9 exec \"$@\"", "sh"]).arg(husk.get_program());
    command.args(husk.get_args()).args(["exec", bundle.id(), "env"]).stdin(Stdio::null());
    let output = command.current_dir(bundle.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("LISTEN_"), "{output:?}");
}

/// What a caller ignores or blocks is its own affair: Rust programs ignore SIGPIPE.
#[test]
fn signals_have_their_defaults() {
    let told = prepared_args(json!(["cat", "/proc/self/status"]), |_| {}).code(0);
    for set in ["SigIgn", "SigBlk"] {
        assert_eq!(status(&told, set), "0000000000000000", "{set}");
    }
}

#[test]
fn the_session_keyring_is_the_containers_own() {
    let bundle = Bundle::script("cat /proc/keys");
    let told = bundle.line("run ID").code(0);
    assert!(told.out.contains(&format!("_ses.{}", bundle.id())), "{told:?}");
    let bundle = Bundle::script("cat /proc/keys");
    let told = bundle.line("run --no-new-keyring ID").code(0);
    assert!(!told.out.contains(&format!("_ses.{}", bundle.id())), "{told:?}");
}

/// The filter comes last with noNewPrivileges, and before the change of user without it.
#[test]
fn seccomp_holds_with_and_without_new_privileges() {
    for forbidden in [true, false] {
        let bundle = Bundle::with(&["sh", "-c", "mkdir /tmp/a; cat /proc/self/status"], |config| {
            config["process"]["noNewPrivileges"] = forbidden.into();
            config["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [
                    {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 117}
                ],
            });
        });
        let told = bundle.line("run ID").code(0);
        assert!(told.err.contains("Structure needs cleaning"), "{told:?}");
        assert_eq!(status(&told, "Seccomp"), "2");
    }
}

/// With noNewPrivileges a profile need not allow what the runtime does before execve.
#[test]
fn a_filter_may_allow_nearly_nothing() {
    let bundle = Bundle::with(&["/bin/busybox", "true"], |config| {
        config["process"]["noNewPrivileges"] = true.into();
        config["process"]["env"] = json!(["HOME=/"]);
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": 38,
            "syscalls": [{
                "names": ["read", "write", "close", "execve", "exit_group", "brk", "arch_prctl",
                          "getuid", "getgid", "setuid", "setgid", "mmap", "mprotect", "prlimit64",
                          "set_tid_address", "set_robust_list", "rseq", "readlink", "getrandom"],
                "action": "SCMP_ACT_ALLOW",
            }],
        });
    });
    bundle.line("run ID").code(0);
}

#[test]
fn names_of_the_host() {
    let bundle =
        Bundle::with(&["sh", "-c", "hostname; cat /proc/sys/kernel/domainname"], |config| {
            config["hostname"] = "inside".into();
            config["domainname"] = "example.org".into();
        });
    assert_eq!(bundle.line("run ID").code(0).out, "inside\nexample.org\n");
    let bundle = Bundle::with(&["true"], |config| {
        config["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "pid"}]);
    });
    bundle.line("run ID").fails(1, "unable to set hostname without a private UTS namespace");
}

/// exec is another process of the same container, with rights of its own.
#[test]
fn exec_has_its_own_user_directory_and_rights() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.detached("create ID").code(0);
    bundle.line("start ID").code(0);
    let told =
        bundle.husk(["exec", "--user", "12:34", "--cwd", "/tmp", "ID", "sh", "-c", "id; pwd"]);
    assert_eq!(told.code(0).out, "uid=12 gid=34\n/tmp\n");
    let told = bundle.husk(["exec", "--cap", "CAP_KILL", "ID", "cat", "/proc/self/status"]).code(0);
    assert_eq!(status(&told, "CapEff"), "0000000000000020");
    assert_eq!(status(&told, "CapInh"), "0000000000000000");
    let told =
        bundle.husk(["exec", "-u", "1", "--cap", "CAP_KILL", "ID", "cat", "/proc/self/status"]);
    let told = told.code(0);
    assert_eq!(status(&told, "CapInh"), "0000000000000000");
    assert_eq!(status(&told, "CapAmb"), "0000000000000000");
    let told = bundle.husk(["exec", "--cwd", "/nodir", "ID", "true"]);
    let words = "set in config.json failed: no such file or directory";
    let err = told.fails(255, words).err.replace("\\\"", "\"");
    assert!(err.contains(r#"chdir to cwd ("/nodir")"#), "{err}");
    bundle.husk(["exec", "ID", "nosuchcmd"]).fails(255, "executable file not found in $PATH");
    bundle.line("exec ID false").code(1);
    // Its user's home, not that of the container's process.
    fs::write(bundle.rootfs().join("etc/passwd"), "u:x:12:34::/tmp:\n").unwrap();
    let told = bundle.husk(["exec", "-u", "12", "ID", "sh", "-c", "echo $HOME"]);
    assert_eq!(told.code(0).out, "/tmp\n");
}

/// A file in the rootfs that root of the container cannot reach is reported with its own errno.
#[test]
fn a_program_is_looked_for_as_the_user() {
    let bundle = Bundle::with(&["closed"], |config| {
        config["process"]["env"] = json!(["PATH=/private:/bin"]);
        config["process"]["user"] = json!({"uid": 7, "gid": 7});
    });
    let private = bundle.rootfs().join("private");
    fs::create_dir(&private).unwrap();
    copy_program("/bin/busybox", private.join("closed"));
    fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).unwrap();
    chown(&private, Some(0), Some(0)).unwrap();
    bundle.line("run ID").fails(1, "executable file not found in $PATH");
}
