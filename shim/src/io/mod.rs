//! Standard streams of a process: FIFOs, files, loggers and terminals.
//!
//! The process gets pipes or a terminal; what goes through them is copied by tasks of the one
//! thread, or by a logger.

mod copy;
mod fifo;
mod logger;
mod target;
mod terminal;
#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use libcontainer::terminal::{ConsoleSocket, Size, Terminal};
use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use logger::Logger;
use target::{Program, Target};

/// Names of a process's standard streams, as the request has them: paths of FIFOs, URIs, or
/// nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Streams {
    /// Standard input.
    pub(crate) stdin: String,
    /// Standard output, and everything that is written to a terminal.
    pub(crate) stdout: String,
    /// Standard error; without meaning for a terminal.
    pub(crate) stderr: String,
    /// Whether the process gets a terminal.
    pub(crate) terminal: bool,
}

/// Who owns the process's ends of the pipes, so that it can open them again by /dev/stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    /// User.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
}

/// Whose streams they are: what loggers are told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Context {
    /// containerd's namespace.
    pub(crate) namespace: String,
    /// Id of the container.
    pub(crate) id: String,
    /// Id of a further process; empty for the container's own.
    pub(crate) exec_id: String,
}

/// What the process gets. To be closed here once it has it, or its output never ends.
#[derive(Debug)]
pub(crate) enum ChildEnds {
    /// Standard input, output and error.
    Pipes([OwnedFd; 3]),
    /// For [`libcontainer::CreateOptions::console`] and [`libcontainer::ExecOptions::console`].
    Console(OwnedFd),
}

/// The streams of one process. Dropping it ends the copying and closes everything; what was not
/// [drained](Io::drained) then is lost.
pub(crate) struct Io {
    prepared: Option<Prepared>,
    terminal: Option<Weak<Terminal>>,
    ended: watch::Sender<bool>,
    stdin_closed: watch::Sender<bool>,
    /// Outputs whose end was not reached.
    outputs: watch::Sender<usize>,
    logger: Option<(Arc<[OwnedFd; 2]>, watch::Sender<bool>)>,
    copies: Vec<AbortHandle>,
}

/// Our ends, before the copying begins.
struct Prepared {
    input: Option<OwnedFd>,
    way: Way,
    logger: Option<Logger>,
}

enum Way {
    Pipes { stdin: Option<OwnedFd>, outputs: Vec<(OwnedFd, Output)> },
    Console { socket: ConsoleSocket, output: Output },
}

/// Where an output goes.
enum Output {
    Nowhere,
    Fifo(OwnedFd),
    Pipe(OwnedFd),
    File(File, PathBuf),
}

/// As [`Output`], to be waited for.
enum Sink {
    Nowhere,
    Fifo(AsyncFd<OwnedFd>),
    Pipe(AsyncFd<OwnedFd>),
    File(Arc<File>, PathBuf),
}

impl Io {
    /// Opens everything, and starts a logger. Waits for nobody but the logger, and not for long.
    ///
    /// # Errors
    /// A name that is not understood or cannot be opened; a logger that does not get ready.
    pub(crate) async fn open(
        streams: &Streams,
        owner: Owner,
        context: &Context,
    ) -> io::Result<(Self, ChildEnds)> {
        Self::open_within(streams, owner, context, logger::READY_LIMIT).await
    }

    async fn open_within(
        streams: &Streams,
        owner: Owner,
        context: &Context,
        limit: Duration,
    ) -> io::Result<(Self, ChildEnds)> {
        let names = Names::parse(streams)?;
        // The file system may be a slow one.
        let opened = tokio::task::spawn_blocking(move || names.open(owner)).await??;
        let Opened { input, way, ends, logger } = opened;
        let logger = match logger {
            Some((program, ends)) => Some(Logger::start(program, context, ends, limit).await?),
            None => None,
        };
        let io = Self {
            prepared: Some(Prepared { input, way, logger }),
            terminal: None,
            ended: watch::channel(false).0,
            stdin_closed: watch::channel(false).0,
            outputs: watch::channel(0).0,
            logger: None,
            copies: Vec::new(),
        };
        Ok((io, ends))
    }

