//! The directories of images and of CRIU's own files.
//!
//! What lies in a directory of images may come from anybody. CRIU runs as root and follows links:
//! one named `pages-1.img` would put the content of a file of the host into the container's
//! memory, one named `restore.log` would overwrite it. So links and special files are refused,
//! and CRIU gets the directory through a mount of its own that follows none, where the kernel has
//! such.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind as IoKind, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat};
use nix::sys::stat::Mode;

use crate::error::{Error, ErrorKind, Result};
use crate::sys::{mount, process};

/// The link to the directory of an earlier image.
const PARENT: &str = "parent";

/// Links of standard input, output and error, as runc writes and reads them.
const DESCRIPTORS: &str = "descriptors.json";

/// Longest list of descriptors that is read.
const LONGEST_LIST: u64 = 64 * 1024;

/// How many images may lie behind each other.
const DEEPEST: u32 = 64;

/// What CRIU writes beside images.
const WORK_FILES: [&str; 4] = ["dump.log", "restore.log", "stats-dump", "stats-restore"];

/// How much of the end of a log is looked at.
const LOG_TAIL: u64 = 32 * 1024;

/// How many lines of it are shown.
const LOG_LINES: usize = 6;

/// A directory that CRIU works in.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    plain: File,
    /// The same directory through a mount that follows no links.
    guarded: Option<OwnedFd>,
}

