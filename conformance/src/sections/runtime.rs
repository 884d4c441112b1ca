//! runtime.md: state, life cycle, operations and their errors.

use crate::case::Level::Must;
use crate::case::{Case, Verdict, case, ensure, ensure_eq};
use crate::scene::Scene;
use nix::sys::wait::WaitStatus;
use serde_json::{Value, json};
use std::fs;

pub(super) const CASES: &[Case] = &[
    case(
        "runtime.state.fields",
        Must,
        "runtime.md, State: ociVersion, id, status, pid and bundle are there",
        state_fields,
    ),
    case(
        "runtime.state.created",
        Must,
        "runtime.md, State: created once create is done",
        state_created,
    ),
    case(
        "runtime.state.running",
        Must,
        "runtime.md, State: running once start is done",
        state_running,
    ),
    case(
        "runtime.state.stopped",
        Must,
        "runtime.md, State: stopped once the process has exited",
        state_stopped,
    ),
    case(
        "runtime.state.killed",
        Must,
        "runtime.md, State: stopped once the process was killed from outside",
        state_killed,
    ),
    case(
        "runtime.state.no-id",
        Must,
        "runtime.md, Query State: without an id it is an error",
        state_no_id,
    ),
    case(
        "runtime.state.unknown-id",
        Must,
        "runtime.md, Query State: a container that does not exist is an error",
        state_unknown,
    ),
    case(
        "runtime.state.bundle-absolute",
        Must,
        "runtime.md, State: bundle is absolute even when create got a relative path",
        bundle_absolute,
    ),
    case(
        "runtime.create.no-id",
        Must,
        "runtime.md, Create: without an id it is an error",
        create_no_id,
    ),
    case(
        "runtime.create.no-bundle",
        Must,
        "runtime.md, Create: a bundle that is not there is an error",
        create_no_bundle,
    ),
    case(
        "runtime.create.no-config",
        Must,
        "bundle.md: config.json has to be in the bundle",
        create_no_config,
    ),
    case(
        "runtime.create.duplicate-id",
        Must,
        "runtime.md, Create: an id in use is an error, the first container is left alone",
        create_duplicate,
    ),
    case(
        "runtime.create.invalid-id",
        Must,
        "runtime.md, Create: an id that is not valid is an error",
        create_invalid_id,
    ),
    case(
        "runtime.create.program-waits",
        Must,
        "runtime.md, Lifecycle 2: create does not run the program",
        create_program_waits,
    ),
    case(
        "runtime.create.config-read-once",
        Must,
        "runtime.md, Lifecycle 2: config.json may change after create without effect",
        config_read_once,
    ),
    case(
        "runtime.create.failure-leaves-nothing",
        Must,
        "runtime.md, Errors: a failed create leaves the environment as it was",
        create_failure_clean,
    ),
    case(
        "runtime.create.id-free-after-failure",
        Must,
        "runtime.md, Errors: the id of a failed create can be used",
        create_id_free,
    ),
    case("runtime.start.runs-program", Must, "runtime.md, Start: runs the program", start_runs),
    case(
        "runtime.start.no-id",
        Must,
        "runtime.md, Start: without an id it is an error",
        start_no_id,
    ),
    case(
        "runtime.start.unknown-id",
        Must,
        "runtime.md, Start: a container that does not exist is an error",
        start_unknown,
    ),
    case(
        "runtime.start.running",
        Must,
        "runtime.md, Start: a running container is an error and goes on",
        start_running,
    ),
    case(
        "runtime.start.stopped",
        Must,
        "runtime.md, Start: a stopped container is an error and stays stopped",
        start_stopped,
    ),
    case(
        "runtime.start.no-process",
        Must,
        "runtime.md, Start: an error when process was not set",
        start_no_process,
    ),
    case(
        "runtime.kill.signal-by-name",
        Must,
        "runtime.md, Kill: sends the signal to the process",
        kill_by_name,
    ),
    case(
        "runtime.kill.signal-by-number",
        Must,
        "runtime.md, Kill: sends the signal to the process",
        kill_by_number,
    ),
    case("runtime.kill.ends-process", Must, "runtime.md, Kill: KILL ends the process", kill_ends),
    case(
        "runtime.kill.created",
        Must,
        "runtime.md, Kill: a created container can be killed",
        kill_created,
    ),
    case(
        "runtime.kill.stopped",
        Must,
        "runtime.md, Kill: a stopped container is an error",
        kill_stopped,
    ),
    case("runtime.kill.no-id", Must, "runtime.md, Kill: without an id it is an error", kill_no_id),
    case(
        "runtime.kill.unknown-id",
        Must,
        "runtime.md, Kill: a container that does not exist is an error",
        kill_unknown,
    ),
    case(
        "runtime.delete.running",
        Must,
        "runtime.md, Delete: a running container is an error and goes on",
        delete_running,
    ),
    case(
        "runtime.delete.created",
        Must,
        "runtime.md, Delete: a created container is an error and stays",
        delete_created,
    ),
    case(
        "runtime.delete.no-id",
        Must,
        "runtime.md, Delete: without an id it is an error",
        delete_no_id,
    ),
    case(
        "runtime.delete.unknown-id",
        Must,
        "runtime.md, Delete: a container that does not exist is an error",
        delete_unknown,
    ),
    case(
        "runtime.delete.removes-everything",
        Must,
        "runtime.md, Delete: what create made is gone",
        delete_removes,
    ),
    case(
        "runtime.delete.keeps-the-rest",
        Must,
        "runtime.md, Delete: what create did not make stays",
        delete_keeps,
    ),
    case(
        "runtime.delete.id-free",
        Must,
        "runtime.md, Delete: the id may be used again",
        delete_id_free,
    ),
    case(
        "runtime.scope.other-containers",
        Must,
        "runtime.md, Scope: operations act on their own container only",
        other_containers,
    ),
];

