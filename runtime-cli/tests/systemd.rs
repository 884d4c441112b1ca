//! Containers in units of systemd. The tests that need one run where it is the init of a machine
//! made for them: tests/systemd/machine.
#![allow(missing_docs)]

#[path = "systemd/journal.rs"]
mod journal;
#[path = "systemd/ownership.rs"]
mod ownership;
mod support;

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use serde_json::{Value, json};
use support::cgroups::{self, has_controller};
use support::{Bundle, Told, eventually, scratch, told};

const SLEEP: &[&str] = &["sleep", "1000"];

/// Another start of systemd ends everybody's connections.
static SYSTEMD: RwLock<()> = RwLock::new(());

/// Whether this is a machine with systemd. What makes one says so, and then it must be there.
fn has_systemd() -> bool {
    let promised =
        std::env::var("HUSK_TEST_ENV").is_ok_and(|name| name == "systemd" || name == "vm");
    if promised {
        assert!(Path::new("/run/systemd/system").is_dir(), "no systemd in its machine");
    }
    promised
}

/// The machine's systemd, which goes on while this is held.
fn systemd() -> Option<RwLockReadGuard<'static, ()>> {
    has_systemd().then(|| SYSTEMD.read().unwrap_or_else(PoisonError::into_inner))
}

fn is_unified() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// husk with the driver.
fn by_systemd(bundle: &Bundle, line: &str) -> Told {
    bundle.detached(&format!("--systemd-cgroup {line}"))
}

fn running(change: impl FnOnce(&mut Value)) -> Bundle {
    let bundle = Bundle::with(SLEEP, change);
    by_systemd(&bundle, "run -d ID").code(0);
    bundle
}

fn systemctl(arguments: &[&str]) -> String {
    let mut command = Command::new("systemctl");
    told(command.stdin(Stdio::null()), arguments).code(0).out
}

fn scope(bundle: &Bundle) -> String {
    format!("runc-{}.scope", bundle.id())
}

/// A property as systemd has it.
fn property(unit: &str, name: &str) -> String {
    systemctl(&["show", "--value", "-p", name, unit]).trim().to_owned()
}

fn pid(bundle: &Bundle) -> u32 {
    bundle.state()["pid"].as_u64().unwrap() as u32
}

/// The group that systemd knows a process by.
fn group(pid: u32) -> String {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let find = |prefix: &str| {
        groups
            .lines()
            .find_map(|line| Some(line.split_once(':')?.1.strip_prefix(prefix)?.to_owned()))
    };
    find(if is_unified() { ":" } else { "name=systemd:" }).unwrap()
}

fn await_gone(unit: &str) {
    eventually(&format!("{unit} goes"), || {
        (property(unit, "LoadState") == "not-found").then_some(())
    });
}

/// husk with a system bus at this address.
fn with_bus(bundle: &Bundle, address: &str, line: &str) -> Told {
    let mut command = bundle.command();
    command.env("DBUS_SYSTEM_BUS_ADDRESS", address);
    let words = line.split_whitespace();
    told(&mut command, words.map(|word| if word == "ID" { bundle.id() } else { word }))
}

#[test]
fn without_a_bus_the_error_says_what_was_tried_and_what_to_do() {
    let bundle = Bundle::new(SLEEP);
    let address = format!("unix:path={}/nothing", bundle.path().display());
    let told = with_bus(&bundle, &address, "--systemd-cgroup create ID");
    let told = told.fails(1, "cannot reach systemd: connect /");
    assert!(told.err.contains("/nothing: no such file or directory"), "{told:?}");
    assert!(told.err.contains("cgroupfs"), "{told:?}");
    bundle.assert_gone();
}

/// As long as the deadline of an operation, half a minute.
#[test]
fn a_bus_that_never_answers_is_given_up() {
    // Once is enough.
    if has_systemd() {
        return;
    }
    let directory = scratch();
    let path = directory.path().join("bus");
    let _silent = UnixListener::bind(&path).unwrap();
    let bundle = Bundle::new(SLEEP);
    let address = format!("unix:path={}", path.display());
    let told = with_bus(&bundle, &address, "--systemd-cgroup create ID");
    told.fails(1, "systemd did not answer on the system bus (").code(1);
    bundle.assert_gone();
}

