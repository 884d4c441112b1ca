//! Events of the tasks, published to containerd.
//!
//! Events leave in the order in which they happened, one at a time, each until containerd took it:
//! while containerd is away they wait, and a new containerd at the same address gets them. An
//! event whose acknowledgement was lost with a connection is sent again, so that containerd may
//! see it twice.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use containerd_shim_protos::events::task::{
    TaskCheckpointed, TaskCreate, TaskDelete, TaskExecAdded, TaskExecStarted, TaskExit, TaskOOM,
    TaskPaused, TaskResumed, TaskStart,
};
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::well_known_types::timestamp::Timestamp;
use containerd_shim_protos::shim::event::Envelope;
use containerd_shim_protos::shim::events::ForwardRequest;
use containerd_shim_protos::shim_async::{Client, EventsClient};
use containerd_shim_protos::topics;
use containerd_shim_protos::ttrpc::asynchronous::transport::Socket;
use containerd_shim_protos::ttrpc::{self, Code, context};
use tokio::net::UnixStream;
use tokio::sync::{Notify, watch};

/// Key of containerd's namespace in the metadata of a ttrpc request.
const NAMESPACE_KEY: &str = "containerd-namespace-ttrpc";

/// How many bytes of events may wait for a containerd that is away.
const CAPACITY: usize = 1 << 20;

/// What an event in the queue takes beside its message.
const OVERHEAD: usize = 256;

/// How long containerd may take to answer before the connection counts as dead. Longer than the
/// pause of a busy machine: to send an event again means that containerd sees it twice.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often an event is sent that containerd answers with an error of its own.
const REFUSALS: u32 = 7;

/// Longest pause between attempts to reach a containerd that is away.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Something that happened to a task.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::enum_variant_names, reason = "the names of containerd's messages")]
pub(crate) enum Event {
    TaskCreate(TaskCreate),
    TaskStart(TaskStart),
    TaskExecAdded(TaskExecAdded),
    TaskExecStarted(TaskExecStarted),
    TaskExit(TaskExit),
    TaskOom(TaskOOM),
    TaskPaused(TaskPaused),
    TaskResumed(TaskResumed),
    TaskCheckpointed(TaskCheckpointed),
    TaskDelete(TaskDelete),
}

impl Event {
    /// Topic, name of the message's type, and the message.
    fn parts(&self) -> (&'static str, &'static str, &dyn Encode) {
        match self {
            Self::TaskCreate(e) => (topics::TASK_CREATE_EVENT_TOPIC, "TaskCreate", e),
            Self::TaskStart(e) => (topics::TASK_START_EVENT_TOPIC, "TaskStart", e),
            Self::TaskExecAdded(e) => (topics::TASK_EXEC_ADDED_EVENT_TOPIC, "TaskExecAdded", e),
            Self::TaskExecStarted(e) => {
                (topics::TASK_EXEC_STARTED_EVENT_TOPIC, "TaskExecStarted", e)
            }
            Self::TaskExit(e) => (topics::TASK_EXIT_EVENT_TOPIC, "TaskExit", e),
            Self::TaskOom(e) => (topics::TASK_OOM_EVENT_TOPIC, "TaskOOM", e),
            Self::TaskPaused(e) => (topics::TASK_PAUSED_EVENT_TOPIC, "TaskPaused", e),
            Self::TaskResumed(e) => (topics::TASK_RESUMED_EVENT_TOPIC, "TaskResumed", e),
            Self::TaskCheckpointed(e) => {
                (topics::TASK_CHECKPOINTED_EVENT_TOPIC, "TaskCheckpointed", e)
            }
            Self::TaskDelete(e) => (topics::TASK_DELETE_EVENT_TOPIC, "TaskDelete", e),
        }
    }

    /// Whether a client that missed it would go on waiting: the others can be asked for.
    fn is_essential(&self) -> bool {
        matches!(self, Self::TaskExit(_) | Self::TaskOom(_))
    }
}

/// A message whose type was forgotten.
trait Encode {
    fn encode(&self) -> Vec<u8>;
}

impl<M: Message> Encode for M {
    fn encode(&self) -> Vec<u8> {
        // Fails for missing required fields alone, and version 3 of the language has none.
        self.write_to_bytes().unwrap_or_default()
    }
}

/// How events get to containerd.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Route {
    /// The socket of its ttrpc services.
    Socket(PathBuf),
    /// Its program, started once for each event, for a containerd without such a socket.
    Program { program: PathBuf, address: String },
    /// Nobody is to be told.
    Nowhere,
}

