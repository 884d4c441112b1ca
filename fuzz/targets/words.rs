//! Any word as `--user`: refused, or exactly the number that it writes out. A word that is read as
//! another number may be read as root.

#![no_main]

#[allow(dead_code)]
#[path = "../../runtime-cli/src/text.rs"]
mod text;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(user) = text::user(OsStr::from_bytes(bytes)) else { return };
    let word = std::str::from_utf8(bytes).expect("only digits and a colon are accepted");
    let (uid, gid) = match word.split_once(':') {
        Some((uid, gid)) => (uid, Some(gid)),
        None => (word, None),
    };
    assert_eq!(digits(uid), user.uid.to_string());
    assert_eq!(gid.map(digits), user.gid.map(|gid| gid.to_string()).as_deref());
});

/// Without leading zeros, which are harmless.
fn digits(number: &str) -> &str {
    assert!(number.bytes().all(|byte| byte.is_ascii_digit()), "{number:?}");
    let short = number.trim_start_matches('0');
    if short.is_empty() && !number.is_empty() { "0" } else { short }
}