    /// Begins to copy. To be called once, when the process is there: its terminal has come then.
    ///
    /// # Errors
    /// The terminal has not come, or the kernel refuses what copying needs.
    pub(crate) fn start(&mut self) -> io::Result<()> {
        let Some(Prepared { input, way, logger }) = self.prepared.take() else { return Ok(()) };
        if let Some(logger) = logger {
            self.start_logger(logger);
        }
        match way {
            Way::Pipes { stdin, outputs } => {
                if let (Some(from), Some(to)) = (input, stdin) {
                    self.start_input(from, to)?;
                }
                for (from, to) in outputs {
                    self.start_output(from, to)?;
                }
            }
            Way::Console { socket, output } => {
                let terminal = socket.receive().map_err(io::Error::other)?;
                let terminal =
                    terminal.ok_or_else(|| io::Error::other("the terminal has not come"))?;
                terminal::set_nonblocking(&terminal)?;
                self.start_terminal(input, Arc::new(terminal), output)?;
            }
        }
        Ok(())
    }

    fn start_logger(&mut self, logger: Logger) {
        let (stop, stopped) = watch::channel(false);
        self.logger = Some((logger.ends(), stop));
        let outputs = self.outputs.clone();
        outputs.send_modify(|count| *count += 1);
        // Not among the copies: it goes on after the end of the streams, until its own.
        tokio::spawn(async move {
            logger.tend(stopped).await;
            outputs.send_modify(|count| *count -= 1);
        });
    }

    fn start_input(&mut self, from: OwnedFd, to: OwnedFd) -> io::Result<()> {
        let mut closed = self.stdin_closed.subscribe();
        let (from, to) = (copy::readable(from)?, copy::writable(to)?);
        self.spawn("standard input", async move {
            tokio::select! {
                copied = copy::splice_all(&from, &to) => return copied,
                () = is_set(&mut closed) => {}
            }
            // Only without a writing end of ours the input ends.
            let reader = fifo::reopen(from.as_fd(), false)?;
            drop(from);
            copy::splice_all(&copy::readable(reader)?, &to).await
        });
        Ok(())
    }

    fn start_output(&mut self, from: OwnedFd, to: Output) -> io::Result<()> {
        let from = copy::readable(from)?;
        let sink = to.register()?;
        let outputs = self.outputs.clone();
        outputs.send_modify(|count| *count += 1);
        self.spawn("an output", async move {
            let from = Arc::new(from);
            let copied = match &sink {
                Sink::Nowhere => copy::discard_all(&*from, || ()).await,
                Sink::Fifo(to) | Sink::Pipe(to) => copy::splice_all(&from, to).await,
                Sink::File(to, path) => copy::append_all(&from, to, path).await,
            };
            outputs.send_modify(|count| *count -= 1);
            copied.and(sink.hand_over().await)
        });
        Ok(())
    }

    fn start_terminal(
        &mut self,
        input: Option<OwnedFd>,
        terminal: Arc<Terminal>,
        output: Output,
    ) -> io::Result<()> {
        self.terminal = Some(Arc::downgrade(&terminal));
        let (leave, mut leaving) = watch::channel(false);
        if let Some(input) = input {
            let mut closed = self.stdin_closed.subscribe();
            let terminal = Arc::clone(&terminal);
            self.spawn("the terminal's input", async move {
                let copied = terminal::copy_input(input, &terminal, &mut closed).await;
                if copied.is_ok() {
                    leave.send_replace(true);
                }
                copied
            });
        }
        let (mut ended, held) = (self.ended.subscribe(), Arc::downgrade(&terminal));
        self.spawn("the terminal", async move {
            is_set(&mut ended).await;
            if let Some(terminal) = held.upgrade() {
                terminal.let_hang_up();
            }
            Ok(())
        });
        let sink = output.register()?;
        let ended = self.ended.subscribe();
        let outputs = self.outputs.clone();
        outputs.send_modify(|count| *count += 1);
        self.spawn("the terminal's output", async move {
            // The end of the input hangs the terminal up, as that of a line does.
            let copied = tokio::select! {
                copied = terminal::copy_output(&terminal, &sink, &ended) => copied,
                () = has_left(&mut leaving) => Ok(()),
            };
            drop(terminal);
            outputs.send_modify(|count| *count -= 1);
            copied.and(sink.hand_over().await)
        });
        Ok(())
    }

    fn spawn(
        &mut self,
        what: &'static str,
        copy: impl Future<Output = io::Result<()>> + Send + 'static,
    ) {
        let task = tokio::spawn(async move {
            match copy.await {
                // Its reader is gone, which is no failure of ours.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => {}
                Err(error) => log::warn!("copy {what}: {}", words(&error)),
                Ok(()) => {}
            }
        });
        self.copies.push(task.abort_handle());
    }

