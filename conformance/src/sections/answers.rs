//! What callers of runc read: the log, the words of errors, exit codes.

use super::callers::{ended, held};
use crate::case::Level::Caller;
use crate::case::{Case, Stop, Verdict, case, ensure, ensure_eq, failed};
use crate::runtime::{Answer, parse_json};
use crate::scene::Scene;
use serde_json::json;
use std::fs;

pub(super) const CASES: &[Case] = &[
    case(
        "callers.log.json",
        Caller,
        "containerd's shim and Podman read level, msg and time of the --log file",
        log_json,
    ),
    case(
        "callers.log.one-line",
        Caller,
        "Podman decodes the whole --log file as one object",
        log_one_line,
    ),
    case("callers.log.text", Caller, "--log-format text writes time, level and msg", log_text),
    case("callers.log.debug", Caller, "--debug adds messages of level debug", log_debug),
    case(
        "callers.log.success",
        Caller,
        "without an error there is no line of level error",
        log_success,
    ),
    case(
        "callers.words.unknown-container",
        Caller,
        "containerd looks for `does not exist`",
        unknown_container,
    ),
    case(
        "callers.words.kill-stopped",
        Caller,
        "containerd and CRI-O look for `not running`, `already finished` or `no such process`",
        kill_stopped,
    ),
    case("callers.words.duplicate-id", Caller, "`already exists`", duplicate_id),
    case(
        "callers.words.invalid-id",
        Caller,
        "`invalid container ID format`, also for ids that stay in the state directory",
        invalid_id,
    ),
    case(
        "callers.words.command-not-found",
        Caller,
        "Docker makes exit code 127 of `executable file not found`",
        command_not_found,
    ),
    case(
        "callers.words.path-not-found",
        Caller,
        "Docker makes exit code 127 of `no such file or directory`",
        path_not_found,
    ),
    case(
        "callers.words.not-executable",
        Caller,
        "Docker makes exit code 126 of `permission denied`",
        not_executable,
    ),
    case("callers.words.start", Caller, "runc's words for start in the wrong state", start_words),
    case(
        "callers.words.delete-running",
        Caller,
        "runc's words for delete of a running container",
        delete_words,
    ),
    case(
        "callers.words.bind-source",
        Caller,
        "`no such file or directory` for a bind source that is not there",
        bind_source,
    ),
    case(
        "callers.words.mount",
        Caller,
        "`error mounting`, the destination, and the kernel's words",
        mount_words,
    ),
    case("callers.words.sysctl", Caller, "`is not in a separate kernel namespace`", sysctl_words),
    case("callers.words.duplicate-namespace", Caller, "`duplicated ns`", duplicate_namespace),
    case("callers.words.signal", Caller, "`unknown signal`", signal_words),
    case(
        "callers.words.no-config",
        Caller,
        "`JSON specification file config.json not found`",
        no_config,
    ),
    case("callers.words.hook", Caller, "the hook's exit status and stderr", hook_words),
    case(
        "callers.words.rlimit",
        Caller,
        "runc's words for a limit that does not exist",
        rlimit_words,
    ),
    case("callers.words.args", Caller, "runc's words for an empty list of arguments", args_words),
    case("callers.words.cwd", Caller, "runc's words for a relative working directory", cwd_words),
    case(
        "callers.words.exec-missing",
        Caller,
        "exec of a missing program: words that map to 127",
        exec_words,
    ),
    case(
        "callers.words.pause",
        Caller,
        "runc's words for pause and resume in the wrong state",
        pause_words,
    ),
    case(
        "callers.words.is-a-directory",
        Caller,
        "Docker makes 126 of a program that is a directory",
        directory_words,
    ),
    case(
        "callers.words.not-a-directory",
        Caller,
        "Docker's hint on a directory that is mounted onto a file",
        mount_onto_file,
    ),
    case("callers.exit.run", Caller, "run exits with the program's code", exit_run),
    case("callers.exit.run-signal", Caller, "run exits with 128 + signal", exit_run_signal),
    case("callers.exit.exec", Caller, "exec exits with the program's code", exit_exec),
    case(
        "callers.exit.exec-failure",
        Caller,
        "exec exits with 255 when the runtime failed",
        exit_exec_failure,
    ),
    case(
        "callers.exit.delete-force-missing",
        Caller,
        "delete --force of an unknown container is fine",
        delete_force_missing,
    ),
    case("callers.exit.usage", Caller, "unknown commands 3, unknown flags 1", exit_usage),
];

