//! Units that are somebody else's: names are all that systemd has to tell them apart.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::support::{Bundle, eventually, told};
use super::{SLEEP, await_gone, by_systemd, group, is_unified, property, running, scope, systemd};

/// A scope of somebody else's, until it is dropped.
struct OtherUnit {
    name: String,
    process: std::process::Child,
}

impl OtherUnit {
    fn start(name: &str) -> OtherUnit {
        let mut command = Command::new("systemd-run");
        command.args(["--quiet", "--scope", "--unit", name, "sleep", "1000"]);
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        eventually("the other unit", || (property(name, "ActiveState") == "active").then_some(()));
        OtherUnit { name: name.to_owned(), process }
    }

    fn assert_runs(&mut self) {
        assert!(self.process.try_wait().unwrap().is_none());
        assert_eq!(property(&self.name, "ActiveState"), "active");
        assert_eq!(group(self.process.id()), format!("/system.slice/{}", self.name));
    }
}

impl Drop for OtherUnit {
    fn drop(&mut self) {
        let mut stop = Command::new("systemctl");
        told(stop.stdin(Stdio::null()), ["stop", &self.name]);
        self.process.wait().unwrap();
    }
}

#[test]
fn a_unit_of_that_name_is_left_alone() {
    let Some(_systemd) = systemd() else { return };
    let bundle = Bundle::new(SLEEP);
    let mut other = OtherUnit::start(&scope(&bundle));
    by_systemd(&bundle, "run -d ID").fails(1, "container's cgroup is not empty: 1 process");
    other.assert_runs();
    drop(other);
    bundle.assert_gone();
    by_systemd(&bundle, "run -d ID").code(0);
}

/// systemd would remove the group with the unit, and the next attempt find none.
#[test]
fn a_frozen_group_is_refused_and_stays() {
    let Some(_systemd) = systemd() else { return };
    let bundle = Bundle::new(SLEEP);
    let (top, file, frozen) = match is_unified() {
        true => ("/sys/fs/cgroup", "cgroup.freeze", "1"),
        false => ("/sys/fs/cgroup/freezer", "freezer.state", "FROZEN"),
    };
    let group = Path::new(top).join("system.slice").join(scope(&bundle));
    fs::create_dir_all(&group).unwrap();
    fs::write(group.join(file), frozen).unwrap();
    for _ in 0..2 {
        by_systemd(&bundle, "run -d ID").fails(1, "container's cgroup unexpectedly frozen");
        assert!(group.is_dir());
    }
    fs::remove_dir(&group).unwrap();
}

/// The creator waits for a bus that is silent, with the container's process there and recorded.
#[test]
fn a_creator_killed_before_its_unit_started_does_not_make_anothers_unit_its_own() {
    let Some(_systemd) = systemd() else { return };
    let bundle = Bundle::new(SLEEP);
    let silent = bundle.path().join("bus");
    let _silent = UnixListener::bind(&silent).unwrap();
    let mut creator = bundle.command();
    creator.env("DBUS_SYSTEM_BUS_ADDRESS", format!("unix:path={}", silent.display()));
    creator.args(["--systemd-cgroup", "create", bundle.id()]);
    let mut creator = creator.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let state = bundle.path().join("state").join(bundle.id()).join("state.json");
    eventually("the process is recorded", || {
        let state: Value = serde_json::from_slice(&fs::read(&state).ok()?).ok()?;
        state["init"].is_object().then_some(())
    });
    creator.kill().unwrap();
    creator.wait().unwrap();
    let mut other = OtherUnit::start(&scope(&bundle));
    let told = bundle.line("delete --force ID").code(0);
    assert!(told.err.contains("belongs to somebody else now"), "{told:?}");
    other.assert_runs();
    drop(other);
    bundle.assert_gone();
}

#[test]
fn the_unit_of_a_later_container_of_that_name_is_not_ended() {
    let Some(_systemd) = systemd() else { return };
    let bundle = running(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "pid");
    });
    bundle.line("kill ID KILL").code(0);
    bundle.await_status("stopped");
    // On v1 nobody may have told systemd of the end.
    let mut stop = Command::new("systemctl");
    told(stop.stdin(Stdio::null()), ["stop", &scope(&bundle)]);
    await_gone(&scope(&bundle));
    let mut other = OtherUnit::start(&scope(&bundle));
    bundle.line("kill ID KILL").fails(1, "container not running");
    bundle.line("kill --all ID KILL").code(0);
    other.assert_runs();
    let told = bundle.line("delete ID").code(0);
    assert!(told.err.contains("belongs to somebody else now"), "{told:?}");
    other.assert_runs();
    drop(other);
    remove_taken(&scope(&bundle));
    bundle.assert_gone();
}

/// On v1 systemd takes groups that were left for its own unit of that name, and then leaves them.
fn remove_taken(scope: &str) {
    if is_unified() {
        return;
    }
    for hierarchy in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        let group = hierarchy.path().join("system.slice").join(scope);
        eventually("the group goes", || {
            (fs::remove_dir(&group).is_ok() || !group.is_dir()).then_some(())
        });
    }
}
