//! Descriptors that the caller left open for the container.

use std::fs;

use anyhow::{Result, anyhow, bail};

use crate::args::Flags;

/// How many descriptors from 3 on are passed to a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inherited {
    /// Those of socket activation (LISTEN_FDS), which come first.
    pub(crate) listen: u32,
    /// Those of `--preserve-fds`.
    pub(crate) preserved: u32,
}

impl Inherited {
    /// Looks whether the promised descriptors are open. To be called before anything is opened:
    /// a number that the caller did not open would else be taken by a file of ours.
    /// (Of 0 to 2 the standard library has opened those that were closed, as /dev/null.)
    /// LISTEN_FDS counts only with `activated`.
    ///
    /// # Errors
    /// One of them is not open, or their number is none.
    pub(crate) fn find(flags: &Flags<'_>, activated: bool) -> Result<Self> {
        let preserved = flags.number("preserve-fds").unwrap_or(0);
        let preserved = u32::try_from(preserved)
            .ok()
            .filter(|count| *count <= MOST)
            .ok_or_else(|| anyhow!("--preserve-fds {preserved} is not from 0 to {MOST}"))?;
        let found = Self { listen: if activated { listen_fds() } else { 0 }, preserved };
        let total = found.listen + found.preserved;
        for descriptor in 3..3 + total {
            if fs::symlink_metadata(format!("/proc/self/fd/{descriptor}")).is_err() {
                bail!(
                    "descriptor {descriptor} is not open (3 to {} are to be passed on)",
                    2 + total
                );
            }
        }
        Ok(found)
    }
}

/// The number of `--status-fd`, which the caller has to have opened. To be called before anything is
/// opened, as [`Inherited::find`]; negative numbers mean none.
///
/// # Errors
/// It is not open, or not for writing.
pub(crate) fn status_descriptor(flags: &Flags<'_>) -> Result<Option<i32>> {
    let Some(number) = flags.number("status-fd").filter(|number| *number >= 0) else {
        return Ok(None);
    };
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}"))
        .map_err(|_| anyhow!("invalid --status-fd argument {number}: bad file descriptor"))?;
    let modes = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let modes = modes.and_then(|digits| i32::from_str_radix(digits.trim(), 8).ok());
    if modes.is_none_or(|modes| modes & libc::O_ACCMODE == libc::O_RDONLY) {
        bail!("invalid --status-fd argument {number}: not writable");
    }
    Ok(Some(i32::try_from(number)?))
}

/// More descriptors than a process may have by default.
const MOST: u32 = 65_536;

/// LISTEN_FDS counts only for the process that LISTEN_PID names: sd_listen_fds(3).
fn listen_fds() -> u32 {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    if number("LISTEN_PID") != Some(std::process::id()) {
        return 0;
    }
    number("LISTEN_FDS").unwrap_or(0).min(MOST)
}
