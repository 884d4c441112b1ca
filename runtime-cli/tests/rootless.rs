//! Containers of an ordinary user, in a user namespace.
#![allow(missing_docs)]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::PathBuf;
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
