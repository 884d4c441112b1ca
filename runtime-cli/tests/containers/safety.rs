//! What a hostile image, a careless caller or a sudden end must not lead to.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::{Container, eventually, finish, runtime, wait_at_most};

/// Everything below a directory: paths, kinds and contents.
fn tree(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("directory") {
        let path = entry.expect("entry").path();
        let kind = fs::symlink_metadata(&path).expect("metadata").file_type();
        if kind.is_dir() {
            found.push(format!("{} directory", path.display()));
            found.extend(tree(&path));
        } else if kind.is_file() {
            found.push(format!("{} {:?}", path.display(), fs::read(&path).expect("file")));
        } else {
            found.push(format!("{} {kind:?}", path.display()));
        }
    }
    found.sort();
    found
}

/// `sh -c script`, in which `$@` is a command of the runtime for this container.
fn through_shell(container: &Container, script: &str, arguments: &[&str]) -> Command {
    let direct = container.command(arguments);
    let mut command = Command::new("/bin/bash");
    command.args(["-c", script, "bash"]).arg(direct.get_program()).args(direct.get_args());
    command.current_dir(container.dir.path()).stdin(Stdio::null());
    command
}

#[test]
fn child_makes_no_call_that_allocates_or_locks() {
    let container = Container::shell("true");
    drop(container.command(&["run", "written"]));
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/child-calls");
    let mut command = Command::new(tool);
    command.arg(runtime()).arg(container.dir.path()).stdin(Stdio::null());
    let outcome = finish(command).succeeded();
    assert!(outcome.stdout.contains(" 0 complaints"), "{}", outcome.stdout);
}

#[test]
fn no_descriptor_of_the_caller_gets_in() {
    let container = Container::shell("ls -l /proc/self/fd");
    let outcome = finish(through_shell(
        &container,
        "exec 3</etc 9</usr 40</; exec \"$@\"",
        &["run", &container.id],
    ))
    .succeeded();
    let links: Vec<&str> = outcome.stdout.lines().filter(|l| l.contains("->")).collect();
    // The directory that ls reads is closed again when it asks for the link.
    assert_eq!(links.len(), 3, "{}", outcome.stdout);
    for host in ["/etc", "/usr", "-> /\n"] {
        assert!(!outcome.stdout.contains(host), "{}", outcome.stdout);
    }
}

#[test]
fn created_container_holds_no_descriptor_of_the_caller() {
    let container = Container::shell("true");
    finish(through_shell(
        &container,
        "exec 9</etc 40</usr; exec \"$@\"",
        &["create", &container.id],
    ))
    .succeeded();
    let pid = container.state()["pid"].as_u64().expect("pid");
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).expect("descriptors") {
        let target = fs::read_link(entry.expect("entry").path()).expect("link");
        assert!(target != Path::new("/etc") && target != Path::new("/usr"), "{}", target.display());
    }
}

#[test]
fn working_directory_through_a_descriptor_stays_inside() {
    for number in 3..24 {
        let mut container = Container::shell("ls -a .");
        fs::write(container.path("host-marker"), "").expect("marker");
        container.config["process"]["cwd"] = json!(format!("/proc/self/fd/{number}"));
        let outcome = finish(through_shell(
            &container,
            "exec 7</ 9<. 20</etc; exec \"$@\"",
            &["run", &container.id],
        ));
        assert!(
            !outcome.stdout.contains("host-marker") && !outcome.stdout.contains("passwd"),
            "{number}: {}",
            outcome.stdout
        );
    }
}

