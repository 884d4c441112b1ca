//! Golden plans of configurations as the known clients write them, and errors that say where.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::host::Host;
use crate::plan::*;
use crate::protocol::Step;
use crate::spec::Spec;

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn host() -> Host {
    Host { apparmor: true, selinux: true, ..Host::fixed() }
}

fn options() -> Options {
    Options {
        id: "test".to_owned(),
        bundle: "/bundle".to_owned(),
        console: true,
        ..Options::default()
    }
}

fn plan(config: &Value) -> std::result::Result<Plan, PlanError> {
    let spec = Spec::parse(config.to_string().as_bytes())
        .map_err(|error| PlanError::new(error.pointer, error.message))?;
    plan_create(&spec, &options(), &host())
}

fn every_field() -> Value {
    serde_json::from_slice(&fs::read(data("every-field.json")).unwrap()).unwrap()
}

/// A configuration that asks for as little as possible.
fn least() -> Value {
    json!({
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs"},
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["/bin/true"], "cwd": "/"},
        "linux": {"namespaces": [
            {"type": "mount"}, {"type": "pid"}, {"type": "ipc"}, {"type": "uts"},
            {"type": "network"}
        ]}
    })
}

/// What people read of a plan, without the bytes of it.
fn describe(plan: &Plan) -> String {
    let mut text = String::new();
    let mut line = |words: String| writeln!(text, "{words}").unwrap();
    line(format!("shape {:?}, clone {:#x}", plan.shape, plan.clone_flags));
    for opened in &plan.descriptors {
        line(format!("open @{} {:?} {}", opened.slot.0, opened.source, opened.pointer));
    }
    if let Some(namespace) = &plan.pid_namespace {
        line(format!("pid namespace {}", namespace.path));
    }
    if let Some(mappings) = &plan.mappings {
        line(format!("mappings {mappings:?}"));
    }
    for tree in &plan.trees {
        line(format!("tree {tree:?}"));
    }
    if let Some(listener) = &plan.listener {
        line(format!("listener {} {:?}", listener.path, listener.metadata));
    }
    if let Some(value) = plan.oom_score_adj {
        line(format!("oom_score_adj {value}"));
    }
    for limit in &plan.rlimits {
        line(format!("{} {}:{} {}", limit.name, limit.soft, limit.hard, limit.pointer));
    }
    for warning in &plan.warnings {
        line(format!("warning {warning}"));
    }
    for (index, step) in plan.init.steps().iter().enumerate() {
        let pointer = plan.init.pointer(index).unwrap_or_default();
        line(format!("{} {pointer}", step.describe(&plan.init)).trim_end().to_owned());
    }
    text
}

#[test]
fn plans_of_real_configurations_are_as_recorded() {
    let bless = std::env::var_os("HUSK_BLESS").is_some();
    let mut compared = 0;
    for entry in fs::read_dir(data("plans")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|kind| kind != "json") {
            continue;
        }
        let config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let planned = describe(&plan(&config).unwrap());
        let golden = path.with_extension("plan");
        if bless {
            fs::write(&golden, &planned).unwrap();
        }
        let recorded = fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(planned, recorded, "{}: HUSK_BLESS=1 records the new plan", path.display());
        compared += 1;
    }
    assert!(compared >= 5, "{compared} plans");
}

fn insert(whole: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    whole.pointer_mut(parent).unwrap()[key] = value;
}

#[test]
fn cpu_affinity_is_for_exec() {
    let spec = Spec::parse(least().to_string().as_bytes()).unwrap();
    let running =
        Running { spec: &spec, pid: 7, namespaces: libc::CLONE_NEWNET as u64, by_pidfd: true };
    let mut process = spec.process.clone().unwrap();
    let base = plan_exec(&process, "", &running, &options(), &host()).unwrap();
    for (initial, last) in [("0", ""), ("", "0")] {
        process.exec_cpu_affinity = Some(crate::spec::ExecCpuAffinity {
            initial: initial.to_owned(),
            last: last.to_owned(),
        });
        let plan = plan_exec(&process, "", &running, &options(), &host()).unwrap();
        assert_ne!(plan, base);
    }
}

