//! config.md, Process: terminal and consoleSize; and how callers get the terminal.

use crate::case::Level::{Caller, Must, Security};
use crate::case::{Case, Stop, Verdict, case, ensure, ensure_eq, failed};
use crate::container::Container;
use crate::scene::Scene;
use crate::socket::{Received, Receiver, ask};
use serde_json::{Value, json};
use std::fs;

pub(super) const CASES: &[Case] = &[
    case(
        "process.terminal.streams",
        Must,
        "config.md, Process terminal: a pseudoterminal on the standard streams",
        streams,
    ),
    case(
        "process.terminal.absent",
        Must,
        "config.md, Process terminal: defaults to false",
        no_terminal,
    ),
    case(
        "process.terminal.console",
        Must,
        "config-linux.md, Default Devices: the pty is bound at /dev/console when terminal is set",
        console,
    ),
    case(
        "process.terminal.no-console",
        Must,
        "config-linux.md, Default Devices: /dev/console belongs to a terminal",
        no_console,
    ),
    case(
        "process.terminal.size",
        Must,
        "config.md, Process consoleSize: size of the terminal in characters",
        size,
    ),
    case(
        "process.terminal.output",
        Must,
        "config.md, Process terminal: what the program writes comes out of the terminal",
        output,
    ),
    case(
        "process.terminal.own-instance",
        Must,
        "config-linux.md, Default Devices: /dev/ptmx is the one of the container's /dev/pts",
        own_instance,
    ),
    case(
        "callers.console.controlling",
        Caller,
        "the terminal controls the program's session: ^C reaches it",
        controlling,
    ),
    case("callers.console.owner", Caller, "the terminal belongs to the container's user", owner),
    case(
        "callers.console.socket-name",
        Caller,
        "the descriptor comes with the name of the terminal's master, before create returns",
        socket_name,
    ),
    case(
        "callers.console.create-needs-socket",
        Caller,
        "create with a terminal and nobody to receive it is an error",
        needs_socket,
    ),
    case(
        "callers.console.socket-without-terminal",
        Caller,
        "a console socket without a terminal is an error",
        socket_alone,
    ),
    case(
        "callers.console.exec-tty",
        Caller,
        "exec --tty --console-socket gives the process a terminal of its own",
        exec_tty,
    ),
    case(
        "security.console.symlink",
        Security,
        "CVE-2025-52565: /dev/console of the image is a link out of it",
        console_symlink,
    ),
];

/// A created container with a terminal, and what came over the console socket.
fn attached<'s>(
    scene: &'s Scene,
    change: impl FnOnce(crate::bundle::Bundle<'s>) -> crate::bundle::Bundle<'s>,
    operations: Value,
) -> Result<(Container<'s>, Received), Stop> {
    let receiver = Receiver::new(&scene.directory, &format!("tty{}", scene.number()))?;
    let bundle = scene
        .bundle()?
        .mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666", "mode=0620"])
        .set("/process/terminal", json!(true));
    let path = receiver.path.to_string_lossy().into_owned();
    let container =
        change(bundle).operations(operations).option(&["--console-socket", &path]).create()?;
    let received = receiver.receive()?;
    Ok((container, received))
}

/// Starts it and reads the terminal until that many lines of JSON have come.
fn spoken(
    container: &Container<'_>,
    terminal: &Received,
    count: usize,
) -> Result<Vec<Value>, Stop> {
    container.start()?;
    let text = ask(terminal.descriptor()?, &format!("head -n {count}"))?;
    let lines: Vec<Value> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    match lines.len() >= count {
        true => Ok(lines),
        false => failed(format!("the terminal said: {text:?}")),
    }
}

fn streams(scene: &Scene) -> Verdict {
    let operations = json!([["terminals"], ["report"], ["hold"]]);
    let (container, terminal) = attached(scene, |bundle| bundle, operations)?;
    let lines = spoken(&container, &terminal, 2)?;
    ensure_eq!(lines[0]["value"], json!([true, true, true]), "which streams are terminals");
    let targets = &lines[1]["value"]["descriptors"];
    ensure!(targets["0"] == targets["1"] && targets["0"] == targets["2"], "streams: {targets}");
    Ok(())
}

fn no_terminal(scene: &Scene) -> Verdict {
    for value in [None, Some(false)] {
        let bundle = scene.bundle()?;
        let bundle = match value {
            Some(value) => bundle.set("/process/terminal", json!(value)),
            None => bundle,
        };
        let ran = bundle.operations(json!([["terminals"]])).run()?;
        ensure_eq!(
            ran.value(0)?,
            json!([false, false, false]),
            "terminals with terminal {value:?}"
        );
    }
    Ok(())
}

fn console(scene: &Scene) -> Verdict {
    let operations = json!([["stat", "/dev/console"], ["stat", "/proc/self/fd/0"], ["hold"]]);
    let (container, terminal) = attached(scene, |bundle| bundle, operations)?;
    let lines = spoken(&container, &terminal, 2)?;
    let numbers = |line: &Value| (line["value"]["major"].clone(), line["value"]["minor"].clone());
    ensure_eq!(lines[0]["value"]["kind"], json!("char"), "/dev/console");
    ensure_eq!(numbers(&lines[0]), numbers(&lines[1]), "numbers of /dev/console and of stdin");
    Ok(())
}

fn no_console(scene: &Scene) -> Verdict {
    let ran = scene.bundle()?.operations(json!([["lstat", "/dev/console"]])).run()?;
    ensure_eq!(ran.error(0)?, "ENOENT", "/dev/console without a terminal");
    Ok(())
}

