//! An ordinary user without any right over cgroups.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use super::*;

const NOBODY: u32 = 65534;
const INSIDE: &str = "HUSK_TEST_CGROUP_USER";

#[test]
fn an_ordinary_user_has_what_the_kernel_lets_it_have() {
    if std::env::var_os(INSIDE).is_some() {
        return as_ordinary_user();
    }
    // The user may not reach the place where this program lies.
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = directory.path().join("tests");
    // By another process: a file that is open for writing in this one, or in a child that another
    // thread forks meanwhile, cannot be executed.
    let copied = Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&program).status();
    assert!(copied.unwrap().success());
    let output = Command::new(&program)
        .arg("an_ordinary_user_has_what_the_kernel_lets_it_have")
        .env(INSIDE, "1")
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "{text}");
}

fn as_ordinary_user() {
    let layout = Layout::probe().unwrap();
    let name = unique();
    let none = Resources::default();
    let limits = resources(r#"{"pids":{"limit":5}}"#);

    // Nothing asked for, nothing had.
    let location = locate(&layout, None, &name, true).unwrap();
    let created = create(&layout, &location, &none).unwrap();
    assert!(created.location.groups.is_empty());
    assert!(created.descriptors.tasks.is_empty() && created.descriptors.directory.is_none());
    let policy = DevicePolicy::plan(&none, &[]).unwrap();
    let warnings = apply(&created.location, &none, Some(&policy)).unwrap();
    // He may never write device rules, so that a warning would say nothing.
    assert!(warnings.is_empty(), "{warnings:?}");
    assert!(pids(&created.location, true).unwrap().is_empty());
    kill_all(&created.location).unwrap();
    remove(&created.location).unwrap();

    // A limit is an error, in runc's words.
    let error = apply(&created.location, &limits, None).unwrap_err();
    assert_eq!(error.message, "cannot set pids limit: container could not join or create cgroup");
    if layout.mode == Mode::Unified && !layout.hierarchies[0].controllers.is_empty() {
        let first = layout.hierarchies[0].controllers[0].as_str();
        if first == "hugetlb" {
            let pages = resources(r#"{"hugepageLimits":[{"pageSize":"2MB","limit":0}]}"#);
            let error = create(&layout, &location, &pages).unwrap_err();
            let words = "rootless needs no limits + no cgrouppath when no permission is granted";
            assert!(error.message.contains(words), "{error}");
        }
    }

    // So is a path that was asked for.
    let location = locate(&layout, Some(&format!("/{name}")), "unused", true).unwrap();
    let error = create(&layout, &location, &none).unwrap_err();
    assert!(error.message.starts_with("unable to apply cgroup configuration: mkdir "), "{error}");
    assert!(error.message.ends_with("permission denied"), "{error}");

    // And everything is one for a caller that should have the rights.
    let location = locate(&layout, None, &name, false).unwrap();
    assert!(create(&layout, &location, &none).unwrap_err().is(libc::EACCES));
}
