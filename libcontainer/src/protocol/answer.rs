//! The kernel's answers in words.

/// An error number in the C library's words, which Go's programs and so runc print, too, in lower
/// case. To be called by parents only: it allocates.
pub(crate) fn answer(errno: i32) -> String {
    let error = std::io::Error::from_raw_os_error(errno).to_string();
    let words = error.split(" (os error ").next().unwrap_or_default();
    let mut letters = words.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if second.is_lowercase() || second == ' ' => {
            format!("{}{second}{}", first.to_lowercase(), letters.as_str())
        }
        _ => words.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_runc() {
        for (errno, words) in [
            (libc::ENOENT, "no such file or directory"),
            (libc::EPERM, "operation not permitted"),
            (libc::ESRCH, "no such process"),
            (libc::ERANGE, "numerical result out of range"),
            (libc::ELOOP, "too many levels of symbolic links"),
            (libc::EAGAIN, "resource temporarily unavailable"),
            (libc::EXDEV, "invalid cross-device link"),
            (libc::EOPNOTSUPP, "operation not supported"),
            (libc::EIO, "input/output error"),
            (libc::ENOEXEC, "exec format error"),
            (libc::E2BIG, "argument list too long"),
        ] {
            assert_eq!(answer(errno), words);
        }
    }
}