#[test]
fn a_bus_that_is_none_is_an_error() {
    use std::io::Write;
    let directory = scratch();
    for answer in ["REJECTED EXTERNAL\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n", ""] {
        let path = directory.path().join(format!("bus{}", answer.len()));
        let listener = UnixListener::bind(&path).unwrap();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let bundle = Bundle::new(SLEEP);
        let address = format!("unix:path={}", path.display());
        let told = with_bus(&bundle, &address, "--systemd-cgroup create ID").code(1);
        assert!(told.err.contains("the system bus ("), "{answer:?}: {told:?}");
        served.join().unwrap();
        bundle.assert_gone();
    }
}

#[test]
fn names_and_annotations_are_checked_before_anything_is_done() {
    for (pointer, value, words) in [
        ("/linux/cgroupsPath", "/a/b", "slice:prefix:name"),
        ("/linux/cgroupsPath", "x:y:z", "invalid slice name: x"),
        ("/annotations/org.systemd.property.ExecStart", "'/bin/sh'", "may set"),
        ("/annotations/org.systemd.property.After", "nothing", "unknown word"),
        ("/annotations/run.oci.systemd.subgroup", "../x", "no name of a cgroup"),
    ] {
        let bundle = Bundle::with(SLEEP, |config| {
            config["annotations"] = json!({});
            match pointer.strip_prefix("/annotations/") {
                Some(key) => config["annotations"][key] = value.into(),
                None => config["linux"]["cgroupsPath"] = value.into(),
            }
        });
        by_systemd(&bundle, "create ID");
        let message = fs::read_to_string(bundle.path().join("err")).unwrap();
        assert!(message.contains(words), "{words}: {message}");
        bundle.assert_gone();
    }
}

#[test]
fn without_a_manager_the_container_stays_in_the_group_of_its_creator() {
    let bundle = Bundle::new(SLEEP);
    bundle.detached("--cgroup-manager=disabled run -d ID").code(0);
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let theirs = fs::read_to_string(format!("/proc/{}/cgroup", pid(&bundle))).unwrap();
    assert!(!theirs.contains(bundle.id()), "{theirs}");
    // systemd moves services on v1 when their neighbours come and go.
    if !has_systemd() {
        assert_eq!(theirs, own);
    }
    bundle.line("exec ID true").code(0);
    bundle.line("pause ID").code(1);
    bundle.line("delete --force ID").code(0);
    let limited = Bundle::with(SLEEP, |config| {
        config["linux"]["resources"] = json!({ "pids": { "limit": 5 } });
    });
    limited
        .line("--cgroup-manager=disabled create ID")
        .fails(1, "limits are asked for, but cgroups are disabled");
    limited
        .line("--cgroup-manager=other create ID")
        .fails(1, "--cgroup-manager is not cgroupfs, systemd or disabled");
    limited
        .line("--systemd-cgroup --cgroup-manager cgroupfs create ID")
        .fails(1, "contradict each other");
}

#[test]
fn a_container_is_a_scope_from_create_to_delete() {
    let Some(_systemd) = systemd() else { return };
    let bundle = Bundle::new(SLEEP);
    by_systemd(&bundle, "create ID").code(0);
    let unit = scope(&bundle);
    assert_eq!(property(&unit, "ActiveState"), "active");
    assert_eq!(property(&unit, "Slice"), "system.slice");
    assert_eq!(property(&unit, "Delegate"), "yes");
    assert_eq!(property(&unit, "DefaultDependencies"), "no");
    assert_eq!(property(&unit, "Description"), format!("libcontainer container {}", bundle.id()));
    assert_eq!(group(pid(&bundle)), format!("/system.slice/{unit}"));
    bundle.line("start ID").code(0);
    bundle.await_status("running");
    // A further process, and its end.
    let told = bundle.line("exec ID cat /proc/self/cgroup").code(0);
    assert!(told.out.contains(&format!("/system.slice/{unit}")), "{told:?}");
    bundle.line("pause ID").code(0);
    bundle.await_status("paused");
    bundle.line("resume ID").code(0);
    bundle.await_status("running");
    let told = bundle.line("ps --format json ID").code(0);
    assert_eq!(told.out.trim(), format!("[{}]", pid(&bundle)));
    bundle.line("kill ID KILL").code(0);
    bundle.await_status("stopped");
    bundle.line("delete ID").code(0);
    await_gone(&unit);
    bundle.assert_gone();
}

