//! Annotations with crun's names, and handlers: programs of the host that run the container's.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::{Bundle, Receiver, Told, told};

fn annotated(args: &[&str], annotations: Value) -> Bundle {
    Bundle::with(args, |config| config["annotations"] = annotations)
}

/// Runs it with these supplementary groups.
fn run_with_groups(bundle: &Bundle, groups: &str) -> Told {
    let mut command = Command::new("setpriv");
    command.args(["--groups", groups]).arg(support::program()).arg("--root");
    command.arg(bundle.path().join("state")).arg("run").current_dir(bundle.path());
    told(command.stdin(Stdio::null()), [bundle.id()])
}

#[test]
fn original_groups_are_kept_on_request() {
    for (annotations, expected) in [
        (json!({}), "0 7\n"),
        (json!({"run.oci.keep_original_groups": "0"}), "0 7\n"),
        (json!({"run.oci.keep_original_groups": "1"}), "0 4242 4243\n"),
    ] {
        let bundle = annotated(&["id", "-G"], annotations);
        let mut config: Value =
            serde_json::from_slice(&fs::read(bundle.path().join("config.json")).unwrap()).unwrap();
        config["process"]["user"]["additionalGids"] = json!([7]);
        bundle.write(&config);
        assert_eq!(run_with_groups(&bundle, "4242,4243").code(0).out, expected);
    }
}

#[test]
fn original_groups_come_into_a_user_namespace() {
    let bundle = annotated(&["id", "-G"], json!({"run.oci.keep_original_groups": "1"}));
    let mut config = bundle.config(&["id", "-G"]);
    config["annotations"] = json!({"run.oci.keep_original_groups": "1"});
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    for ids in ["uidMappings", "gidMappings"] {
        config["linux"][ids] = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    }
    bundle.write(&config);
    fs::set_permissions(bundle.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // 104242 is 4242 inside, 9 is nobody there.
    assert_eq!(run_with_groups(&bundle, "104242,9").code(0).out, "0 65534 4242\n");
}

#[test]
fn hooks_write_to_the_files_that_are_named() {
    let kinds =
        ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    let bundle = Bundle::new(&["true"]);
    let mut config = bundle.config(&["true"]);
    let hooks = kinds.map(|kind| {
        let script = format!("echo {kind} out; echo {kind} err >&2");
        let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]}]);
        (kind.to_owned(), hook)
    });
    config["hooks"] = Value::Object(hooks.into_iter().collect());
    let err = bundle.path().join("hooks.err");
    fs::write(&err, "before\n").unwrap();
    config["annotations"] =
        json!({"run.oci.hooks.stdout": "hooks.out", "run.oci.hooks.stderr": err.to_str()});
    bundle.write(&config);
    bundle.line("run ID").code(0);
    let lines = |stream: &str| kinds.map(|kind| format!("{kind} {stream}\n")).concat();
    let out = bundle.path().join("hooks.out");
    assert_eq!(fs::read_to_string(&out).unwrap(), lines("out"));
    assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_to_string(&err).unwrap(), format!("before\n{}", lines("err")));

    config["annotations"] = json!({"run.oci.hooks.stdout": "/nonexistent/out"});
    bundle.write(&config);
    bundle.line("run ID").fails(1, "open /nonexistent/out: no such file or directory");
    bundle.assert_gone();
}

#[test]
fn a_pidfd_goes_to_its_receiver() {
    let bundle = annotated(&["true"], json!({"run.oci.pidfd_receiver": "receiver"}));
    bundle.line("run ID").fails(1, "receiver: no such file or directory");
    bundle.assert_gone();
    let receiver = Receiver::at(bundle.path().join("receiver"));
    bundle.line("create ID").code(0);
    let (word, pidfd) = receiver.received();
    assert_eq!(word, "standard");
    let number = std::os::fd::AsRawFd::as_raw_fd(&pidfd);
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
    let pid = bundle.state()["pid"].to_string();
    assert!(info.lines().any(|line| line.split_whitespace().eq(["Pid:", &pid])), "{info}");
}

