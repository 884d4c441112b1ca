//! NOTIFY_SOCKET: readiness of containers, told to a service manager.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use support::{Bundle, scratch};

/// Says this in the manner of sd_notify(3), and then lives on.
const READY: &str = "sleep 0; /usr/bin/perl -MSocket -e '\
    socket(S, AF_UNIX, SOCK_DGRAM, 0) or die $!; \
    for my $said (\"STATUS=busy\\n\", \"STATUS=up\\nREADY=1\\nMAINPID=1\", \"STOPPING=1\\n\") { \
        send(S, $said, 0, pack_sockaddr_un($ENV{NOTIFY_SOCKET})) or die $!; \
    }'; echo $NOTIFY_SOCKET; echo $?; exec sleep 1000";

/// A bundle that has the machine's perl, which can send datagrams.
fn bundle(script: &str, change: impl FnOnce(&mut Value)) -> Bundle {
    let bundle = Bundle::with(&["sh", "-c", script], |config| {
        config["mounts"].as_array_mut().unwrap().push(json!({
            "destination": "/usr", "type": "bind", "source": "/usr", "options": ["rbind", "ro"],
        }));
        change(config);
    });
    // Root of a user namespace could not make them in the host's directory.
    for name in ["usr", "run/notify"] {
        fs::create_dir_all(bundle.rootfs().join(name)).unwrap();
    }
    for name in ["lib", "lib64"] {
        symlink(format!("usr/{name}"), bundle.rootfs().join(name)).unwrap();
    }
    fs::set_permissions(bundle.path(), fs::Permissions::from_mode(0o755)).unwrap();
    bundle
}

/// A service manager.
struct Manager {
    socket: UnixDatagram,
    directory: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let directory = scratch();
        let socket = UnixDatagram::bind(directory.path().join("manager")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { socket, directory }
    }

    fn command(&self, bundle: &Bundle, arguments: &[&str]) -> Command {
        let mut command = bundle.command();
        command.args(arguments).arg(bundle.id());
        command.env("NOTIFY_SOCKET", self.directory.path().join("manager"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// The next datagram. A descriptor that comes with it is closed.
    #[track_caller]
    fn told(&self) -> String {
        let mut packet = [0; 100];
        let length = self.socket.recv(&mut packet).expect("a datagram");
        String::from_utf8_lossy(&packet[..length]).into_owned()
    }

    #[track_caller]
    fn told_nothing(&self) {
        self.socket.set_nonblocking(true).unwrap();
        let error = self.socket.recv(&mut [0; 100]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }
}

fn pid(bundle: &Bundle) -> String {
    bundle.state()["pid"].to_string()
}

#[test]
fn start_waits_until_the_container_is_ready() {
    let bundle = bundle(READY, |_| {});
    let manager = Manager::new();
    assert!(manager.command(&bundle, &["create"]).status().unwrap().success());
    let mut start = manager.command(&bundle, &["start"]).spawn().unwrap();
    assert_eq!(manager.told(), "READY=1\n");
    assert_eq!(manager.told(), format!("MAINPID={}\n", pid(&bundle)));
    // The service manager has to look who the sender was before that ends.
    assert_eq!(start.try_wait().unwrap(), None);
    assert_eq!(manager.told(), "BARRIER=1");
    assert!(start.wait().unwrap().success());
    manager.told_nothing();
}

#[test]
fn run_detached_waits_too_and_a_user_namespace_is_no_obstacle() {
    let bundle = bundle(READY, |config| {
        config["process"]["user"] = json!({"uid": 1234, "gid": 1234});
        let mappings = json!([{"containerID": 0, "hostID": 300_000, "size": 65_536}]);
        config["linux"]["uidMappings"] = mappings.clone();
        config["linux"]["gidMappings"] = mappings;
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    });
    let manager = Manager::new();
    let mut run = manager.command(&bundle, &["run", "-d"]).spawn().unwrap();
    assert_eq!(manager.told(), "READY=1\n");
    assert_eq!(manager.told(), format!("MAINPID={}\n", pid(&bundle)));
    assert_eq!(manager.told(), "BARRIER=1");
    assert!(run.wait().unwrap().success());
}

#[test]
fn in_the_foreground_husk_is_the_service() {
    let bundle = bundle(READY, |_| {});
    let manager = Manager::new();
    let mut run = manager.command(&bundle, &["run"]).spawn().unwrap();
    assert_eq!(manager.told(), "READY=1\n");
    assert_eq!(manager.told(), format!("MAINPID={}\n", run.id()));
    bundle.line("kill ID KILL").code(0);
    assert_eq!(run.wait().unwrap().code(), Some(137));
    manager.told_nothing();
    bundle.assert_gone();
}

#[test]
fn a_container_that_ends_without_a_word_ends_the_wait() {
    let bundle = bundle("exit 3", |_| {});
    let manager = Manager::new();
    assert!(manager.command(&bundle, &["run", "-d"]).status().unwrap().success());
    manager.told_nothing();
}

#[test]
fn the_variable_is_the_containers_own_and_its_directory_is_read_only() {
    let script = "echo $NOTIFY_SOCKET; [ -S $NOTIFY_SOCKET ] && echo there; touch /run/notify/x";
    let bundle = bundle(script, |config| {
        let env = config["process"]["env"].as_array_mut().unwrap();
        env.push(json!("NOTIFY_SOCKET=/elsewhere"));
    });
    let manager = Manager::new();
    let output = manager
        .command(&bundle, &["run"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(out, "/run/notify/notify.sock\nthere\n", "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("Read-only"), "{output:?}");
}

#[test]
fn a_service_manager_that_is_gone_is_a_warning() {
    let bundle = bundle("exit 4", |_| {});
    let told = support::told(
        bundle.command().env("NOTIFY_SOCKET", "/no/such/socket"),
        ["run", bundle.id()],
    );
    assert_eq!(told.code, Some(4), "{told:?}");
    let words = "NOTIFY_SOCKET /no/such/socket is not told anything: no such file or directory";
    assert!(told.err.contains(words) && told.err.contains("level=warning"), "{told:?}");
}