#[test]
fn slices_lie_in_each_other() {
    let Some(_systemd) = systemd() else { return };
    for (index, (slice, path)) in [
        ("husktest-inner.slice", "/husktest.slice/husktest-inner.slice"),
        ("-.slice", ""),
        ("", "/system.slice"),
    ]
    .into_iter()
    .enumerate()
    {
        let bundle = Bundle::new(SLEEP);
        let name = format!("{}-{index}", bundle.id());
        let mut config = bundle.config(SLEEP);
        config["linux"]["cgroupsPath"] = format!("{slice}:pre:{name}").into();
        bundle.write(&config);
        by_systemd(&bundle, "run -d ID").code(0);
        assert_eq!(group(pid(&bundle)), format!("{path}/pre-{name}.scope"));
        bundle.line("delete --force ID").code(0);
        await_gone(&format!("pre-{name}.scope"));
    }
    systemctl(&["stop", "husktest.slice"]);
}

#[test]
fn a_slice_may_hold_the_container_itself() {
    let Some(_systemd) = systemd() else { return };
    let bundle = Bundle::new(SLEEP);
    let name = bundle.id().replace('-', "_");
    let mut config = bundle.config(SLEEP);
    config["linux"]["cgroupsPath"] = format!("::{name}.slice").into();
    bundle.write(&config);
    by_systemd(&bundle, "run -d ID").code(0);
    assert_eq!(group(pid(&bundle)), format!("/{name}.slice"));
    // Somebody else's slice is not entered.
    let other = Bundle::new(SLEEP);
    other.write(&config);
    let told = by_systemd(&other, "run -d ID");
    assert_eq!(told.code, Some(1));
    assert!(told.err.contains("container's cgroup is not empty"), "{told:?}");
    bundle.line("delete --force ID").code(0);
}

#[test]
fn limits_are_properties_and_files() {
    let Some(_systemd) = systemd() else { return };
    if !["memory", "cpu", "pids"].into_iter().all(has_controller) {
        return;
    }
    let bundle = running(|config| {
        config["linux"]["resources"] = json!({
            "memory": { "limit": 64 << 20 },
            "cpu": { "shares": 2048, "quota": 15_000, "period": 60_000 },
            "pids": { "limit": 20 },
        });
    });
    let unit = scope(&bundle);
    let memory = if is_unified() { "MemoryMax" } else { "MemoryLimit" };
    assert_eq!(property(&unit, memory), (64 << 20).to_string());
    assert_eq!(property(&unit, "TasksMax"), "20");
    assert_eq!(property(&unit, "CPUQuotaPerSecUSec"), "250ms");
    assert_eq!(property(&unit, "CPUQuotaPeriodUSec"), "60ms");
    if is_unified() {
        assert_eq!(property(&unit, "CPUWeight"), "174");
    } else {
        assert_eq!(property(&unit, "CPUShares"), "2048");
    }
    let value = |controller, v1, v2| cgroups::value(pid(&bundle), controller, v1, v2);
    assert_eq!(value("memory", "memory.limit_in_bytes", "memory.max"), (64 << 20).to_string());
    assert_eq!(value("pids", "pids.max", "pids.max"), "20");
    bundle.line("update --pids-limit 33 --memory 50331648 ID").code(0);
    assert_eq!(property(&unit, "TasksMax"), "33");
    assert_eq!(property(&unit, memory), "50331648");
    assert_eq!(value("pids", "pids.max", "pids.max"), "33");
    // What is not given stays, and so it does when systemd reads everything again.
    bundle.line("update --cpu-quota 30000 ID").code(0);
    assert_eq!(property(&unit, "CPUQuotaPerSecUSec"), "500ms");
    systemctl(&["daemon-reload"]);
    assert_eq!(value("pids", "pids.max", "pids.max"), "33");
    assert_eq!(value("memory", "memory.limit_in_bytes", "memory.max"), "50331648");
    assert_eq!(property(&unit, "TasksMax"), "33");
}

