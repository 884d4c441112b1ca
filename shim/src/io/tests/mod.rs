//! Real pipes, FIFOs, files, terminals and programs on the runtime that the shim has.

mod loggers;
mod terminals;

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::Hasher;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;

use super::*;

/// Nothing here takes long; what is broken waits for ever.
const LIMIT: Duration = Duration::from_secs(120);

const MIB: usize = 1 << 20;

fn on_one_thread<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(LIMIT, test).await.expect("it hangs") })
}

/// A directory with FIFOs.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn fifo(&self, name: &str) -> String {
        let path = self.path(name);
        mkfifo(&path, Mode::from_bits_truncate(0o600)).unwrap();
        path.to_str().unwrap().into()
    }

    fn program(&self, name: &str, text: &str) -> String {
        // Written by another process: a descriptor of ours that a child of a test beside this one
        // inherited would make its execution fail.
        let path = self.path(name);
        let mut shell = Command::new("sh")
            .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        shell.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(shell.wait().unwrap().success());
        path.to_str().unwrap().into()
    }
}

fn outputs(stdout: &str, stderr: &str) -> Streams {
    Streams { stdout: stdout.into(), stderr: stderr.into(), ..Streams::default() }
}

async fn open(streams: &Streams) -> (Io, [OwnedFd; 3]) {
    let (io, ends) = Io::open(streams, Owner::default(), &context()).await.unwrap();
    match ends {
        ChildEnds::Pipes(ends) => (io, ends),
        ChildEnds::Console(_) => panic!("a console"),
    }
}

fn context() -> Context {
    Context { namespace: "tests".into(), id: "web".into(), exec_id: String::new() }
}

async fn refusal(streams: &Streams) -> String {
    match Io::open(streams, Owner::default(), &context()).await {
        Ok(_) => panic!("{streams:?} is opened"),
        Err(error) => error.to_string(),
    }
}

/// Executes a shell script with these streams, and closes them here.
fn execute(script: &str, ends: [OwnedFd; 3]) -> Child {
    let [stdin, stdout, stderr] = ends;
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(stdin).stdout(stdout).stderr(stderr);
    command.spawn().unwrap()
}

/// Waits for a condition without blocking the runtime.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT / 2;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn ended(child: &mut Child) -> std::process::ExitStatus {
    let mut status = None;
    until("the end of the process", || {
        status = child.try_wait().unwrap();
        status.is_some()
    })
    .await;
    status.unwrap()
}

/// Reads a FIFO on a thread: length and hash of everything.
fn reader(
    path: &str,
    mut each: impl FnMut(usize) + Send + 'static,
) -> mpsc::Receiver<(usize, u64)> {
    let (sender, receiver) = mpsc::channel();
    let path = path.to_owned();
    thread::spawn(move || {
        let mut file = File::open(path).unwrap();
        let (mut hasher, mut total, mut buffer) = (DefaultHasher::new(), 0, vec![0; 64 * 1024]);
        loop {
            let length = file.read(&mut buffer).unwrap();
            if length == 0 {
                break;
            }
            hasher.write(&buffer[..length]);
            total += length;
            each(total);
        }
        sender.send((total, hasher.finish())).unwrap();
    });
    receiver
}

async fn received<T>(receiver: &mpsc::Receiver<T>) -> T {
    let mut value = None;
    until("the reader's end", || {
        value = receiver.try_recv().ok();
        value.is_some()
    })
    .await;
    value.unwrap()
}

/// Writes numbers without a pattern until there are this many bytes, and exits at once.
fn write_numbers(to: OwnedFd, total: usize) -> thread::JoinHandle<u64> {
    thread::spawn(move || {
        let mut to = File::from(to);
        let (mut hasher, mut number, mut written) = (DefaultHasher::new(), 1_u64, 0);
        let mut block = vec![0; 48 * 1024];
        while written < total {
            for bytes in block.chunks_exact_mut(8) {
                number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                bytes.copy_from_slice(&number.to_le_bytes());
            }
            let length = block.len().min(total - written);
            to.write_all(&block[..length]).unwrap();
            hasher.write(&block[..length]);
            written += length;
        }
        hasher.finish()
    })
}

