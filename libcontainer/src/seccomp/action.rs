//! Names in a profile: actions, operators and flags.

/// What a filter returns to the kernel: `SECCOMP_RET_*` with its data in the low 16 bits
/// (include/uapi/linux/seccomp.h).
pub(super) mod ret {
    pub(in crate::seccomp) const KILL_PROCESS: u32 = 0x8000_0000;
    pub(in crate::seccomp) const KILL_THREAD: u32 = 0;
    pub(in crate::seccomp) const TRAP: u32 = 0x0003_0000;
    pub(in crate::seccomp) const ERRNO: u32 = 0x0005_0000;
    pub(in crate::seccomp) const NOTIFY: u32 = 0x7fc0_0000;
    pub(in crate::seccomp) const TRACE: u32 = 0x7ff0_0000;
    pub(in crate::seccomp) const LOG: u32 = 0x7ffc_0000;
    pub(in crate::seccomp) const ALLOW: u32 = 0x7fff_0000;
    pub(in crate::seccomp) const ACTION_MASK: u32 = 0xffff_0000;
    pub(in crate::seccomp) const ENOSYS: u32 = ERRNO | 38;
}

const EPERM: u32 = 1;

const ACTIONS: [(&str, u32); 9] = [
    ("SCMP_ACT_ALLOW", ret::ALLOW),
    ("SCMP_ACT_ERRNO", ret::ERRNO),
    ("SCMP_ACT_KILL", ret::KILL_THREAD),
    ("SCMP_ACT_KILL_PROCESS", ret::KILL_PROCESS),
    ("SCMP_ACT_KILL_THREAD", ret::KILL_THREAD),
    ("SCMP_ACT_LOG", ret::LOG),
    ("SCMP_ACT_NOTIFY", ret::NOTIFY),
    ("SCMP_ACT_TRACE", ret::TRACE),
    ("SCMP_ACT_TRAP", ret::TRAP),
];

/// The names of all actions, sorted.
#[must_use]
pub fn action_names() -> Vec<&'static str> {
    ACTIONS.iter().map(|(name, _)| *name).collect()
}

/// What an action and its `errnoRet` return. ERRNO and TRACE carry EPERM where none is given; the
/// other actions carry nothing, and the specification wants an error for one that is given.
pub(super) fn parse_action(name: &str, errno_ret: Option<u32>) -> Result<u32, String> {
    let Some((_, action)) = ACTIONS.iter().find(|(known, _)| *known == name) else {
        return Err(format!("{name:?} is not an action of seccomp"));
    };
    if !takes_data(*action) {
        return match errno_ret {
            None => Ok(*action),
            Some(_) => Err(format!("{name} carries no errno")),
        };
    }
    match errno_ret.unwrap_or(EPERM) {
        data @ 0..=0xffff => Ok(action | data),
        data => Err(format!("{data} does not fit in the 16 bits that {name} carries")),
    }
}

pub(super) fn takes_data(action: u32) -> bool {
    matches!(action & ret::ACTION_MASK, ret::ERRNO | ret::TRACE)
}

/// An action in the words of a profile, with its data: `SCMP_ACT_ERRNO(38)`.
#[must_use]
pub fn action_text(returned: u32) -> String {
    let name = match returned & ret::ACTION_MASK {
        ret::KILL_THREAD => "SCMP_ACT_KILL_THREAD",
        action => ACTIONS.iter().find(|(_, known)| *known == action).map_or("?", |(name, _)| *name),
    };
    if takes_data(returned) {
        format!("{name}({})", returned & !ret::ACTION_MASK)
    } else {
        name.to_owned()
    }
}

/// How a condition compares an argument with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    NotEqual,
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
    MaskedEqual,
}

const OPERATORS: [(&str, Operator); 7] = [
    ("SCMP_CMP_EQ", Operator::Equal),
    ("SCMP_CMP_GE", Operator::GreaterOrEqual),
    ("SCMP_CMP_GT", Operator::Greater),
    ("SCMP_CMP_LE", Operator::LessOrEqual),
    ("SCMP_CMP_LT", Operator::Less),
    ("SCMP_CMP_MASKED_EQ", Operator::MaskedEqual),
    ("SCMP_CMP_NE", Operator::NotEqual),
];

/// The names of all operators, sorted.
#[must_use]
pub fn operator_names() -> Vec<&'static str> {
    OPERATORS.iter().map(|(name, _)| *name).collect()
}

pub(super) fn parse_operator(name: &str) -> Result<Operator, String> {
    OPERATORS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, operator)| *operator)
        .ok_or_else(|| format!("{name:?} is not an operator of seccomp"))
}

/// Flags of seccomp(2) as bits.
pub(super) mod flag {
    pub(in crate::seccomp) const LOG: u32 = 1 << 1;
    pub(in crate::seccomp) const SPEC_ALLOW: u32 = 1 << 2;
    pub(in crate::seccomp) const NEW_LISTENER: u32 = 1 << 3;
    pub(in crate::seccomp) const WAIT_KILLABLE_RECV: u32 = 1 << 5;
}

/// TSYNC is accepted and sets no bit: the filter is installed in a process with one thread.
const FLAGS: [(&str, u32); 4] = [
    ("SECCOMP_FILTER_FLAG_LOG", flag::LOG),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", flag::SPEC_ALLOW),
    ("SECCOMP_FILTER_FLAG_TSYNC", 0),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", flag::WAIT_KILLABLE_RECV),
];

/// The names of all flags, sorted.
#[must_use]
pub fn flag_names() -> Vec<&'static str> {
    FLAGS.iter().map(|(name, _)| *name).collect()
}

/// The bit of a flag, 0 for one that needs none.
pub(super) fn parse_flag(name: &str) -> Result<u32, String> {
    FLAGS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, bit)| *bit)
        .ok_or_else(|| format!("{name:?} is not a flag of seccomp"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted() {
        assert!(action_names().is_sorted());
        assert!(operator_names().is_sorted());
        assert!(flag_names().is_sorted());
    }

    #[test]
    fn data_goes_with_errno_and_trace_only() {
        assert_eq!(parse_action("SCMP_ACT_ERRNO", None), Ok(ret::ERRNO | 1));
        assert_eq!(parse_action("SCMP_ACT_ERRNO", Some(0)), Ok(ret::ERRNO));
        assert_eq!(parse_action("SCMP_ACT_TRACE", None), Ok(ret::TRACE | 1));
        assert_eq!(parse_action("SCMP_ACT_TRACE", Some(0xffff)), Ok(ret::TRACE | 0xffff));
        assert_eq!(parse_action("SCMP_ACT_ALLOW", None), Ok(ret::ALLOW));
        assert_eq!(parse_action("SCMP_ACT_KILL", None), Ok(ret::KILL_THREAD));
        assert!(parse_action("SCMP_ACT_ALLOW", Some(7)).is_err());
        assert!(parse_action("SCMP_ACT_ERRNO", Some(0x1_0000)).is_err());
        assert!(parse_action("", None).is_err());
    }

    #[test]
    fn actions_are_written_as_in_a_profile() {
        for (name, action) in ACTIONS {
            let written = action_text(action);
            match name {
                "SCMP_ACT_KILL" => assert_eq!(written, "SCMP_ACT_KILL_THREAD"),
                "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE" => assert_eq!(written, format!("{name}(0)")),
                _ => assert_eq!(written, name),
            }
        }
        assert_eq!(action_text(ret::ENOSYS), "SCMP_ACT_ERRNO(38)");
    }
}