const HOLD: &str = "hold";

fn hold() -> Value {
    json!([[HOLD]])
}

fn state_fields(scene: &Scene) -> Verdict {
    let container = scene.bundle()?.operations(hold()).start()?;
    let state = container.state()?;
    ensure!(
        state["ociVersion"].as_str().is_some_and(|text| text.starts_with("1.")),
        "ociVersion: {}",
        state["ociVersion"]
    );
    ensure_eq!(state["id"], json!(container.id), "id");
    ensure_eq!(state["pid"], json!(container.pid()?), "pid, against the pid file");
    ensure_eq!(state["bundle"], json!(container.bundle), "bundle");
    ensure!(state["status"].is_string(), "status: {}", state["status"]);
    let comm = fs::read_to_string(format!("/proc/{}/comm", container.pid()?))?;
    ensure_eq!(comm.trim(), "probe", "the program of the process that pid names");
    Ok(())
}

fn state_created(scene: &Scene) -> Verdict {
    let container = scene.bundle()?.create()?;
    let state = container.state()?;
    ensure_eq!(state["status"], json!("created"), "status after create");
    ensure_eq!(state["pid"], json!(container.pid()?), "pid, against the pid file");
    Ok(())
}

fn state_running(scene: &Scene) -> Verdict {
    let container = scene.bundle()?.operations(hold()).start()?;
    container.wait_lines(1)?;
    ensure_eq!(container.status()?, "running", "status while the program runs");
    Ok(())
}

fn state_stopped(scene: &Scene) -> Verdict {
    let container = scene.bundle()?.start()?;
    container.wait_end()?;
    ensure_eq!(container.status()?, "stopped", "status after the program's end");
    Ok(())
}

fn state_killed(scene: &Scene) -> Verdict {
    let container = scene.bundle()?.operations(hold()).start()?;
    let pid = nix::unistd::Pid::from_raw(container.pid()?);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)?;
    container.wait_end()?;
    ensure_eq!(container.status()?, "stopped", "status after a kill from outside");
    Ok(())
}

fn state_no_id(scene: &Scene) -> Verdict {
    scene.invoke(&["state"])?.expect_failure("state without an id")
}

fn state_unknown(scene: &Scene) -> Verdict {
    scene.invoke(&["state", &scene.mark])?.expect_failure("state of an unknown container")
}

fn bundle_absolute(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?;
    bundle.write()?;
    let log = scene.directory.join("log");
    let name = bundle.id.as_str();
    let mut command = scene.runtime.command(&log, &["create", "--bundle", name, name]);
    command.current_dir(&scene.directory);
    let answer = scene.runtime.finish(command, &log, &bundle.directory.join("out"))?;
    answer.expect_success("create with a relative bundle")?;
    let state = scene.invoke(&["state", name])?;
    scene.invoke(&["delete", "--force", name])?.expect_success("delete --force")?;
    let state = crate::runtime::parse_json(&state.stdout, "state")?;
    ensure_eq!(state["bundle"], json!(bundle.directory), "bundle");
    Ok(())
}

fn create_no_id(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?;
    bundle.write()?;
    let directory = bundle.directory.to_string_lossy().into_owned();
    scene.invoke(&["create", "--bundle", &directory])?.expect_failure("create without an id")
}

fn create_no_bundle(scene: &Scene) -> Verdict {
    let nowhere = scene.directory.join("nowhere").to_string_lossy().into_owned();
    let answer = scene.invoke(&["create", "--bundle", &nowhere, &scene.mark])?;
    answer.expect_failure("create with a bundle that is not there")
}

