//! The only program inside the containers: carries out the operations that
//! its argument lists and prints one line of JSON for each.
//!
//! An operation is a JSON array, name first: `["stat", "/dev/null"]`. Its line
//! is `{"op": [...], "value": ...}` or `{"op": [...], "error": "ENOENT"}`.

mod report;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::process::{Command, ExitCode};

/// The hidden first argument.
pub(crate) const PART: &str = "__probe";

/// Where the program lies in every root file system.
pub(crate) const PATH: &str = "/probe";

/// More than any file of /proc that a case reads.
const READ_BOUND: u64 = 256 << 10;

pub(crate) fn play(operations: Option<OsString>) -> ExitCode {
    let text = operations.and_then(|text| text.into_string().ok()).unwrap_or_default();
    if text.contains("\"report\"") {
        report::note_descriptors();
    }
    let Ok(Value::Array(operations)) = serde_json::from_str(&text) else {
        eprintln!("probe: the argument is not a JSON array: {text}");
        return ExitCode::from(120);
    };
    for operation in &operations {
        match carry_out(operation) {
            Ok(Step::Value(value)) => print(&json!({ "op": operation, "value": value })),
            Ok(Step::Exit(code)) => return ExitCode::from(code),
            Err(error) => print(&json!({ "op": operation, "error": name_of(&error) })),
        }
    }
    ExitCode::SUCCESS
}

enum Step {
    Value(Value),
    Exit(u8),
}

/// The kernel's name of an error, or its text when it is none of the kernel's.
fn name_of(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => format!("{:?}", Errno::from_raw(number)),
        None => error.to_string(),
    }
}

fn print(line: &Value) {
    println!("{line}");
}

fn carry_out(operation: &Value) -> io::Result<Step> {
    let text = |index: usize| operation[index].as_str().unwrap_or_default();
    let number = |index: usize| operation[index].as_u64().unwrap_or_default();
    let done = || Ok(Value::Bool(true));
    let value = match text(0) {
        "report" => Ok(report::report()),
        "stat" => std::fs::metadata(text(1)).map(|found| describe(&found)),
        "lstat" => std::fs::symlink_metadata(text(1)).map(|found| describe(&found)),
        "statfs" => describe_file_system(text(1)),
        "read" => read(text(1)).map(Value::String),
        "readlink" => std::fs::read_link(text(1)).map(|to| json!(to.to_string_lossy())),
        "list" => list(text(1)),
        "write" => write(text(1), text(2)).and_then(|()| done()),
        "create" => File::create_new(text(1)).and_then(|_| done()),
        "open" => open(text(1), text(2)).and_then(|()| done()),
        "mkdir" => std::fs::create_dir(text(1)).and_then(|()| done()),
        "unlink" => std::fs::remove_file(text(1)).and_then(|()| done()),
        "symlink" => std::os::unix::fs::symlink(text(1), text(2)).and_then(|()| done()),
        "chown" => {
            std::os::unix::fs::chown(text(1), Some(number(2) as u32), Some(number(3) as u32))
                .and_then(|()| done())
        }
        "chmod" => std::fs::set_permissions(
            text(1),
            std::os::unix::fs::PermissionsExt::from_mode(number(2) as u32),
        )
        .and_then(|()| done()),
        "mknod" => make_node(text(1), text(2), number(3), number(4)).and_then(|()| done()),
        "mount" => mount(text(1), text(2), text(3)).and_then(|()| done()),
        "exec" => execute(&text_list(operation, 1)),
        "call" => call(operation),
        "spawn" => spawn(number(1)),
        "leave" => leave(number(1)),
        "terminals" => Ok(terminals()),
        "loopback" => loopback().and_then(|()| done()),
        "datagram" => datagram(text(1), text(2)).and_then(|()| done()),
        "thread" => thread(operation),
        "chdir" => std::env::set_current_dir(text(1)).and_then(|()| done()),
        "allocate" => Ok(allocate(number(1))),
        "busy-cpus" => Ok(json!(std::thread::available_parallelism()?.get())),
        "echo" => Ok(json!(text(1))),
        "stdin" => read_all(&mut io::stdin()).map(Value::String),
        "stderr" => writeln!(io::stderr(), "{}", text(1)).and_then(|()| done()),
        "await-signal" => await_signal(operation),
        "hold" => hold(operation),
        "exit" => return Ok(Step::Exit(number(1) as u8)),
        _ => Err(io::Error::other("the probe knows no such operation")),
    };
    value.map(Step::Value)
}

