//! What callers of runc depend on beyond the specification: flags, and the
//! output of commands.

use super::answers::expect_words;
use crate::bundle::Bundle;
use crate::case::Level::Caller;
use crate::case::{Case, Stop, Verdict, case, ensure, ensure_eq};
use crate::container::Container;
use crate::probe;
use crate::runtime::parse_json;
use crate::scene::Scene;
use serde_json::{Value, json};
use std::fs;

pub(super) const CASES: &[Case] = &[
    case(
        "callers.kill.all-stopped",
        Caller,
        "kill --all of a stopped container is fine",
        kill_all_stopped,
    ),
    case("callers.kill.signal-zero", Caller, "kill 0 tells whether the process lives", kill_zero),
    case(
        "callers.delete.force-running",
        Caller,
        "delete --force ends and removes a running container",
        delete_force,
    ),
    case(
        "callers.state.stopped-pid",
        Caller,
        "pid is 0 once the container is stopped",
        stopped_pid,
    ),
    case(
        "callers.state.extra-fields",
        Caller,
        "rootfs, created and owner in the state",
        extra_fields,
    ),
    case(
        "callers.list.empty",
        Caller,
        "list --format json prints null without containers",
        list_empty,
    ),
    case("callers.list.entries", Caller, "list --format json, and --quiet", list_entries),
    case("callers.ps.json", Caller, "ps --format json prints the pids", ps_json),
    case("callers.pid-file.digits", Caller, "the pid file holds the digits only", pid_file),
    case(
        "callers.flags.go-runc",
        Caller,
        "go-runc's spellings of global and command flags",
        go_runc,
    ),
    case(
        "callers.flags.preserve-fds",
        Caller,
        "--preserve-fds passes descriptors from 3 on",
        preserve_fds,
    ),
    case(
        "callers.flags.listen-fds",
        Caller,
        "LISTEN_FDS of the caller reaches the program, with its descriptors",
        listen_fds,
    ),
    case(
        "callers.version.lines",
        Caller,
        "go-runc parses `version` and `spec:` lines",
        version_lines,
    ),
    case("callers.run.detach", Caller, "run --detach returns once the program runs", run_detach),
    case("callers.run.forwards-signals", Caller, "foreground run hands signals on", run_signals),
    case(
        "callers.pause.resume",
        Caller,
        "paused is a status; resume makes it running",
        pause_resume,
    ),
    case("callers.exec.process-file", Caller, "exec --process FILE", exec_process),
    case("callers.exec.options", Caller, "exec --cwd, --env, --user", exec_options),
    case("callers.exec.detach", Caller, "exec --detach --pid-file", exec_detach),
    case(
        "callers.exec.namespaces",
        Caller,
        "exec joins every namespace of the container",
        exec_namespaces,
    ),
    case(
        "callers.exec.stopped",
        Caller,
        "runc's words for exec in a stopped container",
        exec_stopped,
    ),
    case("callers.exec.paused", Caller, "runc's words for exec in a paused container", exec_paused),
    case("callers.exec.cgroup", Caller, "exec's process is in the container's group", exec_cgroup),
    case("callers.update.pids", Caller, "update --resources - changes a limit", update_pids),
    case(
        "callers.events.stats",
        Caller,
        "events --stats prints one object of type stats",
        events_stats,
    ),
    case(
        "callers.spec.template",
        Caller,
        "spec writes a config.json that runs, and keeps one that is there",
        spec_template,
    ),
    case(
        "callers.home.from-passwd",
        Caller,
        "HOME is filled from the image's passwd when it is not set",
        home,
    ),
];

pub(super) fn held<'s>(scene: &'s Scene) -> Result<Container<'s>, Stop> {
    let container = scene.bundle()?.operations(json!([["hold"]])).start()?;
    container.wait_lines(1)?;
    Ok(container)
}