/// Hashers see the same bytes in other portions.
#[test]
fn hashes_do_not_depend_on_portions() {
    let (mut one, mut two) = (DefaultHasher::new(), DefaultHasher::new());
    one.write(b"abcdefghij");
    two.write(b"abc");
    two.write(b"defghij");
    assert_eq!(one.finish(), two.finish());
}

#[test]
fn a_hundred_mebibytes_arrive_although_the_writer_exits_at_once() {
    const TOTAL: usize = 100 * MIB;
    let place = Place::new();
    let path = place.fifo("out");
    on_one_thread(async {
        let (mut io, [_, stdout, stderr]) = open(&outputs(&path, "")).await;
        drop(stderr);
        // A reader that pauses again and again.
        let reader = reader(&path, |total| {
            if total % 7 == 0 {
                thread::sleep(Duration::from_millis(1));
            }
        });
        let writer = write_numbers(stdout, TOTAL);
        io.start().unwrap();
        io.drained().await;
        let (total, hash) = received(&reader).await;
        assert_eq!(total, TOTAL);
        assert_eq!(hash, writer.join().unwrap());
    });
}

#[test]
fn input_arrives_and_ends_when_it_is_closed() {
    let place = Place::new();
    let (input, output) = (place.fifo("in"), place.fifo("out"));
    on_one_thread(async {
        let streams = Streams { stdin: input.clone(), ..outputs(&output, "") };
        let (mut io, ends) = open(&streams).await;
        let reader = reader(&output, |_| ());
        let mut child = execute("cat; echo end", ends);
        io.start().unwrap();
        let mut first = File::options().write(true).open(&input).unwrap();
        first.write_all(b"first ").unwrap();
        drop(first);
        // What wrote is gone, as in a restart of containerd: that is no end.
        let mut second = File::options().write(true).open(&input).unwrap();
        second.write_all(b"second\n").unwrap();
        io.close_stdin();
        second.write_all(b"third\n").unwrap();
        drop(second);
        assert!(ended(&mut child).await.success());
        io.drained().await;
        let mut hasher = DefaultHasher::new();
        hasher.write(b"first second\nthird\nend\n");
        assert_eq!(received(&reader).await, (23, hasher.finish()));
    });
}

#[test]
fn a_writer_waits_for_its_reader_and_nothing_is_kept_meanwhile() {
    let place = Place::new();
    let (stopped, other) = (place.fifo("stopped"), place.fifo("other"));
    on_one_thread(async {
        let (mut io, ends) = open(&outputs(&stopped, "")).await;
        let mut child = execute("exec head -c 3000000 /dev/zero", ends);
        io.start().unwrap();
        let first_reader =
            File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&stopped).unwrap();
        // Both pipes are full: the writer waits, whatever is done beside it.
        until("a full FIFO", || is_full(&stopped)).await;
        let (mut beside, ends) = open(&outputs(&other, "")).await;
        let reader = reader(&other, |_| ());
        let mut second = execute("head -c 20000000 /dev/zero", ends);
        beside.start().unwrap();
        assert!(ended(&mut second).await.success());
        beside.drained().await;
        assert_eq!(received(&reader).await.0, 20_000_000);
        assert!(child.try_wait().unwrap().is_none(), "the writer did not wait");
        // What is under way lies in a pipe and a FIFO of 64 KiB each.
        let written = written_by(&child);
        assert!(written < 256 * 1024, "{written} bytes");
        // The reader goes, and one comes back: nothing of what the first did not read is lost.
        drop(first_reader);
        let reader = self::reader(&stopped, |_| ());
        assert!(ended(&mut child).await.success());
        io.drained().await;
        assert_eq!(received(&reader).await.0, 3_000_000);
    });
}