#[test]
fn links_in_the_root_lead_nowhere_outside() {
    for name in ["dev", "proc", "sys", "etc", "tmp"] {
        for mounts in [true, false] {
            let mut container = Container::shell("true");
            let outside = container.path("outside");
            fs::create_dir(&outside).expect("outside");
            for file in ["ptmx", "null", "fd", "passwd", "console"] {
                fs::write(outside.join(file), "marker").expect("marker");
            }
            let place = container.path("rootfs").join(name);
            fs::remove_dir(&place).expect("empty");
            symlink(&outside, &place).expect("link");
            container.mount(
                json!({ "destination": "/tmp/made/below", "type": "tmpfs", "source": "tmpfs" }),
            );
            container.config["process"]["cwd"] = json!("/etc/made");
            if !mounts {
                container.config["mounts"]
                    .as_array_mut()
                    .expect("mounts")
                    .retain(|m| m["destination"] == "/proc");
            }
            let before = tree(&outside);
            // Whether it runs depends on the link; that nothing outside changes does not.
            let outcome = container.run();
            assert_eq!(tree(&outside), before, "{name}: {}", outcome.stderr);
            if name == "proc" || (name == "sys" && mounts) {
                assert_ne!(outcome.code(), 0, "{name} must be an ordinary directory");
            }
        }
    }
}

#[test]
fn mounts_do_not_reach_the_host() {
    let mut container = Container::shell("mount -t tmpfs inside /tmp/shared; true");
    let shared = container.path("shared");
    fs::create_dir(&shared).expect("directory");
    container.config["linux"]["rootfsPropagation"] = json!("private");
    for set in ["bounding", "effective", "permitted"] {
        container.config["process"]["capabilities"][set]
            .as_array_mut()
            .expect("set")
            .push(json!("CAP_SYS_ADMIN"));
    }
    container.mount(
        json!({ "destination": "/tmp/shared", "source": shared, "options": ["rbind", "rslave"] }),
    );
    let script = format!(
        "mount -t tmpfs outside {0}; mount --make-shared {0}; \"$@\" || exit; ! grep inside /proc/self/mountinfo",
        shared.display()
    );
    let inner = through_shell(&container, &script, &["run", &container.id]);
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "--"])
        .arg(inner.get_program())
        .args(inner.get_args());
    command.current_dir(container.dir.path()).stdin(Stdio::null());
    finish(command).succeeded();
}

#[test]
fn home_is_found_without_trusting_the_image() {
    let container = Container::shell("echo $HOME");
    fs::write(container.path("rootfs/etc/passwd"), "root:x:0:0::/home/of-root:/bin/sh\n")
        .expect("passwd");
    assert_eq!(container.run().succeeded().stdout, "/home/of-root\n");
    // A name of digits is a name.
    let mut container = Container::shell("id -u");
    fs::write(container.path("rootfs/etc/passwd"), "1000:x:0:0::/:/bin/sh\n").expect("passwd");
    container.config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    assert_eq!(container.run().succeeded().stdout, "1000\n");
    for odd in ["fifo", "zero", "huge"] {
        let container = Container::shell("echo $HOME");
        let passwd = container.path("rootfs/etc/passwd");
        match odd {
            "fifo" => {
                assert!(Command::new("mkfifo").arg(&passwd).status().expect("mkfifo").success())
            }
            "zero" => symlink("/dev/zero", &passwd).expect("link"),
            _ => fs::File::create(&passwd).expect("file").set_len(1 << 40).expect("a sparse file"),
        }
        assert_eq!(container.run().succeeded().stdout, "/\n", "{odd}");
    }
}

#[test]
fn runtime_binary_is_out_of_reach() {
    let scratch = tempfile::tempdir_in("/var/tmp").expect("directory");
    let binary = scratch.path().join("husk");
    crate::programs::copy_program(runtime(), &binary);
    let before = fs::read(&binary).expect("binary");
    let script = "while :; do for p in /proc/[0-9]*; do (echo overwritten > $p/exe) 2>/dev/null && echo hit; done; done";
    let container = Container::shell(script);
    // A program whose interpreter is what executes it.
    let payload = container.path("rootfs/bin/payload");
    crate::programs::write_program(&payload, "#!/proc/self/exe\n", 0o755);
    let call = |arguments: &[&str]| {
        let plain = container.command(arguments);
        let mut command = Command::new(&binary);
        command.args(plain.get_args()).current_dir(container.dir.path()).stdin(Stdio::null());
        finish(command)
    };
    call(&["create", &container.id]).succeeded();
    call(&["start", &container.id]).succeeded();
    for round in 0..40 {
        let outcome = if round % 2 == 0 {
            call(&["exec", &container.id, "/bin/payload"])
        } else {
            call(&["exec", &container.id, "/bin/true"])
        };
        assert!(round % 2 == 0 || outcome.status.success(), "{}", outcome.stderr);
        assert!(
            fs::read(&binary).expect("binary") == before,
            "round {round}: the binary was overwritten"
        );
    }
}

