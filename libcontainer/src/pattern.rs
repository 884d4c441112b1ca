//! Containers by a pattern of their ids.

use std::ffi::CString;

use crate::error::{Error, ErrorKind, Result};
use crate::sys::regex::Regex;

/// A regular expression, in the extended syntax of regex(7), for ids of containers.
///
/// ```
/// let pattern = libcontainer::Pattern::new("^web-[0-9]+$")?;
/// assert!(pattern.matches("web-7") && !pattern.matches("web-x"));
/// # Ok::<(), libcontainer::Error>(())
/// ```
pub struct Pattern(Regex);

impl Pattern {
    /// Compiles an expression.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidOption`] with the C library's words for what is wrong with it.
    pub fn new(expression: &str) -> Result<Self> {
        let wrong = |why: &str| {
            let message = format!("invalid regular expression {expression:?}: {why}");
            Error::new(ErrorKind::InvalidOption, message)
        };
        let text = CString::new(expression).map_err(|_| wrong("contains a NUL byte"))?;
        Regex::compile(&text).map(Self).map_err(|why| wrong(&why))
    }

    /// Whether the expression matches a part of the id; `^` and `$` make it the whole.
    pub fn matches(&self, id: &str) -> bool {
        CString::new(id).is_ok_and(|id| self.0.matches(&id))
    }
}

impl std::fmt::Debug for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pattern").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_id_suffices_and_errors_have_the_c_librarys_words() {
        let matches = |expression: &str, id: &str| Pattern::new(expression).unwrap().matches(id);
        assert!(matches("eb", "web") && !matches("^eb", "web"));
        assert!(matches("^(web|db)-[0-9]{2}$", "db-42"));
        assert!(!matches("^(web|db)-[0-9]{2}$", "db-4"));
        let error = Pattern::new("(").unwrap_err().to_string();
        assert_eq!(error, "invalid regular expression \"(\": unmatched ( or \\(");
        assert!(Pattern::new("a\0b").is_err());
    }
}
