//! config.md: what may be left out, versions, platforms, and what needs an LSM.

use crate::case::Level::{Caller, Must, Should};
use crate::case::{Case, Verdict, case, ensure, ensure_eq, skipped};
use crate::container::Ran;
use crate::scene::Scene;
use serde_json::json;
use std::fs;

pub(super) const CASES: &[Case] = &[
    case(
        "config.version.minor",
        Must,
        "config.md, Specification version: compatible within a major version, up to what the runtime supports",
        version_minor,
    ),
    case("config.root.absent", Must, "config.md, Root: required on POSIX platforms", root_absent),
    case("config.root.no-path", Must, "config.md, Root: path is required", root_no_path),
    case(
        "config.root.empty-path",
        Must,
        "config.md, Root: a directory has to exist at path",
        root_empty,
    ),
    case(
        "config.root.same-for-two",
        Must,
        "config.md, Root: two containers may have one root file system",
        root_shared,
    ),
    case("config.mounts.absent", Must, "config.md, Mounts: optional", mounts_absent),
    case("config.hostname.absent", Must, "config.md, Hostname: optional", hostname_absent),
    case(
        "config.annotations.absent",
        Must,
        "runtime.md, State: without annotations there are none in the state",
        annotations_absent,
    ),
    case(
        "config.annotations.unknown-keys",
        Must,
        "config.md, Annotations: an unknown key is no error",
        annotations_unknown,
    ),
    case(
        "config.annotations.exact",
        Must,
        "config.md, Annotations: values arrive as they are written",
        annotations_exact,
    ),
    case(
        "callers.config.other-platforms",
        Caller,
        "runc and crun do not look at objects of other platforms",
        other_platforms,
    ),
    case(
        "config.extensibility.nested",
        Must,
        "config.md, Extensibility: unknown properties are ignored in every object",
        unknown_nested,
    ),
    case(
        "config.json.byte-order",
        Must,
        "config.md: JSON, with escapes and any white space",
        json_forms,
    ),
    case(
        "config.apparmor.not-there",
        Must,
        "runtime.md, Create: a profile that cannot be applied is an error",
        apparmor,
    ),
    case(
        "config.selinux.not-there",
        Must,
        "runtime.md, Create: a label that cannot be applied is an error",
        selinux,
    ),
    case(
        "config.mount-label.not-there",
        Must,
        "runtime.md, Create: a mount label that cannot be applied is an error",
        mount_label,
    ),
    case("process.env.absent", Must, "config.md, Process env: optional", env_absent),
    case("process.env.long", Must, "config.md, Process env: nothing is cut off", env_long),
    case("process.args.many", Must, "config.md, Process args: nothing is cut off", args_many),
    case(
        "process.args.relative-with-slash",
        Must,
        "config.md, Process args: a name with a slash is not looked up",
        args_slash,
    ),
    case("process.cwd.absent", Must, "config.md, Process cwd: required", cwd_absent),
    case("process.cwd.root", Must, "config.md, Process cwd: / is the container's root", cwd_root),
    case(
        "process.user.absent",
        Must,
        "config.md, POSIX-platform User: without user the process is root of the container, or it is an error",
        user_absent,
    ),
    case(
        "process.user.umask-inherited",
        Should,
        "config.md, POSIX-platform User: without umask the caller's is kept",
        umask_inherited,
    ),
    case("process.user.umask-of-exec", Must, "config.md, POSIX-platform User: umask", umask_exec),
];

fn version_minor(scene: &Scene) -> Verdict {
    let features = scene.features()?;
    let minor = |text: &str| text.split('.').nth(1).and_then(|part| part.parse::<u32>().ok());
    let newest = features["ociVersionMax"].as_str().and_then(minor).unwrap_or_default();
    for minor in 0..=newest {
        scene.bundle()?.set("/ociVersion", json!(format!("1.{minor}.0"))).report()?;
    }
    Ok(())
}

fn root_absent(scene: &Scene) -> Verdict {
    scene.bundle()?.remove("/root").refused().map(drop)
}

fn root_no_path(scene: &Scene) -> Verdict {
    scene.bundle()?.set("/root", json!({ "readonly": false })).refused().map(drop)
}

fn root_empty(scene: &Scene) -> Verdict {
    scene.bundle()?.set("/root/path", json!("")).refused().map(drop)
}

