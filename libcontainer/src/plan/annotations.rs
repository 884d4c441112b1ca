//! Annotations that change what the runtime does. Their names are crun's, whose users have them in
//! scripts; what they do is in docs/command-line.md.

use std::collections::BTreeMap;

use super::{Context, PlanError};
use crate::spec::Spec;

pub(crate) const HANDLER: &str = "run.oci.handler";
pub(crate) const HOOKS_STDERR: &str = "run.oci.hooks.stderr";
pub(crate) const HOOKS_STDOUT: &str = "run.oci.hooks.stdout";
pub(crate) const KEEP_GROUPS: &str = "run.oci.keep_original_groups";
pub(crate) const MOUNT_CONTEXT_TYPE: &str = "run.oci.mount_context_type";
pub(crate) const PIDFD_RECEIVER: &str = "run.oci.pidfd_receiver";
pub(crate) const SECCOMP_BPF: &str = "run.oci.seccomp_bpf_data";
pub(crate) const SECCOMP_FAIL_UNKNOWN: &str = "run.oci.seccomp_fail_unknown_syscall";
pub(crate) const SECCOMP_PLUGINS: &str = "run.oci.seccomp.plugins";
pub(crate) const SECCOMP_RECEIVER: &str = "run.oci.seccomp.receiver";
pub(crate) const WASM_VARIANT: &str = "module.wasm.image/variant";

/// The kind of a pod's container, by which its pause container is told from the others.
pub(crate) const CONTAINER_TYPE: &str = "io.kubernetes.cri.container-type";

/// All that change what happens on the host: `potentiallyUnsafeConfigAnnotations` of `features`.
pub(crate) const UNSAFE: [&str; 15] = [
    WASM_VARIANT,
    "org.criu.config",
    "org.systemd.property.",
    "run.oci.delegate-cgroup",
    HANDLER,
    HOOKS_STDERR,
    HOOKS_STDOUT,
    KEEP_GROUPS,
    MOUNT_CONTEXT_TYPE,
    PIDFD_RECEIVER,
    SECCOMP_PLUGINS,
    SECCOMP_RECEIVER,
    SECCOMP_BPF,
    SECCOMP_FAIL_UNKNOWN,
    "run.oci.systemd.subgroup",
];

/// JSON pointer of an annotation.
pub(crate) fn pointer(name: &str) -> String {
    crate::pointer::below("/annotations", name)
}

/// Refuses what cannot be done.
pub(super) fn check_annotations(spec: &Spec) -> Result<(), PlanError> {
    if spec.annotations.contains_key(SECCOMP_PLUGINS) {
        let message = format!("{SECCOMP_PLUGINS} is not supported: no code is loaded into husk");
        let hint = format!("run the plugin's code in an agent of its own: {SECCOMP_RECEIVER}");
        return Err(PlanError::new(pointer(SECCOMP_PLUGINS), message).with_hint(hint));
    }
    mount_context_type(&spec.annotations).map(drop)
}

/// Whether an annotation is there with another value than `0`.
fn is_on(annotations: &BTreeMap<String, String>, name: &str) -> bool {
    annotations.get(name).is_some_and(|value| value != "0")
}

/// Whether the process keeps the supplementary groups of the caller.
pub(super) fn keeps_groups(ctx: &Context<'_>) -> bool {
    is_on(&ctx.spec.annotations, KEEP_GROUPS)
}

/// Whether a name of a system call that nobody knows is an error.
pub(super) fn fails_on_unknown_calls(ctx: &Context<'_>) -> bool {
    is_on(&ctx.spec.annotations, SECCOMP_FAIL_UNKNOWN)
}

/// Which of a file system's labels `linux.mountLabel` is: mount(8) tells the differences.
pub(super) fn mount_context_type(
    annotations: &BTreeMap<String, String>,
) -> Result<&str, PlanError> {
    match annotations.get(MOUNT_CONTEXT_TYPE).map(String::as_str) {
        None => Ok("context"),
        Some(kind @ ("context" | "fscontext" | "defcontext" | "rootcontext")) => Ok(kind),
        Some(other) => {
            let message = format!(
                "invalid mount context type {other:?}: it is one of context, fscontext, \
                 defcontext, rootcontext"
            );
            Err(PlanError::new(pointer(MOUNT_CONTEXT_TYPE), message))
        }
    }
}

/// A raw filter for seccomp(2) in the place of a profile.
pub(super) fn raw_filter(ctx: &Context<'_>) -> Result<Option<Vec<u8>>, PlanError> {
    const INSTRUCTION: usize = 8;
    const LONGEST: usize = 4096 * INSTRUCTION;
    let Some(text) = ctx.spec.annotations.get(SECCOMP_BPF) else { return Ok(None) };
    let wrong = |why: &str| PlanError::new(pointer(SECCOMP_BPF), format!("{SECCOMP_BPF} {why}"));
    let bytes = base64(text).ok_or_else(|| wrong("is not base64"))?;
    if bytes.is_empty() || !bytes.len().is_multiple_of(INSTRUCTION) || bytes.len() > LONGEST {
        return Err(wrong("is not 1 to 4096 instructions of 8 bytes each"));
    }
    Ok(Some(bytes))
}

/// Decodes base64 with or without padding; line ends are left out.
fn base64(text: &str) -> Option<Vec<u8>> {
    let text: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let digits = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(&text);
    let mut decoded = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for group in digits.chunks(4) {
        let mut bits = 0_u32;
        for digit in group {
            let value = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        let [_, bytes @ ..] = (bits << (6 * (4 - group.len()))).to_be_bytes();
        match group.len() {
            4 => decoded.extend_from_slice(&bytes),
            3 => decoded.extend_from_slice(&bytes[..2]),
            2 => decoded.push(bytes[0]),
            _ => return None,
        }
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_decoded_strictly() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("Zg==", b"f"),
            ("Zm8=", b"fo"),
            ("Zm8", b"fo"),
            ("Zm9v", b"foo"),
            ("Zm9v\nYmFy", b"foobar"),
            ("+/+/", &[0xfb, 0xff, 0xbf]),
        ] {
            assert_eq!(base64(text).as_deref(), Some(bytes), "{text}");
        }
        for text in ["Z", "Zm9vY", "Zm=v", "Zm9-"] {
            assert_eq!(base64(text), None, "{text}");
        }
    }

    #[test]
    fn pointers_are_escaped() {
        assert_eq!(pointer(WASM_VARIANT), "/annotations/module.wasm.image~1variant");
    }
}
