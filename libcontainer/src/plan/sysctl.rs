//! `linux.sysctl`: which kernel parameters belong to a namespace of the container.

use super::{Context, NamespaceKind, PlanError};
use crate::protocol::Step;

const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Writes each parameter; one that is not the container's alone is refused.
pub(super) fn plan_sysctl(ctx: &mut Context<'_>) -> Result<(), PlanError> {
    let Some(linux) = ctx.linux() else {
        return Ok(());
    };
    for (key, value) in &linux.sysctl {
        let pointer = pointer(key);
        let name = dotted(key);
        check_key(&name, key, &pointer)?;
        check_namespace(ctx, &name, key, &pointer)?;
        if value.contains(['\n', '\0']) {
            let message = format!("the value of sysctl {key:?} is not one line");
            return Err(PlanError::new(pointer, message));
        }
        let path = ctx.text(format!("sys/{}", path(&name)), &pointer)?;
        let value = ctx.text(value, &pointer)?;
        ctx.push(Step::WriteSysctl { path, value }, pointer);
    }
    Ok(())
}

fn pointer(key: &str) -> String {
    crate::pointer::below("/linux/sysctl", key)
}

/// Both separators are accepted as sysctl(8) does: the first one that occurs separates, the
/// other is part of a name.
fn dotted(key: &str) -> String {
    match key.find(['.', '/']) {
        Some(at) if key.as_bytes().get(at) == Some(&b'/') => swapped(key),
        _ => key.to_owned(),
    }
}

fn path(name: &str) -> String {
    swapped(name)
}

fn swapped(name: &str) -> String {
    name.chars()
        .map(|letter| match letter {
            '.' => '/',
            '/' => '.',
            other => other,
        })
        .collect()
}

fn check_key(name: &str, key: &str, pointer: &str) -> Result<(), PlanError> {
    let path = path(name);
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) || path.contains('\0') {
        return Err(PlanError::new(pointer, format!("sysctl {key:?} is not a parameter's name")));
    }
    Ok(())
}

fn check_namespace(
    ctx: &Context<'_>,
    name: &str,
    key: &str,
    pointer: &str,
) -> Result<(), PlanError> {
    let has = |kind| ctx.has_own(kind);
    let error = |message: String| Err(PlanError::new(pointer, message));
    if IPC.contains(&name) || name.starts_with("fs.mqueue.") {
        if has(NamespaceKind::Ipc) {
            return Ok(());
        }
        return error(format!("sysctl {key:?} is not allowed in the hosts ipc namespace"));
    }
    if name.starts_with("net.") {
        if has(NamespaceKind::Network) {
            return Ok(());
        }
        return error(format!("sysctl {key:?} is not allowed in the hosts network namespace"));
    }
    if name.starts_with("user.") {
        if has(NamespaceKind::User) {
            return Ok(());
        }
        return error(format!("sysctl {key:?} is not allowed in the hosts user namespace"));
    }
    match name {
        "kernel.domainname" if has(NamespaceKind::Uts) => Ok(()),
        "kernel.domainname" => {
            error(format!("sysctl {key:?} is not allowed in the hosts UTS namespace"))
        }
        "kernel.hostname" => error(format!(
            "sysctl {key:?} is not allowed as it conflicts with the OCI \"hostname\" field"
        )),
        _ => error(format!("sysctl {key:?} is not in a separate kernel namespace")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators() {
        assert_eq!(
            dotted("net/ipv4/conf/eth0.100/forwarding"),
            "net.ipv4.conf.eth0/100.forwarding"
        );
        assert_eq!(path("net.ipv4.conf.eth0/100.forwarding"), "net/ipv4/conf/eth0.100/forwarding");
        assert_eq!(path(&dotted("net.ipv4.ip_forward")), "net/ipv4/ip_forward");
        assert_eq!(path(&dotted("net/../kernel/panic")), "net/../kernel/panic");
    }

    #[test]
    fn keys_that_leave_the_tree_are_refused() {
        for key in ["net/../kernel/panic", "net.//.kernel", "net..", "net./", ""] {
            assert!(check_key(&dotted(key), key, "").is_err(), "{key}");
        }
    }
}