    /// Gives the terminal a size, in characters; nothing is done where there is none.
    ///
    /// # Errors
    /// What the kernel answered.
    pub(crate) fn resize(&self, width: u16, height: u16) -> io::Result<()> {
        let Some(terminal) = self.terminal.as_ref().and_then(Weak::upgrade) else { return Ok(()) };
        terminal.resize(Size { rows: height, columns: width }).map_err(io::Error::other)
    }

    /// Lets standard input end, as soon as nobody else has it open for writing and everything in
    /// it is read.
    pub(crate) fn close_stdin(&self) {
        self.stdin_closed.send_replace(true);
    }

    /// To be called when the process has ended: its terminal is not held open any longer.
    pub(crate) fn process_ended(&self) {
        self.ended.send_replace(true);
    }

    /// Returns when everything that was written to the outputs has been handed on. Other
    /// processes that keep them open put that off: the caller sets a limit.
    pub(crate) async fn drained(&self) {
        self.process_ended();
        let mut outputs = self.outputs.subscribe();
        let all_ended = outputs.wait_for(|count| *count == 0);
        match &self.logger {
            None => drop(all_ended.await),
            Some((ends, _)) => {
                tokio::select! {
                    _ = all_ended => {}
                    () = logger::is_through(Arc::clone(ends)) => {}
                }
            }
        }
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        for copy in &self.copies {
            copy.abort();
        }
        if let Some((_, stop)) = &self.logger {
            stop.send_replace(true);
        }
    }
}

/// Waits until something is set, for ever if it never is.
async fn is_set(flag: &mut watch::Receiver<bool>) {
    if flag.wait_for(|set| *set).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Waits until the terminal is to be left, and gives what was written before time to be read.
async fn has_left(leaving: &mut watch::Receiver<bool>) {
    const TIME_TO_READ: Duration = Duration::from_millis(250);
    is_set(leaving).await;
    tokio::time::sleep(TIME_TO_READ).await;
}

impl Output {
    fn register(self) -> io::Result<Sink> {
        Ok(match self {
            Self::Nowhere => Sink::Nowhere,
            Self::Fifo(fifo) => Sink::Fifo(copy::writable(fifo)?),
            Self::Pipe(pipe) => Sink::Pipe(copy::writable(pipe)?),
            Self::File(file, path) => Sink::File(Arc::new(file), path),
        })
    }
}

impl Sink {
    async fn hand_over(self) -> io::Result<()> {
        match self {
            Self::Fifo(fifo) => fifo::hand_over(fifo.into_inner()).await,
            Self::Nowhere | Self::Pipe(_) | Self::File(..) => Ok(()),
        }
    }
}

/// The names, understood.
struct Names {
    stdin: Option<PathBuf>,
    stdout: Target,
    stderr: Target,
    terminal: bool,
}

/// What [`Names::open`] opened.
struct Opened {
    input: Option<OwnedFd>,
    way: Way,
    ends: ChildEnds,
    logger: Option<(Program, [OwnedFd; 2])>,
}

impl Names {
    fn parse(streams: &Streams) -> io::Result<Self> {
        let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidInput, text);
        let parse = |what: &str, name: &str| {
            Target::parse(name).map_err(|error| invalid(format!("{what}: {error}")))
        };
        let stdin = match parse("stdin", &streams.stdin)? {
            Target::Null => None,
            Target::Path(path) => Some(path),
            Target::File(_) | Target::Logger(_) => {
                return Err(invalid(format!("stdin: {}: not a FIFO", streams.stdin)));
            }
        };
        let stdout = parse("stdout", &streams.stdout)?;
        let stderr = match parse("stderr", &streams.stderr)? {
            _ if streams.terminal => Target::Null,
            // A file or a logger takes both, unless something else is asked for.
            Target::Null if streams.stderr.is_empty() => match &stdout {
                Target::Path(_) => Target::Null,
                both => both.clone(),
            },
            other => other,
        };
        if matches!(&stderr, Target::Logger(_)) && stderr != stdout {
            return Err(invalid(format!(
                "stderr: {}: a logger takes standard output as well",
                streams.stderr
            )));
        }
        Ok(Self { stdin, stdout, stderr, terminal: streams.terminal })
    }

    fn open(self, owner: Owner) -> io::Result<Opened> {
        let input = match &self.stdin {
            None => None,
            Some(path) => Some(open_input(path)?),
        };
        if self.terminal { self.open_console(input) } else { self.open_pipes(input, owner) }
    }

    fn open_console(self, input: Option<OwnedFd>) -> io::Result<Opened> {
        let socket = ConsoleSocket::new().map_err(io::Error::other)?;
        let ends = ChildEnds::Console(socket.sender().try_clone_to_owned()?);
        let (output, logger) = match self.stdout {
            Target::Logger(program) => {
                let (stdout, to_stdout) = pipe()?;
                let (stderr, _) = pipe()?;
                terminal::set_nonblocking(&to_stdout)?;
                (Output::Pipe(to_stdout), Some((program, [stdout, stderr])))
            }
            other => (open_output(&other)?, None),
        };
        Ok(Opened { input, way: Way::Console { socket, output }, ends, logger })
    }

    fn open_pipes(self, input: Option<OwnedFd>, owner: Owner) -> io::Result<Opened> {
        let (child_stdin, stdin) = match &input {
            None => (null()?, None),
            Some(_) => {
                let (reader, writer) = pipe_of(owner)?;
                terminal::set_nonblocking(&writer)?;
                (reader, Some(writer))
            }
        };
        let mut outputs = Vec::new();
        let (mut child_outputs, mut taken) = (Vec::new(), Vec::new());
        let mut program = None;
        for target in [self.stdout, self.stderr] {
            if target == Target::Null {
                child_outputs.push(null()?);
                continue;
            }
            let (reader, writer) = pipe_of(owner)?;
            child_outputs.push(writer);
            match target {
                Target::Logger(logger) => {
                    program = Some(logger);
                    taken.push(reader);
                }
                other => {
                    terminal::set_nonblocking(&reader)?;
                    outputs.push((reader, open_output(&other)?));
                }
            }
        }
        let logger = match program {
            None => None,
            Some(program) => Some((program, both(taken)?)),
        };
        let ends = child_outputs
            .try_into()
            .map(|[stdout, stderr]: [OwnedFd; 2]| ChildEnds::Pipes([child_stdin, stdout, stderr]));
        let ends = ends.map_err(|_| io::Error::other("two outputs"))?;
        Ok(Opened { input, way: Way::Pipes { stdin, outputs }, ends, logger })
    }
}

