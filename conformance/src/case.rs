//! What a case is, and the three ways in which it can end.

use crate::scene::Scene;
use std::fmt;

/// How strongly the specification asks for what a case tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Must,
    Should,
    May,
    /// Not in the specification: what the callers of runc depend on.
    Caller,
    /// Not in the specification: an attack that has to come to nothing.
    Security,
}

impl fmt::Display for Level {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Level::Must => "MUST",
            Level::Should => "SHOULD",
            Level::May => "MAY",
            Level::Caller => "CALLER",
            Level::Security => "SECURITY",
        })
    }
}

/// One thing that a runtime has to do, named by the clause that asks for it.
pub(crate) struct Case {
    /// `section.part.what`, unique in the suite.
    pub(crate) name: &'static str,
    pub(crate) level: Level,
    /// The document and heading, and in our words what they ask for.
    pub(crate) clause: &'static str,
    pub(crate) run: fn(&Scene) -> Verdict,
}

/// Shorthand for the tables at the top of each section.
pub(crate) const fn case(
    name: &'static str,
    level: Level,
    clause: &'static str,
    run: fn(&Scene) -> Verdict,
) -> Case {
    Case { name, level, clause, run }
}

/// What a case returns: nothing when it passed.
pub(crate) type Verdict = Result<(), Stop>;

/// Why a case did not pass.
#[derive(Debug)]
pub(crate) enum Stop {
    Failed(String),
    Skipped(String),
}

impl<E: std::error::Error> From<E> for Stop {
    fn from(error: E) -> Stop {
        Stop::Failed(format!("the suite itself: {error}"))
    }
}

pub(crate) fn failed<T>(why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Failed(why.into()))
}

pub(crate) fn skipped<T>(why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Skipped(why.into()))
}

/// `ensure!(condition, "what is wrong {}", value)`.
macro_rules! ensure {
    ($condition:expr, $($why:tt)+) => {
        if !$condition {
            return $crate::case::failed(format!($($why)+));
        }
    };
}

/// `ensure_eq!(seen, wanted, "what")`.
macro_rules! ensure_eq {
    ($seen:expr, $wanted:expr, $($what:tt)+) => {
        match (&$seen, &$wanted) {
            (seen, wanted) if *seen == *wanted => {}
            (seen, wanted) => return $crate::case::failed(format!(
                "{}: saw {seen:?}, wanted {wanted:?}", format_args!($($what)+))),
        }
    };
}

pub(crate) use {ensure, ensure_eq};
