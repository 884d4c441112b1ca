//! features.md and features-linux.md.

use crate::case::Level::{Must, Should};
use crate::case::{Case, Stop, Verdict, case, ensure, ensure_eq, skipped};
use crate::scene::Scene;
use serde_json::{Value, json};

pub(super) const CASES: &[Case] = &[
    case(
        "features.version.both",
        Must,
        "features.md, Specification version: ociVersionMin and ociVersionMax",
        versions,
    ),
    case(
        "features.version.order",
        Must,
        "features.md, Specification version: Max is not less than Min",
        version_order,
    ),
    case(
        "features.version.accepted",
        Must,
        "features.md, Specification version: both are accepted in config.json",
        versions_accepted,
    ),
    case(
        "features.hooks.supported",
        Must,
        "features.md, Hooks: every name is a hook that runs",
        hooks,
    ),
    case(
        "features.mount-options.recognised",
        Must,
        "features.md, Mount Options: every option is accepted",
        mount_options,
    ),
    case(
        "features.mount-options.no-data",
        Should,
        "features.md, Mount Options: options of file systems are not listed",
        no_data,
    ),
    case(
        "features.namespaces.recognised",
        Must,
        "features-linux.md, Namespaces: every type is accepted",
        namespaces,
    ),
    case(
        "features.capabilities.recognised",
        Must,
        "features-linux.md, Capabilities: every name is accepted",
        capabilities,
    ),
    case(
        "features.seccomp.recognised",
        Must,
        "features-linux.md, Seccomp: every action, operator and architecture is accepted",
        seccomp,
    ),
    case(
        "features.seccomp.flags",
        Must,
        "features-linux.md, Seccomp: supported flags are known flags",
        seccomp_flags,
    ),
    case(
        "features.types.schema",
        Must,
        "features.md: properties have the types of the schema",
        types,
    ),
];

fn strings(features: &Value, pointer: &str) -> Result<Vec<String>, Stop> {
    match features.pointer(pointer).and_then(Value::as_array) {
        Some(items) => {
            Ok(items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect())
        }
        None => skipped(format!("{pointer} is absent, which it MAY be")),
    }
}

fn versions(scene: &Scene) -> Verdict {
    let features = scene.features()?;
    for name in ["ociVersionMin", "ociVersionMax"] {
        let text = features[name].as_str().unwrap_or_default().to_owned();
        let core = text.split(['-', '+']).next().unwrap_or_default();
        let numbers = core.split('.').filter(|part| part.parse::<u32>().is_ok()).count();
        ensure!(numbers == 3 && core.split('.').count() == 3, "{name}: {text:?}");
    }
    Ok(())
}

fn version_order(scene: &Scene) -> Verdict {
    let features = scene.features()?;
    let key = |name: &str| -> Vec<u32> {
        let text = features[name].as_str().unwrap_or_default();
        let core = text.split(['-', '+']).next().unwrap_or_default();
        core.split('.').map(|part| part.parse().unwrap_or_default()).collect()
    };
    ensure!(key("ociVersionMax") >= key("ociVersionMin"), "{features}");
    Ok(())
}

fn versions_accepted(scene: &Scene) -> Verdict {
    let features = scene.features()?;
    for name in ["ociVersionMin", "ociVersionMax"] {
        scene.bundle()?.set("/ociVersion", features[name].clone()).report()?;
    }
    Ok(())
}

fn hooks(scene: &Scene) -> Verdict {
    let known =
        ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    let listed = strings(&scene.features()?, "/hooks")?;
    for name in &listed {
        ensure!(known.contains(&name.as_str()), "{name} is no hook of the specification");
    }
    for name in known {
        ensure!(listed.iter().any(|each| each == name), "{name} is not listed");
    }
    Ok(())
}

/// On its own each option has to be accepted somewhere: on a tmpfs, or, for
/// options of bind mounts, on one of these.
fn mount_options(scene: &Scene) -> Verdict {
    let mut refused = Vec::new();
    for option in strings(&scene.features()?, "/mountOptions")? {
        if ["remount", "idmap", "ridmap"].contains(&option.as_str()) {
            continue;
        }
        let source = scene.directory.to_string_lossy().into_owned();
        let bound =
            scene.bundle()?.mount("/mnt", "bind", &source, &["rbind", &option]).attempt("run")?;
        if bound.succeeded() {
            continue;
        }
        let fresh = scene.bundle()?.mount("/mnt", "tmpfs", "tmpfs", &[&option]).attempt("run")?;
        if !fresh.succeeded() {
            refused.push(option);
        }
    }
    // The kernel was built without these, or dropped them.
    refused.retain(|option| !["acl", "noacl", "mand", "nomand"].contains(&option.as_str()));
    ensure!(refused.is_empty(), "listed, but refused: {refused:?}");
    Ok(())
}

