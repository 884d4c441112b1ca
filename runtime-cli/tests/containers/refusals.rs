//! Bad configurations: each is refused with its words, its place in config.json and status 1, and
//! nothing stays behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::Container;

/// One mistake: what is put where, and what the error must say.
struct Case {
    name: &'static str,
    /// Place in config.json, `-` at its end appends to an array; no value removes.
    edits: Vec<(&'static str, Option<Value>)>,
    /// JSON pointer in the error; empty if the mistake has no place.
    pointer: &'static str,
    /// Words in the error, compared without regard to case.
    words: &'static str,
}

fn case(
    name: &'static str,
    at: &'static str,
    value: Value,
    pointer: &'static str,
    words: &'static str,
) -> Case {
    Case { name, edits: vec![(at, Some(value))], pointer, words }
}

fn absent(
    name: &'static str,
    at: &'static str,
    pointer: &'static str,
    words: &'static str,
) -> Case {
    Case { name, edits: vec![(at, None)], pointer, words }
}

fn edit(config: &mut Value, at: &str, value: Option<Value>) {
    let (parent, key) = at.rsplit_once('/').expect("a pointer");
    let mut node = config;
    for part in parent.split('/').skip(1) {
        node = match node {
            Value::Array(items) => &mut items[part.parse::<usize>().expect("an index")],
            _ => node
                .as_object_mut()
                .expect("an object")
                .entry(part.replace("~1", "/"))
                .or_insert_with(|| json!({})),
        };
    }
    match (node, value) {
        (Value::Array(items), Some(value)) if key == "-" => items.push(value),
        (Value::Array(items), Some(value)) => {
            items[key.parse::<usize>().expect("an index")] = value
        }
        (Value::Object(members), Some(value)) => {
            members.insert(key.replace("~1", "/"), value);
        }
        (Value::Object(members), None) => {
            members.remove(key);
        }
        _ => panic!("nothing to edit at {at}"),
    }
}

/// Tries each case and reports all that differ at once.
fn refuse(cases: Vec<Case>) {
    let mut wrong = Vec::new();
    for case in cases {
        let mut container = Container::shell("echo it ran");
        for (at, value) in case.edits {
            edit(&mut container.config, at, value);
        }
        let mut outcome = container.run();
        // The text of a log line has its quotes escaped.
        outcome.stderr = outcome.stderr.replace("\\\"", "\"");
        let mut say = |what: String| {
            wrong.push(format!("{}: {what}\n    stderr: {}", case.name, outcome.stderr.trim()))
        };
        if outcome.code() != 1 {
            say(format!("status {}, stdout {:?}", outcome.code(), outcome.stdout));
        }
        if !outcome.stderr.to_lowercase().contains(&case.words.to_lowercase()) {
            say(format!("no {:?}", case.words));
        }
        if !outcome.stderr.contains(case.pointer) {
            say(format!("no {}", case.pointer));
        }
        let left = container.left_behind();
        if !left.is_empty() {
            say(format!("left behind {left:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn of_the_document() {
    refuse(vec![
        absent("no version", "/ociVersion", "/ociVersion", "ociVersion"),
        case("another major version", "/ociVersion", json!("2.0.0"), "/ociVersion", "2.0.0"),
        case("version that is none", "/ociVersion", json!("newest"), "/ociVersion", "newest"),
        case("mounts of the wrong type", "/mounts", json!({}), "/mounts", "expected"),
        case("hostname of the wrong type", "/hostname", json!(7), "/hostname", "expected"),
        absent("no root", "/root", "/root", "root"),
        case("root without path", "/root", json!({}), "/root/path", "path"),
        case(
            "root that is not there",
            "/root/path",
            json!("nowhere"),
            "/root/path",
            "no such file or directory",
        ),
        case(
            "root that is a file",
            "/root/path",
            json!("config.json"),
            "/root/path",
            "not a directory",
        ),
    ]);
}

#[test]
fn of_text_that_is_not_a_document() {
    let container = Container::shell("true");
    for (text, words) in [
        ("", "EOF"),
        ("{", "EOF"),
        ("[]", "expected"),
        ("{\"ociVersion\": \"1.0.2\",}", "trailing comma"),
    ] {
        let mut command = container.command(&["run", &container.id]);
        fs::write(container.path("config.json"), text).expect("config.json");
        let outcome = crate::support::finish({
            command.env("LC_ALL", "C");
            command
        });
        assert_eq!(outcome.code(), 1, "{text:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(words), "{text:?}: {}", outcome.stderr);
    }
    let command = container.command(&["run", &container.id]);
    fs::remove_file(container.path("config.json")).expect("config.json");
    let outcome = crate::support::finish(command);
    assert_eq!(outcome.code(), 1);
    assert!(
        outcome.stderr.contains("JSON specification file config.json not found"),
        "{}",
        outcome.stderr
    );
    assert_eq!(container.left_behind(), Vec::<String>::new());
}

#[test]
fn of_the_process() {
    refuse(vec![
        absent("no process", "/process", "/process", "process"),
        case("no arguments", "/process/args", json!([]), "/process/args", "args must not be empty"),
        absent("arguments absent", "/process/args", "/process/args", "args must not be empty"),
        case("argument with NUL", "/process/args/2", json!("a\u{0}b"), "/process/args", "nul"),
        case("variable with NUL", "/process/env/0", json!("A=\u{0}"), "/process/env/0", "nul"),
        case(
            "relative cwd",
            "/process/cwd",
            json!("tmp"),
            "/process/cwd",
            "Cwd must be an absolute path",
        ),
        case("empty cwd", "/process/cwd", json!(""), "/process/cwd", "cwd"),
        case(
            "cwd that is a file",
            "/process/cwd",
            json!("/bin/busybox"),
            "/process/cwd",
            "not a directory",
        ),
        case(
            "uid that means no change",
            "/process/user/uid",
            json!(4_294_967_295_u32),
            "/process/user/uid",
            "4294967295",
        ),
        case(
            "gid that means no change",
            "/process/user/gid",
            json!(4_294_967_295_u32),
            "/process/user/gid",
            "4294967295",
        ),
        case("negative uid", "/process/user/uid", json!(-1), "/process/user/uid", "-1"),
        case(
            "uid over 32 bits",
            "/process/user/uid",
            json!(4_294_967_296_u64),
            "/process/user/uid",
            "4294967296",
        ),
        case("uid as text", "/process/user/uid", json!("1000"), "/process/user/uid", "1000"),
        case(
            "group that means no change",
            "/process/user/additionalGids",
            json!([5, 4_294_967_295_u32]),
            "/process/user/additionalGids/1",
            "4294967295",
        ),
        case(
            "unknown limit",
            "/process/rlimits",
            json!([{ "type": "RLIMIT_BOGUS", "soft": 1, "hard": 1 }]),
            "/process/rlimits/0/type",
            "wrong rlimit value: RLIMIT_BOGUS",
        ),
        case(
            "limit twice",
            "/process/rlimits",
            json!([{ "type": "RLIMIT_NOFILE", "soft": 64, "hard": 64 }, { "type": "RLIMIT_NOFILE", "soft": 32, "hard": 32 }]),
            "/process/rlimits/1",
            "RLIMIT_NOFILE",
        ),
        case(
            "soft limit over the hard one",
            "/process/rlimits",
            json!([{ "type": "RLIMIT_CORE", "soft": 2, "hard": 1 }]),
            "/process/rlimits/0",
            "RLIMIT_CORE",
        ),
        case(
            "unknown scheduler",
            "/process/scheduler",
            json!({ "policy": "SCHED_BOGUS" }),
            "/process/scheduler/policy",
            "SCHED_BOGUS",
        ),
        case(
            "unknown I/O class",
            "/process/ioPriority",
            json!({ "class": "IOPRIO_CLASS_BOGUS", "priority": 1 }),
            "/process/ioPriority/class",
            "IOPRIO_CLASS_BOGUS",
        ),
        case(
            "I/O priority out of range",
            "/process/ioPriority",
            json!({ "class": "IOPRIO_CLASS_BE", "priority": 8 }),
            "/process/ioPriority/priority",
            "8",
        ),
        case(
            "oom score out of range",
            "/process/oomScoreAdj",
            json!(2000),
            "/process/oomScoreAdj",
            "2000",
        ),
        case(
            "AppArmor profile",
            "/process/apparmorProfile",
            json!("docker-default"),
            "/process/apparmorProfile",
            "apparmor",
        ),
        case(
            "SELinux label",
            "/process/selinuxLabel",
            json!("system_u:system_r:container_t:s0"),
            "/process/selinuxLabel",
            "selinux",
        ),
    ]);
}

#[test]
fn of_the_program() {
    refuse(vec![
        case(
            "name not in PATH",
            "/process/args",
            json!(["nosuchcmd"]),
            "/process/args/0",
            "exec: \"nosuchcmd\": executable file not found in $PATH",
        ),
        case(
            "empty name",
            "/process/args",
            json!([""]),
            "/process/args/0",
            "executable file not found in $PATH",
        ),
        case(
            "path that is not there",
            "/process/args",
            json!(["/nosuchcmd"]),
            "/process/args/0",
            "exec: \"/nosuchcmd\": stat /nosuchcmd: no such file or directory",
        ),
        case(
            "path below a file",
            "/process/args",
            json!(["/bin/busybox/x"]),
            "/process/args/0",
            "not a directory",
        ),
        case("directory", "/process/args", json!(["/bin"]), "/process/args/0", "is a directory"),
    ]);
    let mut container = Container::shell("true");
    let plain = container.path("rootfs/bin/plain");
    fs::write(&plain, "text").expect("file");
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o644)).expect("mode");
    container.config["process"]["args"] = json!(["/bin/plain"]);
    let outcome = container.run();
    assert_eq!(outcome.code(), 1);
    assert!(outcome.stderr.contains("permission denied"), "{}", outcome.stderr);
    assert_eq!(container.left_behind(), Vec::<String>::new());
}

#[test]
fn of_mounts() {
    let tmpfs = |options: Value| json!({ "destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": options });
    refuse(vec![
        case(
            "no destination",
            "/mounts/-",
            json!({ "type": "tmpfs", "source": "tmpfs" }),
            "/mounts/5/destination",
            "destination",
        ),
        case(
            "empty destination",
            "/mounts/-",
            json!({ "destination": "", "type": "tmpfs", "source": "tmpfs" }),
            "/mounts/5/destination",
            "destination",
        ),
        case(
            "destination with NUL",
            "/mounts/-",
            json!({ "destination": "/t\u{0}", "type": "tmpfs" }),
            "/mounts/5/destination",
            "nul",
        ),
        case(
            "bind of nothing",
            "/mounts/-",
            json!({ "destination": "/tmp", "source": "/nonexistent/src", "options": ["bind"] }),
            "/mounts/5",
            "no such file or directory",
        ),
        case(
            "file system that the kernel lacks",
            "/mounts/-",
            json!({ "destination": "/tmp", "type": "bogusfs", "source": "x" }),
            "/mounts/5",
            "no such device",
        ),
        case(
            "data that the file system refuses",
            "/mounts/-",
            tmpfs(json!(["bogus=1"])),
            "/mounts/5",
            "invalid argument",
        ),
        case(
            "data on a bind mount",
            "/mounts/-",
            json!({ "destination": "/tmp", "source": "/tmp", "options": ["bind", "size=1k"] }),
            "/mounts/5",
            "size=1k",
        ),
        case(
            "mount inside proc",
            "/mounts/-",
            json!({ "destination": "/proc/1", "type": "tmpfs", "source": "tmpfs" }),
            "/mounts/5",
            "/proc",
        ),
        case(
            "tmpcopyup of the root",
            "/mounts/-",
            json!({ "destination": "/", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"] }),
            "/mounts/5",
            "tmpcopyup",
        ),
        case(
            "one mapping without the other",
            "/mounts/-",
            json!({ "destination": "/tmp", "source": "/tmp", "options": ["bind"], "uidMappings": [{ "containerID": 0, "hostID": 1000, "size": 1 }] }),
            "/mounts/5",
            "mappings",
        ),
        case(
            "idmap without any mapping",
            "/mounts/-",
            json!({ "destination": "/tmp", "source": "/tmp", "options": ["bind", "idmap"] }),
            "/mounts/5",
            "mappings",
        ),
        case(
            "options of the wrong type",
            "/mounts/-",
            tmpfs(json!(["ro", 7])),
            "/mounts/5/options/1",
            "expected",
        ),
        case(
            "unknown propagation of the root",
            "/linux/rootfsPropagation",
            json!("sometimes"),
            "/linux/rootfsPropagation",
            "sometimes",
        ),
        case(
            "mount label",
            "/linux/mountLabel",
            json!("system_u:object_r:container_file_t:s0"),
            "/linux/mountLabel",
            "selinux",
        ),
    ]);
}

#[test]
fn of_namespaces_and_ids() {
    let id = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
    let user = json!({ "type": "user" });
    refuse(vec![
        case(
            "unknown namespace",
            "/linux/namespaces/-",
            json!({ "type": "space" }),
            "/linux/namespaces/5/type",
            "space",
        ),
        case(
            "namespace twice",
            "/linux/namespaces/-",
            json!({ "type": "pid" }),
            "/linux/namespaces/5",
            "duplicated ns",
        ),
        case(
            "namespace file that is not there",
            "/linux/namespaces/1",
            json!({ "type": "network", "path": "/nonexistent/ns" }),
            "/linux/namespaces/1/path",
            "no such file or directory",
        ),
        case(
            "namespace of another type",
            "/linux/namespaces/1",
            json!({ "type": "network", "path": "/proc/self/ns/uts" }),
            "/linux/namespaces/1/path",
            "network",
        ),
        case(
            "file that is no namespace",
            "/linux/namespaces/1",
            json!({ "type": "network", "path": "/dev/null" }),
            "/linux/namespaces/1/path",
            "namespace",
        ),
        case(
            "user namespace without mappings",
            "/linux/namespaces/-",
            user.clone(),
            "/linux/uidMappings",
            "mapping",
        ),
        case(
            "mappings without user namespace",
            "/linux/uidMappings",
            id.clone(),
            "/linux/uidMappings",
            "user namespace",
        ),
        Case {
            name: "mapping of no ids",
            edits: vec![
                ("/linux/namespaces/-", Some(user.clone())),
                ("/linux/uidMappings", Some(json!([{ "containerID": 0, "hostID": 0, "size": 0 }]))),
                ("/linux/gidMappings", Some(id.clone())),
            ],
            pointer: "/linux/uidMappings",
            words: "mapping",
        },
        Case {
            name: "mappings that overlap",
            edits: vec![
                ("/linux/namespaces/-", Some(user)),
                (
                    "/linux/uidMappings",
                    Some(
                        json!([{ "containerID": 0, "hostID": 0, "size": 10 }, { "containerID": 5, "hostID": 100, "size": 10 }]),
                    ),
                ),
                ("/linux/gidMappings", Some(id)),
            ],
            pointer: "/linux/uidMappings",
            words: "mapping",
        },
        case(
            "hostname of the host",
            "/linux/namespaces/3",
            json!({ "type": "cgroup" }),
            "/hostname",
            "hostname",
        ),
        case("hostname too long", "/hostname", json!("h".repeat(65)), "/hostname", "hostname"),
        case(
            "offsets without time namespace",
            "/linux/timeOffsets",
            json!({ "monotonic": { "secs": 5 } }),
            "/linux/timeOffsets",
            "time namespace",
        ),
        Case {
            name: "offset of an unknown clock",
            edits: vec![
                ("/linux/namespaces/-", Some(json!({ "type": "time" }))),
                ("/linux/timeOffsets", Some(json!({ "sundial": { "secs": 5 } }))),
            ],
            pointer: "/linux/timeOffsets/sundial",
            words: "sundial",
        },
    ]);
}

#[test]
fn of_linux() {
    refuse(vec![
        case(
            "device of unknown type",
            "/linux/devices",
            json!([{ "type": "x", "path": "/dev/x", "major": 1, "minor": 3 }]),
            "/linux/devices/0/type",
            "x",
        ),
        case(
            "device without its number",
            "/linux/devices",
            json!([{ "type": "c", "path": "/dev/x", "major": 1 }]),
            "/linux/devices/0/minor",
            "device /dev/x: the minor number is missing",
        ),
        case(
            "device with a relative path",
            "/linux/devices",
            json!([{ "type": "p", "path": "x" }]),
            "/linux/devices/0/path",
            "absolute",
        ),
        case(
            "sysctl of the whole machine",
            "/linux/sysctl",
            json!({ "kernel.panic": "1" }),
            "/linux/sysctl/kernel.panic",
            "sysctl \"kernel.panic\" is not in a separate kernel namespace",
        ),
        case(
            "sysctl that climbs",
            "/linux/sysctl",
            json!({ "net/../kernel/panic": "1" }),
            "/linux/sysctl/net~1..~1kernel~1panic",
            "sysctl",
        ),
        Case {
            name: "sysctl of a network that is the host's",
            edits: vec![
                ("/linux/namespaces/1", Some(json!({ "type": "cgroup" }))),
                ("/linux/sysctl", Some(json!({ "net.ipv4.ip_forward": "1" }))),
            ],
            pointer: "/linux/sysctl/net.ipv4.ip_forward",
            words: "network namespace",
        },
        case(
            "sysctl that is not there",
            "/linux/sysctl",
            json!({ "net.ipv4.bogus": "1" }),
            "/linux/sysctl/net.ipv4.bogus",
            "no such file or directory",
        ),
        case(
            "unknown personality",
            "/linux/personality",
            json!({ "domain": "VMS" }),
            "/linux/personality/domain",
            "VMS",
        ),
        case(
            "unknown memory policy",
            "/linux/memoryPolicy",
            json!({ "mode": "MPOL_BOGUS" }),
            "/linux/memoryPolicy/mode",
            "MPOL_BOGUS",
        ),
        case(
            "Intel RDT",
            "/linux/intelRdt",
            json!({ "closID": "x" }),
            "/linux/intelRdt",
            "intelRdt",
        ),
        case(
            "a network device that is not there",
            "/linux/netDevices",
            json!({ "husk-none9": {} }),
            "/linux/netDevices/husk-none9",
            "link not found for interface husk-none9 on runtime namespace: no such device",
        ),
    ]);
}

#[test]
fn of_resources() {
    refuse(vec![
        case(
            "memory limit as text",
            "/linux/resources/memory",
            json!({ "limit": "1G" }),
            "/linux/resources/memory/limit",
            "1G",
        ),
        case(
            "swap below memory",
            "/linux/resources/memory",
            json!({ "limit": 67_108_864, "swap": 33_554_432 }),
            "/linux/resources/memory",
            "memory",
        ),
        case(
            "pids limit as text",
            "/linux/resources/pids",
            json!({ "limit": "many" }),
            "/linux/resources/pids/limit",
            "many",
        ),
        case(
            "processors that are not there",
            "/linux/resources/cpu",
            json!({ "cpus": "4000-4001" }),
            "/linux/resources/cpu/cpus",
            "cpus",
        ),
        case(
            "processors that are no list",
            "/linux/resources/cpu",
            json!({ "cpus": "one" }),
            "/linux/resources/cpu/cpus",
            "cpus",
        ),
        case(
            "huge pages of an odd size",
            "/linux/resources/hugepageLimits",
            json!([{ "pageSize": "3MB", "limit": 1 }]),
            "/linux/resources/hugepageLimits/0",
            "3MB",
        ),
        case(
            "device rule of unknown type",
            "/linux/resources/devices/-",
            json!({ "allow": true, "type": "q", "access": "r" }),
            "/linux/resources/devices/1",
            "q",
        ),
        case(
            "device rule of unknown access",
            "/linux/resources/devices/-",
            json!({ "allow": true, "type": "c", "access": "z" }),
            "/linux/resources/devices/1",
            "z",
        ),
        case(
            "unified file outside",
            "/linux/resources/unified",
            json!({ "../memory.max": "1" }),
            "/linux/resources/unified",
            "unified",
        ),
        case(
            "block weight out of range",
            "/linux/resources/blockIO",
            json!({ "weight": 5000 }),
            "/linux/resources/blockIO/weight",
            "weight",
        ),
    ]);
}

#[test]
fn of_seccomp() {
    let rule = |rule: Value| json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
    refuse(vec![
        case(
            "no default action",
            "/linux/seccomp",
            json!({ "syscalls": [{ "names": ["read"], "action": "SCMP_ACT_ALLOW" }] }),
            "/linux/seccomp/defaultAction",
            "defaultAction",
        ),
        case(
            "unknown default action",
            "/linux/seccomp",
            json!({ "defaultAction": "SCMP_ACT_BOGUS" }),
            "/linux/seccomp/defaultAction",
            "SCMP_ACT_BOGUS",
        ),
        case(
            "unknown architecture",
            "/linux/seccomp",
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_BOGUS"] }),
            "/linux/seccomp/architectures/0",
            "SCMP_ARCH_BOGUS",
        ),
        case(
            "unknown flag",
            "/linux/seccomp",
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_BOGUS"] }),
            "/linux/seccomp/flags/0",
            "SECCOMP_FILTER_FLAG_BOGUS",
        ),
        case(
            "unknown action of a rule",
            "/linux/seccomp",
            rule(json!({ "names": ["read"], "action": "SCMP_ACT_BOGUS" })),
            "/linux/seccomp/syscalls/0/action",
            "SCMP_ACT_BOGUS",
        ),
        case(
            "unknown operator",
            "/linux/seccomp",
            rule(
                json!({ "names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [{ "index": 0, "value": 1, "op": "SCMP_CMP_BOGUS" }] }),
            ),
            "/linux/seccomp/syscalls/0/args/0/op",
            "SCMP_CMP_BOGUS",
        ),
        case(
            "seventh argument",
            "/linux/seccomp",
            rule(
                json!({ "names": ["read"], "action": "SCMP_ACT_ERRNO", "args": [{ "index": 6, "value": 1, "op": "SCMP_CMP_EQ" }] }),
            ),
            "/linux/seccomp/syscalls/0/args/0/index",
            "6",
        ),
        case(
            "listener for write",
            "/linux/seccomp",
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/nonexistent", "syscalls": [{ "names": ["write"], "action": "SCMP_ACT_NOTIFY" }] }),
            "/linux/seccomp/syscalls/0",
            "SCMP_ACT_NOTIFY cannot be used for the write syscall",
        ),
    ]);
}

#[test]
fn of_hooks() {
    let hook = |hook: Value| json!([hook]);
    refuse(vec![
        case(
            "relative hook",
            "/hooks/createRuntime",
            hook(json!({ "path": "bin/hook" })),
            "/hooks/createRuntime/0/path",
            "absolute",
        ),
        case(
            "hook without path",
            "/hooks/prestart",
            hook(json!({})),
            "/hooks/prestart/0/path",
            "path",
        ),
        case(
            "hook that is not there",
            "/hooks/createRuntime",
            hook(json!({ "path": "/nonexistent/hook" })),
            "",
            "no such file or directory",
        ),
        case(
            "hook that fails",
            "/hooks/createRuntime",
            hook(json!({ "path": "/bin/sh", "args": ["sh", "-c", "echo why >&2; exit 3"] })),
            "",
            "error running createRuntime hook #0: exit status 3",
        ),
        case(
            "hook in the container that fails",
            "/hooks/createContainer",
            hook(json!({ "path": "/bin/sh", "args": ["sh", "-c", "exit 4"] })),
            "",
            "createContainer hook #0",
        ),
        case(
            "hook that takes too long",
            "/hooks/prestart",
            hook(json!({ "path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1 })),
            "",
            "hook ran past specified timeout of 1.0s",
        ),
        case(
            "timeout that is none",
            "/hooks/poststart",
            hook(json!({ "path": "/bin/true", "timeout": 0 })),
            "/hooks/poststart/0/timeout",
            "timeout",
        ),
    ]);
}