/// systemd would set it, and the kernel end the container.
#[test]
fn a_limit_below_the_usage_is_refused_before_systemd_is_asked() {
    let Some(_systemd) = systemd() else { return };
    if !has_controller("memory") {
        return;
    }
    let bundle = running(|config| {
        config["linux"]["resources"] = json!({ "memory": { "limit": 64 << 20 } });
    });
    let (unit, first) = (scope(&bundle), pid(&bundle));
    let limits = scratch();
    let file = limits.path().join("limits.json");
    fs::write(&file, r#"{"memory":{"limit":4096,"checkBeforeUpdate":true}}"#).unwrap();
    let told = bundle.line(&format!("update -r {} ID", file.display()));
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.err.contains("rejecting memory limit 4096 <= usage"), "{told:?}");
    assert!(!told.err.contains("not all set again"), "{told:?}");
    assert_eq!(pid(&bundle), first);
    let memory = if is_unified() { "MemoryMax" } else { "MemoryLimit" };
    assert_eq!(property(&unit, memory), (64 << 20).to_string());
    bundle.line("exec ID true").code(0);
}

/// A megabyte is enough: the limit holds only when the process has set itself up.
#[test]
fn a_small_limit_of_tasks_does_not_hinder_the_creation() {
    let Some(_systemd) = systemd() else { return };
    if !has_controller("pids") {
        return;
    }
    let bundle = running(|config| {
        config["linux"]["resources"] = json!({ "pids": { "limit": 1 } });
    });
    assert_eq!(property(&scope(&bundle), "TasksMax"), "1");
    assert_eq!(cgroups::value(pid(&bundle), "pids", "pids.max", "pids.max"), "1");
}

/// The driver may be missing behind a node: then opening it fails with another error.
#[test]
fn device_rules_survive_a_reload_of_systemd() {
    let Some(_systemd) = systemd() else { return };
    const REFUSED: &str = "Operation not permitted";
    let bundle = running(|config| {
        let node = |path: &str, minor: u32, major: u32| json!({ "path": path, "type": "c", "major": major, "minor": minor, "fileMode": 438 });
        config["linux"]["devices"] =
            json!([node("/dev/allowed", 237, 10), node("/dev/denied", 238, 10)]);
        config["linux"]["resources"] = json!({ "devices": [
            { "allow": false, "access": "rwm" },
            { "allow": true, "type": "c", "major": 10, "minor": 237, "access": "rw" },
        ]});
    });
    let open = |path: &str| bundle.husk(["exec", "ID", "sh", "-c", &format!("exec 3< {path}")]).err;
    for round in ["before", "after a reload", "after two"] {
        assert!(!open("/dev/allowed").contains(REFUSED), "{round}: {}", open("/dev/allowed"));
        assert!(open("/dev/denied").contains(REFUSED), "{round}: {}", open("/dev/denied"));
        assert_eq!(open("/dev/null"), "", "{round}");
        systemctl(&["daemon-reload"]);
    }
    let unit = scope(&bundle);
    assert_eq!(property(&unit, "DevicePolicy"), "strict");
    let allowed = property(&unit, "DeviceAllow");
    assert!(allowed.contains("/dev/char/10:237 rw"), "{allowed}");
}

#[test]
fn annotations_are_properties() {
    let Some(_systemd) = systemd() else { return };
    let bundle = running(|config| {
        config["annotations"] = json!({
            "org.systemd.property.TimeoutStopSec": "uint32 7",
            "org.systemd.property.CollectMode": "'inactive-or-failed'",
            "org.systemd.property.After": "['dbus.service']",
            "org.systemd.property.TasksMax": "uint64 77",
        });
    });
    let unit = scope(&bundle);
    assert_eq!(property(&unit, "TimeoutStopUSec"), "7s");
    assert_eq!(property(&unit, "CollectMode"), "inactive-or-failed");
    assert!(property(&unit, "After").contains("dbus.service"));
    assert_eq!(property(&unit, "TasksMax"), "77");
    if has_controller("pids") {
        assert_eq!(cgroups::value(pid(&bundle), "pids", "pids.max", "pids.max"), "77");
    }
}

