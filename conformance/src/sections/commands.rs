//! What callers of runc depend on, command by command.

use super::answers::expect_words;
use super::callers::{ended, held};
use crate::case::Level::Caller;
use crate::case::{Case, Stop, Verdict, case, ensure, ensure_eq};
use crate::probe;
use crate::runtime::parse_json;
use crate::scene::Scene;
use crate::socket::Receiver;
use serde_json::{Value, json};
use std::fs;

pub(super) const CASES: &[Case] = &[
    case(
        "callers.kill.default-signal",
        Caller,
        "kill without a signal sends SIGTERM",
        default_signal,
    ),
    case("callers.kill.all", Caller, "kill --all reaches every process of the container", kill_all),
    case("callers.kill.paused", Caller, "SIGKILL ends a paused container", kill_paused),
    case(
        "callers.delete.force-created",
        Caller,
        "delete --force of a created container",
        force_created,
    ),
    case(
        "callers.delete.force-paused",
        Caller,
        "delete --force of a paused container",
        force_paused,
    ),
    case(
        "callers.delete.leftovers",
        Caller,
        "delete --force ends what the first process left behind",
        force_leftovers,
    ),
    case("callers.exec.additional-gids", Caller, "exec --additional-gids", exec_groups),
    case("callers.exec.cap", Caller, "exec --cap adds a capability", exec_cap),
    case("callers.exec.no-new-privileges", Caller, "exec --no-new-privs", exec_no_new_privileges),
    case(
        "callers.exec.env-order",
        Caller,
        "a variable of exec --env replaces that of the configuration",
        exec_env,
    ),
    case(
        "callers.exec.preserve-fds",
        Caller,
        "exec --preserve-fds passes descriptors on",
        exec_descriptors,
    ),
    case(
        "callers.exec.no-descriptors",
        Caller,
        "exec passes nothing else on that its caller has open",
        exec_no_descriptors,
    ),
    case("callers.exec.signal-code", Caller, "exec exits with 128 + signal", exec_signal),
    case(
        "callers.exec.no-pid-file",
        Caller,
        "conmon: no pid file of a process that was not executed",
        exec_no_pid_file,
    ),
    case(
        "callers.exec.ignore-paused",
        Caller,
        "exec --ignore-paused waits for the container to go on",
        exec_ignore_paused,
    ),
    case(
        "callers.exec.stdin",
        Caller,
        "exec's process reads the caller's standard input",
        exec_stdin,
    ),
    case(
        "callers.exec.missing-cwd",
        Caller,
        "Toolbx and distrobox: words for a working directory that is not there",
        exec_missing_cwd,
    ),
    case(
        "callers.exec.other-root",
        Caller,
        "exec's program is looked up in the container",
        exec_lookup,
    ),
    case(
        "callers.exec.created",
        Caller,
        "exec in a created container runs before start",
        exec_created,
    ),
    case(
        "callers.state.paused",
        Caller,
        "the state of a paused container still has its pid",
        state_paused,
    ),
    case(
        "callers.list.table",
        Caller,
        "list prints a table with ID, PID, STATUS, BUNDLE, CREATED, OWNER",
        list_table,
    ),
    case("callers.list.stopped", Caller, "list shows stopped containers, with pid 0", list_stopped),
    case("callers.ps.children", Caller, "ps lists the children, too", ps_children),
    case("callers.ps.table", Caller, "ps --format table takes options of ps", ps_table),
    case("callers.run.keep", Caller, "run --keep leaves the stopped container", run_keep),
    case("callers.run.deletes", Caller, "run deletes the container at its end", run_deletes),
    case(
        "callers.run.failure-deletes",
        Caller,
        "run that cannot start the program leaves nothing",
        run_failure,
    ),
    case(
        "callers.create.pidfd-socket",
        Caller,
        "create --pidfd-socket sends a pidfd of the process",
        pidfd_socket,
    ),
    case(
        "callers.create.pid-file-first",
        Caller,
        "the pid file is there when create returns, and only then whole",
        pid_file_whole,
    ),
    case(
        "callers.create.id-characters",
        Caller,
        "ids with every character that engines use",
        id_characters,
    ),
    case("callers.root.slash", Caller, "--root / is refused", root_slash),
    case(
        "callers.root.made",
        Caller,
        "the directory of --root is made, for its owner alone",
        root_made,
    ),
    case(
        "callers.env.last-duplicate",
        Caller,
        "the last of two variables of one name holds",
        env_duplicate,
    ),
    case(
        "callers.cwd.created",
        Caller,
        "a working directory that is not there is made",
        cwd_created,
    ),
    case(
        "callers.stdio.owner",
        Caller,
        "a program of another user can open /dev/stdout again",
        stdio_owner,
    ),
    case(
        "callers.notify.socket",
        Caller,
        "NOTIFY_SOCKET: READY=1 reaches the caller's socket",
        notify,
    ),
    case("callers.spec.rootless", Caller, "spec --rootless writes a user namespace", spec_rootless),
    case(
        "callers.events.unknown",
        Caller,
        "events of a stopped container: runc's words",
        events_words,
    ),
];

