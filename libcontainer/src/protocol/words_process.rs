//! What a failed step on namespaces or the process says to people, in the words that callers of
//! runc know.

use super::answer as kernel_answer;
use super::{Program, Record, Step};

/// The sentence for a failed step of this family; `None` for steps of others, and for hooks, whose
/// sentence has their output.
pub(crate) fn sentence(step: &Step, program: &Program, record: &Record) -> Option<String> {
    let answer = kernel_answer(record.errno);
    let part = record.detail;
    Some(match *step {
        Step::ArrangeDescriptors { .. } => format!("unable to set up file descriptors: {answer}"),
        Step::ResetSignals {} => format!("unable to reset signals: {answer}"),
        Step::EndOnSignals {} => format!("unable to handle signals: {answer}"),
        Step::JoinCgroups { .. } => format!("unable to apply cgroup configuration: {answer}"),
        Step::SetDumpable { dumpable: false } => format!("unable to become non-dumpable: {answer}"),
        Step::SetDumpable { dumpable: true } => format!("unable to become dumpable: {answer}"),
        Step::JoinNamespace { kind, .. } | Step::JoinPostponed { kind, .. } => {
            format!("unable to join the {} namespace: {answer}", kind_names(kind))
        }
        Step::JoinProcess { kinds, .. } => {
            let kinds = if part == 0 { kinds } else { part.into() };
            format!("unable to join the container's {} namespace: {answer}", kind_names(kinds))
        }
        Step::CheckMappings { .. } => check_mappings(part, record.errno, &answer),
        Step::OffsetClocks { offsets } => clocks(part, &program.show(offsets), &answer),
        Step::Unshare { kinds } => {
            format!("unable to make a new {} namespace: {answer}", kind_names(kinds))
        }
        Step::CloneInit { .. } => format!("unable to clone the container's init: {answer}"),
        Step::BecomeRoot { .. } => format!(
            "unable to become root of the user namespace: {}: {answer}",
            ["setgroups", "setresgid", "setresuid"].get(part as usize).unwrap_or(&"ids")
        ),
        Step::JoinKeyring { name } => format!(
            "unable to join session keyring: unable to create session key {:?}: {answer}",
            program.show(name)
        ),
        Step::RaiseLoopback {} => format!("unable to raise the loopback interface: {answer}"),
        Step::OpenProc {} => format!("unable to open a procfs: {answer}"),
        Step::SetAffinity { .. } => format!("unable to set CPU affinity: {answer}"),
        _ => return process_sentence(step, program, record, &answer),
    })
}

fn process_sentence(
    step: &Step,
    program: &Program,
    record: &Record,
    answer: &str,
) -> Option<String> {
    let part = record.detail;
    Some(match *step {
        Step::ReopenNull {} => format!("unable to reopen /dev/null inside container: {answer}"),
        Step::MakeWorkingDirectory { path } => {
            format!("mkdir {}: {answer}", program.show(path))
        }
        Step::StartSession {} => format!("setsid: {answer}"),
        Step::Console { .. } => format!(
            "unable to set up the console: {}: {answer}",
            ["open /dev/pts/ptmx", "open its other end", "mount on /dev/console", "attach"]
                .get(part as usize)
                .unwrap_or(&"terminal")
        ),
        Step::SetHostname { .. } => format!("sethostname: {answer}"),
        Step::SetDomainname { .. } => format!("setdomainname: {answer}"),
        Step::WriteSysctl { path, .. } => {
            format!("write sysctl key /proc/{}: {answer}", program.show(path))
        }
        Step::WriteLabel { path, label, .. } => {
            write_label(&program.show(path), &program.show(label), part, answer)
        }
        Step::ForbidNewPrivileges {} => format!("unable to set no_new_privs: {answer}"),
        Step::SetScheduler { cpuset: true, .. } if record.errno == libc::EPERM => {
            "process scheduler can't be used together with AllowedCPUs".to_owned()
        }
        Step::SetScheduler { .. } => format!("error setting scheduler: {answer}"),
        Step::SetIoPriority { .. } => format!("failed to set io priority: {answer}"),
        Step::SetPersonality { .. } => format!("unable to set personality: {answer}"),
        Step::SetMemoryPolicy { .. } => format!("unable to set memory policy: {answer}"),
        Step::LoadSeccomp { flags, listener, .. } => {
            format!(
                "unable to init seccomp: {}",
                load_seccomp(flags, listener, record.errno, answer)
            )
        }
        Step::ConfirmDirectory { .. } if part == 1 => "current working directory is outside of \
             container mount namespace root -- possible container breakout detected"
            .to_owned(),
        Step::EnterDirectory { path, .. } | Step::ConfirmDirectory { path, .. } => {
            format!("chdir to cwd ({:?}) set in config.json failed: {answer}", program.show(path))
        }
        _ => return identity_sentence(step, program, record, answer),
    })
}

