//! Any profile: compiled into a program that the kernel would take, and that answers each call as
//! the profile says, read by a second pair of eyes.

#![no_main]

#[path = "../../libcontainer/tests/seccomp/bpf.rs"]
mod bpf;
#[path = "../../libcontainer/tests/seccomp/direct.rs"]
mod direct;
#[allow(dead_code)]
#[path = "../../libcontainer/tests/seccomp/profiles.rs"]
mod profiles;

use libcontainer::seccomp::{Arch, compile};
use libcontainer::spec::Seccomp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(profile) = Seccomp::parse(bytes) else { return };
    for native in [Arch::X86_64, Arch::Aarch64, Arch::S390x] {
        let Ok(filter) = compile(&profile, native) else { continue };
        bpf::check(&filter.program);
        let direct = direct::Direct::new(&profile, native);
        let mut random = profiles::Random::new(bytes.len() as u64);
        for call in profiles::calls(&profile, native, false, &mut random) {
            let (returned, _) = bpf::run(&filter.program, &call, direct::is_big_endian(native));
            let answers = direct.answers(&call);
            assert!(
                answers.contains(&returned),
                "{native:?}: {call:x?} returns {returned:#x}, the profile says {answers:x?}"
            );
        }
    }
});
