//! Containers of an ordinary user, in a user namespace.
#![allow(missing_docs)]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::{Bundle, Told, copy_program, scratch, told};
use tempfile::TempDir;

const USER: u32 = 1000;

/// What an ordinary user has: a copy of the program, a runtime directory, a bundle.
struct Home {
    directory: TempDir,
    bundle: Bundle,
}

impl Home {
    fn new(script: &str) -> Self {
        let directory = scratch();
        let bundle = Bundle::with(&["sh", "-c", script], make_rootless);
        let home = Self { directory, bundle };
        let open = Permissions::from_mode(0o755);
        for path in [home.directory.path(), home.bundle.path()] {
            fs::set_permissions(path, open.clone()).unwrap();
        }
        copy_program(support::program(), home.program());
        fs::create_dir(home.runtime_dir()).unwrap();
        chown(home.runtime_dir(), Some(USER), Some(USER)).unwrap();
        home
    }

    fn program(&self) -> PathBuf {
        self.directory.path().join("husk")
    }

    fn runtime_dir(&self) -> PathBuf {
        self.directory.path().join("run")
    }

    /// The program as the user, without `--root`.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
        command.env("XDG_RUNTIME_DIR", self.runtime_dir()).current_dir(self.bundle.path());
        let (uid, gid) = (format!("--reuid={USER}"), format!("--regid={USER}"));
        command.args([uid, gid, "--clear-groups".into()]);
        command.arg(self.directory.path().join(program));
        command
    }

    fn husk(&self, line: &str) -> Told {
        let words = line.split_whitespace();
        let words = words.map(|word| if word == "ID" { self.bundle.id() } else { word });
        told(&mut self.command("husk"), words)
    }
}

fn make_rootless(config: &mut Value) {
    let mapping = json!([{ "containerID": 0, "hostID": USER, "size": 1 }]);
    config["linux"]["uidMappings"] = mapping.clone();
    config["linux"]["gidMappings"] = mapping;
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
}

#[test]
fn an_ordinary_user_runs_a_container_as_its_root() {
    let home = Home::new("id -u; cat /proc/self/uid_map; ls /; exit 4");
    let told = home.husk("run ID").code(4);
    let lines: Vec<&str> = told.out.lines().collect();
    assert_eq!(lines[0], "0", "{told:?}");
    assert_eq!(lines[1].split_whitespace().collect::<Vec<_>>(), ["0", "1000", "1"]);
    assert!(told.out.contains("proc"), "{told:?}");
    home.bundle.assert_gone();
}

#[test]
fn state_lies_below_the_runtime_directory_and_is_kept_from_cleaners() {
    let home = Home::new("sleep 1000");
    home.husk("create ID").code(0);
    let root = home.runtime_dir().join("husk");
    assert!(root.join(home.bundle.id()).is_dir());
    assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o7777, 0o1700);
    assert_eq!(home.husk("list -q").code(0).out, format!("{}\n", home.bundle.id()));
    // Under the name runc it is another place.
    symlink("husk", home.directory.path().join("runc")).unwrap();
    assert_eq!(told(&mut home.command("runc"), ["list", "-q"]).code(0).out, "");
    home.husk("start ID").code(0);
    home.husk("exec ID true").code(0);
    assert_eq!(home.husk("exec ID id -u").code(0).out, "0\n");
    home.husk("kill ID KILL").code(0);
    home.husk("delete --force ID").code(0);
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
    home.bundle.assert_gone();
}

