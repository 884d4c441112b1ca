//! What `--version` prints.

use crate::call::Program;

/// Version of this program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Commit that it was built from.
pub(crate) const COMMIT: &str = env!("HUSK_COMMIT");

/// Newest version of the runtime specification that it follows.
pub(crate) const SPEC: &str = "1.3.0";

/// Lines after the name: go-runc looks for `commit: ` and `spec: ` at their beginnings.
pub(crate) fn details() -> String {
    format!("{VERSION}\ncommit: {COMMIT}\nspec: {SPEC}")
}

/// The whole text, under the name that the program was started with.
pub(crate) fn text(program: Program) -> String {
    format!("{} version {}\n", program.name, details())
}