fn text_list(operation: &Value, from: usize) -> Vec<String> {
    let items = operation.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().skip(from).filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn describe(found: &std::fs::Metadata) -> Value {
    let kind = found.file_type();
    let kind = match () {
        () if kind.is_dir() => "directory",
        () if kind.is_file() => "file",
        () if kind.is_symlink() => "symlink",
        () if kind.is_char_device() => "char",
        () if kind.is_block_device() => "block",
        () if kind.is_fifo() => "fifo",
        () => "socket",
    };
    json!({
        "kind": kind,
        "mode": found.mode() & 0o7777,
        "uid": found.uid(),
        "gid": found.gid(),
        "size": found.size(),
        "major": nix::sys::stat::major(found.rdev()),
        "minor": nix::sys::stat::minor(found.rdev()),
        "inode": found.ino(),
        "device": found.dev(),
    })
}

fn describe_file_system(path: &str) -> io::Result<Value> {
    let found = nix::sys::statfs::statfs(path)?;
    Ok(json!({
        "type": format!("{:#x}", found.filesystem_type().0),
        "flags": found.flags().bits(),
        "blocks": found.blocks(),
        "block_size": found.block_size(),
    }))
}

fn read(path: &str) -> io::Result<String> {
    read_all(&mut File::open(path)?)
}

fn read_all(from: &mut dyn Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    from.take(READ_BOUND).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn list(path: &str) -> io::Result<Value> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(json!(names))
}

fn write(path: &str, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}

/// Opens without waiting for the other end of a FIFO.
fn open(path: &str, mode: &str) -> io::Result<()> {
    OpenOptions::new()
        .read(mode.contains('r'))
        .write(mode.contains('w'))
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)
        .map(drop)
}

fn make_node(path: &str, kind: &str, major: u64, minor: u64) -> io::Result<()> {
    let kind = match kind {
        "b" => SFlag::S_IFBLK,
        "p" => SFlag::S_IFIFO,
        _ => SFlag::S_IFCHR,
    };
    Ok(mknod(path, kind, Mode::from_bits_truncate(0o666), makedev(major, minor))?)
}

fn mount(source: &str, target: &str, kind: &str) -> io::Result<()> {
    let flags = match kind {
        "bind" => nix::mount::MsFlags::MS_BIND,
        "remount-rw" => nix::mount::MsFlags::MS_REMOUNT | nix::mount::MsFlags::MS_BIND,
        _ => nix::mount::MsFlags::empty(),
    };
    Ok(nix::mount::mount(Some(source), target, Some(kind), flags, None::<&str>)?)
}

fn execute(words: &[String]) -> io::Result<Value> {
    let Some((program, args)) = words.split_first() else {
        return Err(io::Error::other("exec needs a program"));
    };
    let output = Command::new(program).args(args).output()?;
    Ok(json!({
        "code": output.status.code(),
        "stdout": String::from_utf8_lossy(&output.stdout),
    }))
}