/// A logger of standard output alone reads the end of standard error at once.
fn both(mut taken: Vec<OwnedFd>) -> io::Result<[OwnedFd; 2]> {
    while taken.len() < 2 {
        taken.push(pipe()?.0);
    }
    taken.try_into().map_err(|_| io::Error::other("two outputs"))
}

fn open_input(path: &Path) -> io::Result<OwnedFd> {
    let act = |error: io::Error| failed(format_args!("open stdin {}", path.display()), &error);
    if !fifo::is_fifo(path).map_err(act)? {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("open stdin {}: not a FIFO", path.display()),
        ));
    }
    fifo::open(path).map_err(act)
}

fn open_output(target: &Target) -> io::Result<Output> {
    let open = |path: &Path, create: bool| {
        let failed =
            |error: io::Error| failed(format_args!("open output {}", path.display()), &error);
        open_path(path, create).map_err(failed)
    };
    match target {
        Target::Null | Target::Logger(_) => Ok(Output::Nowhere),
        Target::Path(path) => open(path, false),
        Target::File(path) => open(path, true),
    }
}

fn open_path(path: &Path, create: bool) -> io::Result<Output> {
    match fifo::is_fifo(path) {
        Ok(true) => return Ok(Output::Fifo(fifo::open(path)?)),
        Err(error) if !create || error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(false) | Err(_) => {}
    }
    if create && let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    }
    let mut options = File::options();
    options.append(true).create(create).mode(0o600);
    options.custom_flags(libc::O_NOCTTY | if create { libc::O_NOFOLLOW } else { 0 });
    Ok(Output::File(options.open(path)?, path.into()))
}

fn null() -> io::Result<OwnedFd> {
    Ok(File::options().read(true).write(true).open("/dev/null")?.into())
}

/// A pipe: reading end, writing end.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    pipe2(OFlag::O_CLOEXEC).map_err(|errno| failed("make a pipe", &errno.into()))
}

fn pipe_of(owner: Owner) -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = pipe()?;
    if owner != Owner::default() {
        fchown(&writer, Some(owner.uid), Some(owner.gid)).map_err(|error| {
            failed(format_args!("give a pipe to user {} group {}", owner.uid, owner.gid), &error)
        })?;
    }
    Ok((reader, writer))
}

/// An error that says what was tried, and what the kernel answered.
fn failed(act: impl Display, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{act}: {}", words(error)))
}

/// The kernel's words in lower case.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    let Some(code) = error.raw_os_error() else { return text };
    let words = text.strip_suffix(&format!(" (os error {code})")).unwrap_or(&text);
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