fn default_signal(scene: &Scene) -> Verdict {
    let container = scene.bundle()?.operations(json!([["await-signal"]])).start()?;
    container.wait_lines(1)?;
    scene.invoke(&["kill", &container.id])?.expect_success("kill")?;
    container.wait_end()?;
    ensure_eq!(container.wait_lines(2)?[1]["value"], json!("SIGTERM"), "signal");
    Ok(())
}

/// A container with three further processes.
fn family<'s>(scene: &'s Scene) -> Result<crate::container::Container<'s>, Stop> {
    let container = scene.bundle()?.operations(json!([["leave", 3], ["hold"]])).start()?;
    container.wait_lines(2)?;
    Ok(container)
}

fn kill_all(scene: &Scene) -> Verdict {
    let container = family(scene)?;
    scene.invoke(&["kill", "--all", &container.id, "KILL"])?.expect_success("kill --all")?;
    container.wait_end()?;
    ensure_eq!(container.status()?, "stopped", "status");
    container.delete()
}

fn kill_paused(scene: &Scene) -> Verdict {
    let container = held(scene)?;
    container.attempt("pause", &[])?.expect_success("pause")?;
    container.kill("KILL")?;
    container.wait_end()?;
    ensure_eq!(container.status()?, "stopped", "status");
    container.delete()
}

fn force_created(scene: &Scene) -> Verdict {
    let container = scene.bundle()?.create()?;
    container.delete_by_force()?;
    container.attempt("state", &[])?.expect_failure("state of a deleted container")
}

fn force_paused(scene: &Scene) -> Verdict {
    let container = held(scene)?;
    container.attempt("pause", &[])?.expect_success("pause")?;
    container.delete_by_force()?;
    container.attempt("state", &[])?.expect_failure("state of a deleted container")
}

/// Without a pid namespace of its own a container's other processes outlive the first one.
fn force_leftovers(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?.without_namespace("pid");
    let container = bundle.operations(json!([["leave", 2]])).start()?;
    container.wait_lines(1)?;
    container.wait_end()?;
    container.delete_by_force()
}

fn reported(container: &crate::container::Container<'_>, options: &[&str]) -> Result<Value, Stop> {
    container.exec(options, json!([["report"]]))?.value(0)
}

fn exec_groups(scene: &Scene) -> Verdict {
    let container = held(scene)?;
    let seen = reported(
        &container,
        &["--user", "1000:1000", "--additional-gids", "77", "--additional-gids", "88"],
    )?;
    let groups = seen["groups"].as_array().cloned().unwrap_or_default();
    ensure!(groups.contains(&json!(77)) && groups.contains(&json!(88)), "groups: {groups:?}");
    Ok(())
}