#[test]
fn a_unit_that_is_gone_does_not_keep_the_container() {
    let Some(_systemd) = systemd() else { return };
    let bundle = running(|_| {});
    // The first process of a pid namespace does not hear the signal of a stop.
    systemctl(&["kill", "--signal=SIGKILL", &scope(&bundle)]);
    bundle.await_status("stopped");
    bundle.line("delete ID").code(0);
    await_gone(&scope(&bundle));
    bundle.assert_gone();
    // systemd cannot be reached at all.
    let bundle = running(|_| {});
    let told = with_bus(&bundle, "unix:path=/nonexistent/bus", "delete --force ID").code(0);
    assert!(told.err.contains("cannot reach systemd"), "{told:?}");
    bundle.assert_gone();
    // On v1 nobody may have told systemd that the unit's last process has ended.
    let mut stop = Command::new("systemctl");
    support::told(stop.stdin(Stdio::null()), ["stop", &scope(&bundle)]);
    await_gone(&scope(&bundle));
}

#[test]
fn another_start_of_systemd_changes_nothing() {
    if !has_systemd() {
        return;
    }
    let _alone = SYSTEMD.write().unwrap_or_else(PoisonError::into_inner);
    let bundle = running(|_| {});
    let unit = scope(&bundle);
    let own = group(pid(&bundle));
    systemctl(&["daemon-reexec"]);
    assert_eq!(property(&unit, "ActiveState"), "active");
    bundle.await_status("running");
    let told = bundle.line("exec ID cat /proc/self/cgroup").code(0);
    assert!(told.out.contains(&own), "{told:?}");
    bundle.line("delete --force ID").code(0);
    await_gone(&unit);
}

#[test]
fn a_failed_creation_leaves_no_unit() {
    let Some(_systemd) = systemd() else { return };
    let bundle = Bundle::with(&["/no/such/program"], |_| {});
    assert_eq!(by_systemd(&bundle, "run -d ID").code, Some(1));
    bundle.assert_gone();
    await_gone(&scope(&bundle));
}

#[test]
fn root_needs_no_message_bus() {
    let Some(_systemd) = systemd() else { return };
    let bundle = Bundle::new(SLEEP);
    let husk = bundle.command();
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--",
        "sh",
        "-c",
        "mount -t tmpfs none /run/dbus && exec \"$@\"",
        "sh",
    ]);
    command.arg(husk.get_program()).args(husk.get_args()).current_dir(bundle.path());
    let out = (bundle.path().join("out"), bundle.path().join("err"));
    command.args(["--systemd-cgroup", "run", "-d", bundle.id()]).stdin(Stdio::null());
    support::told_in(&mut command, &out.0, &out.1).code(0);
    assert_eq!(property(&scope(&bundle), "ActiveState"), "active");
}

/// The unit ends with the container that was saved; the restored one has another of the same name.
#[test]
fn a_restored_container_is_a_scope_again() {
    let Some(_systemd) = systemd() else { return };
    let Some(criu) = support::criu() else { return };
    let script = "i=0; while :; do i=$((i+1)); printf '%08d\\n' $i 1<>/count; sleep 0.05; done";
    let bundle = Bundle::with(&["sh", "-c", script], |config| {
        if has_controller("pids") {
            config["linux"]["resources"] = json!({"pids": {"limit": 64}});
        }
    });
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", criu.display());
    let silent = |line: &str| {
        let log = bundle.path().join("log");
        let mut command = bundle.command();
        command.env("PATH", &path).arg("--log").arg(&log).arg("--systemd-cgroup");
        let words = line.split_whitespace();
        command.args(words.map(|word| if word == "ID" { bundle.id() } else { word }));
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        let log = fs::read_to_string(log).unwrap_or_default();
        assert!(status.success(), "{line}: {log}");
    };
    let counted = || -> Option<u64> {
        fs::read_to_string(bundle.rootfs().join("count")).ok()?.trim().parse().ok()
    };
    silent("run -d ID");
    let before = eventually("it counts", counted);
    let first = group(pid(&bundle));
    silent("checkpoint --image-path images --manage-cgroups-mode ignore ID");
    bundle.assert_gone();
    await_gone(&scope(&bundle));
    silent("restore -d --image-path images --manage-cgroups-mode ignore ID");
    eventually("it counts on", || counted().filter(|count| *count > before));
    assert_eq!(property(&scope(&bundle), "ActiveState"), "active");
    assert_eq!(group(pid(&bundle)), first);
    if has_controller("pids") {
        assert_eq!(property(&scope(&bundle), "TasksMax"), "64");
    }
    by_systemd(&bundle, "delete --force ID").code(0);
    await_gone(&scope(&bundle));
}