#[test]
fn errors_have_words_and_places() {
    let text = |text: &str| json!(text);
    for (pointer, value, place, words) in [
        ("/ociVersion", text("2.0.0"), "/ociVersion", "is not 1.x"),
        ("/ociVersion", text("new"), "/ociVersion", "semantic version"),
        ("/process", Value::Null, "/process", "process property must not be empty"),
        ("/process/args", json!([]), "/process/args", "args must not be empty"),
        ("/process/cwd", text(""), "/process/cwd", "Cwd property must not be empty"),
        ("/process/cwd", text("a"), "/process/cwd", "Cwd must be an absolute path"),
        ("/process/cwd", text("/a\0"), "/process/cwd", "contains a NUL byte"),
        ("/process/env", json!(["A=1", "B"]), "/process/env/1", "missing '='"),
        ("/process/env", json!(["=1"]), "/process/env/0", "name cannot be empty"),
        ("/process/user/uid", json!(4294967295_u32), "/process/user/uid", "no change"),
        ("/process/user/gid", json!(4294967295_u32), "/process/user/gid", "no change"),
        (
            "/process/user/additionalGids",
            json!([1, 4294967295_u32]),
            "/process/user/additionalGids/1",
            "no change",
        ),
        ("/process/user/umask", json!(512), "/process/user/umask", "umask 0o1000"),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_BOGUS"}]),
            "/process/rlimits/0/type",
            "wrong rlimit value: RLIMIT_BOGUS",
        ),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_CPU"}, {"type": "RLIMIT_CPU"}]),
            "/process/rlimits/1/type",
            "duplicate rlimit RLIMIT_CPU",
        ),
        (
            "/process/rlimits",
            json!([{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}]),
            "/process/rlimits/0/soft",
            "above the hard limit",
        ),
        ("/process/oomScoreAdj", json!(1001), "/process/oomScoreAdj", "between -1000 and 1000"),
        (
            "/process/scheduler",
            json!({"policy": "SCHED_X"}),
            "/process/scheduler/policy",
            "invalid scheduler policy: SCHED_X",
        ),
        (
            "/process/ioPriority",
            json!({"class": "IOPRIO_CLASS_BE", "priority": 8}),
            "/process/ioPriority/priority",
            "invalid ioPriority.Priority: 8",
        ),
        (
            "/linux/namespaces",
            json!([{"type": "pid"}, {"type": "pid"}]),
            "/linux/namespaces/1",
            r#"malformed spec file: duplicated ns {"pid" ""}"#,
        ),
        ("/linux/namespaces", json!([{"type": "x"}]), "/linux/namespaces/0/type", "does not exist"),
        (
            "/linux/namespaces",
            json!([{"type": "net", "path": "a"}]),
            "/linux/namespaces/0/type",
            "does not exist",
        ),
        (
            "/linux/namespaces",
            json!([{"type": "network", "path": "a"}]),
            "/linux/namespaces/0/path",
            "not an absolute path",
        ),
        (
            "/linux/uidMappings",
            json!([{"containerID": 0, "hostID": 0, "size": 1}]),
            "/linux/uidMappings",
            "user namespace isn't enabled",
        ),
        (
            "/linux/timeOffsets",
            json!({"monotonic": {"secs": 1}}),
            "/linux/timeOffsets/monotonic",
            "no new time namespace",
        ),
        (
            "/linux/sysctl",
            json!({"kernel.panic": "1"}),
            "/linux/sysctl/kernel.panic",
            r#"sysctl "kernel.panic" is not in a separate kernel namespace"#,
        ),
        (
            "/linux/sysctl",
            json!({"net/../kernel/panic": "1"}),
            "/linux/sysctl/net~1..~1kernel~1panic",
            "not a parameter's name",
        ),
        (
            "/linux/sysctl",
            json!({"kernel.hostname": "x"}),
            "/linux/sysctl/kernel.hostname",
            r#"conflicts with the OCI "hostname" field"#,
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_X"}),
            "/linux/memoryPolicy/mode",
            "invalid memory policy mode",
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_BIND", "nodes": "x"}),
            "/linux/memoryPolicy/nodes",
            "invalid memory policy node",
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_BIND", "flags": ["x"]}),
            "/linux/memoryPolicy/flags/0",
            "invalid memory policy flag",
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_DEFAULT", "nodes": "0-7"}),
            "/linux/memoryPolicy/nodes",
            "mode requires 0 nodes but got 8",
        ),
        (
            "/linux/memoryPolicy",
            json!({"mode": "MPOL_INTERLEAVE"}),
            "/linux/memoryPolicy/nodes",
            "mode requires at least one node",
        ),
        ("/linux/personality", json!({"domain": "X"}), "/linux/personality/domain", "domain: X"),
        (
            "/hooks",
            json!({"poststop": [{"path": "a"}]}),
            "/hooks/poststop/0/path",
            "not an absolute path",
        ),
        (
            "/hooks",
            json!({"prestart": [{"path": "/a", "timeout": 0}]}),
            "/hooks/prestart/0/timeout",
            "not greater than zero",
        ),
        (
            "/linux/intelRdt",
            json!({"closID": "a/b"}),
            "/linux/intelRdt/closID",
            r#"invalid intelRdt.ClosID "a/b""#,
        ),
        (
            "/linux/intelRdt",
            json!({"memBwSchema": "L3:0=f"}),
            "/linux/intelRdt/memBwSchema",
            "does not start with MB:",
        ),
        (
            "/linux/intelRdt",
            json!({"schemata": ["L3:0=f", "L3:0=f\nMB:0=10"]}),
            "/linux/intelRdt/schemata/1",
            "not one line",
        ),
        (
            "/linux/netDevices",
            json!({"a/b": {}}),
            "/linux/netDevices/a~1b",
            r#"invalid network device name "a/b""#,
        ),
        (
            "/linux/netDevices",
            json!({"eth0": {"name": "%s"}}),
            "/linux/netDevices/eth0",
            r#"invalid network device name "%s""#,
        ),
        (
            "/linux/netDevices",
            json!({"eth0": {"name": "x"}, "eth1": {"name": "x"}}),
            "/linux/netDevices/eth1",
            "cannot both be named",
        ),
    ] {
        let mut config = least();
        insert(&mut config, pointer, value);
        let error = plan(&config).expect_err(words);
        assert_eq!(error.pointer, place, "{error}");
        assert!(error.message.contains(words), "{error} lacks {words:?}");
    }
}