fn size(scene: &Scene) -> Verdict {
    let size = json!({ "height": 25, "width": 91 });
    let (_container, terminal) =
        attached(scene, |bundle| bundle.set("/process/consoleSize", size), json!([["hold"]]))?;
    let seen = ask(terminal.descriptor()?, "stty size")?;
    ensure_eq!(seen.trim(), "25 91", "rows and columns");
    Ok(())
}

fn output(scene: &Scene) -> Verdict {
    let operations = json!([["echo", "to the terminal"], ["hold"]]);
    let (container, terminal) = attached(scene, |bundle| bundle, operations)?;
    let lines = spoken(&container, &terminal, 1)?;
    ensure_eq!(lines[0]["value"], json!("to the terminal"), "line");
    Ok(())
}

fn own_instance(scene: &Scene) -> Verdict {
    let operations = json!([["list", "/dev/pts"], ["open", "/dev/ptmx", "rw"], ["hold"]]);
    let (container, terminal) = attached(scene, |bundle| bundle, operations)?;
    let lines = spoken(&container, &terminal, 2)?;
    ensure_eq!(lines[0]["value"], json!(["0", "ptmx"]), "/dev/pts");
    ensure!(lines[1]["error"].is_null(), "open of /dev/ptmx: {}", lines[1]);
    Ok(())
}

fn controlling(scene: &Scene) -> Verdict {
    let operations = json!([["report"], ["await-signal"]]);
    let (container, terminal) = attached(scene, |bundle| bundle, operations)?;
    let lines = spoken(&container, &terminal, 2)?;
    ensure!(lines[0]["value"]["session"]["tty"] != json!(0), "the session has no terminal");
    let descriptor = terminal.descriptor()?;
    let text = ask(descriptor, &format!("printf '\\003' >&{descriptor}; head -n 2"))?;
    ensure!(text.contains("SIGINT"), "after ^C the terminal said: {text:?}");
    Ok(())
}

fn owner(scene: &Scene) -> Verdict {
    let user = json!({ "uid": 1000, "gid": 1000 });
    let operations = json!([["stat", "/proc/self/fd/0"], ["open", "/dev/console", "rw"], ["hold"]]);
    let (container, terminal) =
        attached(scene, |bundle| bundle.set("/process/user", user), operations)?;
    let lines = spoken(&container, &terminal, 2)?;
    ensure_eq!(lines[0]["value"]["uid"], json!(1000), "owner of the terminal");
    Ok(())
}

fn socket_name(scene: &Scene) -> Verdict {
    let (_container, terminal) = attached(scene, |bundle| bundle, json!([["hold"]]))?;
    terminal.descriptor()?;
    ensure!(terminal.text.contains("ptmx"), "name: {:?}", terminal.text);
    Ok(())
}

fn needs_socket(scene: &Scene) -> Verdict {
    scene.bundle()?.set("/process/terminal", json!(true)).refused().map(drop)
}

fn socket_alone(scene: &Scene) -> Verdict {
    let receiver = Receiver::new(&scene.directory, "tty")?;
    let path = receiver.path.to_string_lossy().into_owned();
    scene.bundle()?.option(&["--console-socket", &path]).refused().map(drop)
}

fn exec_tty(scene: &Scene) -> Verdict {
    let options = ["newinstance", "ptmxmode=0666"];
    let bundle = scene.bundle()?.mount("/dev/pts", "devpts", "devpts", &options);
    let container = bundle.operations(json!([["hold"]])).start()?;
    container.wait_lines(1)?;
    let receiver = Receiver::new(&scene.directory, "tty")?;
    let path = receiver.path.to_string_lossy().into_owned();
    let pid_file = scene.directory.join("exec.pid").to_string_lossy().into_owned();
    let options = ["--tty", "--detach", "--pid-file", &pid_file, "--console-socket", &path];
    let ran = container.exec(&options, json!([["terminals"], ["hold"]]))?;
    ran.answer.expect_success("exec --tty")?;
    let terminal = receiver.receive()?;
    let text = ask(terminal.descriptor()?, "head -n 1");
    // The process is this one's orphan: until it is collected its pid namespace does not end.
    let pid = nix::unistd::Pid::from_raw(fs::read_to_string(&pid_file)?.trim().parse()?);
    nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL)?;
    nix::sys::wait::waitpid(pid, None)?;
    let text = text?;
    ensure!(text.contains("[true,true,true]"), "the terminal said: {text:?}");
    Ok(())
}

fn console_symlink(scene: &Scene) -> Verdict {
    let outside = super::security::outside(scene)?;
    let before = super::security::listing(&outside)?;
    let receiver = Receiver::new(&scene.directory, "tty")?;
    let path = receiver.path.to_string_lossy().into_owned();
    let target = outside.join("console").to_string_lossy().into_owned();
    let bundle =
        scene.bundle()?.link("/dev/console", &target)?.set("/process/terminal", json!(true));
    let proc = json!([{ "destination": "/proc", "type": "proc", "source": "proc" }]);
    let bundle = bundle.set("/mounts", proc).option(&["--console-socket", &path]);
    let (answer, container) = bundle.operations(json!([["hold"]])).try_create()?;
    if answer.succeeded() {
        container.delete_by_force()?;
    }
    ensure_eq!(super::security::listing(&outside)?, before, "the directory outside of the root");
    ensure!(fs::symlink_metadata(&target).is_err(), "a file was made outside");
    Ok(())
}
