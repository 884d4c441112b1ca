//! What a failed step on the root or its mounts says to people, in the words that callers of runc
//! know.

use super::mount::{Device, Flags, Mode, Part, flag_names, rule};
use super::{Program, Record, Step, Text, Texts, answer};

/// The sentence for a failed step of this family; `None` for steps of others.
pub(crate) fn sentence(step: &Step, program: &Program, record: &Record) -> Option<String> {
    let failure = Failed::of(program, record);
    Some(match *step {
        Step::PrepareMounts { propagation } => failure.act(&format!(
            "error preparing rootfs: set propagation of / to {}",
            propagation_name(propagation)
        )),
        Step::OpenRoot { directory, path } => failure.open_root(directory, path),
        Step::MakeParentPrivate {} => {
            failure.act("error preparing rootfs: make the mount of the rootfs private")
        }
        Step::BindRoot { .. } => failure.act("error preparing rootfs: bind the rootfs on itself"),
        Step::MountFilesystem {
            kind, source, data, options, destination, flags, rules, ..
        } => {
            let options = if rules.0 & rule::CLASSIC != 0 {
                program.show(data)
            } else {
                program.show_all(options).join(",")
            };
            let mount = Attempt {
                source: program.show(source),
                destination: program.show(destination),
                kind: program.show(kind),
                flags: flags.0,
                data: options,
            };
            failure.mount(&mount)
        }
        Step::MountBind { source, destination, recursive, flags, .. } => {
            let recursive = if recursive { libc::MS_REC } else { 0 };
            failure.mount(&Attempt {
                source: program.show(source),
                destination: program.show(destination),
                kind: "bind".to_owned(),
                flags: flags.0 | libc::MS_BIND | recursive,
                data: String::new(),
            })
        }
        Step::MountTree { source, destination, flags, .. } => failure.mount(&Attempt {
            source: program.show(source),
            destination: program.show(destination),
            kind: "bind".to_owned(),
            flags: flags.0 | libc::MS_BIND,
            data: String::new(),
        }),
        Step::Unmount { destination } if record.errno == libc::EINVAL => {
            format!("error unmounting {:?}: it is no mount", program.show(destination))
        }
        Step::Unmount { destination } => {
            failure.act(&format!("error unmounting {:?}", program.show(destination)))
        }
        Step::ReceiveTrees { .. } => failure.act("error receiving id-mapped mounts"),
        Step::SetMountPropagation { propagation, destination, .. } => failure.act(&format!(
            "error mounting to rootfs at {:?}: set propagation to {}",
            program.show(destination),
            propagation_name(propagation)
        )),
        Step::SetMountAttributes { set, clear, destination, .. } => failure.act(&format!(
            "error mounting to rootfs at {:?}: set recursive mount attributes (mount_setattr, \
             attr_set={set:#x}, attr_clr={clear:#x})",
            program.show(destination)
        )),
        Step::MakeReadonly { destination, .. } => {
            failure.act(&format!("error remounting {:?} as readonly", program.show(destination)))
        }
        Step::MakeLink { directory, name, .. } => failure.act(&format!(
            "error creating symlink {}/{}",
            program.show(directory),
            program.show(name)
        )),
        Step::MakeCoreLink {} => failure.act("error creating symlink /dev/core"),
        Step::MakePtmx {} => failure.act("error setting up ptmx: replace /dev/ptmx"),
        Step::MakeDevice { path, mode, device, .. } => failure.device(path, mode, device),
        Step::PivotRoot {} => failure.act("error jailing process inside rootfs: pivot_root"),
        Step::MoveRoot { full } => failure.move_root(full),
        Step::ChangeRoot {} => failure.act("error jailing process inside rootfs: chroot"),
        Step::SetRootPropagation { propagation } => failure.act(&format!(
            "unable to apply root propagation flags: set propagation of / to {}",
            propagation_name(propagation)
        )),
        Step::ReadonlyPath { path } => {
            failure.act(&format!("can't make {:?} read-only", program.show(path)))
        }
        Step::MaskPath { path, .. } => failure.mask(path),
        _ => return None,
    })
}

/// A mount as it was tried.
struct Attempt {
    source: String,
    destination: String,
    kind: String,
    flags: u64,
    data: String,
}

