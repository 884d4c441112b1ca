//! Requests to CRIU and its answers, with the numbers of its `rpc.proto`.
//! <https://criu.org/RPC>

use super::wire::{Value, Writer, fields};

/// What is asked, and what an answer is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Dump = 1,
    Restore = 2,
    PreDump = 4,
    Notify = 6,
    FeatureCheck = 9,
    Version = 10,
}

impl Kind {
    /// The name of the kind in CRIU's definition, as runc prints it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Dump => "DUMP",
            Self::Restore => "RESTORE",
            Self::PreDump => "PRE_DUMP",
            Self::Notify => "NOTIFY",
            Self::FeatureCheck => "FEATURE_CHECK",
            Self::Version => "VERSION",
        }
    }

    fn of(number: u64) -> Option<Self> {
        let all = [
            Self::Dump,
            Self::Restore,
            Self::PreDump,
            Self::Notify,
            Self::FeatureCheck,
            Self::Version,
        ];
        all.into_iter().find(|kind| *kind as u64 == number)
    }
}

/// Options of a request. Each name is the option's in CRIU.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Options {
    pub(super) images_dir_fd: i32,
    pub(super) work_dir_fd: Option<i32>,
    pub(super) pid: Option<u32>,
    pub(super) leave_running: bool,
    pub(super) ext_unix_sk: bool,
    pub(super) tcp_established: bool,
    pub(super) tcp_close: bool,
    pub(super) tcp_skip_in_flight: bool,
    pub(super) evasive_devices: bool,
    pub(super) shell_job: bool,
    pub(super) file_locks: bool,
    pub(super) link_remap: bool,
    pub(super) auto_dedup: bool,
    pub(super) lazy_pages: bool,
    pub(super) rst_sibling: bool,
    pub(super) log_file: String,
    pub(super) root: String,
    pub(super) parent_img: Option<String>,
    pub(super) page_server: Option<(String, u16)>,
    /// Where a mount is, and what stands for it outside.
    pub(super) ext_mnt: Vec<(String, String)>,
    /// Controller and the group in which restored groups lie.
    pub(super) cg_root: Vec<(String, String)>,
    /// Key and number of a descriptor.
    pub(super) inherit_fd: Vec<(String, i32)>,
    pub(super) external: Vec<String>,
    /// Kind and file of a namespace.
    pub(super) join_ns: Vec<(String, String)>,
    pub(super) manage_cgroups_mode: u32,
    pub(super) network_lock: Option<u32>,
    /// `CLONE_NEW*` flags.
    pub(super) empty_ns: u32,
    pub(super) freeze_cgroup: Option<String>,
    pub(super) config_file: Option<String>,
    pub(super) lsm_profile: Option<String>,
    pub(super) lsm_mount_context: Option<String>,
}

impl Options {
    fn encode(&self) -> Writer {
        let mut message = Writer::default();
        message.signed(1, self.images_dir_fd);
        if let Some(pid) = self.pid {
            message.number(2, pid.into());
        }
        for (field, on) in [
            (3, self.leave_running),
            (4, self.ext_unix_sk),
            (5, self.tcp_established),
            (6, self.evasive_devices),
            (7, self.shell_job),
            (8, self.file_locks),
            (16, self.auto_dedup),
            (18, self.link_remap),
            (26, self.rst_sibling),
            (46, self.tcp_skip_in_flight),
            (48, self.lazy_pages),
            (52, self.tcp_close),
        ] {
            if on {
                message.switch(field, true);
            }
        }
        const LOG_LEVEL: u64 = 4;
        message.number(9, LOG_LEVEL).text(10, &self.log_file);
        if let Some((address, port)) = &self.page_server {
            let mut server = Writer::default();
            server.text(1, address).number(2, u64::from(*port));
            message.message(11, &server);
        }
        // notify_scripts, and orphan_pts_master below: this program answers both.
        message.switch(12, true).text(13, &self.root);
        if let Some(parent) = &self.parent_img {
            message.text(14, parent).switch(15, true);
        }
        if let Some(fd) = self.work_dir_fd {
            message.signed(17, fd);
        }
        for (key, value) in &self.ext_mnt {
            message.message(23, &pair(key, value));
        }
        // The switch is what CRIU had before it had modes.
        message.switch(24, true).number(34, self.manage_cgroups_mode.into());
        for (controller, path) in &self.cg_root {
            message.message(25, &pair(controller, path));
        }
        for (key, fd) in &self.inherit_fd {
            let mut inherited = Writer::default();
            inherited.text(1, key).signed(2, *fd);
            message.message(27, &inherited);
        }
        for external in &self.external {
            message.text(37, external);
        }
        message.number(38, self.empty_ns.into());
        for (kind, file) in &self.join_ns {
            message.message(39, &pair(kind, file));
        }
        message.switch(50, true);
        if let Some(method) = self.network_lock {
            message.number(64, method.into());
        }
        for (field, text) in [
            (44, &self.freeze_cgroup),
            (51, &self.config_file),
            (53, &self.lsm_profile),
            (63, &self.lsm_mount_context),
        ] {
            if let Some(text) = text {
                message.text(field, text);
            }
        }
        message
    }
}

fn pair(first: &str, second: &str) -> Writer {
    let mut message = Writer::default();
    message.text(1, first).text(2, second);
    message
}