/// A kernel that does not know a flag answers EINVAL for all of them.
fn load_seccomp(flags: u32, listener: bool, errno: i32, answer: &str) -> String {
    let wait_killable = u64::from(flags) & libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV != 0;
    match errno {
        libc::EINVAL if wait_killable => format!(
            "error adding WaitKill flag to seccomp filter: SetWaitKill requires Linux 5.19: {answer}"
        ),
        libc::EINVAL if listener => {
            format!("seccomp notify unsupported: it requires Linux 5.0: {answer}")
        }
        _ => format!("error loading seccomp filter into kernel: {answer}"),
    }
}

fn identity_sentence(
    step: &Step,
    program: &Program,
    record: &Record,
    answer: &str,
) -> Option<String> {
    let part = record.detail;
    Some(match *step {
        Step::FindHome { .. } => format!("unable to look up the home directory: {answer}"),
        Step::LimitBounding { .. } => format!("unable to apply bounding set: {answer}"),
        Step::OwnStdio { .. } => format!("unable to change the owner of fd {part}: {answer}"),
        Step::SetGroups { .. } => format!("unable to setup user: setgroups: {answer}"),
        Step::SetIds { .. } => format!(
            "unable to setup user: {}: {answer}",
            ["keep capabilities", "setresgid", "setresuid"].get(part as usize).unwrap_or(&"ids")
        ),
        Step::SetUmask { .. } => format!("unable to set the umask: {answer}"),
        Step::SetCapabilities { .. } => format!("unable to apply caps: {answer}"),
        Step::SetAmbient { .. } => format!("unable to reset ambient caps: {answer}"),
        Step::FindProgram { bare, .. } => find_program(program, bare, part, answer),
        Step::CloseDescriptors { .. } => format!("unable to close file descriptors: {answer}"),
        Step::LeaveCreator {} => format!("unable to leave the creator: {answer}"),
        Step::AwaitStart {} => format!("unable to wait for start: {answer}"),
        Step::PrepareHookState { .. } => format!("unable to prepare the state of hooks: {answer}"),
        Step::Execute { candidates, .. } => {
            let candidates = program.show_all(candidates);
            let path = candidates.get(part as usize).map(String::as_str).unwrap_or_default();
            format!("exec {path}: {answer}")
        }
        Step::ExecuteHandler { args, .. } => {
            let name = program.show_all(args).into_iter().next().unwrap_or_default();
            format!("exec handler {name}: {answer}")
        }
        _ => return None,
    })
}

/// The warning for an error that a step tolerates.
pub(crate) fn warning(step: &Step, record: &Record) -> Option<String> {
    let answer = kernel_answer(record.errno);
    match *step {
        Step::JoinKeyring { .. } => Some(format!("session keyring is not available: {answer}")),
        Step::SetAmbient { .. } => {
            let name = crate::spec::capability_name(record.detail);
            Some(format!("can't raise ambient capability {name}: {answer}"))
        }
        _ => None,
    }
}

fn find_program(program: &Program, bare: bool, part: u32, answer: &str) -> String {
    let args = program.steps().iter().find_map(|step| match *step {
        Step::Execute { args, .. } => program.show_all(args).into_iter().next(),
        _ => None,
    });
    let name = args.unwrap_or_default();
    match (bare, part) {
        (true, _) => format!("exec: {name:?}: executable file not found in $PATH"),
        (false, 0) => format!("exec: {name:?}: stat {name}: {answer}"),
        (false, _) => format!("exec: {name:?}: {answer}"),
    }
}

fn check_mappings(part: u32, errno: i32, answer: &str) -> String {
    let kind = if part == 0 { "uid" } else { "gid" };
    match errno {
        libc::EINVAL => {
            format!("the {kind} mappings are not those of the user namespace that the config joins")
        }
        _ => format!("unable to read the {kind} mappings of the user namespace: {answer}"),
    }
}

/// Podman finds labels by a path below /proc in back quotes, runc's callers by its words.
fn write_label(path: &str, label: &str, part: u32, answer: &str) -> String {
    let tried = if part == 0 { "open" } else { "write" };
    match label.strip_prefix("exec ").filter(|_| path.contains("apparmor")) {
        Some(profile) => format!(
            "unable to apply apparmor profile: apparmor failed to apply profile {profile:?}: \
             {tried} `/proc/{path}`: {answer}"
        ),
        None => {
            format!("unable to apply SELinux label {label:?}: {tried} `/proc/{path}`: {answer}")
        }
    }
}

fn clocks(part: u32, offsets: &str, answer: &str) -> String {
    match part {
        0 => format!("unable to make a new time namespace: {answer}"),
        1 => format!("unable to set time offsets {:?}: {answer}", offsets.trim_end()),
        _ => format!("unable to enter the new time namespace: {answer}"),
    }
}