/// System calls that seccomp cases filter: cheap, harmless, and not used by
/// the probe for anything else.
fn call(operation: &Value) -> io::Result<Value> {
    let number = |index: usize| operation[index].as_i64().unwrap_or_default();
    match operation[1].as_str().unwrap_or_default() {
        "lseek" => {
            let null = File::open("/dev/null")?;
            let offset = operation[2].as_i64().unwrap_or_default();
            Ok(json!(nix::unistd::lseek(&null, offset, nix::unistd::Whence::SeekSet)?))
        }
        "kill" => {
            let signal = Signal::try_from(number(2) as i32).ok();
            nix::sys::signal::kill(nix::unistd::getpid(), signal)?;
            Ok(Value::Bool(true))
        }
        "mkdir" => {
            nix::unistd::mkdir("/probe-made-this", Mode::from_bits_truncate(0o755))?;
            Ok(Value::Bool(true))
        }
        "sethostname" => {
            nix::unistd::sethostname("probe")?;
            Ok(Value::Bool(true))
        }
        "sched_yield" => {
            nix::sched::sched_yield()?;
            Ok(Value::Bool(true))
        }
        "personality" => Ok(json!(nix::sys::personality::get()?.bits())),
        // The C library goes on without the call where the kernel does not have it.
        "faccessat2" => {
            let (mode, flags) =
                (nix::unistd::AccessFlags::F_OK, nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW);
            nix::unistd::faccessat(nix::fcntl::AT_FDCWD, "/", mode, flags)?;
            Ok(Value::Bool(true))
        }
        "unshare-user" => {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER)?;
            Ok(Value::Bool(true))
        }
        _ => Err(io::Error::other("the probe knows no such call")),
    }
}

/// Starts up to `count` children that wait for ever; says how many it got.
fn spawn(count: u64) -> io::Result<Value> {
    let mut children = Vec::new();
    let mut refused = Value::Null;
    for _ in 0..count {
        match Command::new(PATH)
            .args([PART, r#"[["hold"]]"#])
            .stdout(std::process::Stdio::null())
            .spawn()
        {
            Ok(child) => children.push(child),
            Err(error) => {
                refused = json!(name_of(&error));
                break;
            }
        }
    }
    let started = children.len();
    for mut child in children {
        child.kill()?;
        child.wait()?;
    }
    Ok(json!({ "started": started, "refused": refused }))
}

/// Starts children that wait for ever, and leaves them.
fn leave(count: u64) -> io::Result<Value> {
    let mut pids = Vec::new();
    for _ in 0..count {
        let hold = [PART, r#"[["hold"]]"#];
        pids.push(Command::new(PATH).args(hold).stdout(std::process::Stdio::null()).spawn()?.id());
    }
    Ok(json!(pids))
}

/// Which of the standard descriptors are terminals.
fn terminals() -> Value {
    use std::io::IsTerminal;
    json!([io::stdin().is_terminal(), io::stdout().is_terminal(), io::stderr().is_terminal()])
}

/// A connection to itself.
fn loopback() -> io::Result<()> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    std::net::TcpStream::connect(listener.local_addr()?).map(drop)
}

/// Sends a datagram to the socket that a variable of the environment names.
fn datagram(variable: &str, text: &str) -> io::Result<()> {
    let path = std::env::var_os(variable).unwrap_or_default();
    std::os::unix::net::UnixDatagram::unbound()?.send_to(text.as_bytes(), path).map(drop)
}

/// The rest of the operation as one of its own, in a second thread.
fn thread(operation: &Value) -> io::Result<Value> {
    let items = operation.as_array().map(Vec::as_slice).unwrap_or_default();
    let inner = Value::Array(items.iter().skip(1).cloned().collect());
    let told = std::thread::spawn(move || {
        carry_out(&inner).is_ok_and(|step| matches!(step, Step::Value(_)))
    });
    Ok(json!(told.join().unwrap_or(false)))
}

/// Touches that many bytes of fresh memory.
fn allocate(bytes: u64) -> Value {
    let mut memory = vec![0u8; bytes as usize];
    memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    json!(std::hint::black_box(memory).len())
}

fn await_signal(operation: &Value) -> io::Result<Value> {
    let all = SigSet::all();
    all.thread_block()?;
    print(&json!({ "op": operation, "ready": true }));
    let signal = all.wait()?;
    Ok(json!(signal.as_str()))
}

fn hold(operation: &Value) -> io::Result<Value> {
    print(&json!({ "op": operation, "ready": true }));
    loop {
        std::thread::park();
    }
}
