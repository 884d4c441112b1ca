//! Processes in the foreground with a terminal, started in another terminal: the test's.
#![allow(missing_docs)]

mod support;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::pty::openpty;
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};
use nix::unistd::Pid;
use serde_json::{Value, json};
use support::{Bundle, eventually, resize};

fn bundle(script: &str) -> Bundle {
    with(script, |_| {})
}

fn with(script: &str, change: impl FnOnce(&mut Value)) -> Bundle {
    Bundle::with(&["sh", "-c", script], |config| {
        config["process"]["terminal"] = json!(true);
        config["mounts"].as_array_mut().unwrap().push(json!({
            "destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": ["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        }));
        change(config);
    })
}

/// A bundle whose process sleeps, without a terminal, and runs.
fn running() -> Bundle {
    let bundle = with("exec sleep 1000", |config| config["process"]["terminal"] = json!(false));
    bundle.line("run -d ID").code(0);
    bundle
}

/// A terminal with a program in it.
struct Screen {
    master: File,
    /// Keeps the terminal after the program's end, so that its modes can be looked at.
    terminal: File,
    before: Termios,
    program: Child,
    seen: String,
}

impl Screen {
    /// Starts `husk LINE` in a terminal of 21 lines with 65 characters.
    fn start(bundle: &Bundle, line: &str) -> Self {
        let pty = openpty(None, None).expect("openpty");
        let (master, terminal) = (File::from(pty.master), File::from(pty.slave));
        resize(&master, 21, 65);
        let before = tcgetattr(&terminal).expect("modes");
        let stream = || Stdio::from(terminal.try_clone().expect("clone"));
        let program = command(bundle, line)
            .stdin(stream())
            .stdout(stream())
            .stderr(stream())
            .spawn()
            .expect("husk");
        Self { master, terminal, before, program, seen: String::new() }
    }

    fn type_in(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("write");
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.program.id() as i32), signal).expect("kill");
    }

    /// Reads until this is to be seen; everything before and with it is taken.
    #[track_caller]
    fn until(&mut self, text: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            let length = self.master.read(&mut buffer).expect("the terminal");
            assert!(length > 0, "{text:?} is not in {:?}", self.seen);
            self.seen += &String::from_utf8_lossy(&buffer[..length]);
        }
    }

    fn modes(&self) -> Termios {
        tcgetattr(&self.terminal).expect("modes")
    }

    /// The exit code. What is still to be read afterwards is in `seen`.
    #[track_caller]
    fn end(mut self) -> (ExitStatus, String) {
        let status = self.program.wait().expect("wait");
        assert_eq!(self.modes(), self.before, "the modes of before");
        drop(self.terminal);
        let rest = support::everything(&mut self.master);
        (status, self.seen.replace('\r', "") + &rest)
    }
}

fn command(bundle: &Bundle, line: &str) -> Command {
    let mut command = bundle.command();
    command.args(line.split_whitespace().map(|word| match word {
        "ID" => bundle.id(),
        word => word,
    }));
    command
}

/// Runs a script by `exec --tty` with input and output that are no terminals.
fn exec(bundle: &Bundle, script: &str) -> Command {
    let mut command = bundle.command();
    command.args(["exec", "--tty", bundle.id(), "sh", "-c", script]);
    command.stdin(Stdio::null());
    command
}

#[test]
fn a_shell_to_talk_with() {
    let bundle = bundle("exec sh");
    let mut screen = Screen::start(&bundle, "run ID");
    screen.until("# ");
    assert!(!screen.modes().local_flags.contains(LocalFlags::ICANON | LocalFlags::ISIG), "raw");
    screen.type_in("echo got $((6 * 7)); busybox tty; busybox stty size\n");
    // The keys are echoed once, by the container's terminal.
    assert_eq!(screen.until("got 42").matches("echo").count(), 1);
    screen.until("/dev/pts/0\r\n21 65\r\n");
    resize(&screen.master, 30, 100);
    screen.signal(Signal::SIGWINCH);
    screen.type_in("busybox stty size\n");
    screen.until("30 100");
    // Interrupts the program in the container, not husk.
    screen.type_in("sleep 1000; echo after $?\n");
    screen.until("echo after $?");
    eventually("sleep", || {
        let told = bundle.line("exec ID ps");
        told.out.contains("sleep 1000").then_some(())
    });
    screen.type_in("\x03");
    screen.until("# ");
    screen.type_in("exit 5\n");
    assert_eq!(screen.end().0.code(), Some(5));
    bundle.assert_gone();
}

#[test]
fn exec_has_the_size_and_the_exit_code() {
    let bundle = running();
    let script = bundle.rootfs().join("script");
    fs::write(&script, "busybox tty; busybox stty size; exit 9").unwrap();
    let screen = Screen::start(&bundle, "exec -t ID sh /script");
    let (status, seen) = screen.end();
    assert_eq!((status.code(), seen.as_str()), (Some(9), "/dev/pts/0\n21 65\n"));
}

#[test]
fn signals_go_to_the_process_and_the_modes_come_back() {
    let script = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done";
    let bundle = bundle(script);
    let mut screen = Screen::start(&bundle, "run ID");
    screen.until("ready");
    screen.signal(Signal::SIGTERM);
    assert_eq!(screen.end().0.code(), Some(3));
}

#[test]
fn failures_are_said_in_a_terminal_as_it_was() {
    let bundle = with("true", |config| config["process"]["args"] = json!(["nothing-of-this-name"]));
    let (status, seen) = Screen::start(&bundle, "run ID").end();
    assert_eq!(status.code(), Some(1));
    assert!(seen.contains("executable file not found in $PATH"), "{seen}");
    bundle.assert_gone();
    let bundle = running();
    let line = "exec -t --pid-file pid ID nothing-of-this-name";
    let (status, seen) = Screen::start(&bundle, line).end();
    assert_eq!(status.code(), Some(255));
    assert!(seen.contains("executable file not found in $PATH"), "{seen}");
    assert!(!bundle.path().join("pid").exists());
    // Found out only when it is executed, with the terminal in use already.
    let bad = with("true", |config| config["process"]["args"] = json!(["/bad"]));
    support::write_program(bad.rootfs().join("bad"), "#!/no/such/interpreter\n", 0o755);
    let (status, seen) = Screen::start(&bad, "run ID").end();
    assert_eq!(status.code(), Some(1), "{seen}");
    bad.assert_gone();
}

/// More than the kernel keeps, byte by byte, through a pipe that is not read at first.
#[test]
fn nothing_of_the_output_is_lost() {
    let expected: String = (1..=60_000).map(|number| format!("{number}\n")).collect();
    let bundle = running();
    let script = "busybox seq 1 60000; echo end >&2";
    let mut child = exec(&bundle, script).stdout(Stdio::piped()).spawn().expect("husk");
    let mut output = child.stdout.take().expect("stdout");
    eventually("seq waits", || bundle.line("exec ID ps").out.contains("seq 1 60000").then_some(()));
    let seen = io::read_to_string(&mut output).expect("output");
    assert!(child.wait().expect("wait").success());
    assert_eq!(seen.len(), expected.len() + "end\n".len());
    assert!(seen.starts_with(&expected) && seen.ends_with("end\n"));
}

/// A large output at once before the end, to a file.
#[test]
fn the_last_bytes_before_the_end_come() {
    let bundle = running();
    for round in 0..20 {
        let file = bundle.path().join("output");
        let length = 3000 + round * 37;
        let script = format!("busybox head -c {length} /dev/zero | busybox tr '\\0' x; exit 4");
        let status = exec(&bundle, &script).stdout(File::create(&file).unwrap()).status().unwrap();
        assert_eq!(status.code(), Some(4));
        assert_eq!(fs::read_to_string(&file).unwrap(), "x".repeat(length));
    }
}

#[test]
fn input_may_be_a_pipe_that_ends() {
    let bundle = bundle("read word; echo got $word; exit 6");
    let mut command = command(&bundle, "run ID");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("husk");
    child.stdin.take().expect("stdin").write_all(b"hello\n").expect("write");
    let seen = io::read_to_string(child.stdout.take().expect("stdout")).expect("output");
    assert!(seen.contains("got hello\n"), "{seen}");
    assert_eq!(child.wait().expect("wait").code(), Some(6));
}

/// Nobody reads the output any more: the terminal hangs up.
#[test]
fn a_reader_that_goes_ends_the_session() {
    let bundle = running();
    let mut child =
        exec(&bundle, "while :; do echo y; done").stdout(Stdio::piped()).spawn().unwrap();
    let mut output = child.stdout.take().unwrap();
    output.read_exact(&mut [0; 2]).unwrap();
    drop(output);
    let code = child.wait().unwrap().code();
    // SIGHUP, or the shell's answer to the error of its write.
    assert!(matches!(code, Some(129 | 1)), "{code:?}");
}

/// The process has ended, and nobody takes what it wrote: husk can still be ended.
#[test]
fn a_reader_that_does_not_read_does_not_keep_husk_from_signals() {
    let bundle = running();
    let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_NONBLOCK).unwrap();
    while nix::unistd::write(&writer, &[0; 4096]).is_ok() {}
    nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::empty())).unwrap();
    let pid_file = bundle.path().join("pid");
    let mut command = bundle.command();
    command.args(["exec", "--tty", "--pid-file"]).arg(&pid_file).args([bundle.id(), "echo", "x"]);
    let mut child = command.stdin(Stdio::null()).stdout(writer).spawn().unwrap();
    let pid = eventually("the pid file", || fs::read_to_string(&pid_file).ok());
    eventually("its end", || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    drop(reader);
}