fn kind_names(kinds: u64) -> String {
    const NAMES: [(i32, &str); 8] = [
        (libc::CLONE_NEWUSER, "user"),
        (libc::CLONE_NEWNS, "mount"),
        (libc::CLONE_NEWPID, "pid"),
        (libc::CLONE_NEWNET, "network"),
        (libc::CLONE_NEWIPC, "ipc"),
        (libc::CLONE_NEWUTS, "uts"),
        (libc::CLONE_NEWCGROUP, "cgroup"),
        (libc::CLONE_NEWTIME, "time"),
    ];
    let names: Vec<&str> =
        NAMES.iter().filter(|(kind, _)| kinds & *kind as u64 != 0).map(|(_, name)| *name).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{RecordKind, Reserve, Slot};

    fn failed(errno: i32, detail: u32) -> Record {
        let mut record = Record::new(RecordKind::Failed, 0);
        record.errno = errno;
        record.detail = detail;
        record
    }

    #[test]
    fn a_missing_program_is_told_as_callers_read_it() {
        for (name, bare, errno, detail, expected) in [
            (
                "nosuchcmd",
                true,
                libc::ENOENT,
                0,
                r#"exec: "nosuchcmd": executable file not found in $PATH"#,
            ),
            ("", true, libc::ENOENT, 0, r#"exec: "": executable file not found in $PATH"#),
            (
                "/nosuchcmd",
                false,
                libc::ENOENT,
                0,
                r#"exec: "/nosuchcmd": stat /nosuchcmd: no such file or directory"#,
            ),
            ("/etc/passwd", false, libc::EACCES, 1, r#"exec: "/etc/passwd": permission denied"#),
            ("/etc", false, libc::EISDIR, 1, r#"exec: "/etc": is a directory"#),
        ] {
            let mut program = Program::new();
            let candidates = program.texts([name]).unwrap();
            let args = program.texts([name, "-x"]).unwrap();
            let none = Reserve::default();
            let find = Step::FindProgram { candidates, bare, chosen: none };
            program.push(find, "/process/args/0");
            let (chosen, env, home, vector) = (none, args, none, none);
            program.push(Step::Execute { candidates, chosen, args, env, home, vector }, "");
            let words = sentence(&find, &program, &failed(errno, detail)).unwrap();
            assert_eq!(words, expected);
        }
    }

    #[test]
    fn labels_name_the_file_as_podman_looks_for_it() {
        for (path, label, detail, expected) in [
            (
                "self/attr/apparmor/exec",
                "exec mine",
                1,
                "unable to apply apparmor profile: apparmor failed to apply profile \"mine\": write \
                 `/proc/self/attr/apparmor/exec`: invalid argument",
            ),
            (
                "self/attr/exec",
                "a:b:c",
                0,
                "unable to apply SELinux label \"a:b:c\": open `/proc/self/attr/exec`: invalid \
                 argument",
            ),
        ] {
            let mut program = Program::new();
            let path = program.text(path).unwrap();
            let label = program.text(label).unwrap();
            let step = Step::WriteLabel { path, fallback: path, label };
            let words = sentence(&step, &program, &failed(libc::EINVAL, detail)).unwrap();
            assert_eq!(words, expected);
        }
    }

    #[test]
    fn a_kernel_without_a_flag_of_seccomp_is_told_apart() {
        let wait_killable = 1 << 5;
        for (flags, listener, errno, expected) in [
            (
                wait_killable,
                true,
                libc::EINVAL,
                "unable to init seccomp: error adding WaitKill flag to seccomp filter: SetWaitKill \
                 requires Linux 5.19: invalid argument",
            ),
            (
                0,
                true,
                libc::EINVAL,
                "unable to init seccomp: seccomp notify unsupported: it requires Linux 5.0: \
                 invalid argument",
            ),
            (
                wait_killable,
                true,
                libc::ENOMEM,
                "unable to init seccomp: error loading seccomp filter into kernel: cannot allocate \
                 memory",
            ),
        ] {
            let mut program = Program::new();
            let filter = program.bytes(b"filter").unwrap();
            let step = Step::LoadSeccomp { filter, flags, listener };
            assert_eq!(sentence(&step, &program, &failed(errno, 0)).unwrap(), expected);
        }
    }

    #[test]
    fn a_working_directory_that_is_not_there() {
        let mut program = Program::new();
        let path = program.text("/nodir").unwrap();
        let step = Step::EnterDirectory { path, entered: Slot::NONE };
        assert_eq!(
            sentence(&step, &program, &failed(libc::ENOENT, 0)).unwrap(),
            r#"chdir to cwd ("/nodir") set in config.json failed: no such file or directory"#
        );
    }
}