fn exec_cap(scene: &Scene) -> Verdict {
    let container = held(scene)?;
    let bounding = |seen: &Value| {
        let text = seen["capabilities"]["bounding"].as_str().unwrap_or_default().to_owned();
        u64::from_str_radix(&text, 16).unwrap_or_default()
    };
    let (without, with) =
        (reported(&container, &[])?, reported(&container, &["--cap", "CAP_NET_RAW"])?);
    ensure_eq!(bounding(&with), bounding(&without) | 1 << 13, "bounding set with CAP_NET_RAW");
    Ok(())
}

fn exec_no_new_privileges(scene: &Scene) -> Verdict {
    let container = held(scene)?;
    ensure_eq!(
        reported(&container, &["--no-new-privs"])?["no_new_privileges"],
        json!("1"),
        "with the flag"
    );
    ensure_eq!(reported(&container, &[])?["no_new_privileges"], json!("0"), "without it");
    Ok(())
}

fn exec_env(scene: &Scene) -> Verdict {
    let bundle =
        scene.bundle()?.set("/process/env", json!(["PATH=/", "ONE=configured", "TWO=configured"]));
    let container = bundle.operations(json!([["hold"]])).start()?;
    container.wait_lines(1)?;
    let seen = reported(&container, &["--env", "ONE=given"])?["environment"].to_string();
    ensure!(seen.contains("ONE=given") && seen.contains("TWO=configured"), "environment: {seen}");
    ensure!(!seen.contains("ONE=configured"), "environment: {seen}");
    Ok(())
}