/// What `exec` starts there sees the process that waits, which is the caller's: its program is another file than the
/// caller's own, which the container's root may write to, and no descriptor of it leads out.
#[test]
fn a_created_container_can_be_joined() {
    const LOOK: &str = "id -u; busybox stat -L -c %d:%i /proc/1/exe; (: >> /proc/1/exe) 2>/dev/null && echo written; \
        ls -id / /proc/1/root/ /proc/1/cwd/ | sed 's/ .*//' | sort -u | wc -l; \
        for f in /proc/1/fd/*; do test -d $f/ && echo $f; done; true";
    let home = Home::new("echo started > /result");
    chown(home.program(), Some(USER), Some(USER)).unwrap();
    home.husk("create ID").code(0);
    let told =
        told(&mut home.command("husk"), ["exec", home.bundle.id(), "sh", "-c", LOOK]).code(0);
    let lines: Vec<&str> = told.out.lines().collect();
    assert_eq!((lines[0], lines[2], lines.len()), ("0", "1", 3), "{told:?}");
    let own = fs::metadata(home.program()).unwrap();
    assert_ne!(lines[1], format!("{}:{}", own.dev(), own.ino()));
    assert!(home.husk("state ID").code(0).out.contains("\"created\""));
    home.husk("start ID").code(0);
    home.husk("delete --force ID").code(0);
    home.bundle.assert_gone();
}

#[test]
fn without_a_user_namespace_an_ordinary_user_is_refused() {
    let home = Home::new("true");
    home.bundle.write(&home.bundle.config(&["true"]));
    let told = home.husk("run ID").code(1);
    assert!(told.err.contains("husk run failed: "), "{told:?}");
    home.bundle.assert_gone();
}

#[test]
fn a_terminal_belongs_to_root_of_the_namespace() {
    const LOOK: &str = "busybox tty; stat -c %u:%t:%T /dev/console; echo mine > /dev/tty";
    let home = Home::new("");
    let mut config = home.bundle.config(&["sh", "-c", LOOK]);
    make_rootless(&mut config);
    config["process"]["terminal"] = json!(true);
    config["mounts"].as_array_mut().unwrap().push(json!({
        "destination": "/dev/pts", "type": "devpts", "source": "devpts",
        "options": ["newinstance", "ptmxmode=0666", "mode=0620"],
    }));
    home.bundle.write(&config);
    assert_eq!(home.husk("run ID").code(0).out, "/dev/pts/0\n0:88:0\nmine\n");
    home.bundle.assert_gone();
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["sleep", "1000"]);
    home.bundle.write(&config);
    home.husk("run -d ID").code(0);
    assert_eq!(home.husk("exec -t ID busybox tty").code(0).out, "/dev/pts/0\n");
    home.husk("delete --force ID").code(0);
}

/// As a login would have it: a name, and ids of others that the user may map.
const LOGIN: &str = "for f in passwd subuid subgid; do cp /etc/$f $1/$f && \
    mount --bind $1/$f /etc/$f || exit 99; done; \
    echo husker:x:1000:1000::/:/bin/sh >> $1/passwd; \
    for f in subuid subgid; do echo husker:300000:65536 > $1/$f; done; shift; exec \"$@\"";

impl Home {
    /// The bundle belongs to the user as well.
    fn owned(self) -> Self {
        for path in [self.bundle.path().to_owned(), self.bundle.rootfs()] {
            chown(path, Some(USER), Some(USER)).unwrap();
        }
        self
    }

    /// Runs `script` as root before the user's command, which are its arguments.
    fn prepared(&self, script: &str, parameter: &Path, line: &str) -> Told {
        let user = self.command("husk");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]);
        command.arg(parameter).arg(user.get_program()).args(user.get_args());
        command.env_clear().stdin(Stdio::null()).current_dir(self.bundle.path());
        command.envs(user.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let words = line.split_whitespace();
        told(&mut command, words.map(|word| if word == "ID" { self.bundle.id() } else { word }))
    }

    fn change(&self, change: impl FnOnce(&mut Value)) {
        let path = self.bundle.path().join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        change(&mut config);
        self.bundle.write(&config);
    }
}