impl Route {
    /// The way that containerd named: TTRPC_ADDRESS, else `-publish-binary` with `-address`.
    pub(crate) fn choose(ttrpc: Option<&str>, program: Option<&str>, address: &str) -> Self {
        match (ttrpc.filter(|text| !text.is_empty()), program.filter(|text| !text.is_empty())) {
            (Some(ttrpc), _) => Self::Socket(ttrpc.trim_start_matches("unix://").into()),
            (None, Some(program)) => {
                Self::Program { program: program.into(), address: address.to_owned() }
            }
            (None, None) => Self::Nowhere,
        }
    }
}

/// Publishes events. Copies publish into one queue.
#[derive(Clone, Debug)]
pub(crate) struct Publisher {
    queue: Arc<Queue>,
}

#[derive(Debug)]
struct Queue {
    namespace: String,
    /// Whether somebody delivers.
    has_reader: bool,
    waiting: Mutex<Waiting>,
    is_filled: Notify,
    /// Events that containerd has not taken yet.
    pending: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Queued>,
    bytes: usize,
}

#[derive(Debug)]
struct Queued {
    envelope: Envelope,
    is_essential: bool,
}

impl Queued {
    fn size(&self) -> usize {
        self.envelope.event.value.len() + OVERHEAD
    }
}

impl Publisher {
    /// Begins to deliver, in the runtime that this is called in.
    pub(crate) fn new(route: Route, namespace: &str) -> Self {
        let queue = Arc::new(Queue {
            namespace: namespace.to_owned(),
            has_reader: route != Route::Nowhere,
            waiting: Mutex::default(),
            is_filled: Notify::new(),
            pending: watch::Sender::new(0),
        });
        if queue.has_reader {
            tokio::spawn(deliver(queue.clone(), Carrier { route, connection: None }));
        }
        Self { queue }
    }

    /// Puts an event into the queue, as of now. Never waits.
    pub(crate) fn publish(&self, event: &Event) {
        if self.queue.has_reader {
            self.queue.push(event);
        }
    }

    /// Waits until containerd took everything that was published, at most for `limit`. Whether it
    /// did.
    pub(crate) async fn drained(&self, limit: Duration) -> bool {
        let mut pending = self.queue.pending.subscribe();
        let is_empty = pending.wait_for(|count| *count == 0);
        matches!(tokio::time::timeout(limit, is_empty).await, Ok(Ok(_)))
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing is left half done under the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, event: &Event) {
        let (topic, name, message) = event.parts();
        let envelope = Envelope {
            timestamp: Some(Timestamp::from(SystemTime::now())).into(),
            namespace: self.namespace.clone(),
            topic: topic.to_owned(),
            event: Some(Any {
                type_url: format!("containerd.events.{name}"),
                value: message.encode(),
                ..Any::default()
            })
            .into(),
            ..Envelope::default()
        };
        let queued = Queued { envelope, is_essential: event.is_essential() };
        let mut waiting = self.lock();
        waiting.bytes += queued.size();
        waiting.events.push_back(queued);
        let dropped = waiting.shrink();
        drop(waiting);
        self.pending.send_modify(|count| *count = (*count + 1).saturating_sub(dropped));
        self.is_filled.notify_one();
        if dropped != 0 {
            log::warn!("{dropped} events are dropped: containerd takes none and too many wait");
        }
    }

    async fn pop(&self) -> Envelope {
        loop {
            let next = {
                let mut waiting = self.lock();
                let next = waiting.events.pop_front();
                waiting.bytes -= next.as_ref().map_or(0, Queued::size);
                next
            };
            match next {
                Some(queued) => return queued.envelope,
                None => self.is_filled.notified().await,
            }
        }
    }
}

impl Waiting {
    /// Drops the oldest events until the rest has room, those first that nobody waits for.
    fn shrink(&mut self) -> usize {
        let mut dropped = 0;
        while self.bytes > CAPACITY && !self.events.is_empty() {
            let oldest = self.events.iter().position(|queued| !queued.is_essential).unwrap_or(0);
            self.bytes -= self.events.remove(oldest).as_ref().map_or(0, Queued::size);
            dropped += 1;
        }
        dropped
    }
}

/// Why containerd did not take an event.
enum Failure {
    /// It answered with an error: the same again would get the same answer.
    Rejected(String),
    /// It answered with an error that may pass.
    Refused(String),
    /// It did not answer.
    Away(String),
}