#[test]
fn what_cannot_be_done_is_refused_by_name() {
    for (annotation, value, words) in [
        ("run.oci.seccomp.plugins", "x.so", "no code is loaded into husk"),
        ("run.oci.mount_context_type", "other", "invalid mount context type \"other\""),
        ("run.oci.seccomp_bpf_data", "%%", "is not base64"),
        ("run.oci.seccomp_bpf_data", "AAAA", "is not 1 to 4096 instructions"),
        ("run.oci.handler", "krun", "handler \\\"krun\\\" is asked for"),
    ] {
        let bundle = annotated(&["true"], json!({annotation: value}));
        let told = bundle.husk(["run", "--handlers", "/nonexistent/handlers.json", "ID"]);
        let said = told.err.replace("\\\"", "\"");
        assert_eq!(told.code, Some(1), "{said}");
        assert!(said.contains(&words.replace("\\\"", "\"")), "{said}");
        assert!(said.contains(&format!("/annotations/{annotation}")), "{said}");
    }
}

fn seccomp(bundle: &Bundle, args: &[&str], profile: Value, annotations: Value) {
    let mut config = bundle.config(args);
    config["process"]["noNewPrivileges"] = json!(true);
    config["linux"]["seccomp"] = profile;
    config["annotations"] = annotations;
    bundle.write(&config);
}

#[test]
fn a_raw_filter_takes_the_place_of_the_profile() {
    let args = ["sh", "-c", "mkdir /tmp/made || kill -0 1 && echo killed"];
    let refuses = |name: &str| {
        json!({"defaultAction": "SCMP_ACT_ALLOW",
               "syscalls": [{"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]})
    };
    let bundle = Bundle::new(&args);
    let profile = bundle.path().join("profile.json");
    fs::write(&profile, refuses("mkdir").to_string()).unwrap();
    let script = "\"$1\" seccomp compile --format raw \"$2\" | base64";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(support::program()).arg(&profile);
    let raw = told(&mut shell, [""; 0]).code(0).out;
    seccomp(&bundle, &args, refuses("kill"), json!({"run.oci.seccomp_bpf_data": raw}));
    let told = bundle.line("run ID").code(0);
    // mkdir is refused by the raw filter, and kill is not by the profile.
    assert!(told.err.to_lowercase().contains("not supported"), "{told:?}");
    assert_eq!(told.out, "killed\n");
    assert!(!bundle.rootfs().join("tmp/made").exists());
}

#[test]
fn names_that_are_no_system_calls_fail_on_request() {
    let bundle = Bundle::new(&["true"]);
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["reboot", "nosuchcall"], "action": "SCMP_ACT_ERRNO"}]});
    for (value, fails) in [("0", false), ("1", true)] {
        let annotations = json!({"run.oci.seccomp_fail_unknown_syscall": value});
        seccomp(&bundle, &["true"], profile.clone(), annotations);
        let told = bundle.line("run ID");
        match fails {
            true => drop(told.fails(1, "/linux/seccomp/syscalls/0/names/1")),
            false => drop(told.code(0)),
        }
    }
}

#[test]
fn a_seccomp_agent_by_annotation_and_by_variable() {
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["reboot"], "action": "SCMP_ACT_NOTIFY"}]});
    let bundle = Bundle::new(&["true"]);
    let receiver = Receiver::at(bundle.path().join("agent"));
    let socket = receiver.path().to_str().unwrap().to_owned();
    let state = || -> Value { serde_json::from_str(&receiver.received().0).unwrap() };
    let annotations = json!({"run.oci.seccomp.receiver": socket});
    seccomp(&bundle, &["true"], profile.clone(), annotations);
    bundle.line("run ID").code(0);
    assert_eq!(state()["state"]["id"], bundle.id());

    seccomp(&bundle, &["true"], profile, json!({}));
    bundle.line("run ID").fails(1, "needs the absolute path of an agent's socket");
    let mut command = bundle.command();
    command.env("RUN_OCI_SECCOMP_RECEIVER", &socket);
    told(&mut command, ["run", bundle.id()]).code(0);
    assert_eq!(state()["fds"], json!(["seccompFd"]));
}

