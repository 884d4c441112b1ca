//! `process`.

use super::object::object;

object! {
    /// The container's process.
    Process {
        /// Whether a pseudo-terminal is attached.
        terminal: bool = "terminal",
        /// Size of the terminal.
        console_size: Option<ConsoleSize> = "consoleSize",
        /// User and groups.
        user: User = "user",
        /// Argument vector; `args[0]` is looked up in PATH of `env`.
        args: Vec<String> = "args",
        /// Windows command line: refused.
        command_line: String = "commandLine",
        /// Environment, `NAME=value`.
        env: Vec<String> = "env",
        /// Absolute working directory.
        cwd: String = "cwd",
        /// The five capability sets.
        capabilities: Option<Capabilities> = "capabilities",
        /// Resource limits.
        rlimits: Vec<Rlimit> = "rlimits",
        /// Whether execve may grant no further privileges.
        no_new_privileges: bool = "noNewPrivileges",
        /// AppArmor profile.
        apparmor_profile: String = "apparmorProfile",
        /// oom_score_adj, -1000 to 1000; untouched when absent.
        oom_score_adj: Option<i64> = "oomScoreAdj",
        /// Scheduling policy.
        scheduler: Option<Scheduler> = "scheduler",
        /// SELinux label.
        selinux_label: String = "selinuxLabel",
        /// I/O priority.
        io_priority: Option<IoPriority> = "ioPriority",
        /// CPU affinity of exec processes.
        exec_cpu_affinity: Option<ExecCpuAffinity> = "execCPUAffinity",
    }
}

object! {
    /// `process.consoleSize`, in characters.
    ConsoleSize {
        /// Rows.
        height: u64 = "height",
        /// Columns.
        width: u64 = "width",
    }
}

object! {
    /// `process.user`.
    User {
        /// User id inside the container.
        uid: u32 = "uid",
        /// Group id inside the container.
        gid: u32 = "gid",
        /// File mode creation mask; the caller's when absent.
        umask: Option<u32> = "umask",
        /// Supplementary groups.
        additional_gids: Vec<u32> = "additionalGids",
        /// Windows user name: refused.
        username: String = "username",
    }
}

object! {
    /// `process.capabilities`, names such as `CAP_KILL`.
    Capabilities {
        /// Bounding set.
        bounding: Vec<String> = "bounding",
        /// Effective set.
        effective: Vec<String> = "effective",
        /// Inheritable set.
        inheritable: Vec<String> = "inheritable",
        /// Permitted set.
        permitted: Vec<String> = "permitted",
        /// Ambient set.
        ambient: Vec<String> = "ambient",
    }
}

object! {
    /// One entry of `process.rlimits`.
    Rlimit {
        /// Name such as `RLIMIT_NOFILE`.
        kind: String = "type",
        /// Hard limit in the unit of the resource.
        hard: u64 = "hard",
        /// Soft limit in the unit of the resource.
        soft: u64 = "soft",
    }
}

object! {
    /// `process.scheduler`, see sched_setattr(2).
    Scheduler {
        /// Policy such as `SCHED_BATCH`.
        policy: String = "policy",
        /// Nice value for SCHED_OTHER and SCHED_BATCH.
        nice: i32 = "nice",
        /// Static priority for SCHED_FIFO and SCHED_RR.
        priority: i32 = "priority",
        /// Flags such as `SCHED_FLAG_RESET_ON_FORK`.
        flags: Vec<String> = "flags",
        /// SCHED_DEADLINE runtime in nanoseconds.
        runtime: u64 = "runtime",
        /// SCHED_DEADLINE deadline in nanoseconds.
        deadline: u64 = "deadline",
        /// SCHED_DEADLINE period in nanoseconds.
        period: u64 = "period",
    }
}

object! {
    /// `process.ioPriority`, see ioprio_set(2).
    IoPriority {
        /// Class such as `IOPRIO_CLASS_BE`.
        class: String = "class",
        /// Level inside the class, 0 to 7.
        priority: i32 = "priority",
    }
}

object! {
    /// `process.execCPUAffinity`, lists such as `0-3,7`.
    ExecCpuAffinity {
        /// Before the process joins the container's cgroup.
        initial: String = "initial",
        /// After it.
        last: String = "final",
    }
}