/// The error is told on stderr and in the log, with these words in both.
pub(super) fn expect_words(answer: &Answer, what: &str, words: &[&str]) -> Verdict {
    answer.expect_failure(what)?;
    for word in words {
        ensure!(
            answer.log.contains(&word.replace('"', "\\\"")),
            "{what}: {word:?} is not in the log: {}",
            answer.log
        );
        ensure!(
            answer.stderr.contains(word),
            "{what}: {word:?} is not on stderr: {}",
            answer.stderr
        );
    }
    Ok(())
}

fn log_json(scene: &Scene) -> Verdict {
    let answer = scene.invoke(&["state", &scene.mark])?;
    let Some(line) = answer.log.lines().last() else { return failed("the log is empty") };
    let entry = parse_json(line, "the last line of the log")?;
    ensure_eq!(entry["level"], json!("error"), "level");
    ensure!(entry["msg"].is_string(), "msg: {entry}");
    let time = entry["time"].as_str().unwrap_or_default().to_owned();
    // RFC 3339: 2026-01-02T03:04:05Z, perhaps with a fraction or an offset.
    let shaped = time.len() >= 20 && time.as_bytes()[10] == b'T' && time.as_bytes()[19] != b' ';
    ensure!(shaped && (time.ends_with('Z') || time[19..].contains(['+', '-'])), "time: {time}");
    Ok(())
}

fn log_one_line(scene: &Scene) -> Verdict {
    let capabilities = json!({ "bounding": ["CAP_OF_THE_FUTURE"] });
    let bundle = scene.bundle()?.set("/process/capabilities", capabilities);
    let answer = bundle.set("/process/args", json!(["/no/such/program"])).attempt("run")?;
    answer.expect_failure("run")?;
    ensure_eq!(answer.log.trim_end().lines().count(), 1, "lines of the log: {}", answer.log);
    Ok(())
}

/// A command that fails, with other global options than the suite's.
fn with_globals(scene: &Scene, globals: &[&str], args: &[&str]) -> Result<(Answer, String), Stop> {
    let log = scene.directory.join(format!("{}.log", scene.number()));
    let mut command = std::process::Command::new(scene.runtime.binary());
    command.arg("--root").arg(scene.runtime.root()).arg("--log").arg(&log).args(globals).args(args);
    command.stdin(std::process::Stdio::null());
    let answer = scene.runtime.finish(command, &log, &log.with_extension("out"))?;
    Ok((answer, fs::read_to_string(&log).unwrap_or_default()))
}

fn log_text(scene: &Scene) -> Verdict {
    let (answer, log) = with_globals(scene, &["--log-format", "text"], &["state", &scene.mark])?;
    answer.expect_failure("state")?;
    for part in ["time=\"", "level=error", "msg=\"", "does not exist"] {
        ensure!(log.contains(part), "{part} is not in the log: {log}");
    }
    Ok(())
}

fn log_debug(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?;
    bundle.write()?;
    let directory = bundle.directory.to_string_lossy().into_owned();
    let run = ["run", "--bundle", &directory, &bundle.id];
    let (answer, log) = with_globals(scene, &["--debug", "--log-format", "json"], &run)?;
    answer.expect_success("run")?;
    ensure!(log.contains("\"level\":\"debug\""), "log: {log}");
    Ok(())
}

fn log_success(scene: &Scene) -> Verdict {
    let ran = scene.bundle()?.run()?;
    ensure!(!ran.answer.log.contains("\"level\":\"error\""), "log: {}", ran.answer.log);
    Ok(())
}

fn unknown_container(scene: &Scene) -> Verdict {
    for verb in ["state", "start", "delete", "kill"] {
        expect_words(&scene.invoke(&[verb, &scene.mark])?, verb, &["does not exist"])?;
    }
    Ok(())
}

fn kill_stopped(scene: &Scene) -> Verdict {
    let answer = ended(scene)?.attempt("kill", &["9"])?;
    answer.expect_failure("kill")?;
    let text = answer.log.to_lowercase();
    let known = ["container not running", "os: process already finished", "no such process"];
    ensure!(known.iter().any(|words| text.contains(words)), "kill: {text}");
    Ok(())
}