#[test]
fn the_configuration_for_ordinary_users_runs_as_it_is() {
    let home = Home::new("").owned();
    fs::remove_file(home.bundle.path().join("config.json")).unwrap();
    home.husk("spec --rootless").code(0);
    let keys = home.directory.path().join("keys");
    fs::write(&keys, "cat /proc/self/uid_map; exit 7\n").unwrap();
    let mut command = home.command("husk");
    command.stdin(fs::File::open(keys).unwrap());
    let told = told(&mut command, ["run", home.bundle.id()]).code(7);
    let map: Vec<&str> =
        told.out.lines().rfind(|line| line.contains("1000")).unwrap().split_whitespace().collect();
    assert_eq!(map, ["0", "1000", "1"], "{told:?}");
    // Whatever it sees of cgroups, it cannot write there (CVE-2023-25809).
    let look = "touch /sys/fs/cgroup/x; for d in /sys/fs/cgroup /sys/fs/cgroup/*; do \
                [ -e $d/cgroup.procs ] && echo 0 > $d/cgroup.procs; done; echo seen";
    home.change(|config| {
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(["sh", "-c", look]);
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "cgroup");
    });
    let told = home.husk("run ID").code(0);
    let refusals = told.err.matches("Read-only file system").count();
    assert!(told.out == "seen\n" && refusals >= 2, "{told:?}");
    home.bundle.assert_gone();
}

#[test]
fn errors_of_missing_rights_are_tolerated_where_that_is_asked_for() {
    let home = Home::new("true");
    for tolerant in ["--rootless true run ID", "--rootless=auto run ID", "run ID"] {
        home.husk(tolerant).code(0);
    }
    home.husk("--rootless false run ID")
        .fails(1, "unable to apply cgroup configuration: mkdir /sys/fs/cgroup/");
    home.bundle.assert_gone();
}

