//! config.md: version, root, unknown and invalid values, annotations.

use crate::case::Level::{Must, Should};
use crate::case::{Case, Verdict, case, ensure, ensure_eq};
use crate::scene::Scene;
use serde_json::json;
use std::fs;

pub(super) const CASES: &[Case] = &[
    case(
        "config.version.absent",
        Must,
        "config.md, Specification version: ociVersion is required",
        version_absent,
    ),
    case(
        "config.version.known",
        Must,
        "config.md, Specification version: every 1.0 version is accepted",
        version_known,
    ),
    case(
        "config.version.not-semver",
        Must,
        "config.md, Specification version: SemVer only; Valid values: an invalid value is an error",
        version_not_semver,
    ),
    case(
        "config.root.relative",
        Must,
        "config.md, Root: a relative path is below the bundle",
        root_relative,
    ),
    case(
        "config.root.absolute",
        Must,
        "config.md, Root: an absolute path is taken as it is",
        root_absolute,
    ),
    case(
        "config.root.missing-directory",
        Must,
        "config.md, Root: the directory has to exist",
        root_missing_directory,
    ),
    case(
        "config.root.not-a-directory",
        Must,
        "config.md, Root: the path has to be a directory",
        root_not_a_directory,
    ),
    case(
        "config.root.readonly",
        Must,
        "config.md, Root: readonly true makes the root read-only inside",
        root_readonly,
    ),
    case(
        "config.root.writable",
        Must,
        "config.md, Root: readonly defaults to false",
        root_writable,
    ),
    case(
        "config.annotations.in-state",
        Must,
        "runtime.md, State: annotations are part of the state",
        annotations_in_state,
    ),
    case(
        "config.annotations.values-are-strings",
        Must,
        "config.md, Annotations: values are strings; Valid values: others are an error",
        annotations_strings,
    ),
    case(
        "config.annotations.empty-value",
        Must,
        "config.md, Annotations: a value may be the empty string",
        annotations_empty,
    ),
    case(
        "config.extensibility.unknown-properties",
        Must,
        "config.md, Extensibility: unknown properties are ignored",
        unknown_properties,
    ),
    case(
        "config.valid-values.enumerations",
        Must,
        "config.md, Valid values: an unknown value of an enumeration is an error",
        invalid_enumerations,
    ),
    case(
        "config.valid-values.types",
        Must,
        "config.md, Valid values: a value of the wrong JSON type is an error",
        wrong_types,
    ),
    case("config.json.invalid", Must, "config.md: a file that is not JSON is an error", not_json),
    case(
        "config.root.host-owner-unchanged",
        Should,
        "config-linux.md, User namespace mappings: the owner of the files is not changed",
        owner_unchanged,
    ),
];

fn version_absent(scene: &Scene) -> Verdict {
    scene.bundle()?.remove("/ociVersion").refused().map(drop)
}

fn version_known(scene: &Scene) -> Verdict {
    for version in ["1.0.0", "1.0.1", "1.0.2"] {
        scene.bundle()?.set("/ociVersion", json!(version)).report()?;
    }
    Ok(())
}

fn version_not_semver(scene: &Scene) -> Verdict {
    for version in ["", "one", "1.0.0.0"] {
        let bundle = scene.bundle()?.set("/ociVersion", json!(version));
        let answer = bundle.attempt("run")?;
        ensure!(!answer.succeeded(), "ociVersion {version:?} was accepted");
    }
    Ok(())
}

fn root_relative(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?;
    fs::rename(bundle.root(), bundle.directory.join("other"))?;
    fs::write(bundle.directory.join("other/marker"), "here")?;
    let ran = bundle
        .set("/root/path", json!("./other"))
        .operations(json!([["read", "/marker"]]))
        .run()?;
    ensure_eq!(ran.value(0)?, json!("here"), "/marker");
    Ok(())
}

fn root_absolute(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?.file("/marker", "here")?;
    let elsewhere = scene.directory.join("elsewhere");
    fs::rename(bundle.root(), &elsewhere)?;
    let ran = bundle
        .set("/root/path", json!(elsewhere))
        .operations(json!([["read", "/marker"]]))
        .run()?;
    ensure_eq!(ran.value(0)?, json!("here"), "/marker");
    Ok(())
}

fn root_missing_directory(scene: &Scene) -> Verdict {
    scene.bundle()?.set("/root/path", json!("nowhere")).refused()?;
    Ok(())
}

fn root_not_a_directory(scene: &Scene) -> Verdict {
    let bundle = scene.bundle()?;
    fs::write(bundle.directory.join("plain"), "")?;
    bundle.set("/root/path", json!("plain")).refused().map(drop)
}