fn create_no_config(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?;
    let directory = bundle.directory.to_string_lossy().into_owned();
    scene
        .invoke(&["create", "--bundle", &directory, &bundle.id])?
        .expect_failure("create without config.json")
}

fn create_duplicate(scene: &Scene) -> Verdict {
    let first = scene.bundle()?.operations(hold()).start()?;
    let before = first.state()?;
    let mut second = scene.bundle()?;
    second.id = first.id.clone();
    second.attempt("create")?.expect_failure("create with an id in use")?;
    ensure_eq!(first.state()?, before, "state of the first container");
    Ok(())
}

fn create_invalid_id(scene: &Scene) -> Verdict {
    for id in ["", "..", "a/b", "../escape"] {
        let mut bundle = scene.bundle()?;
        bundle.id = id.to_owned();
        let answer = bundle.attempt("create")?;
        ensure!(!answer.succeeded(), "the id {id:?} was accepted");
    }
    ensure!(!scene.directory.join("escape").exists(), "an id left the state directory");
    Ok(())
}

fn create_program_waits(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?;
    let marker = bundle.root().join("ran");
    let container = bundle.operations(json!([["create", "/ran"], [HOLD]])).create()?;
    ensure_eq!(container.status()?, "created", "status");
    ensure!(!marker.exists() && container.lines().is_empty(), "the program ran before start");
    container.start()?;
    container.wait_lines(2)?;
    ensure!(marker.exists(), "the program did not run after start");
    Ok(())
}

fn config_read_once(scene: &Scene) -> Verdict {
    let container = scene.bundle()?.operations(json!([["echo", "first"]])).create()?;
    let path = container.bundle.join("config.json");
    let text = fs::read_to_string(&path)?.replace("first", "second");
    fs::write(&path, text)?;
    container.start()?;
    container.wait_end()?;
    ensure_eq!(container.wait_lines(1)?[0]["value"], json!("first"), "what the program was given");
    Ok(())
}

fn create_failure_clean(scene: &Scene) -> Verdict {
    scene.bundle()?.mount("/mnt", "bind", "/nonexistent/source", &["bind"]).refused()?;
    scene.bundle()?.mount("/mnt", "no-such-file-system", "x", &[]).refused()?;
    Ok(())
}

fn create_id_free(scene: &Scene) -> Verdict {
    let bad = scene.bundle()?.mount("/mnt", "bind", "/nonexistent/source", &["bind"]);
    let id = bad.id.clone();
    bad.refused()?;
    let mut good = scene.bundle()?;
    good.id = id;
    good.create()?.kill("KILL")
}

fn start_runs(scene: &Scene) -> Verdict {
    let container = scene.bundle()?.operations(json!([["echo", "ran"]])).start()?;
    container.wait_end()?;
    ensure_eq!(container.wait_lines(1)?[0]["value"], json!("ran"), "the program's line");
    Ok(())
}

fn start_no_id(scene: &Scene) -> Verdict {
    scene.invoke(&["start"])?.expect_failure("start without an id")
}

fn start_unknown(scene: &Scene) -> Verdict {
    scene.invoke(&["start", &scene.mark])?.expect_failure("start of an unknown container")
}

fn start_running(scene: &Scene) -> Verdict {
    let container = scene.bundle()?.operations(hold()).start()?;
    container.wait_lines(1)?;
    let before = container.state()?;
    container.attempt("start", &[])?.expect_failure("start of a running container")?;
    ensure_eq!(container.state()?, before, "state");
    ensure_eq!(container.lines().len(), 1, "lines of the program");
    Ok(())
}

fn start_stopped(scene: &Scene) -> Verdict {
    let container = scene.bundle()?.operations(json!([["echo", "ran"]])).start()?;
    container.wait_end()?;
    container.attempt("start", &[])?.expect_failure("start of a stopped container")?;
    ensure_eq!(container.status()?, "stopped", "status");
    ensure_eq!(container.lines().len(), 1, "lines of the program");
    Ok(())
}

/// create may refuse already: it may validate the whole configuration.
fn start_no_process(scene: &Scene) -> Verdict {
    let (answer, container) = scene.bundle()?.remove("/process").try_create()?;
    if answer.succeeded() {
        container.attempt("start", &[])?.expect_failure("start without a process")?;
        container.delete_by_force()?;
    }
    Ok(())
}

fn sent_signal(scene: &Scene, signal: &str) -> Result<Value, crate::case::Stop> {
    let container = scene.bundle()?.operations(json!([["await-signal"]])).start()?;
    container.wait_lines(1)?;
    container.kill(signal)?;
    container.wait_end()?;
    Ok(container.wait_lines(2)?[1]["value"].clone())
}