/// exec with /dev/null as 3 and /dev/zero as 4.
fn exec_with_descriptors(scene: &Scene, options: &[&str]) -> Result<Value, Stop> {
    let container = held(scene)?;
    let mut args = vec!["exec"];
    args.extend(options);
    args.extend([container.id.as_str(), probe::PATH, probe::PART, r#"[["report"]]"#]);
    let log = scene.directory.join("exec.log");
    let plain = scene.runtime.command(&log, &args);
    let mut command = std::process::Command::new("sh");
    command.args(["-c", r#"exec 3</dev/null 4</dev/zero; exec "$@""#, "sh"]);
    command.arg(plain.get_program()).args(plain.get_args()).stdin(std::process::Stdio::null());
    let answer = scene.runtime.finish(command, &log, &scene.directory.join("exec.out"))?;
    Ok(crate::container::Ran::new(answer).value(0)?["descriptors"].clone())
}

fn exec_descriptors(scene: &Scene) -> Verdict {
    let found = exec_with_descriptors(scene, &["--preserve-fds", "2"])?;
    ensure_eq!(
        (found["3"].clone(), found["4"].clone()),
        (json!("/dev/null"), json!("/dev/zero")),
        "3 and 4"
    );
    ensure_eq!(found.as_object().map(|all| all.len()), Some(5), "descriptors: {found}");
    Ok(())
}

fn exec_no_descriptors(scene: &Scene) -> Verdict {
    let found = exec_with_descriptors(scene, &[])?;
    ensure_eq!(found.as_object().map(|all| all.len()), Some(3), "descriptors: {found}");
    Ok(())
}

fn exec_signal(scene: &Scene) -> Verdict {
    let container = held(scene)?;
    ensure_eq!(
        container.exec(&[], json!([["call", "kill", 9]]))?.answer.code,
        128 + 9,
        "exit code"
    );
    Ok(())
}

fn exec_no_pid_file(scene: &Scene) -> Verdict {
    let container = held(scene)?;
    let file = scene.directory.join("exec.pid");
    let path = file.to_string_lossy().into_owned();
    for program in ["no-such-program", "/no/such/program", "/tmp"] {
        let answer = scene.invoke(&["exec", "--pid-file", &path, &container.id, program])?;
        answer.expect_failure(&format!("exec {program}"))?;
        ensure!(!file.exists(), "the pid file of exec {program} was written");
    }
    Ok(())
}

fn exec_ignore_paused(scene: &Scene) -> Verdict {
    let container = held(scene)?;
    container.attempt("pause", &[])?.expect_success("pause")?;
    let args = [
        "exec",
        "--ignore-paused",
        &container.id,
        probe::PATH,
        probe::PART,
        r#"[["echo","late"]]"#,
    ];
    let out = scene.directory.join("exec.out");
    let mut command = scene.runtime.command(&scene.directory.join("exec.log"), &args);
    let error = fs::File::create(scene.directory.join("exec.err"))?;
    let mut child = command.stdout(fs::File::create(&out)?).stderr(error).spawn()?;
    container.attempt("resume", &[])?.expect_success("resume")?;
    // It may have come before the freezing ended, or after: it runs either way.
    let status = child.wait()?;
    ensure!(
        status.success(),
        "exec: {status}: {}",
        fs::read_to_string(scene.directory.join("exec.err"))?
    );
    ensure!(fs::read_to_string(&out)?.contains("late"), "the program did not run");
    Ok(())
}

fn exec_stdin(scene: &Scene) -> Verdict {
    let container = held(scene)?;
    let input = scene.directory.join("input");
    fs::write(&input, "for exec")?;
    let log = scene.directory.join("exec.log");
    let args = ["exec", &container.id, probe::PATH, probe::PART, r#"[["stdin"]]"#];
    let mut command = scene.runtime.command(&log, &args);
    command.stdin(fs::File::open(&input)?);
    let ran = crate::container::Ran::new(scene.runtime.finish(
        command,
        &log,
        &scene.directory.join("exec.out"),
    )?);
    ensure_eq!(ran.value(0)?, json!("for exec"), "stdin");
    Ok(())
}

fn exec_missing_cwd(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?.file("/plain", "x")?;
    let container = bundle.operations(json!([["hold"]])).start()?;
    container.wait_lines(1)?;
    let answer = container.exec(&["--cwd", "/plain"], json!([]))?.answer;
    ensure_eq!(answer.code, 255, "exit code");
    expect_words(&answer, "exec", &["not a directory"])
}

fn exec_lookup(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?.folder("/inside")?;
    fs::hard_link(bundle.root().join("probe"), bundle.root().join("inside/tool"))?;
    let bundle = bundle.set("/process/env", json!(["PATH=/inside"]));
    let container = bundle.operations(json!([["hold"]])).start()?;
    container.wait_lines(1)?;
    let answer =
        scene.invoke(&["exec", &container.id, "tool", probe::PART, r#"[["echo","found"]]"#])?;
    ensure_eq!(
        crate::container::Ran::new(answer).value(0)?,
        json!("found"),
        "a program of the container's PATH"
    );
    Ok(())
}

fn exec_created(scene: &Scene) -> Verdict {
    let container = scene.bundle()?.create()?;
    ensure_eq!(
        container.exec(&[], json!([["echo", "early"]]))?.value(0)?,
        json!("early"),
        "line of exec"
    );
    ensure_eq!(container.status()?, "created", "status");
    Ok(())
}

fn state_paused(scene: &Scene) -> Verdict {
    let container = held(scene)?;
    container.attempt("pause", &[])?.expect_success("pause")?;
    let state = container.state()?;
    container.attempt("resume", &[])?.expect_success("resume")?;
    ensure_eq!(state["pid"], json!(container.pid()?), "pid");
    Ok(())
}

fn list_table(scene: &Scene) -> Verdict {
    let container = held(scene)?;
    let answer = scene.invoke(&["list"])?;
    let words: Vec<Vec<&str>> =
        answer.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    ensure_eq!(words[0], ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"], "first line");
    ensure!(
        words.len() == 2 && words[1][0] == container.id && words[1][2] == "running",
        "{words:?}"
    );
    Ok(())
}

fn list_stopped(scene: &Scene) -> Verdict {
    let container = ended(scene)?;
    let list = parse_json(&scene.invoke(&["list", "--format", "json"])?.stdout, "list")?;
    ensure_eq!(list[0]["id"], json!(container.id), "id");
    ensure_eq!(
        (list[0]["status"].clone(), list[0]["pid"].clone()),
        (json!("stopped"), json!(0)),
        "status and pid"
    );
    Ok(())
}

fn ps_children(scene: &Scene) -> Verdict {
    let container = family(scene)?;
    let seen = parse_json(&scene.invoke(&["ps", "--format", "json", &container.id])?.stdout, "ps")?;
    ensure_eq!(seen.as_array().map(Vec::len), Some(4), "processes");
    Ok(())
}

fn ps_table(scene: &Scene) -> Verdict {
    if !["/bin/ps", "/usr/bin/ps"].iter().any(|path| fs::metadata(path).is_ok()) {
        return crate::case::skipped("ps of procps is not installed");
    }
    let container = held(scene)?;
    let answer = scene.invoke(&["ps", &container.id, "-o", "pid,comm"])?;
    answer.expect_success("ps")?;
    ensure!(answer.stdout.contains(&container.pid()?.to_string()), "output: {}", answer.stdout);
    ensure!(
        answer.stdout.lines().next().is_some_and(|line| line.contains("PID")),
        "output: {}",
        answer.stdout
    );
    Ok(())
}

fn run_keep(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?.option(&["--keep"]);
    let id = bundle.id.clone();
    bundle.run()?;
    let state = parse_json(&scene.invoke(&["state", &id])?.stdout, "state")?;
    scene.invoke(&["delete", &id])?.expect_success("delete")?;
    ensure_eq!(state["status"], json!("stopped"), "status");
    Ok(())
}

fn run_deletes(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?;
    let id = bundle.id.clone();
    bundle.run()?;
    scene.invoke(&["state", &id])?.expect_failure("state after run")
}

fn run_failure(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?.set("/process/args", json!(["/no/such/program"]));
    let id = bundle.id.clone();
    bundle.attempt("run")?.expect_failure("run")?;
    scene.invoke(&["state", &id])?.expect_failure("state after a run that failed")
}

fn pidfd_socket(scene: &Scene) -> Verdict {
    let receiver = Receiver::new(&scene.directory, "pidfd")?;
    let path = receiver.path.to_string_lossy().into_owned();
    let container = scene
        .bundle()?
        .option(&["--pidfd-socket", &path])
        .operations(json!([["hold"]]))
        .create()?;
    let received = receiver.receive()?;
    let number = received.descriptor()?;
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{number}"))?;
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:")).unwrap_or_default();
    ensure_eq!(pid.trim(), container.pid()?.to_string(), "process of the pidfd");
    Ok(())
}

fn pid_file_whole(scene: &Scene) -> Verdict {
    // An older file with more digits must not shine through.
    let bundle = scene.bundle()?;
    fs::write(bundle.directory.join("pid"), "99999999999999")?;
    let container = bundle.operations(json!([["hold"]])).create()?;
    let text = fs::read_to_string(container.bundle.join("pid"))?;
    ensure_eq!(text, container.state()?["pid"].to_string(), "pid file");
    Ok(())
}

fn id_characters(scene: &Scene) -> Verdict {
    for tail in ["_x", "-x", ".x", "+x", "..x", "X9"] {
        let mut bundle = scene.bundle()?;
        bundle.id = format!("{}{tail}", bundle.id);
        bundle.report()?;
    }
    Ok(())
}

fn root_slash(scene: &Scene) -> Verdict {
    let log = scene.directory.join("slash.log");
    // Only a command that reads: nothing may happen should it be accepted.
    let mut command = std::process::Command::new(scene.runtime.binary());
    command.args(["--root", "/", "list"]).stdin(std::process::Stdio::null());
    let answer = scene.runtime.finish(command, &log, &scene.directory.join("slash.out"))?;
    answer.expect_failure("list with --root /")
}

fn root_made(scene: &Scene) -> Verdict {
    use std::os::unix::fs::MetadataExt;
    let root = scene.directory.join("new/deep");
    fs::create_dir(scene.directory.join("new"))?;
    let bundle = scene.bundle()?;
    bundle.write()?;
    let log = scene.directory.join("made.log");
    let mut command = std::process::Command::new(scene.runtime.binary());
    command
        .arg("--root")
        .arg(&root)
        .args(["run", "--bundle"])
        .arg(&bundle.directory)
        .arg(&bundle.id);
    let answer = scene.runtime.finish(command, &log, &scene.directory.join("made.out"))?;
    answer.expect_success("run with a new root")?;
    ensure_eq!(fs::metadata(&root)?.mode() & 0o077, 0, "rights of others on the root");
    Ok(())
}

fn env_duplicate(scene: &Scene) -> Verdict {
    let env = json!(["PATH=/", "TWICE=one", "OTHER=x", "TWICE=two"]);
    let seen = scene.bundle()?.set("/process/env", env).report()?["environment"].to_string();
    ensure!(seen.contains("TWICE=two") && !seen.contains("TWICE=one"), "environment: {seen}");
    Ok(())
}

fn cwd_created(scene: &Scene) -> Verdict {
    let seen = scene.bundle()?.set("/process/cwd", json!("/not/there/yet")).report()?;
    ensure_eq!(seen["cwd"], json!("/not/there/yet"), "working directory");
    Ok(())
}

fn stdio_owner(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?.set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    let bundle = bundle.set("/process/capabilities", json!({}));
    let out = bundle.directory.join("out");
    bundle.write()?;
    // Closed to everybody but its owner, as the pipes and files of engines are.
    fs::write(&out, "")?;
    std::os::unix::fs::chown(&out, Some(0), Some(0))?;
    fs::set_permissions(&out, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let ran = bundle.operations(json!([["open", "/proc/self/fd/1", "w"]])).run()?;
    ensure_eq!(ran.error(0)?, "ok", "open of /proc/self/fd/1 by uid 1000");
    Ok(())
}

/// The runtime of a detached run waits for READY=1, or hands the socket into the container.
fn notify(scene: &Scene) -> Verdict {
    let path = scene.directory.join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path)?;
    socket.set_read_timeout(Some(std::time::Duration::from_secs(15)))?;
    let bundle = scene.bundle()?.folder("/run")?;
    let bundle = bundle.operations(json!([["datagram", "NOTIFY_SOCKET", "READY=1"], ["hold"]]));
    bundle.write()?;
    let (id, directory) = (bundle.id.clone(), bundle.directory.clone());
    let pid_file = directory.join("pid");
    let log = scene.directory.join("log");
    let args = [
        "run",
        "--detach",
        "--pid-file",
        &pid_file.to_string_lossy(),
        "--bundle",
        &directory.to_string_lossy(),
        &id,
    ]
    .map(str::to_owned);
    let mut command = scene.runtime.command(&log, &args);
    command.env("NOTIFY_SOCKET", &path);
    let answer = scene.runtime.finish(command, &log, &directory.join("out"))?;
    answer.expect_success("run --detach")?;
    let pid = fs::read_to_string(&pid_file)?.trim().parse().ok();
    let _container = crate::container::Container::new(scene, id, directory, pid, true);
    let mut bytes = [0; 4096];
    let mut text = String::new();
    while !text.contains("READY=1") {
        match socket.recv(&mut bytes) {
            Ok(length) => text.push_str(&String::from_utf8_lossy(&bytes[..length])),
            Err(error) => {
                return crate::case::failed(format!(
                    "nothing came over the socket but {text:?}: {error}"
                ));
            }
        }
    }
    Ok(())
}

fn spec_rootless(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?;
    let directory = bundle.directory.to_string_lossy().into_owned();
    scene
        .invoke(&["spec", "--rootless", "--bundle", &directory])?
        .expect_success("spec --rootless")?;
    let template =
        parse_json(&fs::read_to_string(bundle.directory.join("config.json"))?, "config.json")?;
    let kinds = template["linux"]["namespaces"].to_string();
    ensure!(kinds.contains("\"user\"") && !kinds.contains("\"network\""), "namespaces: {kinds}");
    ensure!(template["linux"]["uidMappings"].is_array(), "no mappings");
    Ok(())
}

fn events_words(scene: &Scene) -> Verdict {
    let answer = scene.invoke(&["events", "--stats", &ended(scene)?.id])?;
    expect_words(&answer, "events", &["is not running"])
}
