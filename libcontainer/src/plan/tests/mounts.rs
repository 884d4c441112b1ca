//! Golden plans of mounts, the root, devices and masks, and what is refused.

use serde_json::{Value, json};

use crate::host::{CgroupMount, Host};
use crate::plan::{
    Context, Options, PlanError, plan_devices, plan_late_readonly, plan_masks, plan_mounts,
    plan_namespaces, plan_pivot, plan_readonly_root, plan_root,
};
use crate::spec::Spec;

/// The steps on mounts, one a line, and the warnings.
fn lines(host: &Host, options: &Options, mut config: Value) -> Result<Vec<String>, PlanError> {
    config["ociVersion"] = json!("1.3.0");
    if config.get("root").is_none() {
        config["root"] = json!({"path": "rootfs"});
    }
    if config["linux"].get("namespaces").is_none() {
        config["linux"]["namespaces"] = json!([{"type": "mount"}]);
    }
    let spec = Spec::parse(config.to_string().as_bytes()).unwrap();
    let namespaces = plan_namespaces(spec.linux.as_ref(), host)?;
    let mut ctx = Context::new(&spec, options, host, namespaces);
    plan_root(&mut ctx)?;
    let late = plan_mounts(&mut ctx)?;
    plan_devices(&mut ctx)?;
    plan_pivot(&mut ctx)?;
    plan_late_readonly(&mut ctx, late);
    plan_readonly_root(&mut ctx)?;
    plan_masks(&mut ctx)?;
    let steps = ctx.init.steps().iter().map(|step| step.describe(&ctx.init));
    Ok(steps.chain(ctx.warnings.iter().map(|warning| format!("warning: {warning}"))).collect())
}

fn options() -> Options {
    Options { id: "golden".to_owned(), bundle: "/bundle".to_owned(), ..Options::default() }
}

/// Lines of mounts alone.
fn mounts(host: &Host, options: &Options, config: Value) -> Vec<String> {
    let lines = lines(host, options, config).unwrap();
    let is_mount = |line: &String| {
        [
            "MountFilesystem",
            "MountBind",
            "MountTree",
            "SetMount",
            "MakeReadonly",
            "MakeLink",
            "Meet",
            "ReceiveTrees",
            "warning",
        ]
        .iter()
        .any(|name| line.starts_with(name))
            && !line.contains("directory=\"/dev\"")
    };
    lines.into_iter().filter(is_mount).collect()
}

#[track_caller]
fn assert_golden(lines: &[String], expected: &str) {
    assert_eq!(lines.join("\n"), expected.trim_end());
}

#[test]
fn a_container_of_docker() {
    let config = json!({
        "root": {"path": "/var/lib/docker/overlay2/x/merged", "readonly": true},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc",
             "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k", "ro"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs",
             "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/etc/hosts", "source": "/var/lib/docker/hosts",
             "options": ["rbind", "rprivate"]},
        ],
        "linux": {"maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"],
                  "rootfsPropagation": "rslave"},
    });
    let lines = lines(&Host::fixed(), &options(), config).unwrap();
    assert_golden(&lines, include_str!("../../../tests/data/plans/mounts-docker.txt"));
}

#[test]
fn binds() {
    let config = json!({"mounts": [
        {"destination": "a/../b/./", "source": "data", "options": ["bind"]},
        {"destination": "/c", "source": "/data", "type": "tmpfs",
         "options": ["rbind", "ro", "exec", "shared", "rslave", "rro", "rnoatime"]},
        {"destination": "/d", "source": "/data", "options": ["bind", "remount", "nosuid"]},
    ]});
    let lines = mounts(&Host::fixed(), &options(), config);
    assert_golden(&lines, include_str!("../../../tests/data/plans/mounts-binds.txt"));
}

#[test]
fn mapped_trees_come_from_the_parent() {
    let range = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
    let config = json!({
        "mounts": [
            {"destination": "/own", "source": "/data", "options": ["rbind", "ridmap", "ro"],
             "uidMappings": range, "gidMappings": range},
            {"destination": "/container", "source": "/data", "options": ["bind", "idmap"]},
        ],
        "linux": {"namespaces": [{"type": "mount"}, {"type": "user"}],
                  "uidMappings": range, "gidMappings": range},
    });
    let lines = mounts(&Host::fixed(), &options(), config);
    assert_golden(&lines, include_str!("../../../tests/data/plans/mounts-mapped.txt"));
}