impl Directory {
    /// Opens a directory to write to, making it where it is missing, its parents as well.
    pub(super) fn open_or_make(path: &Path) -> Result<Self> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        if let Err(error) = made
            && error.kind() != IoKind::AlreadyExists
        {
            return Err(system("mkdir", path, &error));
        }
        Self::open(path)
    }

    /// Opens the directory for CRIU's own files, making it where it is missing. It may be named by a
    /// link, as containerd does it, and holds none where CRIU writes: somebody's archive may have
    /// been unpacked into it.
    pub(super) fn open_work(path: &Path) -> Result<Self> {
        let directory = match path.canonicalize() {
            Ok(found) => Self::open(&found)?,
            Err(_) => Self::open_or_make(path)?,
        };
        directory.check_work()?;
        Ok(directory)
    }

    /// Opens a directory. It is no link itself.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
        let plain = opened.map_err(|error| match path.symlink_metadata() {
            Ok(found) if found.is_symlink() => {
                refused(format!("{} is a symbolic link: name the directory itself", path.display()))
            }
            _ => system("open", path, &error),
        })?;
        let path = std::path::absolute(path).map_err(|error| system("resolve", path, &error))?;
        Ok(Self { path, plain, guarded: None })
    }

    /// Has CRIU follow no links in it, for a dump, which mounts nothing there. Where the kernel has no such mounts, what
    /// [`Directory::check_content`] saw has to suffice; so it has for an image with a parent,
    /// which CRIU finds by a link.
    pub(super) fn guard(&mut self) {
        match process::clone_without_links(self.plain.as_fd()) {
            Ok(guarded) => self.guarded = Some(guarded),
            Err(errno) => log::debug!("{}: links are not blocked: {errno}", self.path.display()),
        }
    }

    /// The same directory in the calling thread's own mount namespace, where CRIU can mount below it;
    /// guarded, if it is to be so, by a mount on it.
    pub(super) fn enter(&self, guarded: bool) -> Result<Self> {
        let link = format!("/proc/self/fd/{}", self.plain.as_raw_fd());
        let path =
            std::fs::read_link(&link).map_err(|error| system("readlink", &self.path, &error))?;
        let mut entered = self.enter_at(&path)?;
        if guarded {
            let attached = process::clone_without_links(entered.plain.as_fd())
                .and_then(|clone| mount::attach(clone.as_raw_fd(), entered.plain.as_raw_fd()));
            match attached {
                Ok(()) => entered = self.enter_at(&path)?,
                Err(errno) => {
                    log::debug!("{}: links are not blocked: {errno}", self.path.display());
                }
            }
        }
        Ok(entered)
    }

    fn enter_at(&self, path: &Path) -> Result<Self> {
        let entered = Self { path: self.path.clone(), ..Self::open(path)? };
        match self.is(&entered) {
            true => Ok(entered),
            false => Err(refused(format!("{} was replaced meanwhile", self.path.display()))),
        }
    }

    /// The number for CRIU, which opens it by this process's directory in procfs.
    pub(super) fn number(&self) -> i32 {
        self.guarded.as_ref().map_or(self.plain.as_raw_fd(), AsRawFd::as_raw_fd)
    }

    /// Its path, for messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether this is the same directory.
    pub(super) fn is(&self, other: &Self) -> bool {
        let identity = |file: &File| file.metadata().ok().map(|found| (found.dev(), found.ino()));
        identity(&self.plain).is_some_and(|found| Some(found) == identity(&other.plain))
    }

    fn check_work(&self) -> Result<()> {
        for name in WORK_FILES {
            let path = format!("/proc/self/fd/{}/{name}", self.plain.as_raw_fd());
            match std::fs::symlink_metadata(path) {
                Ok(found) if !found.is_file() => {
                    return Err(self.hostile(name.as_ref(), "is no ordinary file"));
                }
                Err(error) if error.kind() != IoKind::NotFound => {
                    return Err(system("stat", &self.path.join(name), &error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Refuses links and special files in an image (sockets can be opened by nobody; `criu lazy-pages`
    /// has one there), and in those that it builds on. Whether there
    /// are such.
    pub(super) fn check_content(&self) -> Result<bool> {
        self.check_down(0)
    }

    fn check_down(&self, depth: u32) -> Result<bool> {
        let mut has_parent = false;
        for entry in self.entries()? {
            let entry = entry.map_err(|error| system("read", &self.path, &error))?;
            let kind = entry.file_type().map_err(|error| system("stat", &self.path, &error))?;
            let name = entry.file_name();
            if kind.is_symlink() && name == PARENT {
                has_parent = true;
            } else if kind.is_symlink() {
                return Err(self.hostile(&name, "is a symbolic link"));
            } else if kind.is_fifo() || kind.is_char_device() || kind.is_block_device() {
                return Err(self.hostile(&name, "is no ordinary file"));
            }
        }
        if !has_parent {
            return Ok(false);
        }
        if depth == DEEPEST {
            return Err(refused(format!(
                "{}: too many images behind each other",
                self.path.display()
            )));
        }
        self.open_parent()?.check_down(depth + 1)?;
        Ok(true)
    }

    fn entries(&self) -> Result<std::fs::ReadDir> {
        let opened = format!("/proc/self/fd/{}", self.plain.as_raw_fd());
        std::fs::read_dir(opened).map_err(|error| system("read", &self.path, &error))
    }

    fn hostile(&self, name: &std::ffi::OsStr, why: &str) -> Error {
        let path = self.path.join(name);
        refused(format!("{} {why}: the images are not trusted with that", path.display()))
    }

    /// The directory that the image builds on. It may lie beside it or below, nowhere else: the
    /// link is part of the image, and pages of another container's image would be read there.
    fn open_parent(&self) -> Result<Self> {
        let link = nix::fcntl::readlinkat(&self.plain, PARENT)
            .map_err(|errno| system("readlink", &self.path.join(PARENT), &errno.into()))?;
        self.open_beside(Path::new(&link))
    }

    /// A directory by its path relative to this one, beside it or below.
    pub(super) fn open_beside(&self, target: &Path) -> Result<Self> {
        let shown = self.path.join(target);
        let failed = |errno: nix::errno::Errno| {
            let hint =
                "an image that it builds on lies beside it or below, and no link leads there";
            system("open", &shown, &errno.into()).with_hint(hint)
        };
        let directory = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_RDONLY;
        let above =
            openat(&self.plain, "..", directory | OFlag::O_PATH, Mode::empty()).map_err(failed)?;
        let own = std::fs::read_link(format!("/proc/self/fd/{}", self.plain.as_raw_fd()))
            .map_err(|error| system("readlink", &self.path, &error))?;
        let name = own.file_name().ok_or_else(|| failed(nix::errno::Errno::EXDEV))?;
        let how = OpenHow::new().flags(directory).resolve(
            ResolveFlag::RESOLVE_BENEATH
                | ResolveFlag::RESOLVE_NO_SYMLINKS
                | ResolveFlag::RESOLVE_NO_MAGICLINKS,
        );
        let path = Path::new(name).join(target);
        let opened = super::open_scoped(above.as_fd(), &path, how).map_err(failed)?;
        Ok(Self { path: shown, plain: opened.into(), guarded: None })
    }

    /// The first error of a log of CRIU, which is the cause, and its last ones; or its last lines where it names none.
    pub(super) fn log_tail(&self, name: &str) -> String {
        let Some(text) = self.read_tail(name) else { return String::new() };
        let lines: Vec<&str> =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let errors: Vec<&str> =
            lines.iter().copied().filter(|line| line.contains("Error")).collect();
        let errors: Vec<&str> =
            errors.into_iter().filter(|line| !super::criu::is_noise(line)).collect();
        let last = |lines: &[&str], count: usize| {
            let first = lines.len().saturating_sub(count);
            lines.get(first..).unwrap_or_default().join("; ")
        };
        match errors.as_slice() {
            [] => last(&lines, LOG_LINES),
            [cause] => (*cause).to_owned(),
            [cause, others @ ..] => format!("{cause}; {}", last(others, LOG_LINES - 1)),
        }
    }

    fn read_tail(&self, name: &str) -> Option<String> {
        let mut file = self.open_file(name)?;
        let length = file.metadata().ok()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL))).ok()?;
        let mut tail = Vec::new();
        file.take(LOG_TAIL).read_to_end(&mut tail).ok()?;
        Some(String::from_utf8_lossy(&tail).into_owned())
    }

    /// An ordinary file in it.
    fn open_file(&self, name: &str) -> Option<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = File::from(openat(&self.plain, name, flags, Mode::empty()).ok()?);
        file.metadata().ok()?.is_file().then_some(file)
    }

    /// Writes the links of the standard descriptors of the container's process.
    pub(super) fn save_descriptors(&self, links: &[String]) -> Result<()> {
        let failed = |error: &std::io::Error| system("write", &self.path.join(DESCRIPTORS), error);
        let json = serde_json::to_vec(links).map_err(|error| failed(&error.into()))?;
        let flags = OFlag::O_WRONLY
            | OFlag::O_CREAT
            | OFlag::O_TRUNC
            | OFlag::O_NOFOLLOW
            | OFlag::O_NONBLOCK
            | OFlag::O_CLOEXEC;
        let file = openat(&self.plain, DESCRIPTORS, flags, Mode::S_IRUSR | Mode::S_IWUSR)
            .map_err(|errno| failed(&errno.into()))?;
        File::from(file).write_all(&json).map_err(|error| failed(&error))
    }

    /// Reads them: pipes with the number that they have in the container's process. Each pipe is
    /// named once, and nothing but a pipe is.
    pub(super) fn load_pipes(&self) -> Result<Vec<(String, i32)>> {
        let path = self.path.join(DESCRIPTORS);
        let file = self.open_file(DESCRIPTORS).ok_or_else(|| {
            let message =
                format!("{} is missing: these are no images of a container", path.display());
            Error::new(ErrorKind::Checkpoint, message)
        })?;
        let mut json = Vec::new();
        file.take(LONGEST_LIST)
            .read_to_end(&mut json)
            .map_err(|error| system("read", &path, &error))?;
        let links: Vec<String> = serde_json::from_slice(&json).map_err(|error| {
            Error::new(ErrorKind::Checkpoint, format!("{} cannot be read: {error}", path.display()))
        })?;
        let mut seen = BTreeSet::new();
        let pipes =
            (0..3).zip(links).filter(|(_, link)| is_pipe(link) && seen.insert(link.clone()));
        Ok(pipes.map(|(number, link)| (link, number)).collect())
    }
}

fn is_pipe(link: &str) -> bool {
    let number = link.strip_prefix("pipe:[").and_then(|rest| rest.strip_suffix(']'));
    number.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|d| d.is_ascii_digit()))
}