#[test]
fn creator_killed_at_any_call_leaves_what_delete_clears() {
    let container = Container::shell("sleep 1000");
    let mut killed = 0;
    for nth in 1.. {
        let plain = container.command(&["create", &container.id]);
        let mut command = Command::new("strace");
        command.args([
            "-qqq",
            "-o",
            "/dev/null",
            "-e",
            "trace=all",
            "-e",
            &format!("inject=all:signal=KILL:when={nth}"),
        ]);
        command
            .arg(plain.get_program())
            .args(plain.get_args())
            .current_dir(container.dir.path())
            .env("HUSK_TEST_ID", &container.id)
            .stdin(Stdio::null());
        let outcome = finish(command);
        if outcome.status.success() {
            break;
        }
        killed += 1;
        // The child of a dead creator ends by itself, unless the container was complete.
        eventually("the child ends or waits for its start", || {
            let left = container.left_behind();
            !left.iter().any(|l| l.starts_with("process"))
                || container.call(&["state", &container.id]).stdout.contains("\"created\"")
        });
        if container.path("state").exists() {
            let state = container.call(&["list", "--quiet"]);
            assert!(state.status.success(), "call {nth}: list: {}", state.stderr);
        }
        container.call(&["delete", "--force", &container.id]).succeeded();
        eventually("nothing stays", || container.left_behind().is_empty());
    }
    assert!(killed > 20, "the creator was killed {killed} times only");
    container.call(&["delete", "--force", &container.id]).succeeded();
    eventually("nothing stays", || container.left_behind().is_empty());
}

#[test]
fn of_two_creates_one_wins() {
    for _ in 0..10 {
        let container = Container::shell("true");
        let mut first = container.command(&["create", &container.id]);
        let mut second = container.command(&["create", &container.id]);
        for command in [&mut first, &mut second] {
            command.stdout(Stdio::null()).stderr(Stdio::null());
        }
        let (mut a, mut b) = (first.spawn().expect("first"), second.spawn().expect("second"));
        let ended = [
            wait_at_most(&mut a, crate::support::deadline()),
            wait_at_most(&mut b, crate::support::deadline()),
        ];
        assert_eq!(ended.iter().filter(|s| s.is_some_and(|s| s.success())).count(), 1, "{ended:?}");
        assert_eq!(container.state()["status"], "created");
        let again = container.call(&["create", &container.id]);
        assert!(
            again.stderr.contains("container with given ID already exists"),
            "{}",
            again.stderr
        );
    }
}

#[test]
fn signals_that_the_caller_ignores_are_not_ignored_inside() {
    let mut container = Container::shell("");
    container.config["process"]["args"] = json!(["/bin/grep", "SigIgn", "/proc/self/status"]);
    let outcome = finish(through_shell(
        &container,
        "trap '' PIPE USR1 HUP; exec \"$@\"",
        &["run", &container.id],
    ))
    .succeeded();
    assert_eq!(
        outcome.stdout.split_whitespace().last(),
        Some("0000000000000000"),
        "{}",
        outcome.stdout
    );
}