pub(super) fn ended<'s>(scene: &'s Scene) -> Result<Container<'s>, Stop> {
    let container = scene.bundle()?.start()?;
    container.wait_end()?;
    Ok(container)
}

fn kill_all_stopped(scene: &Scene) -> Verdict {
    let container = ended(scene)?;
    scene.invoke(&["kill", "--all", &container.id, "9"])?.expect_success("kill --all")
}

fn kill_zero(scene: &Scene) -> Verdict {
    let container = held(scene)?;
    container.attempt("kill", &["0"])?.expect_success("kill 0")?;
    ensure_eq!(container.status()?, "running", "status");
    Ok(())
}

fn delete_force(scene: &Scene) -> Verdict {
    let container = held(scene)?;
    container.delete_by_force()?;
    container.attempt("state", &[])?.expect_failure("state of a deleted container")
}

fn stopped_pid(scene: &Scene) -> Verdict {
    ensure_eq!(ended(scene)?.state()?["pid"], json!(0), "pid");
    Ok(())
}

fn extra_fields(scene: &Scene) -> Verdict {
    let container = held(scene)?;
    let state = container.state()?;
    ensure_eq!(state["rootfs"], json!(container.bundle.join("rootfs")), "rootfs");
    ensure!(
        state["created"].as_str().is_some_and(|time| time.contains('T') && time.len() >= 20),
        "created: {}",
        state["created"]
    );
    ensure!(state["owner"].is_string(), "owner: {}", state["owner"]);
    Ok(())
}

fn list_empty(scene: &Scene) -> Verdict {
    let answer = scene.invoke(&["list", "--format", "json"])?;
    answer.expect_success("list")?;
    ensure_eq!(answer.stdout.trim(), "null", "output");
    Ok(())
}

fn list_entries(scene: &Scene) -> Verdict {
    let container = held(scene)?;
    let answer = scene.invoke(&["list", "--format=json"])?;
    let list = parse_json(&answer.stdout, "list")?;
    ensure_eq!(list.as_array().map(Vec::len), Some(1), "entries");
    for name in ["ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "owner"] {
        ensure!(!list[0][name].is_null(), "{name} is missing: {list}");
    }
    ensure_eq!(list[0]["id"], json!(container.id), "id");
    let quiet = scene.invoke(&["list", "--quiet"])?;
    ensure_eq!(quiet.stdout.trim(), container.id, "output of list --quiet");
    Ok(())
}

fn ps_json(scene: &Scene) -> Verdict {
    let container = held(scene)?;
    let answer = scene.invoke(&["ps", "--format", "json", &container.id])?;
    ensure_eq!(parse_json(&answer.stdout, "ps")?, json!([container.pid()?]), "output");
    Ok(())
}

fn pid_file(scene: &Scene) -> Verdict {
    let container = scene.bundle()?.create()?;
    let text = fs::read_to_string(container.bundle.join("pid"))?;
    ensure_eq!(text, container.pid()?.to_string(), "pid file");
    Ok(())
}

fn go_runc(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?.operations(json!([["hold"]]));
    bundle.write()?;
    let pid = bundle.directory.join("pid").to_string_lossy().into_owned();
    let (directory, id) = (bundle.directory.to_string_lossy().into_owned(), bundle.id.clone());
    let create = [
        "--debug",
        "--rootless=false",
        "create",
        "--bundle",
        &directory,
        "--pid-file",
        &pid,
        "--no-pivot",
        "--no-new-keyring",
        &id,
    ];
    let container = {
        let log = scene.directory.join("go-runc.log");
        let command = scene.runtime.command(&log, &create);
        scene
            .runtime
            .finish(command, &log, &bundle.directory.join("out"))?
            .expect_success("create")?;
        let pid = fs::read_to_string(&pid)?.trim().parse().ok();
        Container::new(scene, id.clone(), bundle.directory.clone(), pid, true)
    };
    for words in [vec!["start", &id], vec!["state", &id], vec!["kill", "--all", &id, "9"]] {
        scene.invoke(&words)?.expect_success(&words.join(" "))?;
    }
    container.wait_end()?;
    container.delete()
}