/// Why the kernel's mount_too_revealing() or sysfs itself answers EPERM; the words "Mount too revealing" are
/// no explanation, and older kernels do not even say them.
fn refusal_in_user_namespace(kind: &str) -> &'static str {
    match kind {
        "proc" => {
            "; in a user namespace the kernel mounts proc only where it sees one without masked \
             or read-only parts: the runtime outside must leave /proc unmasked"
        }
        "sysfs" => {
            "; in a user namespace the kernel mounts sysfs only with a network namespace of its \
             own, and where it sees one without masked or read-only parts"
        }
        _ => "",
    }
}

struct Failed<'a> {
    program: &'a Program,
    part: Part,
    fd: Option<u32>,
    answer: String,
    text: String,
}

impl<'a> Failed<'a> {
    fn of(program: &'a Program, record: &Record) -> Self {
        let (part, fd) = Part::of(record.detail);
        let text = String::from_utf8_lossy(record.text()).into_owned();
        Self { program, part, fd, answer: answer(record.errno), text }
    }

    fn act(&self, act: &str) -> String {
        format!("{act}: {}", self.answer)
    }

    fn open_root(&self, directory: Text, path: Text) -> String {
        let directory = self.program.show(directory);
        let whole = format!("{}/{}", directory.trim_end_matches('/'), self.program.show(path));
        if self.answer == answer(libc::ELOOP) {
            return format!("invalid rootfs: not an absolute path, or a symlink: {whole}");
        }
        format!("invalid rootfs: open {whole}: {}", self.answer)
    }

    fn mount(&self, mount: &Attempt) -> String {
        let Attempt { source, destination, kind, .. } = mount;
        if self.part == Part::Source {
            return format!("failed to fulfil mount request: open {source}: {}", self.answer);
        }
        let why = match self.part {
            Part::Destination => {
                format!("create mountpoint for {destination} mount: {}", self.answer)
            }
            Part::NotOrdinary => {
                format!("filesystem {kind:?} must be mounted on ordinary directory")
            }
            Part::InsideProc => {
                format!("{destination:?} cannot be mounted because it is inside /proc")
            }
            Part::NotProc => {
                format!("{destination:?} cannot be mounted because it is not of type proc")
            }
            Part::CopyUp => format!("tmpcopyup: copy {:?}: {}", self.text, self.answer),
            Part::Moved => {
                format!("{destination} changed while it was mounted on: {}", self.answer)
            }
            Part::OtherDevice => format!("{source} is another device"),
            Part::Flags => format!("set the flags of the mount: {}", self.arguments(mount)),
            Part::Mount | Part::Source | Part::Attributes => self.arguments(mount),
        };
        format!("error mounting {source:?} to rootfs at {destination:?}: {why}")
    }

    /// The call's arguments and the answer, as runc writes them.
    fn arguments(&self, mount: &Attempt) -> String {
        let mut words = "mount ".to_owned();
        if !mount.source.is_empty() {
            words += &format!("src={}, ", mount.source);
        }
        words += &format!("dst={}", mount.destination);
        if let Some(fd) = self.fd {
            words += &format!(", dstFd=/proc/thread-self/fd/{fd}");
        }
        if mount.flags != 0 {
            words += &format!(", flags={}", flag_names(mount.flags));
        }
        if !mount.data.is_empty() {
            words += &format!(", data={}", mount.data);
        }
        words += &format!(": {}", self.answer);
        if !self.text.is_empty() {
            words += &format!(" ({})", self.text);
        }
        if self.answer == answer(libc::EPERM) {
            words += refusal_in_user_namespace(&mount.kind);
        }
        words
    }

    fn device(&self, path: Text, Mode(mode): Mode, Device(device): Device) -> String {
        let path = self.program.show(path);
        let kind = match mode & libc::S_IFMT {
            libc::S_IFCHR => "c",
            libc::S_IFBLK => "b",
            _ => "p",
        };
        let (major, minor) = (libc::major(device), libc::minor(device));
        let what = format!("error creating device nodes: mknod {path} {kind} {major}:{minor}");
        match self.part {
            Part::OtherDevice => format!("{what}: something else is there: {}", self.answer),
            Part::Source => format!("{what}: bind the host's {path}: {}", self.answer),
            _ => format!("{what}: {}", self.answer),
        }
    }