fn no_data(scene: &Scene) -> Verdict {
    let listed = strings(&scene.features()?, "/mountOptions")?;
    let data: Vec<&String> = listed.iter().filter(|option| option.contains('=')).collect();
    ensure!(data.is_empty(), "options with a value: {data:?}");
    Ok(())
}

fn namespaces(scene: &Scene) -> Verdict {
    for kind in strings(&scene.features()?, "/linux/namespaces")? {
        let bundle = scene.bundle()?;
        let bundle =
            if kind == "user" { bundle.user_namespace()? } else { bundle.namespace(&kind, None) };
        bundle.report()?;
    }
    Ok(())
}

/// Names that this kernel lacks are a warning, so all of them can be asked for
/// at once, in the bounding set.
fn capabilities(scene: &Scene) -> Verdict {
    let listed = strings(&scene.features()?, "/linux/capabilities")?;
    let own = std::fs::read_to_string("/proc/self/status")?;
    let line =
        own.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap_or("0").trim().to_owned();
    let own_bounding = u64::from_str_radix(&line, 16)?;
    let seen =
        scene.bundle()?.set("/process/capabilities", json!({ "bounding": listed })).report()?;
    let text = seen["capabilities"]["bounding"].as_str().unwrap_or_default().to_owned();
    ensure_eq!(u64::from_str_radix(&text, 16)?, own_bounding, "bounding set");
    Ok(())
}

fn seccomp(scene: &Scene) -> Verdict {
    let features = scene.features()?;
    for action in strings(&features, "/linux/seccomp/actions")? {
        // This one asks for a listener.
        if action == "SCMP_ACT_NOTIFY" {
            continue;
        }
        let rules = json!([{ "names": ["vhangup"], "action": action }]);
        let profile = json!({ "defaultAction": "SCMP_ACT_LOG", "syscalls": rules });
        scene.bundle()?.set("/linux/seccomp", profile).report()?;
    }
    for operator in strings(&features, "/linux/seccomp/operators")? {
        let args = json!([{ "index": 0, "value": 1, "valueTwo": 1, "op": operator }]);
        let rules = json!([{ "names": ["vhangup"], "action": "SCMP_ACT_ERRNO", "args": args }]);
        let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules });
        scene.bundle()?.set("/linux/seccomp", profile).report()?;
    }
    let rules = json!([{ "names": ["vhangup"], "action": "SCMP_ACT_ERRNO" }]);
    for architecture in strings(&features, "/linux/seccomp/archs")? {
        // libseccomp mixes no byte orders in one filter.
        if ["PPC", "MIPS", "S390", "PARISC", "M68K", "SHEB"]
            .iter()
            .any(|big| architecture.contains(big))
        {
            continue;
        }
        let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": [architecture], "syscalls": rules });
        scene.bundle()?.set("/linux/seccomp", profile).report()?;
    }
    Ok(())
}

fn seccomp_flags(scene: &Scene) -> Verdict {
    let features = scene.features()?;
    let known = strings(&features, "/linux/seccomp/knownFlags")?;
    for flag in strings(&features, "/linux/seccomp/supportedFlags")? {
        ensure!(known.contains(&flag), "{flag} is supported, but not known");
    }
    Ok(())
}

fn types(scene: &Scene) -> Verdict {
    let features = scene.features()?;
    type Check = fn(&Value) -> bool;
    let fits = |pointer: &str, check: Check| {
        features.pointer(pointer).is_none_or(|value| value.is_null() || check(value))
    };
    let table: [(&str, Check); 12] = [
        ("/hooks", Value::is_array),
        ("/mountOptions", Value::is_array),
        ("/linux", Value::is_object),
        ("/linux/namespaces", Value::is_array),
        ("/linux/capabilities", Value::is_array),
        ("/linux/cgroup", Value::is_object),
        ("/linux/cgroup/v1", Value::is_boolean),
        ("/linux/cgroup/v2", Value::is_boolean),
        ("/linux/seccomp/enabled", Value::is_boolean),
        ("/linux/apparmor/enabled", Value::is_boolean),
        ("/linux/selinux/enabled", Value::is_boolean),
        ("/annotations", Value::is_object),
    ];
    for (pointer, check) in table {
        ensure!(
            fits(pointer, check),
            "{pointer} has another type: {:?}",
            features.pointer(pointer)
        );
    }
    for (key, value) in features["annotations"].as_object().into_iter().flatten() {
        ensure!(value.is_string(), "annotation {key} is {value}");
    }
    Ok(())
}
