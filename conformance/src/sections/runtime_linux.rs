//! runtime-linux.md: descriptors and the links of /dev.

use crate::case::Level::Must;
use crate::case::{Case, Verdict, case, ensure, ensure_eq};
use crate::container::Ran;
use crate::scene::Scene;
use serde_json::{Value, json};
use std::fs::{self, File};

pub(super) const CASES: &[Case] = &[
    case(
        "runtime-linux.descriptors.three",
        Must,
        "runtime-linux.md, File descriptors: only stdin, stdout and stderr",
        three,
    ),
    case(
        "runtime-linux.descriptors.caller",
        Must,
        "runtime-linux.md, File descriptors: what the caller has open stays outside",
        caller,
    ),
    case(
        "runtime-linux.descriptors.stdin",
        Must,
        "runtime-linux.md, File descriptors: stdin is the caller's",
        stdin,
    ),
    case(
        "runtime-linux.descriptors.stderr",
        Must,
        "runtime-linux.md, File descriptors: stderr is the caller's",
        stderr,
    ),
    case(
        "runtime-linux.links.all",
        Must,
        "runtime-linux.md, Dev symbolic links: fd, stdin, stdout, stderr",
        links,
    ),
    case(
        "runtime-linux.links.usable",
        Must,
        "runtime-linux.md, Dev symbolic links: /dev/stdout is the program's stdout",
        links_usable,
    ),
];

fn numbers(report: &Value) -> Vec<String> {
    report["descriptors"]
        .as_object()
        .map(|found| found.keys().cloned().collect())
        .unwrap_or_default()
}

fn three(scene: &Scene) -> Verdict {
    let seen = scene.bundle()?.report()?;
    ensure_eq!(numbers(&seen), ["0", "1", "2"], "descriptors: {}", seen["descriptors"]);
    Ok(())
}

fn caller(scene: &Scene) -> Verdict {
    use std::os::fd::AsFd;
    // These survive execve in this process and so reach the runtime.
    let file = File::open("/")?;
    let mut kept = Vec::new();
    for _ in 0..5 {
        kept.push(nix::unistd::dup(file.as_fd())?);
    }
    let seen = scene.bundle()?.report()?;
    ensure_eq!(numbers(&seen), ["0", "1", "2"], "descriptors: {}", seen["descriptors"]);
    drop(kept);
    Ok(())
}

fn stdin(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?.operations(json!([["stdin"]]));
    bundle.write()?;
    let input = scene.directory.join("input");
    fs::write(&input, "from the caller")?;
    let (directory, log) =
        (bundle.directory.to_string_lossy().into_owned(), scene.directory.join("log"));
    let mut command = scene.runtime.command(&log, &["run", "--bundle", &directory, &bundle.id]);
    command.stdin(File::open(&input)?);
    let ran = Ran::new(scene.runtime.finish(command, &log, &bundle.directory.join("out"))?);
    ensure_eq!(ran.value(0)?, json!("from the caller"), "stdin");
    Ok(())
}

fn stderr(scene: &Scene) -> Verdict {
    let ran = scene.bundle()?.operations(json!([["stderr", "a word for you"]])).run()?;
    ensure!(ran.answer.stderr.contains("a word for you"), "stderr: {}", ran.answer.stderr);
    Ok(())
}

fn links(scene: &Scene) -> Verdict {
    let names = ["fd", "stdin", "stdout", "stderr"];
    let operations: Vec<Value> =
        names.iter().map(|name| json!(["readlink", format!("/dev/{name}")])).collect();
    let ran = scene.bundle()?.operations(json!(operations)).run()?;
    let targets = ["/proc/self/fd", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2"];
    for (index, target) in targets.iter().enumerate() {
        ensure_eq!(ran.value(index)?, json!(target), "/dev/{}", names[index]);
    }
    Ok(())
}

fn links_usable(scene: &Scene) -> Verdict {
    let ran = scene
        .bundle()?
        .operations(json!([["open", "/dev/stdin", "r"], ["list", "/dev/fd"]]))
        .run()?;
    ensure_eq!(ran.error(0)?, "ok", "open of /dev/stdin");
    ensure!(
        ran.value(1)?.as_array().is_some_and(|names| names.len() >= 3),
        "/dev/fd: {}",
        ran.value(1)?
    );
    Ok(())
}