/// Takes one event after the other to containerd.
async fn deliver(queue: Arc<Queue>, mut carrier: Carrier) {
    loop {
        let envelope = queue.pop().await;
        // The answer to the request that it tells of goes first: somebody waits for that.
        tokio::task::yield_now().await;
        let (mut attempts, mut refusals) = (0, 0);
        loop {
            let words = match carrier.carry(&queue.namespace, &envelope).await {
                Ok(()) => break,
                Err(Failure::Rejected(words)) => {
                    log::error!("event {} is dropped: {words}", envelope.topic);
                    break;
                }
                Err(Failure::Refused(words)) => {
                    refusals += 1;
                    if refusals == REFUSALS {
                        log::error!("event {} is dropped: {words}", envelope.topic);
                        break;
                    }
                    words
                }
                Err(Failure::Away(words)) => words,
            };
            // An idle connection that broke is noticed here, which is no trouble.
            if attempts == 1 {
                log::warn!("containerd does not take events, which are kept: {words}");
            }
            tokio::time::sleep(pause(attempts)).await;
            attempts += 1;
        }
        queue.pending.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// None before the second attempt, then twice as long each time.
fn pause(attempts: u32) -> Duration {
    match attempts {
        0 => Duration::ZERO,
        _ => Duration::from_millis(25 << attempts.min(10)).min(LONGEST_PAUSE),
    }
}

struct Carrier {
    route: Route,
    connection: Option<Client>,
}

impl Carrier {
    async fn carry(&mut self, namespace: &str, envelope: &Envelope) -> Result<(), Failure> {
        match &self.route {
            Route::Socket(path) => {
                let client = match self.connection.take() {
                    Some(client) => client,
                    None => connect(path).await?,
                };
                let answer = forward(&client, namespace, envelope).await;
                if !matches!(answer, Err(Failure::Away(_))) {
                    self.connection = Some(client);
                }
                answer
            }
            Route::Program { program, address } => {
                let mut command = Command::new(program);
                command.args(["--address", address, "publish"]);
                command.args(["--topic", &envelope.topic, "--namespace", namespace]);
                let event = envelope.event.as_ref().map(Encode::encode).unwrap_or_default();
                let run = tokio::task::spawn_blocking(move || run(command, &event));
                match run.await {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(error)) => Err(Failure::Refused(error.to_string())),
                    Err(error) => Err(Failure::Refused(error.to_string())),
                }
            }
            Route::Nowhere => Ok(()),
        }
    }
}

async fn connect(path: &PathBuf) -> Result<Client, Failure> {
    let stream = UnixStream::connect(path).await;
    let stream =
        stream.map_err(|error| Failure::Away(format!("connect to {}: {error}", path.display())))?;
    Ok(Client::new(Socket::from(stream)))
}

async fn forward(client: &Client, namespace: &str, envelope: &Envelope) -> Result<(), Failure> {
    let request =
        ForwardRequest { envelope: Some(envelope.clone()).into(), ..ForwardRequest::default() };
    let mut context = context::with_duration(PATIENCE);
    context.metadata = HashMap::from([(NAMESPACE_KEY.to_owned(), vec![namespace.to_owned()])]);
    match EventsClient::new(client.clone()).forward(context, &request).await {
        Ok(_) => Ok(()),
        Err(ttrpc::Error::RpcStatus(status)) => {
            let words = format!("containerd answered: {}", status.message());
            Err(match status.code.enum_value_or_default() {
                Code::INVALID_ARGUMENT | Code::UNIMPLEMENTED => Failure::Rejected(words),
                // It is on its way out, or hangs.
                Code::UNAVAILABLE | Code::CANCELLED | Code::DEADLINE_EXCEEDED => {
                    Failure::Away(words)
                }
                _ => Failure::Refused(words),
            })
        }
        Err(error) => Err(Failure::Away(error.to_string())),
    }
}

/// Runs a program to its end, with `input` on its standard input.
fn run(mut command: Command, input: &[u8]) -> io::Result<()> {
    let started = Instant::now();
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ended early says so by its status.
        stdin.write_all(input).or_else(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Ok(()),
            _ => Err(error),
        })?;
    }
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(io::Error::other(format!("publish: {status}"))),
            None if started.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(10)),
            None => {
                child.kill()?;
                child.wait()?;
                return Err(io::Error::other("publish: no end within 20 seconds"));
            }
        }
    }
}

#[cfg(test)]
mod tests;