/// A bundle without any program: whatever runs there comes from the host.
fn engine_bundle(args: &[&str], annotations: Value) -> (Bundle, PathBuf) {
    let bundle = annotated(args, annotations);
    fs::remove_dir_all(bundle.rootfs().join("bin")).unwrap();
    let module = "echo \"ran $0 $*\"; echo done";
    fs::write(bundle.rootfs().join("app.module"), module).unwrap();
    let handlers = bundle.path().join("handlers.json");
    let described = json!({"handlers": {
        "engine": {"path": "/bin/busybox", "args": ["sh", "{program}", "{args}"],
                   "suffixes": [".module"]},
        "wasm": {"path": "/bin/busybox", "args": ["echo", "wasm", "{program}"],
                 "suffixes": [".wasm"]},
    }});
    fs::write(&handlers, described.to_string()).unwrap();
    (bundle, handlers)
}

fn run_handled(bundle: &Bundle, handlers: &std::path::Path) -> Told {
    bundle.husk(["run", "--handlers", handlers.to_str().unwrap(), "ID"])
}

#[test]
fn a_handler_of_the_host_runs_the_program() {
    for annotations in
        [json!({"run.oci.handler": "engine"}), json!({"run.oci.handler": "engine-smart"})]
    {
        let (bundle, handlers) = engine_bundle(&["/app.module", "a", "b c"], annotations);
        let told = run_handled(&bundle, &handlers).code(0);
        assert_eq!(told.out, "ran /app.module a b c\ndone\n", "{told:?}");
    }
    for value in ["compat", "compat-smart"] {
        let annotations = json!({"module.wasm.image/variant": value});
        let (bundle, handlers) = engine_bundle(&["/app.wasm"], annotations);
        assert_eq!(run_handled(&bundle, &handlers).code(0).out, "wasm /app.wasm\n");
    }
}

#[test]
fn a_container_cannot_write_to_its_handler() {
    let (bundle, handlers) = engine_bundle(&["/app.module"], json!({"run.oci.handler": "engine"}));
    fs::write(bundle.rootfs().join("app.module"), "echo up; read line < /fifo").unwrap();
    let mode = nix::sys::stat::Mode::S_IRWXU;
    nix::unistd::mkfifo(&bundle.rootfs().join("fifo"), mode).unwrap();
    let line = format!("run --detach --handlers {} ID", handlers.display());
    bundle.detached(&line).code(0);
    support::eventually("the module", || Some(()).filter(|()| bundle.output() == "up\n"));
    let program = format!("/proc/{}/exe", bundle.state()["pid"]);
    let flags = nix::sys::statvfs::statvfs(program.as_str()).unwrap().flags();
    assert!(flags.contains(nix::sys::statvfs::FsFlags::ST_RDONLY), "{flags:?}");
    let written = fs::File::options().append(true).open(&program).unwrap_err();
    assert!(matches!(written.raw_os_error(), Some(26 | 30)), "{written}");
}