    fn move_root(&self, full: Texts) -> String {
        let what = "error jailing process inside rootfs";
        match self.text.is_empty() || full.count == 0 {
            true => format!("{what}: move the rootfs to /: {}", self.answer),
            false => format!("{what}: cover {}: {}", self.text, self.answer),
        }
    }

    fn mask(&self, path: Text) -> String {
        let path = self.program.show(path);
        match self.part {
            Part::Source => format!("can't mask path {path:?}: open /dev/null: {}", self.answer),
            Part::OtherDevice => {
                format!("can't mask path {path:?}: /dev/null is not the null device (1:3)")
            }
            Part::Destination => format!("can't open path {path:?} for masking: {}", self.answer),
            _ => format!("can't mask path {path:?}: {}", self.answer),
        }
    }
}

fn propagation_name(Flags(flags): Flags) -> &'static str {
    let recursive = flags & libc::MS_REC != 0;
    match (flags & !libc::MS_REC, recursive) {
        (libc::MS_SHARED, false) => "shared",
        (libc::MS_SHARED, true) => "rshared",
        (libc::MS_SLAVE, false) => "slave",
        (libc::MS_SLAVE, true) => "rslave",
        (libc::MS_PRIVATE, false) => "private",
        (libc::MS_PRIVATE, true) => "rprivate",
        (_, false) => "unbindable",
        (_, true) => "runbindable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::mount::Rules;
    use crate::protocol::{RecordKind, Slot};

    fn record(errno: i32, part: Part, fd: i32) -> Record {
        Record { errno, detail: part.detail(fd), ..Record::new(RecordKind::Failed, 0) }
    }

    #[test]
    fn mounts_fail_in_the_words_that_callers_know() {
        let mut program = Program::new();
        let (empty, source) = (program.text("").unwrap(), program.text("x").unwrap());
        let destination = program.text("/mnt/x").unwrap();
        let options = program.texts::<&str>([]).unwrap();
        let step = Step::MountFilesystem {
            kind: source,
            source,
            options,
            data: empty,
            fallback: empty,
            destination,
            flags: Flags(0),
            cleared: Flags(0),
            rules: Rules(0),
            mount: Slot::NONE,
        };
        let said = |record| sentence(&step, &program, &record).unwrap();
        assert_eq!(
            said(record(libc::ENODEV, Part::Mount, 12)),
            "error mounting \"x\" to rootfs at \"/mnt/x\": mount src=x, dst=/mnt/x, \
             dstFd=/proc/thread-self/fd/12: no such device"
        );
        assert_eq!(
            said(record(libc::ELOOP, Part::NotOrdinary, -1)),
            "error mounting \"x\" to rootfs at \"/mnt/x\": filesystem \"x\" must be mounted on \
             ordinary directory"
        );
    }

    #[test]
    fn a_refused_proc_says_what_the_kernel_wants() {
        let mut program = Program::new();
        let (empty, proc) = (program.text("").unwrap(), program.text("proc").unwrap());
        let destination = program.text("/proc").unwrap();
        let options = program.texts::<&str>([]).unwrap();
        let step = Step::MountFilesystem {
            kind: proc,
            source: proc,
            options,
            data: empty,
            fallback: empty,
            destination,
            flags: Flags(0),
            cleared: Flags(0),
            rules: Rules(0),
            mount: Slot::NONE,
        };
        let said = |errno| sentence(&step, &program, &record(errno, Part::Mount, 12)).unwrap();
        assert!(said(libc::EPERM).contains("operation not permitted; in a user namespace"));
        assert!(said(libc::EPERM).ends_with("must leave /proc unmasked"));
        assert!(said(libc::ENODEV).ends_with("no such device"));
    }

    #[test]
    fn a_missing_source_is_an_unfulfilled_request() {
        let mut program = Program::new();
        let source = program.text("/nonexistent/src").unwrap();
        let destination = program.text("/mnt").unwrap();
        let step = Step::MountBind {
            source,
            destination,
            recursive: false,
            flags: Flags(0),
            cleared: Flags(0),
            rules: Rules(0),
            device: Device(0),
            tree: Slot::NONE,
            mount: Slot::NONE,
        };
        assert_eq!(
            sentence(&step, &program, &record(libc::ENOENT, Part::Source, -1)).unwrap(),
            "failed to fulfil mount request: open /nonexistent/src: no such file or directory"
        );
    }
}