#[test]
fn options_that_only_mount_knows() {
    let long = format!("mpol={}", "x".repeat(300));
    for (mount, classic) in [
        (json!({"type": "tmpfs", "options": ["size=1m", "mode=700,uid=3"]}), false),
        (json!({"type": "tmpfs", "options": ["sync"]}), true),
        (json!({"type": "tmpfs", "options": ["lazytime"]}), true),
        (json!({"type": "tmpfs", "options": [long]}), true),
        (json!({"type": "tmpfs", "options": ["context=\"a,b\""]}), true),
        (json!({"type": "overlay", "options": ["lowerdir=/a:/b"]}), true),
        (json!({"type": "cgroup2"}), false),
    ] {
        let mut config = json!({"mounts": [mount]});
        config["mounts"][0]["destination"] = json!("/m");
        config["mounts"][0]["source"] = json!("s");
        let lines = mounts(&Host::fixed(), &options(), config);
        assert_eq!(lines[0].contains("classic"), classic, "{lines:?}");
    }
}

#[test]
fn in_a_user_namespace() {
    let range = json!([{"containerID": 0, "hostID": 1000, "size": 5}]);
    let config = |more: Value| {
        let mut namespaces = vec![json!({"type": "mount"}), json!({"type": "user"})];
        namespaces.extend(more.as_array().unwrap().clone());
        json!({
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/sys", "type": "sysfs", "source": "sysfs"},
                {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue"},
                {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                 "options": ["newinstance", "gid=5", "mode=0620"]},
            ],
            "linux": {"namespaces": namespaces, "uidMappings": range, "gidMappings": range},
        })
    };
    let shared = mounts(&Host::fixed(), &options(), config(json!([]))).join("\n");
    for fallback in ["fallback=\"/proc\"", "fallback=\"/sys\"", "fallback=\"/dev/mqueue\""] {
        assert!(shared.contains(fallback), "{shared}");
    }
    assert!(!shared.contains("gid=5") && shared.contains("mode=0620"), "{shared}");
    let own = json!([{"type": "pid"}, {"type": "network"}, {"type": "ipc"}]);
    let own = mounts(&Host::fixed(), &options(), config(own)).join("\n");
    assert_eq!(own.matches("fallback=\"\"").count(), 4, "{own}");
}

fn hierarchies() -> Vec<CgroupMount> {
    let hierarchy = |name: &str, options: &str, links: &[&str]| CgroupMount {
        name: name.to_owned(),
        unified: false,
        options: options.to_owned(),
        mount_point: format!("/sys/fs/cgroup/{name}"),
        group: format!("/sys/fs/cgroup/{name}/golden"),
        links: links.iter().map(|link| (*link).to_owned()).collect(),
    };
    vec![
        hierarchy("cpu,cpuacct", "cpu,cpuacct", &["cpu", "cpuacct"]),
        hierarchy("systemd", "name=systemd", &[]),
    ]
}

fn unified() -> Vec<CgroupMount> {
    vec![CgroupMount {
        name: String::new(),
        unified: true,
        options: String::new(),
        mount_point: "/sys/fs/cgroup".to_owned(),
        group: "/sys/fs/cgroup/golden".to_owned(),
        links: Vec::new(),
    }]
}