fn root_shared(scene: &Scene) -> Verdict {
    let first = scene.bundle()?;
    let root = first.root();
    let first = first.operations(json!([["hold"]])).start()?;
    first.wait_lines(1)?;
    scene.bundle()?.set("/root/path", json!(root)).report()?;
    ensure_eq!(first.status()?, "running", "status of the first");
    Ok(())
}

fn mounts_absent(scene: &Scene) -> Verdict {
    let ran = scene
        .bundle()?
        .remove("/mounts")
        .file("/marker", "here")?
        .operations(json!([["read", "/marker"]]))
        .run()?;
    ensure_eq!(ran.value(0)?, json!("here"), "/marker");
    Ok(())
}

fn hostname_absent(scene: &Scene) -> Verdict {
    let own = nix::unistd::gethostname()?.to_string_lossy().into_owned();
    ensure_eq!(
        scene.bundle()?.report()?["hostname"],
        json!(own),
        "hostname of a new uts namespace"
    );
    Ok(())
}

fn annotations_absent(scene: &Scene) -> Verdict {
    let state = scene.bundle()?.create()?.state()?;
    let given = &state["annotations"];
    ensure!(given.is_null() || *given == json!({}), "annotations: {given}");
    Ok(())
}

fn annotations_unknown(scene: &Scene) -> Verdict {
    let annotations = json!({
        "org.opencontainers.image.nonsense": "x", "no-domain": "y", "a/b": "z", "org.example.x": "{}",
    });
    scene.bundle()?.set("/annotations", annotations).report().map(drop)
}

fn annotations_exact(scene: &Scene) -> Verdict {
    let annotations = json!({
        "com.example.lines": "one\ntwo\t\"quoted\" \\",
        "com.example.other": "ünï\u{1f600}",
        "com.example.long": "x".repeat(20_000),
    });
    let state = scene.bundle()?.set("/annotations", annotations.clone()).create()?.state()?;
    for (key, value) in annotations.as_object().into_iter().flatten() {
        ensure_eq!(state["annotations"][key], *value, "annotation {key}");
    }
    Ok(())
}

/// Objects of the specification for other platforms, each with something that is required.
fn other_platforms(scene: &Scene) -> Verdict {
    scene
        .bundle()?
        .set("/windows", json!({ "layerFolders": ["C:\\\\x"] }))
        .set("/solaris", json!({ "milestone": "x" }))
        .set("/zos", json!({}))
        .set("/freebsd", json!({}))
        .report()
        .map(drop)
}

fn unknown_nested(scene: &Scene) -> Verdict {
    let unknown = json!({ "deep": [{ "er": null }] });
    scene
        .bundle()?
        .set("/linux/namespaces/0/unknownProperty", unknown.clone())
        .set("/linux/resources", json!({ "unknownProperty": unknown.clone() }))
        .set("/linux/resources/devices", json!([{ "allow": false, "access": "rwm", "unknownProperty": unknown.clone() }]))
        .set("/process/capabilities/unknownProperty", unknown.clone())
        .set("/process/rlimits", json!([{ "type": "RLIMIT_CORE", "soft": 0, "hard": 0, "unknownProperty": unknown.clone() }]))
        .set("/hooks", json!({ "unknownProperty": unknown }))
        .report()
        .map(drop)
}

fn json_forms(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?.operations(json!([["echo", "read"]]));
    bundle.write()?;
    let path = bundle.directory.join("config.json");
    let text = fs::read_to_string(&path)?.replace("\"process\"", "\"pro\\u0063ess\"");
    fs::write(&path, format!("\n\t \r\n{text}\n \n"))?;
    let directory = bundle.directory.to_string_lossy().into_owned();
    let answer = scene.invoke(&["run", "--bundle", &directory, &bundle.id])?;
    ensure_eq!(Ran::new(answer).value(0)?, json!("read"), "the program's line");
    Ok(())
}

fn apparmor(scene: &Scene) -> Verdict {
    if fs::metadata("/sys/module/apparmor").is_ok()
        || fs::metadata("/sys/kernel/security/apparmor").is_ok()
    {
        return skipped("the kernel has AppArmor");
    }
    let bundle = scene.bundle()?.set("/process/apparmorProfile", json!("no-such-profile"));
    bundle.refused_by_run().map(drop)
}

