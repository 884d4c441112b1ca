//! The shim itself: the socket, who may use it, and the end.

use std::fs;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use containerd_shim_protos::shim_async::create_task;
use containerd_shim_protos::ttrpc::asynchronous::Server;
use containerd_shim_protos::ttrpc::asynchronous::transport::Listener;
use futures_core::Stream;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{getsockopt, sockopt};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{Sleep, sleep, timeout};

use crate::NAME;
use crate::arguments::Arguments;
use crate::events::{Publisher, Route};
use crate::readiness;
use crate::rest;
use crate::service::Service;
use crate::socket;
use crate::task::Pod;

const V2: &str = "containerd.task.v2.Task";
const V3: &str = "containerd.task.v3.Task";

/// How long an unused thread waits for further work: two threads at rest, one a second later.
const KEEP_THREADS: Duration = Duration::from_secs(1);

/// Each operation that hangs holds one, and must not delay another.
const MOST_THREADS: usize = 4096;

/// How long the end waits for answers and events that are under way.
const LAST_ANSWERS: Duration = Duration::from_secs(1);
const LAST_EVENTS: Duration = Duration::from_secs(5);

/// How long to wait after a connection that could not be accepted for lack of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves the tasks of a pod until containerd ends it.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    libcontainer::protect_self()?;
    libcontainer::footprint::use_one_heap();
    libcontainer::keep_exit_statuses()?;
    close_inherited()?;
    let listener = listener(arguments)?;
    detach()?;
    crate::log::start(arguments.debug)?;
    let signals = Signals::block()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .thread_keep_alive(KEEP_THREADS)
        .max_blocking_threads(MOST_THREADS)
        .build()
        .context("start the runtime")?;
    let served = runtime.block_on(serve(listener, arguments, &signals));
    // Operations that hang are not waited for.
    runtime.shutdown_background();
    served
}

/// Whatever else containerd had open without marking it: pipes of others would never end. Nothing
/// of the shim's own is open yet.
fn close_inherited() -> Result<()> {
    let numbers: Vec<RawFd> = fs::read_dir("/proc/self/fd")
        .context("read /proc/self/fd")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        match nix::unistd::close(number) {
            // That of the directory is closed by now.
            Ok(()) | Err(nix::errno::Errno::EBADF) => {}
            Err(errno) => return Err(errno).context("close an inherited descriptor"),
        }
    }
    Ok(())
}

/// The socket that the action `start` bound is standard input; by hand it is named.
fn listener(arguments: &Arguments) -> Result<StdListener> {
    let socket = match &arguments.socket {
        Some(path) => socket::listen_at(path)
            .map_err(std::io::Error::from)
            .with_context(|| format!("bind {}", path.display()))?,
        None => inherited()?,
    };
    Ok(StdListener::from(socket))
}

fn inherited() -> Result<OwnedFd> {
    let stdin = std::io::stdin();
    if !getsockopt(&stdin, sockopt::AcceptConn).unwrap_or(false) {
        bail!("standard input is not the socket to serve on, and -socket is not given");
    }
    let socket = stdin.as_fd().try_clone_to_owned().context("duplicate the socket")?;
    let null = fs::File::options().read(true).open("/dev/null").context("open /dev/null")?;
    nix::unistd::dup2_stdin(&null).context("replace standard input")?;
    Ok(socket)
}

/// Out of containerd's session, and under a name of its own: the program was executed by descriptor.
fn detach() -> Result<()> {
    // Fails for the leader of a process group alone, as when it was started by hand.
    if let Err(errno) = nix::unistd::setsid()
        && errno != nix::errno::Errno::EPERM
    {
        return Err(errno).context("start a session");
    }
    let name = std::ffi::CString::new(NAME).context("the program's name")?;
    nix::sys::prctl::set_name(&name).context("set the name")
}

async fn serve(listener: StdListener, arguments: &Arguments, signals: &Signals) -> Result<()> {
    let path = path_of(&listener);
    let listener = UnixListener::from_std(listener).context("watch the socket")?;
    let pod = Arc::new(Pod::new(&arguments.namespace, publisher(arguments)));
    let mut server = Server::new()
        .add_listener(Listener::new(Accepted { listener, pause: None }))
        .register_service(services(&pod));
    server.start().await.context("serve")?;
    tokio::spawn(rest::observe());
    log::debug!("serving {} of namespace {}", arguments.id, arguments.namespace);
    tokio::select! {
        () = pod.ended() => {}
        signal = signals.next() => log::debug!("ending on {}", signal?),
    }
    if let Some(path) = path
        && let Err(error) = socket::release(&path)
    {
        log::warn!("{error:#}");
    }
    if timeout(LAST_ANSWERS, server.shutdown()).await.is_err() {
        log::debug!("requests are cut off");
    }
    if !pod.publisher().drained(LAST_EVENTS).await {
        log::warn!("events are lost: containerd did not take them");
    }
    Ok(())
}

fn publisher(arguments: &Arguments) -> Publisher {
    let ttrpc = std::env::var("TTRPC_ADDRESS").ok();
    let program = arguments.publish_binary.as_deref();
    Publisher::new(
        Route::choose(ttrpc.as_deref(), program, &arguments.address),
        &arguments.namespace,
    )
}

/// The messages of both versions are the same.
fn services(
    pod: &Arc<Pod>,
) -> std::collections::HashMap<String, containerd_shim_protos::ttrpc::asynchronous::Service> {
    let of = || create_task(Arc::new(Service::new(pod.clone())));
    let mut services = of();
    if let Some(service) = of().remove(V3) {
        services.insert(V2.to_owned(), service);
    }
    services
}

fn path_of(listener: &StdListener) -> Option<PathBuf> {
    let address = listener.local_addr().ok()?;
    address.as_pathname().map(Path::to_owned)
}

/// Connections of root and of the shim's own user.
struct Accepted {
    listener: UnixListener,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Stream for Accepted {
    type Item = std::io::Result<UnixStream>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(pause) = &mut self.pause {
                std::task::ready!(pause.as_mut().poll(context));
                self.pause = None;
            }
            match std::task::ready!(self.listener.poll_accept(context)) {
                Ok((stream, _)) if is_allowed(&stream) => return Poll::Ready(Some(Ok(stream))),
                Ok(_) => log::warn!("a connection of another user was refused"),
                Err(error) => {
                    log::warn!("a connection could not be accepted: {error}");
                    self.pause = Some(Box::pin(sleep(PAUSE)));
                }
            }
        }
    }
}

fn is_allowed(stream: &UnixStream) -> bool {
    let own = nix::unistd::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}

/// Signals that end the shim. Containers do not inherit that they are blocked.
struct Signals(SignalFd);

impl Signals {
    fn block() -> Result<Self> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGTERM);
        set.add(Signal::SIGINT);
        set.thread_block().context("block signals")?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self(SignalFd::with_flags(&set, flags).context("watch signals")?))
    }

    async fn next(&self) -> Result<&'static str> {
        let descriptor = readiness::watch(self.0.as_fd()).context("watch signals")?;
        loop {
            let mut ready = descriptor.readable().await.context("watch signals")?;
            if let Some(signal) = self.0.read_signal().context("read a signal")? {
                let number = i32::try_from(signal.ssi_signo).unwrap_or_default();
                return Ok(Signal::try_from(number).map_or("a signal", Signal::as_str));
            }
            ready.clear_ready();
        }
    }
}
