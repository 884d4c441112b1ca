//! What callers read without any container: usage, help, versions, logs, spec and features.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use serde_json::Value;
use support::{Told, husk, husk_in, scratch, told};

const VERBS: &[&str] = &[
    "checkpoint",
    "demo",
    "create",
    "delete",
    "events",
    "exec",
    "features",
    "kill",
    "list",
    "pause",
    "plan",
    "ps",
    "restore",
    "resume",
    "run",
    "spec",
    "start",
    "state",
    "update",
];

fn run(line: &str) -> Told {
    told(&mut husk(), line.split_whitespace())
}

#[test]
fn version_is_in_the_form_that_go_runc_parses() {
    for flag in ["--version", "-v", "-version"] {
        let told = run(flag);
        let lines: Vec<&str> = told.out.lines().collect();
        assert_eq!(told.code, Some(0));
        assert_eq!(lines[0], format!("husk version {}", env!("CARGO_PKG_VERSION")));
        assert!(lines[1].starts_with("commit: ") && lines[1].len() > "commit: ".len());
        assert_eq!(lines[2], "spec: 1.3.0");
    }
}

#[test]
fn started_as_runc_it_speaks_as_runc() {
    let scratch = scratch();
    let runc = scratch.path().join("runc");
    symlink(support::program(), &runc).unwrap();
    let version = told(&mut Command::new(&runc), ["--version"]);
    assert!(version.out.starts_with("runc version "), "{version:?}");
    let help = told(&mut Command::new(&runc), ["-h"]);
    assert!(help.out.starts_with("NAME:\n   runc - Open Container Initiative runtime\n"));
    let usage = told(&mut Command::new(&runc), ["create"]);
    assert!(usage.err.contains(r#"runc: \"create\" requires exactly 1 argument(s)"#), "{usage:?}");
}

#[test]
fn help_of_the_program_and_of_every_verb() {
    for arguments in ["", "help", "h", "--help", "-h"] {
        let told = run(arguments);
        assert_eq!(told.code, Some(0), "{arguments}");
        assert!(told.err.is_empty());
        for verb in VERBS {
            assert!(told.out.contains(&format!("\n   {verb} ")), "{verb} in {}", told.out);
        }
    }
    for verb in VERBS {
        for arguments in [format!("{verb} --help"), format!("{verb} -h"), format!("help {verb}")] {
            let told = run(&arguments);
            assert_eq!(told.code, Some(0), "{arguments}");
            assert!(told.out.starts_with(&format!("NAME:\n   husk {verb} - ")), "{}", told.out);
            assert!(told.out.contains(&format!("\n   husk {verb}")));
        }
    }
}

#[test]
fn help_shows_the_flags_that_the_parser_knows() {
    let told = run("create --help");
    for flag in [
        "--bundle value, -b value",
        "--console-socket value",
        "--pidfd-socket value",
        "--pid-file value",
        "--no-pivot",
        "--no-new-keyring",
        "--preserve-fds value",
    ] {
        assert!(told.out.contains(flag), "{flag} in {}", told.out);
    }
    let told = run("kill --help");
    assert!(!told.out.contains("--all"), "a hidden flag");
}

#[test]
fn unknown_verbs_end_with_3() {
    for arguments in ["foo", "foo -h", "help foo", "-"] {
        let told = run(arguments);
        let name = if arguments == "-" { "-" } else { "foo" };
        assert_eq!(told.code, Some(3), "{arguments}");
        assert!(told.err.contains(&format!("No help topic for '{name}'")), "{told:?}");
    }
}

#[test]
fn usage_errors_end_with_1_and_show_help() {
    for (arguments, message) in [
        ("--bogus list", "flag provided but not defined: -bogus"),
        ("--root", "flag needs an argument: -root"),
        ("create --bogus", "flag provided but not defined: -bogus"),
        ("create --pid-file", "flag needs an argument: -pid-file"),
        ("create", r#"husk: \"create\" requires exactly 1 argument(s)"#),
        ("create a b", r#"husk: \"create\" requires exactly 1 argument(s)"#),
        ("list extra", r#"husk: \"list\" requires exactly 0 argument(s)"#),
        ("kill", r#"husk: \"kill\" requires a minimum of 1 argument(s)"#),
        ("kill c 9 more", r#"husk: \"kill\" requires a maximum of 2 argument(s)"#),
        ("exec", r#"husk: \"exec\" requires a minimum of 1 argument(s)"#),
        ("exec --bogus c sh", "flag provided but not defined: -bogus"),
        (
            "create --no-pivot=maybe c",
            r#"invalid boolean value \"maybe\" for -no-pivot: parse error"#,
        ),
        ("create --preserve-fds x c", r#"invalid value \"x\" for flag -preserve-fds: parse error"#),
    ] {
        let told = run(arguments);
        assert_eq!(told.code, Some(1), "{arguments}: {told:?}");
        assert!(told.err.contains(message), "{arguments}: {}", told.err);
        assert_eq!(told.err.lines().count(), 1, "{}", told.err);
        assert!(told.out.starts_with("Incorrect Usage"), "{}", told.out);
        assert!(told.out.contains("NAME:\n   husk"), "{}", told.out);
    }
}

#[test]
fn the_root_directory_is_refused_as_root() {
    for root in ["/", "", "//", "/../..", "/proc/self/root", "/usr/.."] {
        for verb in [vec!["list"], vec!["delete", "--force", "etc"], vec!["state", "etc"]] {
            let told = told(husk().args(["--root", root]), verb);
            assert_eq!(told.code, Some(1), "{root}");
            let message = "Option --root argument should not be set to /";
            assert!(told.err.contains(message), "{root}: {}", told.err);
        }
    }
}

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_failure_is_one_json_object_in_the_log_and_a_plain_line_on_stderr() {
    let scratch = scratch();
    let log = scratch.path().join("log.json");
    let command = || {
        let mut command = husk_in(scratch.path());
        command.arg("--log").arg(&log).args(["--log-format", "json"]);
        command
    };
    let told = told(&mut command(), ["checkpoint", "c"]);
    assert_eq!(told.err, "container does not exist\n");
    assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o644);
    // Podman decodes the whole file as one object.
    let object: Value = serde_json::from_str(&fs::read_to_string(&log).unwrap()).unwrap();
    assert_eq!(object["level"], "error");
    assert_eq!(object["msg"], "container does not exist");
    let time = object["time"].as_str().unwrap();
    assert!(time.len() == 20 && time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
    // A second failure is appended: containerd takes the last object.
    assert_eq!(support::told(&mut command(), ["foo"]).code, Some(3));
    let objects = objects(&fs::read_to_string(&log).unwrap());
    assert_eq!(objects.len(), 2);
    assert_eq!(objects[1]["msg"], "No help topic for 'foo'");
}

#[test]
fn text_is_the_default_form_and_stderr_the_default_place() {
    let told = run("foo");
    assert!(told.err.starts_with("time=\"20"), "{}", told.err);
    assert!(told.err.ends_with(" level=error msg=\"No help topic for 'foo'\"\n"), "{}", told.err);
    let json = run("--log-format json foo");
    assert_eq!(objects(&json.err)[0]["level"], "error");
}

#[test]
fn logs_by_their_prefixes_and_levels() {
    let scratch = scratch();
    let log = scratch.path().join("log");
    let name = format!("file:{}", log.display());
    let told = support::told(husk().args(["--log", &name, "--log-format=json"]), ["foo"]);
    assert_eq!(told.code, Some(3));
    assert_eq!(objects(&fs::read_to_string(&log).unwrap())[0]["level"], "error");
    let debug = support::told(husk().args(["--log-level", "debug"]), ["features"]).code(0);
    assert!(debug.err.contains("level=debug"), "{debug:?}");
    let quiet = support::told(husk().args(["--log-level", "error"]), ["features"]).code(0);
    assert_eq!(quiet.err, "");
    run("--log-level loud list").fails(1, "invalid log-level: loud");
}

#[test]
fn a_configuration_of_another_name() {
    let scratch = scratch();
    let file = scratch.path().join("other.json");
    let bundle = scratch.path().to_str().unwrap();
    told(&mut husk(), ["spec", "-b", bundle, "-f", "other.json"]).code(0);
    assert!(file.exists() && !scratch.path().join("config.json").exists());
    told(&mut husk(), ["spec", "-b", bundle, "-f", "other.json"])
        .fails(1, "File other.json exists. Remove it first");
    let named = format!("--config={}", file.display());
    let planned = told(&mut husk(), ["plan", "-b", bundle, &named, "c"]).code(0);
    assert!(planned.out.contains("Execute"), "{planned:?}");
    told(&mut husk(), ["plan", "-b", bundle, "-f", "/nonexistent/x.json", "c"])
        .fails(1, "JSON specification file /nonexistent/x.json not found");
    told(&mut husk(), ["plan", "-b", bundle, "c"])
        .fails(1, "JSON specification file config.json not found");
}

#[test]
fn wrong_logs_are_errors() {
    let told = run("--log-format yaml list");
    assert_eq!(told.code, Some(1));
    assert!(told.err.contains("invalid log-format: yaml"));
    let told = run("--log /nonexistent/log list");
    assert_eq!(told.code, Some(1));
    assert!(told.err.contains("open /nonexistent/log: no such file or directory"), "{}", told.err);
}

#[test]
fn debug_messages_go_to_the_log() {
    let scratch = scratch();
    let log = scratch.path().join("log");
    let told =
        told(husk().arg("--debug").arg("--log").arg(&log), ["--log-format=json", "features"]);
    assert_eq!(told.code, Some(0));
    assert!(told.err.is_empty());
    let objects = objects(&fs::read_to_string(&log).unwrap());
    assert!(objects.iter().all(|object| object["level"] == "debug") && !objects.is_empty());
}

#[test]
fn spec_writes_a_config_once() {
    let scratch = scratch();
    let bundle = scratch.path().to_str().unwrap();
    let config = scratch.path().join("config.json");
    assert_eq!(told(&mut husk(), ["spec", "-b", bundle]).code, Some(0));
    let written = fs::read_to_string(&config).unwrap();
    let spec: Value = serde_json::from_str(&written).unwrap();
    assert_eq!(spec["process"]["args"], serde_json::json!(["sh"]));
    assert_eq!(spec["root"]["path"], "rootfs");
    let again = told(husk().current_dir(&scratch), ["spec"]);
    assert_eq!(again.code, Some(1));
    assert!(again.err.contains("File config.json exists. Remove it first"), "{}", again.err);
    assert_eq!(fs::read_to_string(&config).unwrap(), written);
    fs::remove_file(&config).unwrap();
    assert_eq!(told(husk().current_dir(&scratch), ["spec", "--rootless"]).code, Some(0));
    let spec: Value = serde_json::from_str(&fs::read_to_string(&config).unwrap()).unwrap();
    let uid = nix::unistd::geteuid().as_raw();
    assert_eq!(spec["linux"]["uidMappings"][0]["hostID"], uid);
    let missing = told(&mut husk(), ["spec", "--bundle=/nonexistent"]);
    assert_eq!(missing.code, Some(1));
    assert!(missing.err.contains("chdir /nonexistent: no such file or directory"));
}

#[test]
fn features_have_every_field() {
    let told = run("features").code(0);
    let features: Value = serde_json::from_str(&told.out).unwrap();
    for pointer in "/ociVersionMin /ociVersionMax /hooks /mountOptions /linux/namespaces \
                    /linux/capabilities /linux/cgroup/v1 /linux/cgroup/v2 /linux/cgroup/systemd \
                    /linux/cgroup/systemdUser /linux/cgroup/rdma /linux/seccomp/enabled \
                    /linux/seccomp/actions /linux/seccomp/operators /linux/seccomp/archs \
                    /linux/seccomp/knownFlags /linux/seccomp/supportedFlags \
                    /linux/apparmor/enabled /linux/selinux/enabled /linux/intelRdt/enabled \
                    /linux/intelRdt/schemata /linux/intelRdt/monitoring \
                    /linux/memoryPolicy/modes /linux/memoryPolicy/flags \
                    /linux/mountExtensions/idmap/enabled /linux/netDevices/enabled /annotations \
                    /potentiallyUnsafeConfigAnnotations"
        .split_whitespace()
    {
        let value = features.pointer(pointer).unwrap_or_else(|| panic!("no {pointer}"));
        let is_there = match value {
            Value::Bool(value) => *value,
            Value::Array(values) => !values.is_empty(),
            Value::Object(values) => !values.is_empty(),
            Value::String(value) => !value.is_empty(),
            _ => false,
        };
        assert!(is_there, "{pointer}: {value}");
    }
    let known = features["linux"]["seccomp"]["knownFlags"].as_array().unwrap();
    let supported = features["linux"]["seccomp"]["supportedFlags"].as_array().unwrap();
    assert!(supported.iter().all(|flag| known.contains(flag)));
}

#[test]
fn features_have_what_their_readers_look_for() {
    let told = run("features");
    assert_eq!(told.code, Some(0));
    let features: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(features["ociVersionMin"], "1.0.0");
    assert_eq!(features["ociVersionMax"], "1.3.0");
    let list = |value: &Value| -> Vec<String> {
        let items = value.as_array().unwrap_or_else(|| panic!("a list, not {value}"));
        items.iter().map(|item| item.as_str().unwrap().to_owned()).collect()
    };
    let linux = &features["linux"];
    assert_eq!(list(&features["hooks"]).len(), 6);
    assert!(list(&linux["namespaces"]).contains(&"user".to_owned()));
    for option in ["bind", "ro", "rro", "tmpcopyup"] {
        assert!(list(&features["mountOptions"]).contains(&option.to_owned()), "{option}");
    }
    assert_eq!(list(&linux["capabilities"]).len(), 41);
    for (names, one) in [
        ("actions", "SCMP_ACT_ERRNO"),
        ("operators", "SCMP_CMP_MASKED_EQ"),
        ("archs", "SCMP_ARCH_X86_64"),
        ("knownFlags", "SECCOMP_FILTER_FLAG_LOG"),
        ("supportedFlags", "SECCOMP_FILTER_FLAG_LOG"),
    ] {
        assert!(list(&linux["seccomp"][names]).contains(&one.to_owned()), "{names}");
    }
    assert!(list(&linux["memoryPolicy"]["modes"]).contains(&"MPOL_BIND".to_owned()));
    assert_eq!(linux["mountExtensions"]["idmap"]["enabled"], true);
    assert_eq!(linux["cgroup"]["v1"], true);
    assert_eq!(linux["cgroup"]["v2"], true);
    assert_eq!(linux["seccomp"]["enabled"], true);
    assert!(linux["apparmor"]["enabled"].is_boolean() && linux["selinux"]["enabled"].is_boolean());
    assert_eq!(features["annotations"]["org.opencontainers.runc.checkpoint.enabled"], "true");
}
