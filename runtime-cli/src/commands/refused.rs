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
        joins_container: false,
        failure: 1,
        run,
    }
}

fn run(call: &Call<'_>) -> Result<u8> {
    bail!("{} is not supported yet", call.verb.name)
}