#[test]
fn names_need_a_uts_namespace() {
    for (kind, words) in [
        ("/hostname", "unable to set hostname without a private UTS namespace"),
        ("/domainname", "unable to set domainname without a private UTS namespace"),
    ] {
        let mut config = least();
        insert(&mut config, "/linux/namespaces", json!([{"type": "mount"}]));
        insert(&mut config, kind, json!("x"));
        let error = plan(&config).unwrap_err();
        assert_eq!((error.pointer.as_str(), error.message.as_str()), (kind, words));
    }
}

#[test]
fn the_environment_reaches_the_program_once() {
    let mut config = least();
    insert(&mut config, "/process/env", json!(["A=1", "PATH=/bin:b::/c/", "A=2", "HOME=", "B=\n"]));
    insert(&mut config, "/process/args", json!(["sh"]));
    let plan = plan(&config).unwrap();
    let Some(Step::Execute { candidates, env, home, .. }) = plan.init.steps().last() else {
        panic!("a program ends with execve");
    };
    assert_eq!(plan.init.show_all(*env), ["PATH=/bin:b::/c/", "A=2", "B=\n"]);
    assert_eq!(plan.init.show_all(*candidates), ["/bin/sh", "/c/sh"]);
    assert!(home.length > 0, "an empty HOME is looked up");
}

#[test]
fn unknown_capabilities_are_warned_about() {
    let mut config = least();
    insert(
        &mut config,
        "/process/capabilities",
        json!({"bounding": ["CAP_KILL", "CAP_X"], "permitted": ["CAP_KILL"], "ambient": ["CAP_KILL"]}),
    );
    let plan = plan(&config).unwrap();
    assert_eq!(
        plan.warnings,
        [
            "ignoring unknown or unavailable capabilities: [CAP_X]",
            "can't raise ambient capability CAP_KILL: operation not permitted"
        ]
    );
    assert!(plan.init.steps().contains(&Step::SetCapabilities {
        effective: 0,
        permitted: 1 << 5,
        inheritable: 0
    }));
}