fn duplicate_id(scene: &Scene) -> Verdict {
    let first = held(scene)?;
    let mut second = scene.bundle()?;
    second.id = first.id.clone();
    expect_words(&second.attempt("create")?, "create", &["already exists"])
}

fn invalid_id(scene: &Scene) -> Verdict {
    for id in ["..", "a/b", "/absolute", "a b", "a\nb", "ünï"] {
        let mut bundle = scene.bundle()?;
        bundle.id = id.to_owned();
        expect_words(
            &bundle.attempt("create")?,
            &format!("create {id:?}"),
            &["invalid container ID format"],
        )?;
    }
    Ok(())
}

fn command_not_found(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?.set("/process/args", json!(["no-such-program"]));
    expect_words(
        &bundle.attempt("run")?,
        "run",
        &["\"no-such-program\": executable file not found in $PATH"],
    )
}

fn path_not_found(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?.set("/process/args", json!(["/no/such/program"]));
    expect_words(&bundle.attempt("run")?, "run", &["/no/such/program: no such file or directory"])
}

fn not_executable(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?.file("/plain", "text")?.set("/process/args", json!(["/plain"]));
    expect_words(&bundle.attempt("run")?, "run", &["permission denied"])
}

fn start_words(scene: &Scene) -> Verdict {
    let running = held(scene)?.attempt("start", &[])?;
    expect_words(&running, "start", &["cannot start an already running container"])?;
    let stopped = ended(scene)?.attempt("start", &[])?;
    expect_words(&stopped, "start", &["cannot start a container that has stopped"])
}

fn delete_words(scene: &Scene) -> Verdict {
    let container = held(scene)?;
    let answer = container.attempt("delete", &[])?;
    let words = format!("cannot delete container {} that is not stopped: running", container.id);
    expect_words(&answer, "delete", &[&words])
}

fn bind_source(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?.mount("/mnt", "bind", "/nonexistent/source", &["bind"]);
    expect_words(
        &bundle.attempt("run")?,
        "run",
        &["/nonexistent/source", "no such file or directory"],
    )
}

fn mount_words(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?.mount("/mnt", "no-such-file-system", "source", &[]);
    expect_words(
        &bundle.attempt("run")?,
        "run",
        &["error mounting \"source\" to rootfs at \"/mnt\"", "no such device"],
    )
}

fn sysctl_words(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?.set("/linux/sysctl", json!({ "kernel.panic": "7" }));
    expect_words(
        &bundle.attempt("run")?,
        "run",
        &["sysctl \"kernel.panic\" is not in a separate kernel namespace"],
    )
}

fn duplicate_namespace(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?.push("/linux/namespaces", json!({ "type": "pid" }));
    expect_words(&bundle.attempt("run")?, "run", &["duplicated ns"])
}

fn signal_words(scene: &Scene) -> Verdict {
    expect_words(&held(scene)?.attempt("kill", &["BOGUS"])?, "kill", &["unknown signal \"BOGUS\""])
}

fn no_config(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?;
    let directory = bundle.directory.to_string_lossy().into_owned();
    let answer = scene.invoke(&["create", "--bundle", &directory, &bundle.id])?;
    expect_words(&answer, "create", &["JSON specification file config.json not found"])
}

fn hook_words(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?;
    let log = bundle.directory.join("hooks");
    let bundle = bundle.hook("createRuntime", &scene.probe.clone(), &log, "named", &["exit", "3"]);
    expect_words(
        &bundle.attempt("run")?,
        "run",
        &["hook #0", "exit status 3", "hook named fails as it was told"],
    )
}

fn rlimit_words(scene: &Scene) -> Verdict {
    let limits = json!([{ "type": "RLIMIT_BOGUS", "soft": 1, "hard": 1 }]);
    let answer = scene.bundle()?.set("/process/rlimits", limits).attempt("run")?;
    expect_words(&answer, "run", &["wrong rlimit value: RLIMIT_BOGUS"])
}

fn args_words(scene: &Scene) -> Verdict {
    let answer = scene.bundle()?.set("/process/args", json!([])).attempt("run")?;
    expect_words(&answer, "run", &["args must not be empty"])
}

