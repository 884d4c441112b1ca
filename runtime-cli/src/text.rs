//! Words and numbers as callers write and read them: times, signals, users, tables.

use std::ffi::OsStr;
use std::fmt::Display;
use std::io;

use anyhow::{Result, anyhow, bail};
use nix::sys::signal::Signal;

/// What the kernel answered, in the C library's words, without Rust's "(os error N)".
pub(crate) fn kernel(error: &io::Error) -> String {
    let words = error.to_string();
    match words.split_once(" (os error ") {
        Some((words, _)) => words.to_lowercase(),
        None => words,
    }
}

/// An error that says what was tried and what the kernel answered.
pub(crate) fn tried(what: impl Display, error: &io::Error) -> anyhow::Error {
    anyhow!("{what}: {}", kernel(error))
}

/// Seconds since the epoch as RFC 3339 in UTC.
pub(crate) fn rfc3339(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// Day count since 1970-01-01 to a date of the Gregorian calendar, which repeats every 400 years
/// of 146097 days; the year is counted from March so that the leap day is its last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// Highest signal number of Linux.
const SIGNAL_MAX: i32 = 64;

/// A signal by number (0 included), name with or without `SIG`, or `RTMIN+n` and `RTMAX-n`.
///
/// # Errors
/// The word is none of these.
pub(crate) fn signal(word: &str) -> Result<i32> {
    let unknown = || anyhow!("unknown signal {word:?}");
    if let Ok(number) = word.parse::<i32>() {
        return (0..=SIGNAL_MAX).contains(&number).then_some(number).ok_or_else(unknown);
    }
    let upper = word.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(number) = real_time(name) {
        return Ok(number);
    }
    let name = match name {
        "CLD" => "CHLD",
        "IOT" => "ABRT",
        "POLL" => "IO",
        name => name,
    };
    let signal: Result<Signal, _> = format!("SIG{name}").parse();
    signal.map(|signal| signal as i32).map_err(|_| unknown())
}

/// The kernel's real-time signals are 32 to 64, of which C libraries keep the first two.
fn real_time(name: &str) -> Option<i32> {
    const RTMIN: i32 = 34;
    let number = if let Some(offset) = name.strip_prefix("RTMIN") {
        RTMIN + offset.strip_prefix('+').map_or_else(|| zero(offset), |n| n.parse().ok())?
    } else {
        let offset = name.strip_prefix("RTMAX")?;
        SIGNAL_MAX - offset.strip_prefix('-').map_or_else(|| zero(offset), |n| n.parse().ok())?
    };
    (RTMIN..=SIGNAL_MAX).contains(&number).then_some(number)
}

fn zero(offset: &str) -> Option<i32> {
    offset.is_empty().then_some(0)
}

/// A word that has to be UTF-8, as everything in config.json is.
///
/// # Errors
/// It is not.
pub(crate) fn utf8<'a>(word: &'a OsStr, what: &str) -> Result<&'a str> {
    word.to_str().ok_or_else(|| anyhow!("{what} {word:?} is not UTF-8"))
}

/// User and group of `--user`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: Option<u32>,
}

/// `uid` or `uid:gid`, both decimal and complete: a name that is read as the number 0 is root.
///
/// # Errors
/// Anything else.
pub(crate) fn user(word: &OsStr) -> Result<User> {
    let word = word.to_str().ok_or_else(|| anyhow!("user {word:?} is not uid[:gid]"))?;
    let (uid, gid) = match word.split_once(':') {
        Some((uid, gid)) => (uid, Some(gid)),
        None => (word, None),
    };
    Ok(User { uid: id(uid, "uid")?, gid: gid.map(|gid| id(gid, "gid")).transpose()? })
}

/// A decimal id; the last one is the kernel's "no id".
///
/// # Errors
/// Anything but digits of a number below 2^32 - 1.
pub(crate) fn id(word: &str, what: &str) -> Result<u32> {
    let digits = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    match word.parse::<u32>() {
        Ok(id) if digits && id != u32::MAX => Ok(id),
        _ => bail!("parsing {word:?} as {what} failed: not a number from 0 to 4294967294"),
    }
}

/// Lines of cells below each other: a column is as wide as its widest cell and three blanks, and
/// at least twelve, as runc's `list` is.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    const MINIMUM: usize = 12;
    const GAP: usize = 3;
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count() + GAP).max().unwrap_or(0).max(MINIMUM)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if at + 1 < row.len() {
                let pad = widths.get(at).copied().unwrap_or(0).saturating_sub(cell.chars().count());
                text.extend(std::iter::repeat_n(' ', pad));
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_match_date_u() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_164_799, "2024-02-28T23:59:59Z"),
            (1_795_257_654, "2026-11-21T10:40:54Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(seconds), expected);
        }
    }

    #[test]
    fn signals_by_name_and_number() {
        for (word, number) in [
            ("9", 9),
            ("0", 0),
            ("64", 64),
            ("KILL", 9),
            ("SIGKILL", 9),
            ("term", 15),
            ("sigusr1", 10),
            ("SIGRTMIN", 34),
            ("RTMIN+3", 37),
            ("SIGRTMAX-1", 63),
            ("CLD", 17),
        ] {
            assert_eq!(signal(word).unwrap(), number, "{word}");
        }
        for word in ["BOGUS", "65", "-1", "", "SIG", "RTMIN+99", "RTMIN-1", "9x"] {
            let error = signal(word).unwrap_err().to_string();
            assert_eq!(error, format!("unknown signal {word:?}"));
        }
    }

    #[test]
    fn users_are_strict() {
        let parse = |word: &str| user(OsStr::new(word));
        assert_eq!(parse("1000").unwrap(), User { uid: 1000, gid: None });
        assert_eq!(parse("0:5").unwrap(), User { uid: 0, gid: Some(5) });
        for word in ["", "root", "1:", ":1", "1x", "+1", " 1", "-1", "4294967295", "1:2:3"] {
            assert!(parse(word).is_err(), "{word}");
        }
    }

    #[test]
    fn tables_are_aligned() {
        let rows = [vec!["ID", "PID"], vec!["a-very-long-name", "7"]];
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect();
        assert_eq!(table(&rows), "ID                 PID\na-very-long-name   7\n");
    }
}