#[test]
fn cgroups() {
    let config = |namespace: bool| {
        let mut namespaces = vec![json!({"type": "mount"})];
        if namespace {
            namespaces.push(json!({"type": "cgroup"}));
        }
        json!({
            "mounts": [{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                        "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]}],
            "linux": {"namespaces": namespaces},
        })
    };
    let rootless = Options { rootless: true, ..options() };
    let mut said = Vec::new();
    for (title, cgroup_mounts, options, namespace) in [
        ("v1", hierarchies(), &options(), false),
        ("v1 with a namespace", hierarchies(), &options(), true),
        ("v2", unified(), &options(), false),
        ("v2 with a namespace", unified(), &options(), true),
        ("v2, an ordinary user", unified(), &rootless, false),
    ] {
        let host = Host { cgroup_mounts, ..Host::fixed() };
        said.push(title.to_owned());
        said.extend(mounts(&host, options, config(namespace)));
    }
    assert_golden(&said, include_str!("../../../tests/data/plans/mounts-cgroups.txt"));
}

#[test]
fn what_is_refused_names_its_place() {
    let range = json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
    let mount = |mount: Value| json!({"mounts": [mount]});
    for (config, pointer, words) in [
        (mount(json!({"source": "/a"})), "/mounts/0/destination", "destination must not be empty"),
        (
            mount(json!({"destination": "/a", "options": ["bind"]})),
            "/mounts/0/source",
            "bind mount /a has no source",
        ),
        (
            mount(json!({"destination": "/a", "source": "/b", "options": ["bind", "size=1"]})),
            "/mounts/0/options",
            "bind mounts cannot have any filesystem-specific options applied: size=1",
        ),
        (
            mount(json!({"destination": "/", "type": "tmpfs", "options": ["tmpcopyup"]})),
            "/mounts/0/options",
            "tmpcopyup",
        ),
        (
            mount(json!({"destination": "/proc", "type": "tmpfs", "source": "tmpfs"})),
            "/mounts/0/type",
            "\"/proc\" cannot be mounted because it is not of type proc",
        ),
        (
            mount(json!({"destination": "/x/../proc/sys", "source": "/a", "options": ["bind"]})),
            "/mounts/0/destination",
            "\"/proc/sys\" cannot be mounted because it is inside /proc",
        ),
        (
            mount(json!({"destination": "/a", "type": "tmpfs", "options": ["idmap"]})),
            "/mounts/0/options",
            "only supported for bind-mounts",
        ),
        (
            mount(json!({"destination": "/a", "source": "/b", "options": ["bind", "idmap"]})),
            "/mounts/0/options",
            "without mappings need a user namespace",
        ),
        (
            mount(json!({"destination": "/a", "source": "/b", "options": ["bind"],
                         "uidMappings": range})),
            "/mounts/0/options",
            "must have both uid and gid mappings",
        ),
        (json!({"root": {"path": ""}}), "/root/path", "invalid rootfs"),
        (
            json!({"linux": {"rootfsPropagation": "sideways"}}),
            "/linux/rootfsPropagation",
            "rootfsPropagation=sideways is not supported",
        ),
        (
            json!({"linux": {"namespaces": [], "maskedPaths": ["/a"]}}),
            "/linux/namespaces",
            "unable to restrict sys entries without a private MNT namespace",
        ),
        (
            json!({"linux": {"namespaces": []}, "mounts": [{"destination": "/a"}]}),
            "/mounts",
            "without a private MNT namespace",
        ),
        (
            json!({"linux": {"devices": [{"path": "/dev/a", "type": "z"}]}}),
            "/linux/devices/0/type",
            "invalid device type",
        ),
        (
            json!({"linux": {"devices": [{"path": "dev/a", "type": "c"}]}}),
            "/linux/devices/0/path",
            "not an absolute path",
        ),
        (
            json!({"linux": {"devices": [{"path": "/dev/a", "type": "c", "major": -1}]}}),
            "/linux/devices/0/major",
            "invalid major number",
        ),
        (
            json!({"linux": {"devices": [{"path": "/dev/a", "type": "b", "major": 1, "minor": 1_048_576}]}}),
            "/linux/devices/0/minor",
            "invalid minor number",
        ),
        (
            json!({"linux": {"devices": [{"path": "/dev/a", "type": "c", "major": 1, "minor": 3, "uid": 4_294_967_295_u32}]}}),
            "/linux/devices/0/uid",
            "not valid",
        ),
        (json!({"linux": {"maskedPaths": ["/a\u{0}b"]}}), "/linux/maskedPaths/0", "NUL"),
    ] {
        let error = lines(&Host::fixed(), &options(), config).unwrap_err();
        assert_eq!(error.pointer, pointer, "{error}");
        assert!(error.message.contains(words), "{error}");
    }
    let options = Options { no_pivot: true, ..options() };
    let config = json!({"linux": {"rootfsPropagation": "rprivate"}});
    let error = lines(&Host::fixed(), &options, config).unwrap_err();
    assert_eq!(error.message, "rootfsPropagation of [r]private is not safe without pivot_root");
    let host = Host { mount_setattr: false, ..Host::fixed() };
    let config = mount(json!({"destination": "/a", "source": "/b", "options": ["bind", "rro"]}));
    let error = lines(&host, &options, config).unwrap_err();
    assert!(error.message.contains("Linux 5.12"), "{error}");
}

/// Callers that name destinations by their path on the host mean the one inside.
#[test]
fn the_path_of_the_root_is_taken_off_destinations() {
    let destinations = ["/bundle/rootfs/a", "/bundle//rootfs/./b", "/bundle/rootfs-c", "/bundle"];
    let entries: Vec<Value> = destinations
        .iter()
        .map(|destination| json!({"destination": destination, "source": "/s", "options": ["bind"]}))
        .collect();
    let lines = mounts(&Host::fixed(), &options(), json!({"mounts": entries}));
    for (line, inside) in lines.iter().zip(["/a", "/b", "/bundle/rootfs-c", "/bundle"]) {
        assert!(line.contains(&format!("destination=\"{inside}\"")), "{line}");
    }
    let root = json!({"root": {"path": "/"}, "mounts": entries});
    let lines = mounts(&Host::fixed(), &options(), root);
    assert!(lines[0].contains("destination=\"/bundle/rootfs/a\""), "{}", lines[0]);
}

#[test]
fn a_path_is_masked_once() {
    let config = json!({"linux": {"maskedPaths": ["/a", "/b", "/a/", "/./a"]}});
    let lines = lines(&Host::fixed(), &options(), config).unwrap();
    let masks: Vec<&String> = lines.iter().filter(|line| line.starts_with("MaskPath")).collect();
    assert_eq!(masks.len(), 2, "{masks:?}");
}
