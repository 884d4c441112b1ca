//! Root file systems that the shim mounts.
#![allow(missing_docs)]

mod pod;

use std::fs;

use containerd_shim_protos::api::Mount;
use containerd_shim_protos::ttrpc;
use pod::Pod;

/// A pod whose files are the lower layer of an overlay, and that overlay.
fn overlaid(args: &[&str]) -> (Pod, Mount) {
    let pod = Pod::new(args);
    let path = |name: &str| pod.path().join(name).to_str().unwrap().to_owned();
    fs::rename(path("rootfs"), path("lower")).unwrap();
    for name in ["upper", "work"] {
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
    let rootfs = pod.path().join("rootfs");
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().any(|line| line.split(' ').nth(4) == rootfs.to_str())
}

fn words(error: &ttrpc::Error) -> String {
    match error {
        ttrpc::Error::RpcStatus(status) => status.message.clone(),
        error => panic!("{error}"),
    }
}

#[test]
fn an_overlay_lives_as_long_as_the_task() {
    let (pod, mount) = overlaid(&["sh", "-c", "echo written >/tmp/file"]);
    pod.create_with(|request| request.rootfs = vec![mount]).unwrap();
    assert!(is_mounted(&pod));
    pod.start("");
    assert_eq!(pod.wait(""), 0);
    assert!(is_mounted(&pod));
    pod.delete("");
    assert!(!is_mounted(&pod));
    assert_eq!(fs::read_to_string(pod.path().join("upper/tmp/file")).unwrap(), "written\n");
    assert_eq!(fs::read_dir(pod.path().join("rootfs")).unwrap().count(), 0);
}

#[test]
fn nothing_stays_mounted_of_a_creation_that_fails() {
    let (pod, mount) = overlaid(&["no-such-program"]);
    let error = pod.create_with(|request| request.rootfs = vec![mount.clone()]).unwrap_err();
    let told = words(&error);
    assert!(told.contains("executable file not found in $PATH"), "{told}");
    assert!(!is_mounted(&pod));
    let mut broken = mount;
    broken.options[1] = "upperdir=/no/such/directory".to_owned();
    let error = pod.create_with(|request| request.rootfs = vec![broken]).unwrap_err();
    let told = words(&error);
    assert!(told.starts_with("failed to mount rootfs component: mount overlay (overlay) on "));
    assert!(told.ends_with(": no such file or directory: /no/such/directory"), "{told}");
    assert!(!is_mounted(&pod));
}