#[test]
fn what_an_ordinary_user_may_not_have_is_named() {
    let home = Home::new("true");
    let whole = fs::read(home.bundle.path().join("config.json")).unwrap();
    let refused = |words: &str, change: fn(&mut Value)| {
        fs::write(home.bundle.path().join("config.json"), &whole).unwrap();
        home.change(change);
        home.husk("run ID").fails(1, words);
        home.bundle.assert_gone();
    };
    refused("rootless container requires user namespaces", |config| {
        let linux = config["linux"].as_object_mut().unwrap();
        linux.remove("uidMappings");
        linux.remove("gidMappings");
        let namespaces = linux["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "user");
    });
    refused("no namespace path or uid mappings specified", |config| {
        config["linux"].as_object_mut().unwrap().remove("uidMappings");
    });
    refused("cannot set any additional groups in a rootless container", |config| {
        config["process"]["user"]["additionalGids"] = json!([5]);
    });
    refused("id 5 is not mapped in the user namespace", |config| {
        config["process"]["user"]["uid"] = json!(5);
    });
    refused("write uid_map: operation not permitted", |config| {
        config["linux"]["uidMappings"] =
            json!([{ "containerID": 0, "hostID": 777_777, "size": 9 }]);
    });
    refused("unable to apply cgroup configuration: mkdir", |config| {
        config["linux"]["cgroupsPath"] = json!("/husk-test-nobody-may-make-this");
    });
    refused("network devices are not supported for rootless containers", |config| {
        config["linux"]["netDevices"] = json!({ "husk-none9": {} });
    });
    // A limit cannot be kept without a group.
    if support::cgroups::has_controller("pids") {
        let words = match support::cgroups::is_v1("pids") {
            true => "cannot set pids limit: container could not join or create cgroup",
            false => "rootless needs no limits + no cgrouppath when no permission is granted",
        };
        refused(words, |config| {
            config["linux"]["resources"]["pids"]["limit"] = json!(10);
        });
    }
}

#[test]
fn ids_of_others_are_mapped_by_the_programs_for_that() {
    let home = Home::new("id -G; cat /proc/self/uid_map; cat /proc/self/setgroups");
    home.change(|config| {
        let mapping = json!([
            { "containerID": 0, "hostID": USER, "size": 1 },
            { "containerID": 1, "hostID": 300_000, "size": 65536 },
        ]);
        config["linux"]["uidMappings"] = mapping.clone();
        config["linux"]["gidMappings"] = mapping;
        config["process"]["user"]["additionalGids"] = json!([5, 7]);
    });
    let told = home.prepared(LOGIN, home.directory.path(), "run ID").code(0);
    let lines: Vec<Vec<&str>> =
        told.out.lines().map(|line| line.split_whitespace().collect()).collect();
    let expected: [&[&str]; 4] =
        [&["0", "5", "7"], &["0", "1000", "1"], &["1", "300000", "65536"], &["allow"]];
    assert_eq!(lines, expected, "{told:?}");
    // As another user of the container, by exec, also before it starts.
    home.change(|config| {
        config["process"]["args"] = json!(["sleep", "1000"]);
        config["process"]["user"]["uid"] = json!(5);
    });
    home.prepared(LOGIN, home.directory.path(), "create ID").code(0);
    assert_eq!(home.husk("exec -u 33:33 ID id -u").code(0).out, "33\n");
    home.husk("start ID").code(0);
    assert_eq!(home.husk("exec -u 33:33 ID id -u").code(0).out, "33\n");
    home.husk("delete --force ID").code(0);
    home.bundle.assert_gone();
}

#[test]
fn a_container_without_groups_lives_and_ends() {
    let home = Home::new("sleep 1000");
    home.husk("create ID").code(0);
    home.husk("start ID").code(0);
    assert_eq!(home.husk("exec ID id -u").code(0).out, "0\n");
    let words = "cannot toggle freezer: cgroups not configured for container";
    home.husk("pause ID").fails(1, words);
    if support::cgroups::has_controller("pids") {
        let words = "cannot set pids limit: container could not join or create cgroup";
        home.husk("update --pids-limit 5 ID").fails(1, words);
    }
    home.husk("events --stats ID").code(0);
    home.husk("kill ID KILL").code(0);
    let state = || serde_json::from_str::<Value>(&home.husk("state ID").code(0).out).unwrap();
    support::eventually("the end", || (state()["status"] == "stopped").then_some(()));
    home.husk("delete ID").code(0);
    home.husk("state ID").fails(1, "container does not exist");
    home.bundle.assert_gone();
}

/// Groups that root has given to the user, with a place for the user's own processes: on v2 who
/// moves processes needs rights over a group above both ends.
struct Delegation {
    name: String,
    groups: Vec<PathBuf>,
}

impl Delegation {
    fn new(home: &Home) -> Self {
        let name = format!("{}-delegated", home.bundle.id());
        let mut groups = Vec::new();
        for mount in fs::read_to_string("/proc/self/mounts").unwrap().lines() {
            let fields: Vec<&str> = mount.split(' ').collect();
            let group = Path::new(fields[1]).join(&name);
            if !fields[2].starts_with("cgroup") || fs::create_dir(&group).is_err() {
                continue;
            }
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(all) = fs::read(Path::new(fields[1]).join(file)) {
                    fs::write(group.join(file), all).unwrap();
                }
            }
            fs::create_dir(group.join("user")).unwrap();
            for file in ["cpuset.cpus", "cpuset.mems"] {
                if let Ok(all) = fs::read(group.join(file)) {
                    fs::write(group.join("user").join(file), all).unwrap_or_default();
                }
            }
            let owned = Command::new("chown").args(["-R", "1000:1000"]).arg(&group).status();
            assert!(owned.unwrap().success());
            groups.push(group);
        }
        Self { name, groups }
    }

    /// Moves the shell into the user's places.
    fn script(&self) -> String {
        let moves =
            self.groups.iter().map(|g| format!("echo $$ > {}/user/cgroup.procs; ", g.display()));
        moves.chain(["shift; exec \"$@\"".to_owned()]).collect()
    }
}

impl Drop for Delegation {
    fn drop(&mut self) {
        for group in &self.groups {
            support::eventually("an empty group", || {
                fs::remove_dir(group.join("user"))
                    .ok()
                    .or_else(|| (!group.join("user").exists()).then_some(()))
            });
            fs::remove_dir(group).unwrap();
        }
    }
}

