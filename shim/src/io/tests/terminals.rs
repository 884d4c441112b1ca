//! Terminals, with processes whose sessions they control.

use libcontainer::terminal::Size;
use nix::pty::openpty;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use super::*;

/// Streams of a terminal, and its other end.
async fn open(streams: &Streams) -> (Io, OwnedFd) {
    let streams = Streams { terminal: true, ..streams.clone() };
    let (mut io, ends) = Io::open(&streams, Owner::default(), &context()).await.unwrap();
    let ChildEnds::Console(socket) = ends else { panic!("pipes") };
    let pty = openpty(None, None).unwrap();
    for end in [&pty.master, &pty.slave] {
        nix::fcntl::fcntl(end, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))
            .unwrap();
    }
    let rights = [pty.master.as_raw_fd()];
    let bytes = [std::io::IoSlice::new(b"/dev/ptmx")];
    let message = [ControlMessage::ScmRights(&rights)];
    sendmsg::<()>(socket.as_raw_fd(), &bytes, &message, MsgFlags::empty(), None).unwrap();
    drop((socket, pty.master));
    io.start().unwrap();
    (io, pty.slave)
}

/// Executes a script as leader of a session that the terminal controls.
fn execute_in(terminal: &OwnedFd, script: &str) -> Child {
    let path = fs::read_link(format!("/proc/self/fd/{}", terminal.as_raw_fd())).unwrap();
    let end = || {
        let flags = libc::O_NOCTTY;
        File::options().read(true).write(true).custom_flags(flags).open(&path).unwrap()
    };
    let mut command = Command::new("setsid");
    command.args(["--ctty", "sh", "-c", script]).stdin(end()).stdout(end()).stderr(end());
    command.spawn().unwrap()
}

/// Text that a FIFO's reader got until its end.
fn text(path: &str) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    let path = path.to_owned();
    thread::spawn(move || sender.send(fs::read_to_string(path).unwrap()).unwrap());
    receiver
}

#[test]
fn the_last_bytes_of_a_terminal_are_not_lost() {
    let place = Place::new();
    let path = place.fifo("out");
    on_one_thread(async {
        for _ in 0..20 {
            let (io, terminal) = open(&outputs(&path, "")).await;
            let reader = text(&path);
            let mut child =
                execute_in(&terminal, "head -c 100000 /dev/zero | tr '\\0' x; echo; echo end");
            drop(terminal);
            assert!(ended(&mut child).await.success());
            io.drained().await;
            let text = received(&reader).await;
            assert_eq!(text.len(), 100_000 + "\r\nend\r\n".len());
            assert!(text.ends_with("x\r\nend\r\n"));
        }
    });
}

#[test]
fn input_goes_to_the_terminal() {
    let place = Place::new();
    let (input, output) = (place.fifo("in"), place.fifo("out"));
    on_one_thread(async {
        let streams = Streams { stdin: input.clone(), ..outputs(&output, "") };
        let (io, terminal) = open(&streams).await;
        let reader = text(&output);
        let mut child = execute_in(&terminal, "stty -echo; echo now; read a; echo got $a");
        drop(terminal);
        let mut keys = File::options().write(true).open(&input).unwrap();
        keys.write_all(b"words\n").unwrap();
        assert!(ended(&mut child).await.success());
        io.drained().await;
        let text = received(&reader).await;
        assert!(text.contains("got words\r\n"), "{text:?}");
    });
}

#[test]
fn more_input_than_the_terminal_takes_waits() {
    const TOTAL: usize = 300_000;
    let place = Place::new();
    let (input, output) = (place.fifo("in"), place.fifo("out"));
    on_one_thread(async {
        let streams = Streams { stdin: input.clone(), ..outputs(&output, "") };
        let (io, terminal) = open(&streams).await;
        let reader = text(&output);
        // A terminal that reads lines throws away what is too long for one.
        let raw = place.path("raw");
        let script = format!("stty raw -echo; > {}; head -c {TOTAL} | wc -c", raw.display());
        let mut child = execute_in(&terminal, &script);
        drop(terminal);
        until("a raw terminal", || raw.exists()).await;
        let writer = thread::spawn(move || {
            let mut keys = File::options().write(true).open(&input).unwrap();
            keys.write_all(&vec![b'k'; TOTAL]).unwrap();
        });
        assert!(ended(&mut child).await.success());
        writer.join().unwrap();
        io.drained().await;
        let text = received(&reader).await;
        assert!(text.contains(&TOTAL.to_string()), "{text:?}");
    });
}

#[test]
fn the_size_is_given() {
    on_one_thread(async {
        let (io, terminal) = open(&Streams::default()).await;
        io.resize(132, 43).unwrap();
        let expected = Size { rows: 43, columns: 132 };
        assert_eq!(Size::of(terminal.as_fd()), Some(expected));
    });
}

#[test]
fn a_hang_up_before_the_end_of_the_process_is_survived() {
    let place = Place::new();
    let path = place.fifo("out");
    on_one_thread(async {
        let (io, terminal) = open(&outputs(&path, "")).await;
        let reader = text(&path);
        // The end of a session's leader hangs its terminal up.
        for word in ["one", "two", "three"] {
            let mut child = execute_in(&terminal, &format!("echo {word}"));
            assert!(ended(&mut child).await.success());
        }
        drop(terminal);
        io.drained().await;
        assert_eq!(received(&reader).await, "one\r\ntwo\r\nthree\r\n");
    });
}

#[test]
fn the_end_of_the_input_hangs_the_terminal_up() {
    let place = Place::new();
    let (input, output) = (place.fifo("in"), place.fifo("out"));
    on_one_thread(async {
        let streams = Streams { stdin: input.clone(), ..outputs(&output, "") };
        let (io, terminal) = open(&streams).await;
        let reader = text(&output);
        let mut child = execute_in(&terminal, "echo here; exec sleep 1000");
        drop(terminal);
        let keys = File::options().write(true).open(&input).unwrap();
        io.close_stdin();
        drop(keys);
        assert!(!ended(&mut child).await.success());
        io.drained().await;
        received(&reader).await;
    });
}

/// In a process of its own, whose descriptors are nobody else's.
#[test]
fn a_thousand_rounds_leave_no_descriptor() {
    const ALONE: &str = "HUSK_SHIM_TEST_ALONE";
    const NAME: &str = "io::tests::terminals::a_thousand_rounds_leave_no_descriptor";
    if std::env::var_os(ALONE).is_none() {
        let test = std::env::current_exe().unwrap();
        let mut alone = Command::new(test);
        alone.args(["--exact", NAME, "--nocapture"]).env(ALONE, "yes");
        assert!(alone.status().unwrap().success());
        return;
    }
    let place = Place::new();
    let streams = Streams { stdin: place.fifo("in"), ..outputs(&place.fifo("out"), "") };
    on_one_thread(async {
        let mut at_first = 0;
        for round in 0..1000 {
            let (first, one) = open(&streams).await;
            let (second, two) = open(&streams).await;
            first.resize(80, 25).unwrap();
            second.resize(81, 26).unwrap();
            drop(first);
            second.resize(82, 27).unwrap();
            second.close_stdin();
            drop((one, two, second));
            if round == 10 {
                at_first = settled().await;
            }
        }
        let at_last = settled().await;
        assert_eq!(at_last, at_first);
    });
}

/// Number of descriptors when everything that was dropped is closed.
async fn settled() -> usize {
    let count = || fs::read_dir("/proc/self/fd").unwrap().count();
    let (mut last, mut same) = (count(), 0);
    while same < 20 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let now = count();
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    last
}
