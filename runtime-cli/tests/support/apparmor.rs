//! Profiles of AppArmor.

use std::fs;
use std::path::Path;
use std::process::Command;

/// A profile of the kernel, until it is dropped.
pub(crate) struct Profile {
    /// As the kernel knows it.
    pub(crate) name: String,
    file: tempfile::NamedTempFile,
}

impl Profile {
    /// Everything is allowed but writing `/denied`. None where AppArmor is off.
    pub(crate) fn load(name: &str) -> Option<Self> {
        let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
        if !enabled.is_ok_and(|word| word.trim() == "Y")
            || !Path::new("/usr/sbin/apparmor_parser").exists()
        {
            eprintln!("skipped: AppArmor is not enabled, or apparmor_parser is missing");
            return None;
        }
        let name = format!("husk-test-{}-{name}", std::process::id());
        let file = tempfile::NamedTempFile::new().unwrap();
        let rules = "file, capability, signal, ptrace, network, mount, umount, unix, dbus,";
        let flags = "flags=(attach_disconnected,mediate_deleted)";
        let text = format!("profile {name} {flags} {{ {rules} deny /denied w, }}\n");
        fs::write(file.path(), text).unwrap();
        let profile = Self { name, file };
        profile.parser("--replace");
        Some(profile)
    }

    fn parser(&self, action: &str) {
        let mut command = Command::new("/usr/sbin/apparmor_parser");
        let command = command.args([action, "--skip-cache", "--quiet"]).arg(self.file.path());
        assert!(command.status().unwrap().success(), "apparmor_parser {action}");
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        self.parser("--remove");
    }
}