#[test]
fn a_process_that_keeps_the_terminal_does_not_keep_husk() {
    let bundle = running();
    let script = "busybox setsid sleep 1000 & echo done";
    let told = exec(&bundle, script).stdout(Stdio::piped()).output().unwrap();
    assert!(told.status.success());
    assert_eq!(String::from_utf8_lossy(&told.stdout), "done\n");
}

/// As systemd does it in a container.
#[test]
fn a_terminal_that_is_closed_may_be_opened_again() {
    let script =
        "echo first; exec < /dev/null > /dev/null 2>&1; sleep 0.2; echo later > /dev/console";
    let bundle = bundle(script);
    let told = command(&bundle, "run ID").stdout(Stdio::piped()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&told.stdout), "first\nlater\n");
    assert!(told.status.success());
}

/// Keys that come from no terminal cannot interrupt, so that the terminal at hand stays as it is.
#[test]
fn without_keys_the_terminal_is_not_raw() {
    let bundle = bundle("busybox stty size; read word");
    let pty = openpty(None, None).unwrap();
    let (mut master, terminal) = (File::from(pty.master), File::from(pty.slave));
    resize(&master, 15, 16);
    let before = tcgetattr(terminal.as_fd()).unwrap();
    let mut command = command(&bundle, "run ID");
    command.stdin(Stdio::piped()).stdout(terminal.try_clone().unwrap());
    let mut child = command.stderr(terminal.try_clone().unwrap()).spawn().unwrap();
    let mut seen = [0; 6];
    master.read_exact(&mut seen).unwrap();
    assert_eq!(&seen, b"15 16\r");
    assert_eq!(tcgetattr(terminal.as_fd()).unwrap(), before);
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let status = child.wait().unwrap();
    assert_eq!((status.code(), status.signal()), (Some(0), None));
}
