//! Steps on the process, on this kernel, as on older ones, and as in an outer container.

use std::fs;

use super::on_every_kernel;
use crate::protocol::{Program, Record, Slot, Step, SyncPoint};
use crate::sys::test_child::TestChild;

const NAMESPACES: u64 = (libc::CLONE_NEWPID
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS) as u64;

/// Carries out these steps; the record of the one that fails.
fn carried_out(program: Program) -> Result<TestChild, Record> {
    let mut program = program;
    program.push(Step::Meet { point: SyncPoint::Created }, "");
    let child =
        TestChild::start(crate::init::run, &program, NAMESPACES, super::REFUSED.get()).unwrap();
    child.wait(SyncPoint::Created).map(|()| child)
}

fn sysctl(path: &str, value: &str) -> Program {
    let mut program = Program::new();
    let path = program.text(path).unwrap();
    let value = program.text(value).unwrap();
    program.push(Step::OpenProc {}, "");
    program.push(Step::WriteSysctl { path, value }, "");
    program
}

#[test]
fn parameters_are_the_namespaces_own() {
    let host = fs::read("/proc/sys/kernel/msgmax").unwrap();
    on_every_kernel(|| {
        carried_out(sysctl("sys/kernel/msgmax", "8191")).map(drop).unwrap();
        carried_out(sysctl("sys/net/ipv4/ip_forward", "1")).map(drop).unwrap();
        for (path, value, errno) in [
            ("sys/kernel/no_such_key", "1", libc::ENOENT),
            ("sys/net/ipv4/ip_forward", "x", libc::EINVAL),
            // A link of procfs leads out of the tree.
            ("self/cwd/nothing", "1", libc::ELOOP),
        ] {
            let record = carried_out(sysctl(path, value)).map(drop).unwrap_err();
            let answers = [errno, libc::ENOENT];
            assert!(answers.contains(&record.errno), "{path}: {record:?}");
        }
    });
    assert_eq!(fs::read("/proc/sys/kernel/msgmax").unwrap(), host);
}

#[test]
fn labels_are_written_to_nothing_but_a_label() {
    on_every_kernel(|| {
        let mut program = Program::new();
        let path = program.text("self/attr/no_such_attribute").unwrap();
        let label = program.text("label").unwrap();
        program.push(Step::OpenProc {}, "");
        program.push(Step::WriteLabel { path, fallback: path, label }, "");
        let record = carried_out(program).map(drop).unwrap_err();
        assert_eq!((record.errno, record.step), (libc::ENOENT, 1), "{record:?}");
    });
}

#[test]
fn keyring_loopback_and_names() {
    on_every_kernel(|| {
        let mut program = Program::new();
        let name = program.text("_ses.husk-init-test").unwrap();
        let host = program.text("inside").unwrap();
        program.push(Step::JoinKeyring { name }, "");
        program.push(Step::RaiseLoopback {}, "");
        program.push(Step::SetHostname { name: host }, "");
        program.push(Step::SetDomainname { name: host }, "");
        let child = carried_out(program).unwrap();
        let devices = fs::read_to_string(format!("/proc/{}/net/dev", child.pid())).unwrap();
        assert!(devices.contains("lo:"), "{devices}");
        let up = fs::read_to_string(format!("/proc/{}/net/if_inet6", child.pid())).unwrap();
        assert!(up.contains("lo"), "an interface that is up has an address: {up}");
    });
}

/// A hook of the child's own, its state and its output.
#[test]
fn hooks_of_the_child() {
    on_every_kernel(|| {
        for (script, detail) in
            [("read state; [ \"$state\" = \"pid 1.\" ]", 0), ("exit 7", 7), ("kill -9 $$", 0x109)]
        {
            let mut program = Program::new();
            let state = program.slot();
            let before = program.bytes(b"pid ").unwrap();
            let after = program.bytes(b".\n").unwrap();
            program.push(Step::PrepareHookState { state, before, after }, "");
            let vector = program.reserve(64).unwrap();
            let name = program.text("createContainer").unwrap();
            let path = program.text("/bin/sh").unwrap();
            let directory = program.text("/").unwrap();
            let args = program.texts(["sh", "-c", script]).unwrap();
            let env = program.texts::<&str>([]).unwrap();
            program.push(
                Step::RunHook {
                    name,
                    index: 0,
                    path,
                    directory,
                    args,
                    env,
                    home: Default::default(),
                    timeout: 60,
                    state,
                    out: Slot::NONE,
                    error: Slot::NONE,
                    vector,
                },
                "",
            );
            match carried_out(program).map(drop) {
                Ok(()) => assert_eq!(detail, 0, "{script}"),
                Err(record) => assert_eq!((record.errno, record.detail), (0, detail), "{script}"),
            }
        }
    });
}

/// The first free descriptors are taken by others: what is kept stays, the rest is closed.
#[test]
fn descriptors_that_nobody_needs_are_closed() {
    on_every_kernel(|| {
        let mut program = Program::new();
        program.push(Step::OpenProc {}, "");
        let none = Slot::NONE;
        let step =
            Step::CloseDescriptors { from: 3, state: none, out: none, error: none, handler: none };
        program.push(step, "");
        let child = carried_out(program).unwrap();
        let open = fs::read_dir(format!("/proc/{}/fd", child.pid())).unwrap();
        let above: Vec<_> = open
            .map(|entry| entry.unwrap().file_name().to_string_lossy().parse::<u32>().unwrap())
            .filter(|number| *number > 2)
            .collect();
        assert_eq!(above.len(), 1, "the control socket alone: {above:?}");
    });
}
