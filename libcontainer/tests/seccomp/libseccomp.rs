//! libseccomp's own programs, by way of a script in Python.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use libcontainer::seccomp::{Arch, sock_filter};
use libcontainer::spec::Seccomp;
use serde_json::{Value, json};

use crate::direct::is_big_endian;

/// Why libseccomp has no program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// EEXIST: a rule contradicts another.
    Contradiction,
    /// It does not come to an end.
    Endless,
    Errno(u64),
}

pub(crate) struct Libseccomp {
    script: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// The numbers of names on an architecture: `None` for unknown names, negative for calls that the
/// architecture lacks or multiplexes.
pub(crate) type Numbers = BTreeMap<String, Option<i64>>;

impl Libseccomp {
    pub(crate) fn start() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/seccomp/libseccomp.py");
        let mut script = Command::new("python3")
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 must be installed: tools/setup does it");
        let requests = script.stdin.take().unwrap();
        let answers = BufReader::new(script.stdout.take().unwrap());
        Self { script, requests, answers }
    }

    /// `None` where the script was ended by its timer.
    fn ask(&mut self, request: &Value) -> Option<Value> {
        let mut line = String::new();
        let sent = writeln!(self.requests, "{request}");
        if sent.is_ok() && self.answers.read_line(&mut line).unwrap() > 0 {
            return Some(serde_json::from_str(&line).unwrap());
        }
        let status = self.script.wait().unwrap();
        assert_eq!(
            status.signal(),
            Some(libc::SIGVTALRM),
            "libseccomp.py: {status}: it needs Debian's libseccomp2, tools/setup installs it"
        );
        *self = Self::start();
        None
    }

    /// The numbers of the names on the architectures that this libseccomp knows.
    pub(crate) fn resolve(&mut self, names: &[&str]) -> Vec<(Arch, Numbers)> {
        let request = json!({"resolve": names, "architectures": Arch::names()});
        let answer = self.ask(&request).unwrap();
        let by_arch: BTreeMap<String, Numbers> = serde_json::from_value(answer).unwrap();
        let known = |(name, numbers): (String, _)| (Arch::from_name(&name).unwrap(), numbers);
        by_arch.into_iter().map(known).collect()
    }

    /// The program of a profile, or why there is none.
    pub(crate) fn compile(
        &mut self,
        profile: &Seccomp,
        native: Arch,
        optimize: u32,
    ) -> Result<Vec<sock_filter>, Refusal> {
        let request = json!({"profile": profile, "native": native.name(), "optimize": optimize});
        let answer = self.ask(&request).ok_or(Refusal::Endless)?;
        match answer["error"].as_u64() {
            Some(17) => return Err(Refusal::Contradiction),
            Some(errno) => return Err(Refusal::Errno(errno)),
            None => {}
        }
        let hex = answer["program"].as_str().unwrap();
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        Ok(bytes.chunks(8).map(|of| instruction(of, is_big_endian(native))).collect())
    }
}

impl Drop for Libseccomp {
    fn drop(&mut self) {
        self.script.kill().and_then(|()| self.script.wait()).expect("the script ends");
    }
}

/// libseccomp writes programs in the byte order of the machine that they are for.
fn instruction(bytes: &[u8], big_endian: bool) -> sock_filter {
    let (code, k) = ([bytes[0], bytes[1]], [bytes[4], bytes[5], bytes[6], bytes[7]]);
    let (code, k) = match big_endian {
        true => (u16::from_be_bytes(code), u32::from_be_bytes(k)),
        false => (u16::from_le_bytes(code), u32::from_le_bytes(k)),
    };
    sock_filter { code, jt: bytes[2], jf: bytes[3], k }
}
