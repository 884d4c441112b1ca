//! Messages to the system's logs, read where journald keeps them.

use std::process::{Command, Stdio};

use super::support::{Bundle, eventually, told};
use super::{SLEEP, systemd};

/// The fields of the newest message with this tag.
fn entry(tag: &str) -> serde_json::Value {
    eventually(&format!("a message of {tag} in the journal"), || {
        let mut command = Command::new("journalctl");
        command.stdin(Stdio::null()).args(["--quiet", "--output=json", "--lines=1"]);
        let found = told(&mut command, [format!("SYSLOG_IDENTIFIER={tag}")]);
        serde_json::from_str(found.out.trim()).ok()
    })
}

#[test]
fn messages_reach_the_journal_and_syslog() {
    let Some(_systemd) = systemd() else { return };
    let bundle = Bundle::new(SLEEP);
    for (place, transport) in [("journald", "journal"), ("syslog", "syslog")] {
        let tag = format!("{place}-{}", bundle.id());
        bundle.line(&format!("--log {place}:{tag} state none-of-that-name")).code(1);
        let entry = entry(&tag);
        let text = entry["MESSAGE"].as_str().unwrap();
        assert!(text.contains("container does not exist"), "{entry}");
        assert_eq!(entry["_TRANSPORT"], transport, "{entry}");
        // An error, by syslog's numbers.
        assert_eq!(entry["PRIORITY"], "3", "{entry}");
    }
}