/// A path as CRIU takes it.
pub(super) fn utf8(path: &Path) -> Result<String> {
    match CString::new(path.as_os_str().as_bytes()) {
        Ok(_) if path.to_str().is_some() => Ok(path.to_string_lossy().into_owned()),
        _ => Err(Error::new(
            ErrorKind::InvalidOption,
            format!("the path is not UTF-8: {}", path.display()),
        )),
    }
}

fn refused(message: String) -> Error {
    Error::new(ErrorKind::Checkpoint, message)
}

fn system(act: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::io(ErrorKind::System, act, path.display(), error)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn directory() -> (tempfile::TempDir, PathBuf) {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("images");
        std::fs::create_dir(&path).unwrap();
        (above, path)
    }

    #[test]
    fn links_and_special_files_are_refused() {
        for name in ["pages-1.img", "restore.log", "descriptors.json"] {
            let (_above, path) = directory();
            symlink("/etc/passwd", path.join(name)).unwrap();
            let error = Directory::open(&path).unwrap().check_content().unwrap_err();
            assert!(error.to_string().contains(&format!("{name} is a symbolic link")), "{error}");
        }
        let (_above, path) = directory();
        nix::unistd::mkfifo(&path.join("core-1.img"), Mode::S_IRWXU).unwrap();
        let error = Directory::open(&path).unwrap().check_content().unwrap_err();
        assert!(error.to_string().contains("is no ordinary file"), "{error}");
        let (above, path) = directory();
        symlink(&path, above.path().join("link")).unwrap();
        let error = Directory::open(&above.path().join("link")).unwrap_err();
        assert!(error.to_string().contains("is a symbolic link"), "{error}");
    }

    #[test]
    fn links_are_refused_where_criu_writes() {
        let (_above, path) = directory();
        symlink("/etc", path.join("elsewhere")).unwrap();
        std::fs::write(path.join("dump.log"), "").unwrap();
        symlink(&path, path.join("named")).unwrap();
        Directory::open_work(&path.join("named")).unwrap();
        Directory::open_work(&path.join("made/newly")).unwrap();
        symlink("/nowhere", path.join("stats-dump")).unwrap();
        let error = Directory::open_work(&path).unwrap_err();
        assert!(error.to_string().contains("stats-dump is no ordinary file"), "{error}");
    }

    #[test]
    fn parents_lie_beside_or_below() {
        let (above, path) = directory();
        std::fs::create_dir(above.path().join("earlier")).unwrap();
        std::fs::create_dir(path.join("below")).unwrap();
        for (target, fine) in [
            ("../earlier", true),
            ("below", true),
            ("..", true),
            ("../..", false),
            ("/etc", false),
            ("../../etc", false),
            ("../none", false),
        ] {
            symlink(target, path.join(PARENT)).unwrap();
            let checked = Directory::open(&path).unwrap().open_parent();
            assert_eq!(checked.is_ok(), fine, "{target}: {checked:?}");
            std::fs::remove_file(path.join(PARENT)).unwrap();
        }
        symlink("../earlier", path.join(PARENT)).unwrap();
        assert_eq!(Directory::open(&path).unwrap().check_content(), Ok(true));
        symlink("/etc/passwd", above.path().join("earlier/pages-1.img")).unwrap();
        assert!(Directory::open(&path).unwrap().check_content().is_err());
    }

    #[test]
    fn an_image_that_builds_on_itself_is_refused() {
        let (_above, path) = directory();
        symlink(".", path.join(PARENT)).unwrap();
        let error = Directory::open(&path).unwrap().check_content().unwrap_err();
        assert!(error.to_string().contains("too many images"), "{error}");
    }

    #[test]
    fn only_pipes_are_taken_from_the_list() {
        let (_above, path) = directory();
        let directory = Directory::open(&path).unwrap();
        assert!(directory.load_pipes().unwrap_err().to_string().contains("is missing"));
        let links = ["pipe:[12]", "/etc/passwd", "pipe:[12]", "pipe:[13]"].map(str::to_owned);
        directory.save_descriptors(&links).unwrap();
        assert_eq!(directory.load_pipes().unwrap(), [("pipe:[12]".to_owned(), 0)]);
        for link in ["extRootNetNS", "pipe:[]", "pipe:[1", "pipe:[x]", "xpipe:[1]"] {
            assert!(!is_pipe(link), "{link}");
        }
        std::fs::write(path.join(DESCRIPTORS), "{").unwrap();
        assert_eq!(directory.load_pipes().unwrap_err().kind(), ErrorKind::Checkpoint);
    }

    #[test]
    fn errors_come_before_other_lines() {
        let (_above, path) = directory();
        let directory = Directory::open(&path).unwrap();
        assert_eq!(directory.log_tail("dump.log"), "");
        let noise =
            "Error (u): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted";
        std::fs::write(path.join("dump.log"), format!("{noise}\na\nError (x): why\nb\n")).unwrap();
        assert_eq!(directory.log_tail("dump.log"), "Error (x): why");
        let many: String = (0..9).map(|line| format!("line {line}\n")).collect();
        std::fs::write(path.join("dump.log"), many).unwrap();
        assert_eq!(
            directory.log_tail("dump.log"),
            "line 3; line 4; line 5; line 6; line 7; line 8"
        );
        let many: String = (0..9).map(|line| format!("Error {line}\n")).collect();
        std::fs::write(path.join("dump.log"), many).unwrap();
        assert_eq!(
            directory.log_tail("dump.log"),
            "Error 0; Error 4; Error 5; Error 6; Error 7; Error 8"
        );
        symlink("/etc/passwd", path.join("restore.log")).unwrap();
        assert_eq!(directory.log_tail("restore.log"), "", "links are not read");
    }

    #[test]
    fn nothing_is_followed_in_a_guarded_directory() {
        let (_above, path) = directory();
        symlink("/etc/passwd", path.join("pages-1.img")).unwrap();
        let mut directory = Directory::open(&path).unwrap();
        directory.guard();
        if directory.guarded.is_none() {
            assert!(!process::knows_mount_setattr() || !nix::unistd::geteuid().is_root());
            return;
        }
        let link = format!("/proc/self/fd/{}/pages-1.img", directory.number());
        assert_eq!(File::open(link).unwrap_err().raw_os_error(), Some(libc::ELOOP));
        let log = format!("/proc/self/fd/{}/restore.log", directory.number());
        std::fs::write(log, "written").unwrap();
        assert_eq!(std::fs::read_to_string(path.join("restore.log")).unwrap(), "written");
    }
}
