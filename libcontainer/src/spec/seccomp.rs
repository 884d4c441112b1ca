//! `linux.seccomp`.

use super::object::object;

object! {
    /// The system call filter.
    Seccomp {
        /// Action for calls that no rule matches, such as `SCMP_ACT_ERRNO`.
        default_action: String = "defaultAction",
        /// errno of the default action.
        default_errno_ret: Option<u32> = "defaultErrnoRet",
        /// Architectures such as `SCMP_ARCH_X86_64`; the native one when empty.
        architectures: Vec<String> = "architectures",
        /// Flags such as `SECCOMP_FILTER_FLAG_LOG`; an empty list means something else than none.
        flags: Option<Vec<String>> = "flags",
        /// Unix socket of a seccomp agent.
        listener_path: String = "listenerPath",
        /// Opaque data for the agent.
        listener_metadata: String = "listenerMetadata",
        /// Rules.
        syscalls: Vec<SyscallRule> = "syscalls",
    }
}

object! {
    /// One entry of `linux.seccomp.syscalls`.
    SyscallRule {
        /// Names of system calls.
        names: Vec<String> = "names",
        /// Action.
        action: String = "action",
        /// errno of the action, or the data of SCMP_ACT_TRACE.
        errno_ret: Option<u32> = "errnoRet",
        /// Conditions, all of which must hold.
        args: Vec<SyscallArgument> = "args",
    }
}

object! {
    /// A condition on one argument.
    SyscallArgument {
        /// Number of the argument, 0 to 5.
        index: u32 = "index",
        /// Value to compare with, or the mask of SCMP_CMP_MASKED_EQ.
        value: u64 = "value",
        /// Value of SCMP_CMP_MASKED_EQ.
        value_two: u64 = "valueTwo",
        /// Operator such as `SCMP_CMP_EQ`.
        op: String = "op",
    }
}