/// Which processes there are, for every combination of a user namespace with others.
#[test]
fn shapes() {
    let user = json!({"type": "user"});
    let mapping = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
    let joined = |kind: &str| json!({"type": kind, "path": format!("/{kind}")});
    let mount = json!({"type": "mount"});
    for (namespaces, shape) in [
        (json!([mount]), Shape::One),
        (json!([mount, joined("pid"), joined("network")]), Shape::One),
        (json!([mount, user, {"type": "pid"}]), Shape::One),
        (json!([mount, user, joined("network")]), Shape::Two),
        (json!([mount, user, joined("pid")]), Shape::Two),
        (json!([mount, joined("user")]), Shape::One),
        (json!([mount, joined("user"), {"type": "pid"}]), Shape::Two),
        (json!([mount, joined("user"), joined("ipc")]), Shape::Two),
    ] {
        let mut config = least();
        let has_new_user = namespaces.as_array().unwrap().contains(&user);
        insert(&mut config, "/linux/namespaces", namespaces.clone());
        if has_new_user {
            insert(&mut config, "/linux/uidMappings", mapping.clone());
            insert(&mut config, "/linux/gidMappings", mapping.clone());
        }
        let plan = plan(&config).unwrap();
        assert_eq!(plan.shape, shape, "{namespaces}");
        let clones =
            plan.init.steps().iter().filter(|step| matches!(step, Step::CloneInit { .. })).count();
        assert_eq!(clones, usize::from(shape == Shape::Two), "{namespaces}");
    }
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u32>().prop_map(Value::from),
        "[a-z/.\\-_0-9A-Z\0\n]{0,12}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!(["", "/", "a"])),
    ]
}

fn pointers(value: &Value, at: String, all: &mut Vec<String>) {
    if !at.is_empty() {
        all.push(at.clone());
    }
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(key, member)| pointers(member, format!("{at}/{key}"), all));
        }
        Value::Array(elements) => elements
            .iter()
            .enumerate()
            .for_each(|(index, element)| pointers(element, format!("{at}/{index}"), all)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever stands where: a plan, or an error that says where.
    #[test]
    fn a_plan_or_a_place(
        changes in prop::collection::vec((any::<prop::sample::Index>(), scalar()), 1..4),
        minimal in any::<bool>(),
    ) {
        let mut config = if minimal { least() } else { every_field() };
        for (index, value) in changes {
            let mut all = Vec::new();
            pointers(&config, String::new(), &mut all);
            if let Some(place) = config.pointer_mut(&all[index.index(all.len())]) {
                *place = value;
            }
        }
        if let Err(error) = plan(&config) {
            prop_assert!(error.pointer.starts_with('/'), "{error:?}");
            prop_assert!(!error.message.is_empty());
        }
    }
}

/// Only an ordinary user's process may become visible, in a user namespace that nobody else is in, and if the creator
/// says so.
#[test]
fn a_created_process_is_visible_where_that_was_said() {
    let opens = |config: &Value, joinable: bool, capabilities: u64| {
        let spec = Spec::parse(config.to_string().as_bytes()).unwrap();
        let options = Options { joinable, rootless: true, ..options() };
        let host = Host { capabilities, ..host() };
        let plan = plan_create(&spec, &options, &host).unwrap();
        plan.init.steps().contains(&Step::SetDumpable { dumpable: true })
    };
    let mut own = least();
    let mapping = json!([{ "containerID": 0, "hostID": 1000, "size": 1 }]);
    insert(&mut own, "/linux/uidMappings", mapping.clone());
    insert(&mut own, "/linux/gidMappings", mapping);
    let mut joined = own.clone();
    own["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    assert!(opens(&own, true, 0));
    assert!(!opens(&own, false, 0));
    assert!(!opens(&own, true, u64::MAX));
    joined["linux"]["namespaces"]
        .as_array_mut()
        .unwrap()
        .push(json!({"type": "user", "path": "/proc/self/ns/user"}));
    assert!(!opens(&joined, true, 0));
}
