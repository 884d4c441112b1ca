//! The terminal of a container, as somebody who receives it sees it.

use std::fs::{self, File, OpenOptions};
use std::io::{IoSliceMut, Read};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::process::Command;

use libcontainer::{Container, CreateOptions, ExecOptions};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, socketpair,
};
use serde_json::{Value, json};
use tempfile::TempDir;

const USER: u32 = 1234;

fn bundle(script: &str, change: impl FnOnce(&mut Value)) -> TempDir {
    let builder = tempfile::Builder::new().prefix("husk-t-").tempdir_in("/var/tmp");
    let directory = builder.expect("temporary directory");
    let rootfs = directory.path().join("rootfs");
    for name in ["bin", "proc", "dev"] {
        fs::create_dir_all(rootfs.join(name)).expect("rootfs");
    }
    let busybox = rootfs.join("bin/busybox");
    // By another process: what this one's other threads fork must not hold it open for writing.
    let copied = Command::new("cp").args(["/bin/busybox".as_ref(), busybox.as_path()]).status();
    assert!(copied.expect("cp is there").success());
    std::os::unix::fs::symlink("busybox", rootfs.join("bin/sh")).expect("sh");
    let kinds = ["pid", "mount", "ipc", "uts"].map(|kind| json!({"type": kind}));
    let mut config = json!({
        "ociVersion": "1.3.0",
        "process": {
            "terminal": true,
            "consoleSize": {"height": 33, "width": 44},
            "user": {"uid": USER, "gid": USER},
            "args": ["/bin/sh", "-c", script],
            "env": ["PATH=/bin"],
            "cwd": "/",
        },
        "root": {"path": "rootfs"},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
            {
                "destination": "/dev/pts", "type": "devpts", "source": "devpts",
                "options": ["newinstance", "ptmxmode=0666", "mode=0620"],
            },
        ],
        "linux": {"namespaces": kinds},
    });
    change(&mut config);
    fs::write(directory.path().join("config.json"), config.to_string()).expect("config.json");
    directory
}

fn id(name: &str) -> String {
    format!("terminal-{name}-{}", std::process::id())
}

fn sockets() -> (OwnedFd, OwnedFd) {
    let none = SockFlag::SOCK_CLOEXEC;
    socketpair(AddressFamily::Unix, SockType::Stream, None, none).expect("socketpair")
}

/// The descriptor that came over a console socket.
fn received(socket: &OwnedFd) -> File {
    let mut name = [0; 64];
    let mut control = nix::cmsg_space!([RawFd; 2]);
    let mut vector = [IoSliceMut::new(&mut name)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut vector, Some(&mut control), flags);
    let message = message.expect("a message on the console socket");
    for control in message.cmsgs().expect("control messages") {
        if let ControlMessageOwned::ScmRights(descriptors) = control {
            let [descriptor] = descriptors[..] else { panic!("{descriptors:?}") };
            // The descriptor is a new one of this process that nobody else knows.
            return File::from(owned(descriptor));
        }
    }
    panic!("no descriptor on the console socket");
}

#[allow(unsafe_code, reason = "the standard library has no other way to own a received number")]
fn owned(descriptor: RawFd) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for us.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// All that was written to the terminal: EIO says that its other end is closed.
fn everything(mut master: File) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match master.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => text.extend_from_slice(&buffer[..length]),
            Err(error) if error.raw_os_error() == Some(nix::libc::EIO) => break,
            Err(error) => panic!("{error}"),
        }
    }
    String::from_utf8(text).expect("text").replace('\r', "")
}

fn options<'fd>(directory: &Path, id: &str, console: &'fd OwnedFd) -> CreateOptions<'fd> {
    let mut options = CreateOptions::new(directory.join("state"), id, directory);
    options.console(console.as_fd()).accept_unprotected_program(true);
    options
}