#[test]
fn a_handler_has_the_rights_of_the_process() {
    let (bundle, handlers) = engine_bundle(&[], json!({}));
    let mut config = bundle.config(&["/app.module"]);
    config["annotations"] = json!({"run.oci.handler": "engine"});
    config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    for ids in ["uidMappings", "gidMappings"] {
        config["linux"][ids] = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    }
    bundle.write(&config);
    let module = "while read -r line; do case $line in Uid:*|NoNewPrivs:*) echo $line ;; esac; \
                  done < /proc/self/status";
    fs::write(bundle.rootfs().join("app.module"), module).unwrap();
    fs::set_permissions(bundle.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let told = run_handled(&bundle, &handlers).code(0);
    assert!(told.out.starts_with("Uid: 1000 1000 1000 1000\n"), "{told:?}");
}

#[test]
fn without_need_of_a_handler_the_program_itself_runs() {
    for annotations in [
        json!({"run.oci.handler": "engine-smart"}),
        json!({"run.oci.handler": "engine", "io.kubernetes.cri.container-type": "sandbox"}),
        json!({"module.wasm.image/variant": "compat-smart"}),
        json!({"module.wasm.image/variant": "other"}),
    ] {
        let bundle = annotated(&["echo", "itself"], annotations);
        let handlers = bundle.path().join("handlers.json");
        let described = json!({"handlers": {
            "engine": {"path": "/bin/busybox", "suffixes": [".module"]},
            "wasm": {"path": "/bin/busybox", "suffixes": [".wasm"]},
        }});
        fs::write(&handlers, described.to_string()).unwrap();
        assert_eq!(run_handled(&bundle, &handlers).code(0).out, "itself\n");
    }
}

#[test]
fn handlers_must_belong_to_root_and_run_alone() {
    let (bundle, handlers) = engine_bundle(&["/app.module"], json!({"run.oci.handler": "engine"}));
    let owned = "it must belong to root, and nobody else may write to it";
    fs::set_permissions(&handlers, fs::Permissions::from_mode(0o666)).unwrap();
    run_handled(&bundle, &handlers).fails(1, owned);
    fs::set_permissions(&handlers, fs::Permissions::from_mode(0o644)).unwrap();
    chown(&handlers, Some(1000), None).unwrap();
    run_handled(&bundle, &handlers).fails(1, owned);
    chown(&handlers, Some(0), None).unwrap();

    let engine = bundle.path().join("engine");
    let described = json!({"handlers": {"engine": {"path": &engine}}});
    fs::write(&handlers, described.to_string()).unwrap();
    run_handled(&bundle, &handlers).fails(1, "engine: no such file or directory");
    support::write_program(&engine, "#!/bin/sh\n", 0o755);
    run_handled(&bundle, &handlers).fails(1, "must be a 64-bit ELF program");
    fs::remove_file(&engine).unwrap();
    support::copy_program("/bin/true", &engine);
    run_handled(&bundle, &handlers).fails(1, "must be linked statically");
    fs::remove_file(&engine).unwrap();
    support::copy_program("/bin/busybox", &engine);
    chown(&engine, Some(1000), None).unwrap();
    run_handled(&bundle, &handlers).fails(1, owned);

    fs::write(&handlers, "{\"handlers\": {\"other\": {\"path\": \"/x\"}}}").unwrap();
    run_handled(&bundle, &handlers).fails(1, "is not in ");
    fs::write(&handlers, "{\"handlers\": {\"engine\": {\"paths\": \"/x\"}}}").unwrap();
    run_handled(&bundle, &handlers).fails(1, "unknown field `paths`");
    bundle.assert_gone();
}

#[test]
fn all_that_are_unsafe_are_named_by_features() {
    let told = told(&mut support::husk(), ["features"]).code(0);
    let features: Value = serde_json::from_str(&told.out).unwrap();
    let named = &features["potentiallyUnsafeConfigAnnotations"];
    for name in [
        "run.oci.handler",
        "run.oci.hooks.stdout",
        "run.oci.pidfd_receiver",
        "module.wasm.image/variant",
        "org.criu.config",
        "run.oci.seccomp_bpf_data",
    ] {
        assert!(named.as_array().unwrap().iter().any(|known| known == name), "{name}");
    }
}

#[test]
fn signals_and_deletions_by_a_pattern_of_ids() {
    let bundle = Bundle::new(&["sleep", "1000"]);
    bundle.line("create ID").code(0);
    bundle.line("start ID").code(0);
    let pattern = format!("^{}$", bundle.id());
    bundle.husk(["kill", "--regex", "^nobody", "KILL"]).code(0);
    bundle.await_status("running");
    bundle.husk(["kill", "-r", "("]).fails(1, "invalid regular expression");
    let told = bundle.husk(["delete", "--regex", &pattern]).code(0);
    assert!(told.err.contains("that is not stopped"), "{told:?}");
    bundle.husk(["kill", "--regex", &pattern, "KILL"]).code(0);
    bundle.await_status("stopped");
    bundle.husk(["delete", "--force", "-r", &pattern]).code(0);
    bundle.assert_gone();
}
