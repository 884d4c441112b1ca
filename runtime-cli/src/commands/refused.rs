//! Verbs of runc whose feature is not there: they parse, and are refused by name.

use anyhow::{Result, bail};

use crate::args::{Arity, Flag, Verb};
use crate::call::Call;

pub(crate) const CHECKPOINT: Verb = Verb {
    name: "checkpoint",
    about: "save a running container (not supported yet)",
    flags: &[
        Flag::text("image-path", "", "directory for the images"),
        Flag::text("work-path", "", "directory for work files and logs"),
        Flag::text("parent-path", "", "directory of an earlier image"),
        Flag::switch("leave-running", "", "leave the container running"),
        Flag::switch("tcp-established", "", "allow open TCP connections"),
        Flag::switch("tcp-skip-in-flight", "", "skip TCP connections that are being opened"),
        Flag::switch("link-remap", "", "allow unlinked files"),
        Flag::switch("ext-unix-sk", "", "allow sockets that lead outside"),
        Flag::switch("shell-job", "", "allow processes of a shell's job"),
        Flag::switch("lazy-pages", "", "load pages when they are needed"),
        Flag::number("status-fd", "", "descriptor that is told when lazy pages are ready"),
        Flag::text("page-server", "", "address and port of a page server"),
        Flag::switch("file-locks", "", "allow file locks"),
        Flag::switch("pre-dump", "", "save memory only, leave the container running"),
        Flag::text("manage-cgroups-mode", "", "how cgroups are handled"),
        Flag::list("empty-ns", "", "namespace that is made anew, without its contents"),
        Flag::switch("auto-dedup", "", "remove doubled pages from images"),
    ],
    ..verb()
};

pub(crate) const EVENTS: Verb = Verb {
    name: "events",
    about: "show statistics and events of a container (not supported yet)",
    flags: &[
        Flag::text("interval", "", "time between two statistics").default("5s"),
        Flag::switch("stats", "", "show statistics once"),
    ],
    ..verb()
};

pub(crate) const RESTORE: Verb = Verb {
    name: "restore",
    about: "restore a container that was saved (not supported yet)",
    flags: &[
        Flag::text("console-socket", "", "socket that gets the terminal"),
        Flag::text("image-path", "", "directory of the images"),
        Flag::text("work-path", "", "directory for work files and logs"),
        Flag::switch("tcp-established", "", "allow open TCP connections"),
        Flag::switch("ext-unix-sk", "", "allow sockets that lead outside"),
        Flag::switch("shell-job", "", "allow processes of a shell's job"),
        Flag::switch("file-locks", "", "allow file locks"),
        Flag::text("manage-cgroups-mode", "", "how cgroups are handled"),
        Flag::text("bundle", "b", "directory of the bundle"),
        Flag::switch("detach", "d", "do not wait for the process"),
        Flag::text("pid-file", "", "file for the process id"),
        Flag::switch("no-subreaper", "", "do not become a subreaper"),
        Flag::switch("no-pivot", "", "do not pivot into the root file system"),
        Flag::list("empty-ns", "", "namespace that is made anew, without its contents"),
        Flag::switch("auto-dedup", "", "remove doubled pages from images"),
        Flag::switch("lazy-pages", "", "load pages when they are needed"),
        Flag::text("lsm-profile", "", "security profile, TYPE:NAME"),
        Flag::text("lsm-mount-context", "", "security context of mounts"),
    ],
    ..verb()
};

pub(crate) const UPDATE: Verb = Verb {
    name: "update",
    about: "change the limits of a container (not supported yet)",
    flags: &[
        Flag::text("resources", "r", "file with the resources, - for standard input"),
        Flag::number("blkio-weight", "", "weight of block I/O, 10 to 1000"),
        Flag::text("cpu-period", "", "CPU period in microseconds"),
        Flag::text("cpu-quota", "", "CPU time in each period in microseconds"),
        Flag::text("cpu-burst", "", "CPU time that may be saved up in microseconds"),
        Flag::text("cpu-share", "", "relative CPU weight"),
        Flag::text("cpu-rt-period", "", "real-time CPU period in microseconds"),
        Flag::text("cpu-rt-runtime", "", "real-time CPU time in each period in microseconds"),
        Flag::text("cpu-idle", "", "1 for idle scheduling"),
        Flag::text("cpuset-cpus", "", "CPUs to use"),
        Flag::text("cpuset-mems", "", "memory nodes to use"),
        Flag::text("kernel-memory", "", "of no effect").hidden(),
        Flag::text("kernel-memory-tcp", "", "of no effect").hidden(),
        Flag::text("memory", "", "memory limit in bytes"),
        Flag::text("memory-reservation", "", "soft memory limit in bytes"),
        Flag::text("memory-swap", "", "limit of memory and swap in bytes, -1 for none"),
        Flag::number("pids-limit", "", "highest number of processes"),
        Flag::text("l3-cache-schema", "", "Intel RDT cache schema"),
        Flag::text("mem-bw-schema", "", "Intel RDT memory bandwidth schema"),
    ],
    ..verb()
};

const fn verb() -> Verb {
    Verb {
        name: "",
        about: "",
        operands: "<container-id>",
        description: "",
        flags: &[],
        arity: Arity::Exactly(1),
        passes_rest: false,
        starts_process: false,
        failure: 1,
        run,
    }
}

fn run(call: &Call<'_>) -> Result<u8> {
    bail!("{} is not supported yet", call.verb.name)
}
