//! Root file systems that the shim mounts.

use std::fs;

use containerd_shim_protos::api::{CreateTaskResponse, Mount};
use containerd_shim_protos::ttrpc;

use crate::support::{Pod, context, refusal};

/// A pod whose container's files are the lower layer of an overlay, and that overlay.
fn overlaid(script: &str) -> (Pod, Mount) {
    let pod = Pod::new();
    pod.write_bundle("a", script, |_| {});
    pod.start_shim("a");
    let path = |name: &str| pod.bundle("a").join(name).to_str().unwrap().to_owned();
    fs::rename(path("rootfs"), path("lower")).unwrap();
    for name in ["rootfs", "upper", "work"] {
        fs::create_dir(path(name)).unwrap();
    }
    let options = [
        format!("workdir={}", path("work")),
        format!("upperdir={}", path("upper")),
        format!("lowerdir={}", path("lower")),
    ];
    let mount = Mount {
        type_: "overlay".to_owned(),
        source: "overlay".to_owned(),
        options: options.to_vec(),
        ..Mount::default()
    };
    (pod, mount)
}

/// The shim's mount namespace is that of the test.
fn is_mounted(pod: &Pod) -> bool {
    let rootfs = pod.bundle("a").join("rootfs");
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().any(|line| line.split(' ').nth(4) == rootfs.to_str())
}

fn create(pod: &Pod, rootfs: &Mount) -> ttrpc::Result<CreateTaskResponse> {
    let mut request = pod.create_request("a");
    request.rootfs = vec![rootfs.clone()];
    pod.client().create(context(), &request)
}

#[test]
fn an_overlay_lives_as_long_as_the_task() {
    let (pod, mount) = overlaid("echo written >/tmp/file");
    create(&pod, &mount).unwrap();
    assert!(is_mounted(&pod));
    pod.start("a", "");
    assert_eq!(pod.wait("a", "").exit_status, 0);
    assert!(is_mounted(&pod));
    pod.delete("a", "").unwrap();
    assert!(!is_mounted(&pod));
    assert_eq!(fs::read_to_string(pod.bundle("a").join("upper/tmp/file")).unwrap(), "written\n");
    assert_eq!(fs::read_dir(pod.bundle("a").join("rootfs")).unwrap().count(), 0);
}

#[test]
fn nothing_stays_mounted_of_a_creation_that_fails() {
    let (pod, mount) = overlaid("true");
    let config = pod.bundle("a").join("config.json");
    let changed = fs::read_to_string(&config).unwrap().replace("\"sh\"", "\"no-such-program\"");
    fs::write(&config, changed).unwrap();
    let (_, told) = refusal(create(&pod, &mount));
    assert!(told.contains("executable file not found in $PATH"), "{told}");
    assert!(!is_mounted(&pod));
    let mut broken = mount;
    broken.options[1] = "upperdir=/no/such/directory".to_owned();
    let (_, told) = refusal(create(&pod, &broken));
    assert!(told.starts_with("failed to mount rootfs component: mount overlay (overlay) on "));
    assert!(told.ends_with(": no such file or directory: /no/such/directory"), "{told}");
    assert!(!is_mounted(&pod));
}