#[test]
fn groups_below_that_of_the_unit() {
    let Some(_systemd) = systemd() else { return };
    if !is_unified() {
        return;
    }
    let bundle = running(|config| {
        config["annotations"] =
            json!({ "run.oci.systemd.subgroup": "container", "run.oci.delegate-cgroup": "mine" });
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.push(json!({ "type": "cgroup" }));
    });
    let unit = scope(&bundle);
    let own = format!("/system.slice/{unit}/container/mine");
    assert_eq!(group(pid(&bundle)), own);
    // The namespace's top is the group in which limits are.
    let told = bundle.line("exec ID cat /proc/1/cgroup").code(0);
    assert!(told.out.lines().any(|line| line == "0::/mine"), "{told:?}");
    bundle.line("delete --force ID").code(0);
    await_gone(&unit);
    bundle.assert_gone();
}

/// The bundle, the state and a copy of the program as an ordinary user has them.
fn user_command(bundle: &Bundle, program: &Path, runtime: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=user", "--regid=user", "--clear-groups"]).stdin(Stdio::null());
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("XDG_RUNTIME_DIR", runtime);
    command.arg(program).arg("--systemd-cgroup").current_dir(bundle.path());
    command
}

#[test]
fn an_ordinary_user_has_a_systemd_too() {
    let Some(_systemd) = systemd() else { return };
    if !is_unified() {
        return;
    }
    let uid: u32 = told(Command::new("id").stdin(Stdio::null()), ["-u", "user"])
        .code(0)
        .out
        .trim()
        .parse()
        .unwrap();
    systemctl(&["start", &format!("user@{uid}.service")]);
    let runtime = format!("/run/user/{uid}");
    eventually("the user's bus", || PathBuf::from(&runtime).join("bus").exists().then_some(()));
    let bundle = Bundle::with(SLEEP, |config| {
        let mapping = json!([{ "containerID": 0, "hostID": uid, "size": 1 }]);
        config["linux"]["uidMappings"] = mapping.clone();
        config["linux"]["gidMappings"] = mapping;
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
    });
    let home = scratch();
    let program = home.path().join("husk");
    support::copy_program(support::program(), &program);
    for path in [home.path(), bundle.path()] {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let husk = |line: &str| {
        let mut command = user_command(&bundle, &program, &runtime);
        command.args(
            line.split_whitespace().map(|word| if word == "ID" { bundle.id() } else { word }),
        );
        let files = scratch();
        support::told_in(&mut command, &files.path().join("out"), &files.path().join("err"))
    };
    husk("run -d ID").code(0);
    let state: Value = serde_json::from_str(&husk("state ID").code(0).out).unwrap();
    let pid = state["pid"].as_u64().unwrap() as u32;
    let expected =
        format!("/user.slice/user-{uid}.slice/user@{uid}.service/user.slice/{}", scope(&bundle));
    assert_eq!(group(pid), expected);
    // From outside of the user's own groups only systemd can bring a process there.
    let told = husk("exec ID cat /proc/self/cgroup").code(0);
    assert!(told.out.contains(&scope(&bundle)), "{told:?}");
    husk("pause ID").code(0);
    husk("resume ID").code(0);
    husk("delete --force ID").code(0);
    assert!(!Path::new("/sys/fs/cgroup").join(&expected[1..]).exists());
}