#[test]
fn users_of_exec_are_numbers_and_nothing_else() {
    let container = Container::shell("sleep 1000");
    container.create_and_start();
    for (user, expected) in
        [("0", "0:0"), ("1", "1:0"), ("1:2", "1:2"), ("4294967294", "4294967294:0")]
    {
        let outcome = container
            .call(&[
                "exec",
                "--user",
                user,
                &container.id,
                "/bin/sh",
                "-c",
                "echo $(id -u):$(id -g)",
            ])
            .succeeded();
        assert_eq!(outcome.stdout.trim(), expected, "{user}");
    }
    for user in [
        "1:",
        ":1",
        "-1",
        " 1",
        "1 ",
        "1x",
        "0x1",
        "+1",
        "4294967295",
        "4294967296",
        "1:4294967295",
        "1:2:3",
        "root",
    ] {
        let outcome =
            container.call(&["exec", &format!("--user={user}"), &container.id, "/bin/id"]);
        assert_ne!(outcome.code(), 0, "{user:?}: {}", outcome.stdout);
        assert_eq!(outcome.stdout, "", "{user:?}");
    }
}

#[test]
fn inheritable_and_ambient_sets_stay_empty() {
    let container = Container::shell("sleep 1000");
    container.create_and_start();
    for arguments in [
        &["--cap", "CAP_SYS_TIME"][..],
        &[],
        &["--user", "1"],
        &["--user", "1", "--cap", "CAP_SYS_TIME"],
    ] {
        let command = [
            &["exec"],
            arguments,
            &[&container.id, "/bin/grep", "-E", "Cap(Inh|Amb)", "/proc/self/status"],
        ]
        .concat();
        let outcome = container.call(&command).succeeded();
        let sets: Vec<&str> =
            outcome.stdout.split_whitespace().filter(|w| !w.starts_with("Cap")).collect();
        assert_eq!(sets, ["0000000000000000"; 2], "{arguments:?}: {}", outcome.stdout);
    }
}

#[test]
fn processes_that_end_at_once_are_not_missed() {
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for round in 0..12 {
                    let container = Container::shell(&format!("exit {}", thread + round));
                    assert_eq!(container.run().code(), thread + round);
                }
            });
        }
    });
}

#[test]
fn foreground_run_forwards_signals() {
    let container = Container::shell(
        "trap 'exit 42' TERM; echo ready > /tmp/ready; while :; do sleep 0.05; done",
    );
    let mut child =
        container.command(&["run", &container.id]).stdout(Stdio::null()).spawn().expect("run");
    eventually("the trap is set", || container.path("rootfs/tmp/ready").exists());
    let killed =
        Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill");
    assert!(killed.success());
    let status = wait_at_most(&mut child, crate::support::deadline()).expect("run ends");
    assert_eq!(status.code(), Some(42));
    assert_eq!(container.left_behind(), Vec::<String>::new());
}

#[test]
fn ordinary_user_runs_a_container() {
    let scratch = tempfile::Builder::new()
        .prefix("husk-user-")
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir_in("/var/tmp")
        .expect("directory");
    let binary = scratch.path().join("husk");
    crate::programs::copy_program(runtime(), &binary);
    let mut container = Container::shell("id -u; cat /proc/self/uid_map; echo $$");
    container.config["linux"]["namespaces"]
        .as_array_mut()
        .expect("namespaces")
        .push(json!({ "type": "user" }));
    container.config["linux"]["uidMappings"] =
        json!([{ "containerID": 0, "hostID": 12345, "size": 1 }]);
    container.config["linux"]["gidMappings"] =
        json!([{ "containerID": 0, "hostID": 12345, "size": 1 }]);
    container.config["linux"].as_object_mut().expect("linux").remove("resources");
    let plain = container.command(&["run", &container.id]);
    let owned = Command::new("chown")
        .args(["-R", "12345:12345"])
        .arg(container.dir.path())
        .status()
        .expect("chown");
    assert!(owned.success());
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=12345", "--regid=12345", "--clear-groups", "--"])
        .arg(&binary)
        .args(plain.get_args());
    command.env_remove("XDG_RUNTIME_DIR").current_dir(container.dir.path()).stdin(Stdio::null());
    let outcome = finish(command).succeeded();
    let words: Vec<&str> = outcome.stdout.split_whitespace().collect();
    assert_eq!(words, ["0", "0", "12345", "1", "1"], "{}", outcome.stdout);
}
