//! Labels of security modules.

use crate::scene::{COUNTER, IGNORE, Scene};
use crate::support::apparmor::Profile;

use serde_json::json;

/// What the kernel has no module for is refused by CRIU, whose words are shown.
#[test]
fn labels_are_checked_by_criu() {
    let Some(scene) = Scene::counter() else { return };
    let scene = scene.running();
    scene.checkpoint("");
    for (flag, words) in [
        ("--lsm-profile nonsense", "invalid argument nonsense for --lsm-profile"),
        ("--lsm-profile selinux:user_u:role_r:type_t:s0", "selinux not supported by kernel"),
    ] {
        let flags = format!("-d --image-path images --work-path work {IGNORE} {flag} ID");
        scene.silent(&format!("restore {flags}")).fails(1, words);
        scene.bundle.assert_gone();
    }
    // Without a label among the images there is nothing to replace.
    scene.restore("--lsm-mount-context system_u:object_r:container_file_t:s0");
    scene.counts_on();
}

/// The profile of the checkpoint, unless another one is named.
#[test]
fn a_profile_comes_back_or_another_one() {
    let Some(first) = Profile::load("saved") else { return };
    let Some(second) = Profile::load("other") else { return };
    let Some(scene) = Scene::new(COUNTER, |config| {
        config["process"]["apparmorProfile"] = json!(first.name);
    }) else {
        return;
    };
    let scene = scene.running();
    let profile = || std::fs::read_to_string(format!("/proc/{}/attr/current", scene.pid()));
    for (flags, name) in [
        (String::new(), &first.name),
        (format!("--lsm-profile apparmor:{}", second.name), &second.name),
    ] {
        scene.checkpoint("");
        scene.restore(&flags);
        scene.counts_on();
        assert_eq!(profile().unwrap(), format!("{name} (enforce)\n"));
    }
}
