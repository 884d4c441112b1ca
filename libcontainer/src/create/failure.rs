//! Turns what the child reports into sentences.

use crate::error::{Error, ErrorKind};
use crate::protocol::{self, Program, Record, Step, hook};
use crate::sys::Errno;

/// Output of a hook that the child runs, as it arrives.
#[derive(Debug, Default)]
pub(crate) struct HookOutput([Vec<u8>; 2]);

impl HookOutput {
    /// Takes a record of [`protocol::RecordKind::Hook`].
    pub(crate) fn add(&mut self, record: &Record) {
        if let Some(stream) = self.0.get_mut(record.detail as usize) {
            stream.extend_from_slice(record.text());
        }
    }

    /// The sentence for a failed hook.
    pub(crate) fn sentence(
        &self,
        kind: &str,
        index: u32,
        path: &str,
        timeout: u64,
        record: &Record,
    ) -> String {
        let how = if record.errno != 0 {
            format!("fork/exec {path}: {}", Errno(record.errno))
        } else if record.detail & hook::TIMED_OUT != 0 {
            format!("hook ran past specified timeout of {timeout}.0s")
        } else {
            let [out, error] = self.0.each_ref().map(|stream| String::from_utf8_lossy(stream));
            let how = if record.detail & hook::SIGNALLED != 0 {
                let signal = record.detail & 0xff;
                format!("signal: {}", super::hooks::signal_words(signal as i32))
            } else {
                format!("exit status {}", record.detail)
            };
            format!("{how}, stdout: {out}, stderr: {error}")
        };
        format!("error running {kind} hook #{index}: {how}")
    }
}

/// The error of a failed step.
pub(super) fn step_error(program: &Program, record: &Record, output: &HookOutput) -> Error {
    let index = record.step as usize;
    let Some(step) = program.steps().get(index) else {
        let message = format!("step {index}: {}", Errno(record.errno));
        return Error::new(ErrorKind::Process, message);
    };
    let pointer = program.pointer(index).unwrap_or_default();
    if let Step::RunHook { name, index, path, timeout, .. } = *step {
        let (kind, path) = (program.show(name), program.show(path));
        let sentence = output.sentence(&kind, index, &path, timeout, record);
        return Error::new(ErrorKind::Hook, sentence).at(pointer);
    }
    Error::new(ErrorKind::Process, sentence(step, program, record)).at(pointer)
}

/// What a tolerated error of a step says.
pub(super) fn warning(step: &Step, program: &Program, record: &Record) -> String {
    protocol::warning(step, program, record)
        .unwrap_or_else(|| format!("{}: {}", step.describe(program), Errno(record.errno)))
}

/// What a failed step says.
pub(super) fn sentence(step: &Step, program: &Program, record: &Record) -> String {
    protocol::sentence(step, program, record)
        .unwrap_or_else(|| format!("{}: {}", step.describe(program), Errno(record.errno)))
}