#[test]
fn delegated_groups_are_used() {
    let home = Home::new("sleep 1000");
    let delegation = Delegation::new(&home);
    let limits = support::cgroups::has_controller("pids");
    home.change(|config| {
        config["linux"]["cgroupsPath"] =
            json!(format!("/{}/{}", delegation.name, home.bundle.id()));
        if limits {
            config["linux"]["resources"] = json!({ "pids": { "limit": 50 } });
        }
    });
    let script = delegation.script();
    let husk = |line: &str| home.prepared(&script, Path::new("/"), line);
    husk("run -d ID").code(0);
    let state: Value = serde_json::from_str(&husk("state ID").code(0).out).unwrap();
    let pid = u32::try_from(state["pid"].as_u64().unwrap()).unwrap();
    if limits {
        assert_eq!(support::cgroups::value(pid, "pids", "pids.max", "pids.max"), "50");
        husk("update --pids-limit 40 ID").code(0);
        assert_eq!(support::cgroups::value(pid, "pids", "pids.max", "pids.max"), "40");
    }
    husk("pause ID").code(0);
    let state: Value = serde_json::from_str(&husk("state ID").code(0).out).unwrap();
    assert_eq!(state["status"], "paused");
    husk("resume ID").code(0);
    assert_eq!(husk("exec ID id -u").code(0).out, "0\n");
    assert!(husk("ps ID").code(0).out.contains("sleep 1000"));
    let stats: Value = serde_json::from_str(&husk("events --stats ID").code(0).out).unwrap();
    assert_eq!(stats["type"], "stats");
    husk("kill ID KILL").code(0);
    husk("delete --force ID").code(0);
    for group in &delegation.groups {
        assert!(!group.join(home.bundle.id()).exists(), "{}", group.display());
    }
}

/// Root of a user namespace is an ordinary user with many capabilities.
#[test]
fn root_of_a_user_namespace_runs_containers() {
    let home = Home::new("cat /proc/self/uid_map");
    let mapping = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
    home.change(|config| {
        config["linux"]["uidMappings"] = mapping.clone();
        config["linux"]["gidMappings"] = mapping;
    });
    let user = home.command("husk");
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={USER}"), format!("--regid={USER}"), "--clear-groups".into()]);
    command.args([
        "unshare",
        "--user",
        "--map-root-user",
        "--mount",
        "--pid",
        "--fork",
        "--mount-proc",
    ]);
    command.arg(home.program()).env_clear().stdin(Stdio::null()).current_dir(home.bundle.path());
    command.envs(user.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let told = told(&mut command, ["run", home.bundle.id()]).code(0);
    assert_eq!(told.out.split_whitespace().collect::<Vec<_>>(), ["0", "0", "1"], "{told:?}");
    home.bundle.assert_gone();
}

/// CRIU lacks rights that it needs; the container runs on.
#[test]
fn checkpoints_of_ordinary_users_are_refused_with_the_reason() {
    let Some(criu) = support::criu() else { return };
    let home = Home::new("sleep 1000");
    home.husk("run -d ID").code(0);
    let images = home.runtime_dir().join("images");
    let flags = format!("--manage-cgroups-mode ignore --image-path {} ID", images.display());
    let criu = format!("--criu {}/criu", criu.display());
    let told = home.husk(&format!("{criu} checkpoint {flags}"));
    let told = told.fails(1, "criu failed: type DUMP errno");
    assert!(told.err.contains("husk checkpoint is untested with rootless containers"), "{told:?}");
    assert!(home.husk("state ID").code(0).out.contains("\"running\""));
    home.husk("delete --force ID").code(0);
    let told = home.husk(&format!("{criu} restore -d {flags}"));
    let told = told.fails(1, "operation not permitted");
    assert!(told.err.contains("husk restore is untested with rootless containers"), "{told:?}");
    home.bundle.assert_gone();
}
