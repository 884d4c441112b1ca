//! JSON pointers into config.json (RFC 6901).

/// The pointer of `key`, as it stands in the document, below the pointer `parent`.
pub(crate) fn below(parent: &str, key: &str) -> String {
    format!("{parent}/{}", key.replace('~', "~0").replace('/', "~1"))
}