fn has_selinux() -> bool {
    fs::read_to_string("/proc/filesystems").is_ok_and(|text| text.contains("selinuxfs"))
}

const LABEL: &str = "system_u:system_r:svirt_lxc_net_t:s0:c1,c2";

fn selinux(scene: &Scene) -> Verdict {
    if has_selinux() {
        return skipped("the kernel has SELinux");
    }
    scene.bundle()?.set("/process/selinuxLabel", json!(LABEL)).refused_by_run().map(drop)
}

fn mount_label(scene: &Scene) -> Verdict {
    if has_selinux() {
        return skipped("the kernel has SELinux");
    }
    scene.bundle()?.set("/linux/mountLabel", json!(LABEL)).refused_by_run().map(drop)
}

fn env_absent(scene: &Scene) -> Verdict {
    let seen = scene.bundle()?.remove("/process/env").report()?;
    let found = seen["environment"].as_array().cloned().unwrap_or_default();
    // Runtimes add HOME by themselves.
    let others: Vec<_> = found
        .iter()
        .filter(|entry| !entry.as_str().unwrap_or_default().starts_with("HOME="))
        .collect();
    ensure!(others.is_empty(), "environment: {others:?}");
    Ok(())
}

fn env_long(scene: &Scene) -> Verdict {
    let long = "x".repeat(100_000);
    let mut env: Vec<String> = (0..300).map(|index| format!("V{index}=value {index}")).collect();
    env.push(format!("LONG={long}"));
    let bundle = scene.bundle()?.set("/process/env", json!(env));
    let seen = bundle.operations(json!([["read", "/proc/self/environ"]])).run()?.value(0)?;
    let seen = seen.as_str().unwrap_or_default().to_owned();
    ensure!(seen.contains("V299=value 299"), "the last of 300 variables is missing");
    ensure!(seen.contains(&long), "the long variable is not whole");
    Ok(())
}

fn args_many(scene: &Scene) -> Verdict {
    let mut args = json!(["/probe", "__probe", r#"[["report"]]"#]);
    if let Some(list) = args.as_array_mut() {
        list.extend((0..1000).map(|index| json!(format!("argument {index}"))));
        list.push(json!("y".repeat(50_000)));
    }
    let seen = scene.bundle()?.set("/process/args", args.clone()).run()?.value(0)?;
    ensure!(seen["arguments"] == args, "the arguments are not the same");
    Ok(())
}

fn args_slash(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?.folder("/bin")?.folder("/work/bin")?;
    fs::hard_link(bundle.root().join("probe"), bundle.root().join("work/bin/tool"))?;
    let ran = bundle
        .set("/process/cwd", json!("/work"))
        .set("/process/args", json!(["bin/tool", "__probe", r#"[["echo","found"]]"#]))
        .run()?;
    ensure_eq!(ran.value(0)?, json!("found"), "a program relative to the working directory");
    Ok(())
}

fn cwd_absent(scene: &Scene) -> Verdict {
    scene.bundle()?.remove("/process/cwd").refused_by_run().map(drop)
}

fn cwd_root(scene: &Scene) -> Verdict {
    let ran = scene
        .bundle()?
        .file("/marker", "here")?
        .operations(json!([["read", "marker"], ["read", "../../marker"]]))
        .run()?;
    ensure_eq!(
        (ran.value(0)?, ran.value(1)?),
        (json!("here"), json!("here")),
        "files by relative paths"
    );
    Ok(())
}

fn user_absent(scene: &Scene) -> Verdict {
    let answer = scene.bundle()?.remove("/process/user").attempt("run")?;
    match Ran::new_lines(&answer).first() {
        Some(line) => ensure_eq!(line["value"]["uid"], json!([0, 0, 0, 0]), "uids"),
        None => answer.expect_failure("run")?,
    }
    Ok(())
}

fn umask_inherited(scene: &Scene) -> Verdict {
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o053));
    ensure_eq!(scene.bundle()?.report()?["umask"], json!("0053"), "umask");
    Ok(())
}

fn umask_exec(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?.set("/process/user/umask", json!(0o037));
    let container = bundle.operations(json!([["hold"]])).start()?;
    container.wait_lines(1)?;
    let seen = container.exec(&[], json!([["report"]]))?.value(0)?;
    ensure_eq!(seen["umask"], json!("0037"), "umask of exec");
    Ok(())
}