fn cwd_words(scene: &Scene) -> Verdict {
    let answer = scene.bundle()?.set("/process/cwd", json!("tmp")).attempt("run")?;
    expect_words(&answer, "run", &["Cwd must be an absolute path"])
}

fn exec_words(scene: &Scene) -> Verdict {
    let container = held(scene)?;
    let answer = scene.invoke(&["exec", &container.id, "no-such-program"])?;
    expect_words(&answer, "exec", &["executable file not found in $PATH"])?;
    let answer = scene.invoke(&["exec", &container.id, "/no/such/program"])?;
    expect_words(&answer, "exec", &["no such file or directory"])
}

fn pause_words(scene: &Scene) -> Verdict {
    let running = held(scene)?;
    expect_words(&running.attempt("resume", &[])?, "resume", &["not paused"])?;
    let stopped = ended(scene)?;
    expect_words(&stopped.attempt("pause", &[])?, "pause", &["not running"])
}

fn directory_words(scene: &Scene) -> Verdict {
    let answer = scene.bundle()?.set("/process/args", json!(["/tmp"])).attempt("run")?;
    answer.expect_failure("run")?;
    let text = answer.log.to_lowercase();
    ensure!(text.contains("permission denied") || text.contains("is a directory"), "log: {text}");
    Ok(())
}

fn mount_onto_file(scene: &Scene) -> Verdict {
    let source = scene.directory.join("source");
    fs::create_dir(&source)?;
    let bundle = scene.bundle()?.file("/plain", "x")?;
    let answer =
        bundle.mount("/plain", "bind", &source.to_string_lossy(), &["bind"]).attempt("run")?;
    expect_words(&answer, "run", &["not a directory"])
}

fn exit_run(scene: &Scene) -> Verdict {
    for code in [0, 1, 42, 255] {
        let answer = scene.bundle()?.operations(json!([["exit", code]])).attempt("run")?;
        ensure_eq!(answer.code, code, "exit code of run");
    }
    Ok(())
}

/// The kernel ends the program by SIGSYS: its own signals do not reach pid 1.
fn exit_run_signal(scene: &Scene) -> Verdict {
    let seccomp = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["sethostname"], "action": "SCMP_ACT_KILL_PROCESS" }],
    });
    let bundle = scene.bundle()?.set("/linux/seccomp", seccomp);
    let answer = bundle.operations(json!([["call", "sethostname"]])).attempt("run")?;
    ensure_eq!(answer.code, 128 + 31, "exit code of run");
    Ok(())
}

fn exit_exec(scene: &Scene) -> Verdict {
    let container = held(scene)?;
    for code in [0, 7, 200] {
        ensure_eq!(
            container.exec(&[], json!([["exit", code]]))?.answer.code,
            code,
            "exit code of exec"
        );
    }
    Ok(())
}

fn exit_exec_failure(scene: &Scene) -> Verdict {
    let container = held(scene)?;
    for program in ["no-such-program", "/no/such/program"] {
        ensure_eq!(
            scene.invoke(&["exec", &container.id, program])?.code,
            255,
            "exit code of exec {program}"
        );
    }
    ensure_eq!(
        scene.invoke(&["exec", &scene.mark, "/probe"])?.code,
        255,
        "exit code of exec in an unknown container"
    );
    Ok(())
}

fn delete_force_missing(scene: &Scene) -> Verdict {
    scene.invoke(&["delete", "--force", &scene.mark])?.expect_success("delete --force")
}

fn exit_usage(scene: &Scene) -> Verdict {
    let group = scene.invoke(&["exec", "-g", "x", &scene.mark, "/probe"])?;
    ensure_eq!(group.code, 1, "exit code of exec with a group that is no number");
    let unknown = scene.invoke(&["no-such-command"])?;
    ensure_eq!(unknown.code, 3, "exit code of an unknown command");
    ensure!(
        unknown.stderr.contains("No help topic for 'no-such-command'"),
        "stderr: {}",
        unknown.stderr
    );
    ensure_eq!(
        scene.invoke(&["state", "--no-such-flag", "x"])?.code,
        1,
        "exit code of an unknown flag"
    );
    Ok(())
}