/// Runs with /dev/null as descriptor 3 and /dev/zero as 4. Only a shell can
/// choose numbers, and only its child can have LISTEN_PID name itself.
fn run_with_descriptors(
    bundle: Bundle<'_>,
    words: &[&str],
    variables: &str,
) -> Result<Value, Stop> {
    bundle.write()?;
    let scene = bundle.scene;
    let (directory, log) =
        (bundle.directory.to_string_lossy().into_owned(), scene.directory.join("log"));
    let mut args = vec!["run", "--bundle", &directory];
    args.extend(words);
    args.push(&bundle.id);
    let plain = scene.runtime.command(&log, &args);
    let mut command = std::process::Command::new("sh");
    command.arg("-c").arg(format!(r#"exec 3</dev/null 4</dev/zero; {variables} exec "$@""#));
    command.arg("sh").arg(plain.get_program()).args(plain.get_args());
    command.stdin(std::process::Stdio::null());
    let answer = scene.runtime.finish(command, &log, &bundle.directory.join("out"))?;
    crate::container::Ran::new(answer).value(0)
}

fn preserve_fds(scene: &Scene) -> Verdict {
    let seen = run_with_descriptors(scene.bundle()?, &["--preserve-fds", "2"], "")?;
    let found = &seen["descriptors"];
    ensure_eq!(found["3"], json!("/dev/null"), "descriptor 3");
    ensure_eq!(found["4"], json!("/dev/zero"), "descriptor 4");
    ensure_eq!(found.as_object().map(|all| all.len()), Some(5), "descriptors: {found}");
    Ok(())
}

fn listen_fds(scene: &Scene) -> Verdict {
    let seen = run_with_descriptors(scene.bundle()?, &[], "LISTEN_FDS=2 LISTEN_PID=$$")?;
    let environment = seen["environment"].to_string();
    ensure!(environment.contains("LISTEN_FDS=2"), "environment: {environment}");
    ensure!(environment.contains("LISTEN_PID=1"), "environment: {environment}");
    Ok(())
}

fn version_lines(scene: &Scene) -> Verdict {
    let answer = scene.invoke(&["--version"])?;
    answer.expect_success("--version")?;
    ensure!(
        answer.stdout.lines().next().is_some_and(|line| line.contains(" version ")),
        "output: {}",
        answer.stdout
    );
    ensure!(
        answer.stdout.lines().any(|line| line.starts_with("spec: ")),
        "output: {}",
        answer.stdout
    );
    Ok(())
}

fn run_detach(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?.operations(json!([["hold"]]));
    let (id, directory) = (bundle.id.clone(), bundle.directory.clone());
    let pid_file = directory.join("pid").to_string_lossy().into_owned();
    let answer = bundle.option(&["--detach", "--pid-file", &pid_file]).attempt("run")?;
    answer.expect_success("run --detach")?;
    let pid = fs::read_to_string(&pid_file)?.trim().parse().ok();
    let container = Container::new(scene, id, directory, pid, true);
    ensure_eq!(container.status()?, "running", "status");
    Ok(())
}

fn run_signals(scene: &Scene) -> Verdict {
    use nix::sys::signal::{Signal, kill};
    let bundle = scene.bundle()?.operations(json!([["await-signal"]]));
    bundle.write()?;
    let (directory, log) =
        (bundle.directory.to_string_lossy().into_owned(), scene.directory.join("log"));
    let out = bundle.directory.join("out");
    let mut command = scene.runtime.command(&log, &["run", "--bundle", &directory, &bundle.id]);
    let mut child = command
        .stdout(fs::File::create(&out)?)
        .stderr(fs::File::create(directory.clone() + "/err")?)
        .spawn()?;
    // It reads `out` of the bundle; run itself deletes the container.
    let watched = Container::new(scene, bundle.id.clone(), bundle.directory.clone(), None, false);
    watched.wait_lines(1)?;
    kill(nix::unistd::Pid::from_raw(child.id() as i32), Signal::SIGTERM)?;
    let status = child.wait()?;
    ensure_eq!(watched.wait_lines(2)?[1]["value"], json!("SIGTERM"), "signal in the container");
    ensure_eq!(status.code(), Some(0), "exit code of run");
    Ok(())
}

fn pause_resume(scene: &Scene) -> Verdict {
    let container = held(scene)?;
    container.attempt("pause", &[])?.expect_success("pause")?;
    ensure_eq!(container.status()?, "paused", "status after pause");
    container.attempt("resume", &[])?.expect_success("resume")?;
    ensure_eq!(container.status()?, "running", "status after resume");
    container.attempt("resume", &[])?.expect_failure("resume of a running container")
}

fn exec_process(scene: &Scene) -> Verdict {
    let container = held(scene)?;
    let file = scene.directory.join("process.json");
    let process = json!({
        "user": { "uid": 1000, "gid": 2000, "additionalGids": [5] },
        "args": [probe::PATH, probe::PART, r#"[["report"]]"#],
        "env": ["ONLY=this"],
        "cwd": "/tmp",
    });
    fs::write(&file, process.to_string())?;
    let answer = scene.invoke(&["exec", "--process", &file.to_string_lossy(), &container.id])?;
    let seen = crate::container::Ran::new(answer).value(0)?;
    ensure_eq!(seen["uid"], json!([1000, 1000, 1000, 1000]), "uids");
    ensure_eq!(seen["cwd"], json!("/tmp"), "working directory");
    ensure!(
        seen["environment"].to_string().contains("ONLY=this"),
        "environment: {}",
        seen["environment"]
    );
    Ok(())
}

fn exec_options(scene: &Scene) -> Verdict {
    let container = held(scene)?;
    let options = ["--cwd", "/tmp", "--env", "MORE=value", "--user", "1000:2000"];
    let seen = container.exec(&options, json!([["report"]]))?.value(0)?;
    ensure_eq!(seen["uid"], json!([1000, 1000, 1000, 1000]), "uids");
    ensure_eq!(seen["gid"], json!([2000, 2000, 2000, 2000]), "gids");
    ensure_eq!(seen["cwd"], json!("/tmp"), "working directory");
    let environment = seen["environment"].to_string();
    ensure!(
        environment.contains("MORE=value") && environment.contains("PATH=/"),
        "environment: {environment}"
    );
    Ok(())
}

fn exec_detach(scene: &Scene) -> Verdict {
    let container = held(scene)?;
    let file = scene.directory.join("exec.pid").to_string_lossy().into_owned();
    let ran = container.exec(&["--detach", "--pid-file", &file], json!([["hold"]]))?;
    ran.answer.expect_success("exec --detach")?;
    let pid: i32 = fs::read_to_string(&file)?.trim().parse()?;
    let comm = fs::read_to_string(format!("/proc/{pid}/comm"))?;
    ensure_eq!(comm.trim(), "probe", "program of the pid file's process");
    container.kill("KILL")?;
    // It is this process's orphan, too, and ends with the pid namespace, whose
    // first process waits until it is collected.
    nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None)?;
    container.wait_end()?;
    container.delete()
}

fn exec_namespaces(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?.namespace("network", None).namespace("cgroup", None);
    let container = bundle.operations(json!([["report"], ["hold"]])).start()?;
    let first = container.wait_lines(2)?[0]["value"]["namespaces"].clone();
    let second = container.exec(&[], json!([["report"]]))?.value(0)?;
    ensure_eq!(second["namespaces"], first, "namespaces of exec");
    ensure_eq!(
        second["descriptors"].as_object().map(|found| found.len()),
        Some(3),
        "descriptors: {}",
        second["descriptors"]
    );
    Ok(())
}

fn exec_stopped(scene: &Scene) -> Verdict {
    let answer = ended(scene)?.exec(&[], json!([]))?.answer;
    expect_words(&answer, "exec", &["cannot exec in a stopped container"])
}

fn exec_paused(scene: &Scene) -> Verdict {
    let container = held(scene)?;
    container.attempt("pause", &[])?.expect_success("pause")?;
    let answer = container.exec(&[], json!([]))?.answer;
    container.attempt("resume", &[])?.expect_success("resume")?;
    expect_words(&answer, "exec", &["cannot exec in a paused container"])
}

fn exec_cgroup(scene: &Scene) -> Verdict {
    let container = scene.bundle()?.operations(json!([["report"], ["hold"]])).start()?;
    let first = container.wait_lines(2)?[0]["value"]["cgroup"].clone();
    let second = container.exec(&[], json!([["report"]]))?.value(0)?;
    ensure_eq!(second["cgroup"], first, "cgroups of exec");
    Ok(())
}

fn update_pids(scene: &Scene) -> Verdict {
    crate::cgroups::require("pids")?;
    let container = held(scene)?;
    let input = scene.directory.join("resources.json");
    fs::write(&input, json!({ "pids": { "limit": 23 } }).to_string())?;
    let log = scene.directory.join("update.log");
    let mut command = scene.runtime.command(&log, &["update", "--resources", "-", &container.id]);
    command.stdin(fs::File::open(&input)?);
    scene
        .runtime
        .finish(command, &log, &scene.directory.join("update.out"))?
        .expect_success("update")?;
    let place = crate::cgroups::controller(container.pid()?, "pids")?;
    ensure_eq!(place.read("pids.max", "pids.max")?, "23", "limit");
    Ok(())
}

fn events_stats(scene: &Scene) -> Verdict {
    let container = held(scene)?;
    let answer = scene.invoke(&["events", "--stats", &container.id])?;
    answer.expect_success("events --stats")?;
    let event = parse_json(answer.stdout.trim(), "events")?;
    ensure_eq!(event["type"], json!("stats"), "type");
    ensure_eq!(event["id"], json!(container.id), "id");
    ensure!(event["data"].is_object(), "data: {}", event["data"]);
    Ok(())
}

fn spec_template(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?;
    let directory = bundle.directory.to_string_lossy().into_owned();
    scene.invoke(&["spec", "--bundle", &directory])?.expect_success("spec")?;
    let text = fs::read_to_string(bundle.directory.join("config.json"))?;
    let template = parse_json(&text, "config.json")?;
    for name in ["ociVersion", "process", "root", "linux"] {
        ensure!(!template[name].is_null(), "{name} is missing");
    }
    let again = scene.invoke(&["spec", "--bundle", &directory])?;
    expect_words(&again, "spec", &["config.json exists. Remove it first"])?;
    let mut bundle = scene.bundle()?;
    bundle.config = template;
    bundle
        .set("/process/terminal", json!(false))
        .set("/root/readonly", json!(false))
        .report()
        .map(drop)
}

fn home(scene: &Scene) -> Verdict {
    let passwd = "root:x:0:0::/root:/x\nuser:x:1000:1000::/home/user:/x\n";
    for (uid, wanted) in [(1000, "HOME=/home/user"), (0, "HOME=/root"), (4242, "HOME=/")] {
        let bundle = scene.bundle()?.file("/etc/passwd", passwd)?;
        let seen = bundle.set("/process/user", json!({ "uid": uid, "gid": 0 })).report()?;
        let environment = seen["environment"].as_array().cloned().unwrap_or_default();
        ensure!(
            environment.contains(&json!(wanted)),
            "environment of uid {uid}: {}",
            seen["environment"]
        );
    }
    Ok(())
}