fn kill_by_name(scene: &Scene) -> Verdict {
    for (given, seen) in [("TERM", "SIGTERM"), ("SIGUSR1", "SIGUSR1"), ("HUP", "SIGHUP")] {
        ensure_eq!(sent_signal(scene, given)?, json!(seen), "signal after kill {given}");
    }
    Ok(())
}

fn kill_by_number(scene: &Scene) -> Verdict {
    for (given, seen) in [("15", "SIGTERM"), ("12", "SIGUSR2")] {
        ensure_eq!(sent_signal(scene, given)?, json!(seen), "signal after kill {given}");
    }
    Ok(())
}

fn kill_ends(scene: &Scene) -> Verdict {
    let container = scene.bundle()?.operations(hold()).start()?;
    container.kill("KILL")?;
    let end = container.wait_end()?;
    ensure!(matches!(end, WaitStatus::Signaled(_, nix::sys::signal::SIGKILL, _)), "end: {end:?}");
    ensure_eq!(container.status()?, "stopped", "status");
    container.delete()
}

fn kill_created(scene: &Scene) -> Verdict {
    let container = scene.bundle()?.create()?;
    container.kill("KILL")?;
    container.wait_end()?;
    ensure_eq!(container.status()?, "stopped", "status");
    container.delete()
}

fn kill_stopped(scene: &Scene) -> Verdict {
    let container = scene.bundle()?.start()?;
    container.wait_end()?;
    container.attempt("kill", &["TERM"])?.expect_failure("kill of a stopped container")?;
    ensure_eq!(container.status()?, "stopped", "status");
    Ok(())
}

fn kill_no_id(scene: &Scene) -> Verdict {
    scene.invoke(&["kill"])?.expect_failure("kill without an id")
}

fn kill_unknown(scene: &Scene) -> Verdict {
    scene.invoke(&["kill", &scene.mark, "TERM"])?.expect_failure("kill of an unknown container")
}

fn delete_running(scene: &Scene) -> Verdict {
    let container = scene.bundle()?.operations(hold()).start()?;
    let before = container.state()?;
    container.attempt("delete", &[])?.expect_failure("delete of a running container")?;
    ensure_eq!(container.state()?, before, "state");
    Ok(())
}

fn delete_created(scene: &Scene) -> Verdict {
    let container = scene.bundle()?.create()?;
    container.attempt("delete", &[])?.expect_failure("delete of a created container")?;
    ensure_eq!(container.status()?, "created", "status");
    Ok(())
}

fn delete_no_id(scene: &Scene) -> Verdict {
    scene.invoke(&["delete"])?.expect_failure("delete without an id")
}

fn delete_unknown(scene: &Scene) -> Verdict {
    scene.invoke(&["delete", &scene.mark])?.expect_failure("delete of an unknown container")
}

fn delete_removes(scene: &Scene) -> Verdict {
    let container = scene.bundle()?.operations(hold()).start()?;
    container.kill("KILL")?;
    container.wait_end()?;
    container.delete()?;
    container.attempt("state", &[])?.expect_failure("state of a deleted container")?;
    let left = crate::cgroups::groups_named(&container.id);
    ensure!(left.is_empty(), "cgroups after delete: {left:?}");
    Ok(())
}

fn delete_keeps(scene: &Scene) -> Verdict {
    let shared = scene.directory.join("shared");
    fs::create_dir(&shared)?;
    fs::write(shared.join("file"), "x")?;
    let source = shared.to_string_lossy().into_owned();
    let bundle = scene.bundle()?.mount("/shared", "bind", &source, &["bind"]).file("/own", "x")?;
    let root = bundle.root();
    let container = bundle.start()?;
    container.wait_end()?;
    container.delete()?;
    for path in [
        shared.join("file"),
        root.join("own"),
        root.join("probe"),
        container.bundle.join("config.json"),
    ] {
        ensure!(path.exists(), "{} is gone", path.display());
    }
    Ok(())
}

fn delete_id_free(scene: &Scene) -> Verdict {
    let first = scene.bundle()?.start()?;
    first.wait_end()?;
    first.delete()?;
    let mut second = scene.bundle()?;
    second.id = first.id.clone();
    let second = second.start()?;
    second.wait_end()?;
    second.delete()
}

fn other_containers(scene: &Scene) -> Verdict {
    let one = scene.bundle()?.operations(hold()).start()?;
    let other = scene.bundle()?.operations(hold()).start()?;
    one.kill("KILL")?;
    one.wait_end()?;
    one.delete()?;
    ensure_eq!(other.status()?, "running", "status of the other container");
    Ok(())
}
