//! AppArmor profiles and SELinux labels of containers and of what is executed in them. Where the kernel has
//! none the tests say so and end; tests/vm has such kernels.
#![allow(missing_docs)]

mod support;

use std::fs;
use std::path::Path;

use serde_json::json;
use support::Bundle;
use support::apparmor::Profile;

const LOOK: &str = "cat /proc/self/attr/current; touch /allowed && echo allowed; \
                    touch /denied 2>/dev/null || echo denied";

#[test]
fn a_profile_confines_the_container() {
    let Some(profile) = Profile::load("run") else { return };
    for no_new_privileges in [false, true] {
        let bundle = Bundle::with(&["sh", "-c", LOOK], |config| {
            config["process"]["apparmorProfile"] = json!(profile.name);
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        });
        let told = bundle.line("run ID").code(0);
        assert_eq!(told.out, format!("{} (enforce)\nallowed\ndenied\n", profile.name));
        assert!(!bundle.rootfs().join("denied").exists());
        bundle.assert_gone();
    }
}

#[test]
fn exec_has_the_profile_of_the_container_or_its_own() {
    let Some(profile) = Profile::load("init") else { return };
    let Some(other) = Profile::load("exec") else { return };
    let bundle = Bundle::with(&["sleep", "1000"], |config| {
        config["process"]["apparmorProfile"] = json!(profile.name);
    });
    bundle.detached("run -d ID").code(0);
    let told = bundle.husk(["exec", "ID", "sh", "-c", LOOK]).code(0);
    assert_eq!(told.out, format!("{} (enforce)\nallowed\ndenied\n", profile.name));
    let told = bundle.husk(["exec", "--apparmor", &other.name, "ID", "sh", "-c", LOOK]).code(0);
    assert_eq!(told.out, format!("{} (enforce)\nallowed\ndenied\n", other.name));
    bundle.line("delete --force ID").code(0);
    bundle.assert_gone();
}

#[test]
fn a_profile_that_is_not_loaded_is_named() {
    let Some(loaded) = Profile::load("other") else { return };
    let absent = format!("{}-absent", loaded.name);
    let bundle = Bundle::with(&["true"], |config| {
        config["process"]["apparmorProfile"] = json!(absent);
    });
    let told = bundle.line("run ID").fails(1, "apparmor failed to apply profile ");
    assert!(told.err.contains("unable to apply apparmor profile: "), "{told:?}");
    assert!(told.err.contains(&absent), "{told:?}");
    bundle.assert_gone();
}

/// Whether SELinux is on and this process has a label that begins so: `kernel` before there is a policy,
/// that of `tests/vm/selinux.cil` after it.
fn has_selinux(label: &str) -> bool {
    let own = fs::read_to_string("/proc/thread-self/attr/current").unwrap_or_default();
    let found = Path::new("/sys/fs/selinux/enforce").exists() && own.starts_with(label);
    if !found {
        eprintln!("skipped: SELinux is not on here, with the label {label}");
    }
    found
}

#[test]
fn labels_are_those_of_the_configuration() {
    if !has_selinux("system_u:system_r:host_t") {
        return;
    }
    let look = "cat /proc/self/attr/current; echo; grep ' /labelled ' /proc/mounts";
    let bundle = Bundle::with(&["sh", "-c", &format!("{look}; exec sleep 1000")], |config| {
        config["process"]["selinuxLabel"] = json!("system_u:system_r:container_t");
        config["linux"]["mountLabel"] = json!("system_u:object_r:container_file_t");
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.push(json!({"destination": "/labelled", "type": "tmpfs", "source": "tmpfs"}));
    });
    bundle.detached("run -d ID").code(0);
    let told = bundle.husk(["exec", "ID", "sh", "-c", look]).code(0);
    assert!(told.out.starts_with("system_u:system_r:container_t"), "{told:?}");
    assert!(told.out.contains("context=system_u:object_r:container_file_t"), "{told:?}");
    let other = "system_u:system_r:other_t";
    let told = bundle.husk(["exec", "--process-label", other, "ID", "sh", "-c", look]).code(0);
    assert!(told.out.starts_with(other), "{told:?}");
    let told = bundle.husk(["exec", "--process-label", "system_u:system_r:none_t", "ID", "true"]);
    told.fails(255, "unable to apply SELinux label ");
    bundle.line("delete --force ID").code(0);
    bundle.assert_gone();
}

#[test]
fn the_label_of_mounts_is_of_the_kind_that_an_annotation_names() {
    if !has_selinux("system_u:system_r:host_t") {
        return;
    }
    let bundle = Bundle::with(&["grep", " /labelled ", "/proc/mounts"], |config| {
        config["annotations"] = json!({"run.oci.mount_context_type": "rootcontext"});
        config["linux"]["mountLabel"] = json!("system_u:object_r:container_file_t");
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.push(json!({"destination": "/labelled", "type": "tmpfs", "source": "tmpfs"}));
    });
    let told = bundle.line("run ID").code(0);
    assert!(told.out.contains("rootcontext=system_u:object_r:container_file_t"), "{told:?}");
}

#[test]
fn labels_want_a_policy() {
    if !has_selinux("kernel") {
        return;
    }
    let label = "system_u:system_r:container_t:s0:c1,c2";
    for (pointer, words) in [
        ("/process/selinuxLabel", "selinux label is specified in config, but selinux is disabled"),
        ("/linux/mountLabel", "a mount label is specified in config, but selinux is disabled"),
    ] {
        let bundle = Bundle::with(&["true"], |config| {
            let (object, name) = pointer[1..].split_once('/').unwrap();
            config[object][name] = json!(label);
        });
        let told = bundle.line("run ID").fails(1, words);
        assert!(told.err.contains(pointer), "{told:?}");
        bundle.assert_gone();
    }
    let bundle = Bundle::with(&["sleep", "1000"], |_| {});
    bundle.detached("run -d ID").code(0);
    bundle.husk(["exec", "--process-label", label, "ID", "true"]).fails(255, "selinux");
    bundle.line("delete --force ID").code(0);
    bundle.assert_gone();
}