/// What a kernel and a CRIU can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Features {
    /// Changes of memory since an earlier dump are known.
    pub(super) mem_track: bool,
    /// Pages can be loaded when they are needed.
    pub(super) lazy_pages: bool,
}

/// The bytes of a request after which others follow on the same connection.
pub(super) fn question(kind: Kind) -> Writer {
    let mut message = Writer::default();
    message.number(1, kind as u64);
    if kind == Kind::FeatureCheck {
        let mut features = Writer::default();
        features.switch(1, true).switch(2, true);
        message.message(5, &features);
    }
    message.switch(4, true);
    message
}

/// The bytes of a request.
pub(super) fn request(kind: Kind, options: &Options) -> Writer {
    let mut message = Writer::default();
    message.number(1, kind as u64).message(2, &options.encode());
    message
}

/// The bytes of the answer to a notification.
pub(super) fn acknowledgement(success: bool) -> Writer {
    let mut message = Writer::default();
    message.number(1, Kind::Notify as u64).switch(3, success);
    message
}

/// What CRIU says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Response {
    pub(super) kind: Option<Kind>,
    pub(super) success: bool,
    /// Name of the event of a notification.
    pub(super) script: String,
    /// The process that a notification or the answer to a restore is about.
    pub(super) pid: u32,
    pub(super) errno: i32,
    /// The first errors, since CRIU 3.
    pub(super) message: String,
    /// 30100 for 3.1.
    pub(super) version: u32,
    pub(super) features: Features,
}

impl Response {
    /// Reads a response; `None` for bytes that are none.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut response = Self::default();
        for (field, value) in fields(bytes)? {
            match field {
                1 => response.kind = Kind::of(value.number()),
                2 => response.success = value.number() != 0,
                4 => response.pid = number(value, 1)? as u32,
                5 => {
                    response.pid = number(value, 2)? as u32;
                    let named = fields(value.bytes())?.into_iter().find(|(field, _)| *field == 1);
                    response.script = named.map(|(_, name)| name.text()).unwrap_or_default();
                }
                7 => response.errno = value.signed(),
                8 => {
                    response.features = Features {
                        mem_track: number(value, 1)? != 0,
                        lazy_pages: number(value, 2)? != 0,
                    };
                }
                9 => response.message = value.text(),
                10 => response.version = version(value)?,
                _ => {}
            }
        }
        Some(response)
    }
}

fn number(message: Value<'_>, wanted: u32) -> Option<u64> {
    let found = fields(message.bytes())?.into_iter().rev().find(|(field, _)| *field == wanted);
    Some(found.map_or(0, |(_, value)| value.number()))
}

/// A build between two releases counts as the later one.
fn version(message: Value<'_>) -> Option<u32> {
    let has_commit = fields(message.bytes())?.iter().any(|(field, _)| *field == 3);
    let part = |field| Some(number(message, field)? as u32);
    let (major, minor, patch) = (part(1)?, part(2)?, part(4)?);
    let (minor, patch) = if has_commit { (minor.saturating_add(1), 0) } else { (minor, patch) };
    Some(
        major
            .saturating_mul(10_000)
            .saturating_add(minor.saturating_mul(100))
            .saturating_add(patch),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_read() {
        let mut version = Writer::default();
        version.number(1, 4).number(2, 2).number(4, 1);
        let mut notification = Writer::default();
        notification.text(1, "post-restore").number(2, 4711);
        let mut message = Writer::default();
        message.number(1, 6).switch(2, true).message(5, &notification).message(10, &version);
        message.signed(7, -3).text(9, "why").number(99, 1);
        let response = Response::parse(message.as_bytes()).unwrap();
        assert_eq!(response.kind, Some(Kind::Notify));
        assert_eq!((response.script.as_str(), response.pid), ("post-restore", 4711));
        assert_eq!((response.errno, response.message.as_str()), (-3, "why"));
        assert_eq!(response.version, 40201);
        assert_eq!(Response::parse(b"\x08"), None);
        assert_eq!(Response::parse(b"\x2a\x01\x08"), None, "a broken message inside");
    }

    #[test]
    fn a_build_from_a_repository_counts_as_the_next_release() {
        let mut version = Writer::default();
        version.number(1, 3).number(2, 13).text(3, "v3.13-200-gabcdef").number(4, 5);
        let mut message = Writer::default();
        message.message(10, &version);
        assert_eq!(Response::parse(message.as_bytes()).unwrap().version, 31400);
    }

    #[test]
    fn options_that_are_not_set_are_not_sent() {
        let options = Options { images_dir_fd: 5, log_file: "l".into(), ..Options::default() };
        let sent = options.encode();
        let numbers: Vec<u32> = fields(sent.as_bytes()).unwrap().iter().map(|(n, _)| *n).collect();
        assert_eq!(numbers, [1, 9, 10, 12, 13, 24, 34, 38, 50]);
        let asked = Options { tcp_close: true, network_lock: Some(3), ..options };
        let sent = asked.encode();
        let fields = fields(sent.as_bytes()).unwrap();
        let number = |wanted| fields.iter().find(|(n, _)| *n == wanted).map(|(_, v)| v.number());
        assert_eq!((number(52), number(64)), (Some(1), Some(3)));
    }
}