fn is_full(path: &str) -> bool {
    let writer = File::options().write(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap();
    !fifo::now(writer.as_fd(), nix::poll::PollFlags::POLLOUT)
        .contains(nix::poll::PollFlags::POLLOUT)
}

/// Bytes that a process has written.
fn written_by(child: &Child) -> usize {
    let counters = fs::read_to_string(format!("/proc/{}/io", child.id())).unwrap();
    let line = counters.lines().find_map(|line| line.strip_prefix("wchar: ")).unwrap();
    line.parse().unwrap()
}

#[test]
fn the_last_bytes_wait_for_a_reader_who_comes_late() {
    let place = Place::new();
    let path = place.fifo("out");
    on_one_thread(async {
        let (mut io, ends) = open(&outputs(&path, "")).await;
        let mut child = execute("echo last words", ends);
        io.start().unwrap();
        assert!(ended(&mut child).await.success());
        io.drained().await;
        let reader = reader(&path, |_| ());
        assert_eq!(received(&reader).await.0, "last words\n".len());
    });
}

#[test]
fn an_output_that_others_keep_open_is_not_drained() {
    let place = Place::new();
    let path = place.fifo("out");
    on_one_thread(async {
        let (mut io, ends) = open(&outputs(&path, "")).await;
        let [_, stdout, _] = &ends;
        let kept = stdout.try_clone().unwrap();
        let mut child = execute("true", ends);
        io.start().unwrap();
        assert!(ended(&mut child).await.success());
        let waited = tokio::time::timeout(Duration::from_millis(50), io.drained()).await;
        assert!(waited.is_err());
        drop(kept);
        io.drained().await;
    });
}

#[test]
fn names_of_nothing_are_null() {
    on_one_thread(async {
        let (mut io, ends) = open(&Streams::default()).await;
        for end in &ends {
            let path = fs::read_link(format!("/proc/self/fd/{}", end.as_raw_fd())).unwrap();
            assert_eq!(path, Path::new("/dev/null"));
        }
        io.start().unwrap();
        io.drained().await;
    });
}

#[test]
fn files_are_appended_to_and_their_directories_made() {
    let place = Place::new();
    let path = place.path("a/b/log");
    on_one_thread(async {
        let uri = format!("file://{}", path.display());
        for _ in 0..2 {
            let (mut io, ends) = open(&outputs(&uri, "")).await;
            let mut child = execute("echo out; echo err >&2", ends);
            io.start().unwrap();
            assert!(ended(&mut child).await.success());
            io.drained().await;
        }
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches("out\n").count(), 2, "{text}");
        assert_eq!(text.matches("err\n").count(), 2, "{text}");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(place.path("a")).unwrap().mode() & 0o700, 0o700);
    });
}

#[test]
fn a_full_disk_does_not_stop_the_writer() {
    on_one_thread(async {
        let (mut io, ends) = open(&outputs("/dev/full", "")).await;
        let mut child = execute("head -c 1000000 /dev/zero", ends);
        io.start().unwrap();
        assert!(ended(&mut child).await.success());
        io.drained().await;
    });
}

#[test]
fn refusals_say_what_and_why() {
    let place = Place::new();
    on_one_thread(async {
        let missing = place.path("missing").display().to_string();
        assert_eq!(
            refusal(&outputs(&missing, "")).await,
            format!("open output {missing}: no such file or directory")
        );
        let input = |stdin: &str| Streams { stdin: stdin.into(), ..Streams::default() };
        assert_eq!(
            refusal(&input(&missing)).await,
            format!("open stdin {missing}: no such file or directory")
        );
        let file = place.path("file");
        fs::write(&file, "").unwrap();
        assert_eq!(
            refusal(&input(file.to_str().unwrap())).await,
            format!("open stdin {}: not a FIFO", file.display())
        );
        let link = place.path("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(
            refusal(&outputs(&format!("file://{}", link.display()), "")).await,
            format!("open output {}: too many levels of symbolic links", link.display())
        );
        assert!(refusal(&outputs("", "binary:///bin/cat")).await.contains("standard output"));
        assert!(refusal(&outputs("tcp://h/x", "")).await.starts_with("stdout: tcp://h/x: the URI"));
    });
}

#[test]
fn pipes_belong_to_their_owner() {
    let place = Place::new();
    let path = place.fifo("out");
    let own = nix::unistd::geteuid();
    if !own.is_root() {
        return;
    }
    on_one_thread(async {
        let owner = Owner { uid: 1234, gid: 4321 };
        let (_io, ends) = Io::open(&outputs(&path, ""), owner, &context()).await.unwrap();
        let ChildEnds::Pipes([_, stdout, _]) = ends else { panic!("a console") };
        let status = nix::sys::stat::fstat(&stdout).unwrap();
        assert_eq!((status.st_uid, status.st_gid), (1234, 4321));
    });
}
