//! Regular expressions of the C library.

use std::ffi::{CStr, c_char};
use std::mem::MaybeUninit;

/// A compiled expression in the extended syntax of regex(7).
pub(crate) struct Regex(libc::regex_t);

impl Regex {
    /// Compiles an expression; what is wrong with it in the C library's words.
    pub(crate) fn compile(expression: &CStr) -> Result<Self, String> {
        let mut compiled = MaybeUninit::<libc::regex_t>::zeroed();
        let flags = libc::REG_EXTENDED | libc::REG_NOSUB;
        // SAFETY: regcomp reads the text up to its NUL and writes `compiled`, both of which live
        // in this function.
        let code = unsafe { libc::regcomp(compiled.as_mut_ptr(), expression.as_ptr(), flags) };
        if code != 0 {
            return Err(words(code, compiled.as_ptr()));
        }
        // SAFETY: regcomp has initialised it when it returns 0.
        Ok(Self(unsafe { compiled.assume_init() }))
    }

    /// Whether the expression matches a part of the text.
    pub(crate) fn matches(&self, text: &CStr) -> bool {
        // SAFETY: the expression is a compiled one until it is dropped; with REG_NOSUB no places
        // are written.
        unsafe { libc::regexec(&self.0, text.as_ptr(), 0, std::ptr::null_mut(), 0) == 0 }
    }
}

impl Drop for Regex {
    fn drop(&mut self) {
        // SAFETY: it was made by regcomp and is not used after this.
        unsafe { libc::regfree(&mut self.0) }
    }
}

fn words(code: i32, expression: *const libc::regex_t) -> String {
    let mut buffer = [0u8; 128];
    // SAFETY: regerror writes at most the buffer's length, with a NUL at the end; the expression
    // is the one that regcomp refused, which regerror may be asked about.
    unsafe {
        libc::regerror(code, expression, buffer.as_mut_ptr().cast::<c_char>(), buffer.len());
    }
    let text = CStr::from_bytes_until_nul(&buffer).map(CStr::to_string_lossy);
    text.map(|text| text.to_lowercase()).unwrap_or_default()
}