fn root_readonly(scene: &Scene) -> Verdict {
    let ran = scene
        .bundle()?
        .file("/old", "x")?
        .set("/root/readonly", json!(true))
        .operations(json!([["create", "/new"], ["write", "/old", "y"], ["mkdir", "/directory"]]))
        .run()?;
    for index in 0..3 {
        ensure_eq!(ran.error(index)?, "EROFS", "operation {index} on a read-only root");
    }
    Ok(())
}

fn root_writable(scene: &Scene) -> Verdict {
    for value in [None, Some(false)] {
        let bundle = scene.bundle()?;
        let root = bundle.root();
        let bundle = match value {
            Some(value) => bundle.set("/root/readonly", json!(value)),
            None => bundle,
        };
        let ran = bundle.operations(json!([["create", "/new"]])).run()?;
        ensure_eq!(ran.error(0)?, "ok", "create with readonly {value:?}");
        ensure!(root.join("new").exists(), "the file did not arrive in the bundle's root");
    }
    Ok(())
}

fn annotations_in_state(scene: &Scene) -> Verdict {
    let annotations = json!({ "com.example.key": "value", "com.example.other": "two words" });
    let container = scene.bundle()?.set("/annotations", annotations.clone()).create()?;
    let state = container.state()?;
    for (key, value) in annotations.as_object().into_iter().flatten() {
        ensure_eq!(state["annotations"][key], *value, "annotation {key} of the state");
    }
    Ok(())
}

fn annotations_strings(scene: &Scene) -> Verdict {
    for value in [json!(1), json!({ "a": "b" }), json!(["a"])] {
        scene.bundle()?.set("/annotations/com.example.key", value).refused()?;
    }
    Ok(())
}

fn annotations_empty(scene: &Scene) -> Verdict {
    scene.bundle()?.set("/annotations/com.example.key", json!("")).report().map(drop)
}

fn unknown_properties(scene: &Scene) -> Verdict {
    scene
        .bundle()?
        .set("/unknownProperty", json!({ "nested": [1, "two"] }))
        .set("/process/unknownProperty", json!(true))
        .set("/process/user/unknownProperty", json!("x"))
        .set("/root/unknownProperty", json!(null))
        .set("/linux/unknownProperty", json!(1.5))
        .set("/mounts/0/unknownProperty", json!([]))
        .report()
        .map(drop)
}

fn invalid_enumerations(scene: &Scene) -> Verdict {
    let table = [
        ("/linux/namespaces/0/type", json!("no-such-type")),
        ("/linux/rootfsPropagation", json!("no-such-propagation")),
        ("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_NONSENSE" })),
        ("/process/rlimits", json!([{ "type": "RLIMIT_NONSENSE", "soft": 1, "hard": 1 }])),
        ("/linux/devices", json!([{ "type": "z", "path": "/dev/z", "major": 1, "minor": 3 }])),
    ];
    for (pointer, value) in table {
        let what = format!("{pointer}: {value}");
        let answer = scene.bundle()?.set(pointer, value).attempt("run")?;
        ensure!(!answer.succeeded(), "{what} was accepted");
    }
    Ok(())
}

fn wrong_types(scene: &Scene) -> Verdict {
    let table = [
        ("/process/args", json!("/probe")),
        ("/process/user/uid", json!("root")),
        ("/process/env", json!({ "A": "b" })),
        ("/mounts", json!({ "destination": "/x" })),
        ("/root", json!("rootfs")),
        ("/linux/namespaces", json!("pid")),
        ("/hostname", json!(["name"])),
    ];
    for (pointer, value) in table {
        let what = format!("{pointer}: {value}");
        let answer = scene.bundle()?.set(pointer, value).attempt("run")?;
        ensure!(!answer.succeeded(), "{what} was accepted");
    }
    Ok(())
}

fn not_json(scene: &Scene) -> Verdict {
    for text in ["", "{", "null", "[]", "{} trailing"] {
        let bundle = scene.bundle()?;
        fs::write(bundle.directory.join("config.json"), text)?;
        let directory = bundle.directory.to_string_lossy().into_owned();
        let answer = scene.invoke(&["create", "--bundle", &directory, &bundle.id])?;
        ensure!(!answer.succeeded(), "a config.json of {text:?} was accepted");
    }
    Ok(())
}

fn owner_unchanged(scene: &Scene) -> Verdict {
    use std::os::unix::fs::MetadataExt;
    let bundle = scene.bundle()?.file("/owned", "x")?.user_namespace()?;
    let path = bundle.root().join("owned");
    bundle.report()?;
    ensure_eq!(fs::metadata(path)?.uid(), 0, "owner of a file of the root after a run");
    Ok(())
}