const LOOK: &str = "busybox tty; busybox stty size; busybox stat -c '%t:%T' /dev/console; \
                    busybox stat -c '%u' $(busybox tty); echo controlled > /dev/tty; \
                    for n in 0 1 2; do busybox readlink /proc/$$/fd/$n; done; \
                    for n in 3 4 5 6 7 8 9 10 11 12 13 14; do [ -e /proc/$$/fd/$n ] && echo $n; done";

#[test]
fn terminal_of_the_containers_own() {
    let directory = bundle(LOOK, |_| {});
    let (ours, theirs) = sockets();
    let container = Container::create(&options(directory.path(), &id("own"), &theirs));
    let container = container.expect("create");
    // The terminal comes with create, not with start.
    let master = received(&ours);
    container.start().expect("start");
    let seen = everything(master);
    let expected = "/dev/pts/0\n33 44\n88:0\n1234\ncontrolled\n\
                    /dev/pts/0\n/dev/pts/0\n/dev/pts/0\n";
    assert_eq!(seen, expected);
    container.wait().expect("wait");
    container.delete().expect("delete");
}

#[test]
fn terminal_in_a_user_namespace() {
    let directory = bundle(LOOK, |config| {
        let mappings = json!([{"containerID": 0, "hostID": 300_000, "size": 65_536}]);
        config["linux"]["uidMappings"] = mappings.clone();
        config["linux"]["gidMappings"] = mappings;
        let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        namespaces.push(json!({"type": "user"}));
    });
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(directory.path(), open).expect("root of the namespace may enter");
    let (ours, theirs) = sockets();
    let container = Container::create(&options(directory.path(), &id("user"), &theirs));
    let container = container.expect("create");
    let master = received(&ours);
    container.start().expect("start");
    let seen = everything(master);
    assert!(seen.starts_with("/dev/pts/0\n33 44\n88:0\n1234\ncontrolled\n"), "{seen}");
    container.wait().expect("wait");
    container.delete().expect("delete");
}

/// exec has a terminal of its own, and /dev/console stays the first one's.
#[test]
fn terminal_of_a_further_process() {
    let directory = bundle("busybox sleep 1000", |_| {});
    let (ours, theirs) = sockets();
    let container = Container::create(&options(directory.path(), &id("exec"), &theirs));
    let container = container.expect("create");
    let first = received(&ours);
    container.start().expect("start");
    let mut process = container.process().expect("the container's process");
    process.args = ["/bin/sh", "-c", LOOK].map(str::to_owned).to_vec();
    let mut exec = ExecOptions::new(process);
    exec.console(theirs.as_fd()).accept_unprotected_program(true);
    let executed = container.exec(&exec).expect("exec");
    let seen = everything(received(&ours));
    assert!(seen.starts_with("/dev/pts/1\n33 44\n88:0\n1234\ncontrolled\n"), "{seen}");
    // The pid namespace ends when its last process is reaped, and this one is ours.
    executed.wait().expect("wait");
    drop(first);
    Container::force_delete(&directory.path().join("state"), container.id()).expect("delete");
}

/// A path in /dev that leads elsewhere is followed by nobody (CVE-2025-52565).
#[test]
fn links_in_dev_are_not_followed() {
    let directory = bundle(LOOK, |config| {
        config["mounts"].as_array_mut().expect("mounts").drain(1..);
    });
    let dev = directory.path().join("rootfs/dev");
    let marker = directory.path().join("marker");
    OpenOptions::new().create(true).write(true).truncate(true).open(&marker).expect("marker");
    std::os::unix::fs::symlink(&marker, dev.join("console")).expect("console");
    std::os::unix::fs::symlink("/proc", dev.join("pts")).expect("pts");
    let (_ours, theirs) = sockets();
    let error = Container::create(&options(directory.path(), &id("link"), &theirs))
        .expect_err("there is no devpts");
    assert!(error.to_string().contains("unable to set up the console"), "{error}");
    assert_eq!(fs::read(&marker).expect("marker"), b"");
}
