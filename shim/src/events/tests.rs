use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use containerd_shim_protos::api::Empty;
use containerd_shim_protos::shim_async::{Events, create_events};
use containerd_shim_protos::ttrpc::asynchronous::{Server, TtrpcContext};
use containerd_shim_protos::ttrpc::get_status;

use super::*;

/// Nothing here takes that long on a machine that is not overloaded.
const LIMIT: Duration = Duration::from_secs(120);

fn in_runtime(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(test);
}

/// What containerd's side heard: topic and container, and its answers.
#[derive(Clone, Default)]
struct Heard {
    events: Arc<Mutex<Vec<(String, String)>>>,
    /// How many requests are answered with this code first.
    errors: Arc<AtomicUsize>,
    code: Code,
}

impl Heard {
    fn failing(count: usize, code: Code) -> Self {
        Self { errors: Arc::new(count.into()), code, ..Self::default() }
    }

    fn topics(&self) -> Vec<String> {
        self.events.lock().unwrap().iter().map(|(topic, _)| topic.clone()).collect()
    }

    fn ids(&self) -> Vec<String> {
        self.events.lock().unwrap().iter().map(|(_, id)| id.clone()).collect()
    }
}

#[async_trait]
impl Events for Heard {
    async fn forward(
        &self,
        context: &TtrpcContext,
        request: ForwardRequest,
    ) -> ttrpc::Result<Empty> {
        assert_eq!(context.metadata[NAMESPACE_KEY], ["tests"]);
        let failing = self
            .errors
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if failing.is_ok() {
            return Err(ttrpc::Error::RpcStatus(get_status(self.code, "not now")));
        }
        let envelope = request.envelope.unwrap();
        assert_eq!(envelope.namespace, "tests");
        assert!(envelope.timestamp.seconds > 1_700_000_000);
        // The first field of all of these messages is the container's id.
        let event = envelope.event.unwrap();
        assert!(event.type_url.starts_with("containerd.events.Task"), "{}", event.type_url);
        let id = TaskStart::parse_from_bytes(&event.value).unwrap().container_id;
        self.events.lock().unwrap().push((envelope.topic, id));
        Ok(Empty::default())
    }
}

/// Plays containerd at a path until it is dropped or stopped.
async fn serve(path: &Path, heard: &Heard) -> Server {
    let mut server = Server::new()
        .bind(&format!("unix://{}", path.display()))
        .unwrap()
        .register_service(create_events(Arc::new(heard.clone())));
    server.start().await.unwrap();
    server
}

async fn stop(mut server: Server, path: &Path) {
    server.shutdown().await.unwrap();
    drop(server);
    std::fs::remove_file(path).unwrap();
}

fn exec_added(id: &str) -> Event {
    Event::TaskExecAdded(TaskExecAdded { container_id: id.to_owned(), ..TaskExecAdded::default() })
}

fn exit(id: &str) -> Event {
    Event::TaskExit(TaskExit { container_id: id.to_owned(), ..TaskExit::default() })
}

#[test]
fn all_topics_in_order() {
    in_runtime(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ttrpc");
        let heard = Heard::default();
        let _server = serve(&path, &heard).await;
        let publisher = Publisher::new(Route::Socket(path), "tests");
        for event in [
            Event::TaskCreate(TaskCreate::default()),
            Event::TaskStart(TaskStart::default()),
            Event::TaskExecAdded(TaskExecAdded::default()),
            Event::TaskExecStarted(TaskExecStarted::default()),
            Event::TaskOom(TaskOOM::default()),
            Event::TaskPaused(TaskPaused::default()),
            Event::TaskResumed(TaskResumed::default()),
            Event::TaskCheckpointed(TaskCheckpointed::default()),
            Event::TaskExit(TaskExit::default()),
            Event::TaskDelete(TaskDelete::default()),
        ] {
            publisher.publish(&event);
        }
        assert!(publisher.drained(LIMIT).await);
        let topics = [
            "create",
            "start",
            "exec-added",
            "exec-started",
            "oom",
            "paused",
            "resumed",
            "checkpointed",
            "exit",
            "delete",
        ];
        assert_eq!(heard.topics(), topics.map(|topic| format!("/tasks/{topic}")));
    });
}

#[test]
fn events_wait_for_a_containerd_that_is_away() {
    in_runtime(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ttrpc");
        let heard = Heard::default();
        let publisher = Publisher::new(Route::Socket(path.clone()), "tests");
        let mut expected = Vec::new();
        // Away at first, then two lives of it with a break between.
        for life in ["a", "b"] {
            for number in 0..3 {
                let id = format!("{life}{number}");
                publisher.publish(&exit(&id));
                expected.push(id);
            }
            assert!(!publisher.drained(Duration::from_millis(1)).await);
            let server = serve(&path, &heard).await;
            assert!(publisher.drained(LIMIT).await);
            assert_eq!(heard.ids(), expected);
            stop(server, &path).await;
        }
    });
}

#[test]
fn an_error_that_passes_loses_nothing_and_changes_no_order() {
    in_runtime(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ttrpc");
        for (count, code) in
            [(REFUSALS as usize - 1, Code::INTERNAL), (REFUSALS as usize + 1, Code::UNAVAILABLE)]
        {
            let heard = Heard::failing(count, code);
            let server = serve(&path, &heard).await;
            let publisher = Publisher::new(Route::Socket(path.clone()), "tests");
            ["1", "2", "3"].iter().for_each(|id| publisher.publish(&exit(id)));
            assert!(publisher.drained(LIMIT).await);
            assert_eq!(heard.ids(), ["1", "2", "3"]);
            stop(server, &path).await;
        }
    });
}

#[test]
fn an_event_that_containerd_rejects_holds_up_no_other() {
    for (count, code) in [(1, Code::INVALID_ARGUMENT), (REFUSALS as usize, Code::INTERNAL)] {
        in_runtime(async {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("ttrpc");
            let heard = Heard::failing(count, code);
            let _server = serve(&path, &heard).await;
            let publisher = Publisher::new(Route::Socket(path), "tests");
            ["1", "2"].iter().for_each(|id| publisher.publish(&exit(id)));
            assert!(publisher.drained(LIMIT).await);
            assert_eq!(heard.ids(), ["2"]);
        });
    }
}

#[test]
fn what_waits_is_bounded_and_exits_stay() {
    let mut waiting = Waiting::default();
    let mut dropped = 0;
    for number in 0..20_000 {
        let event = if number % 100 == 0 { exit("x") } else { exec_added("x") };
        let is_essential = event.is_essential();
        let value = vec![0; 512];
        let event = Some(Any { value, ..Any::default() }).into();
        let queued = Queued { envelope: Envelope { event, ..Envelope::default() }, is_essential };
        waiting.bytes += queued.size();
        waiting.events.push_back(queued);
        dropped += waiting.shrink();
        assert!(waiting.bytes <= CAPACITY);
    }
    assert_eq!(waiting.events.len() + dropped, 20_000);
    assert_eq!(waiting.bytes, waiting.events.iter().map(Queued::size).sum::<usize>());
    assert_eq!(waiting.events.iter().filter(|queued| queued.is_essential).count(), 200);
}

#[test]
fn dropped_events_are_not_waited_for() {
    in_runtime(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ttrpc");
        let publisher = Publisher::new(Route::Socket(path.clone()), "tests");
        let large = "x".repeat(CAPACITY / 2);
        ["1", "2", &large, &large, "3"].iter().for_each(|id| publisher.publish(&exec_added(id)));
        let heard = Heard::default();
        let _server = serve(&path, &heard).await;
        assert!(publisher.drained(LIMIT).await);
        assert_eq!(heard.ids().last().unwrap(), "3");
        assert!(heard.ids().len() < 5);
    });
}

#[test]
fn the_way_that_containerd_names() {
    let socket = Route::Socket("/run/containerd/containerd.sock.ttrpc".into());
    for ttrpc in
        ["/run/containerd/containerd.sock.ttrpc", "unix:///run/containerd/containerd.sock.ttrpc"]
    {
        assert_eq!(Route::choose(Some(ttrpc), Some("/usr/bin/containerd"), "/a"), socket);
    }
    let program = Route::Program { program: "/usr/bin/containerd".into(), address: "/a".into() };
    assert_eq!(Route::choose(Some(""), Some("/usr/bin/containerd"), "/a"), program);
    assert_eq!(Route::choose(None, None, "/a"), Route::Nowhere);
}

/// The script is written by another process, so that no fork of this one holds it open for writing
/// while it is executed.
fn script(path: &Path, text: &str) {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "printf %s \"$1\" >\"$2\" && chmod +x \"$2\"", "sh", text]).arg(path);
    assert!(shell.status().unwrap().success());
}

#[test]
fn the_program_of_containerd() {
    in_runtime(async {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("containerd");
        let out = directory.path().join("out");
        let text = format!("#!/bin/sh\necho \"$@\" >>{0}\ncat >>{0}\n", out.display());
        script(&program, &text);
        let route = Route::Program { program, address: "/run/c.sock".to_owned() };
        let publisher = Publisher::new(route, "tests");
        publisher.publish(&exit("one"));
        assert!(publisher.drained(LIMIT).await);
        let said = std::fs::read(&out).unwrap();
        let line = b"--address /run/c.sock publish --topic /tasks/exit --namespace tests\n";
        let message = said.strip_prefix(line).unwrap();
        let event = Any::parse_from_bytes(message).unwrap();
        assert_eq!(event.type_url, "containerd.events.TaskExit");
        assert_eq!(TaskExit::parse_from_bytes(&event.value).unwrap().container_id, "one");
    });
}

#[test]
fn a_program_that_fails_holds_up_no_other_event() {
    in_runtime(async {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("containerd");
        let count = directory.path().join("count");
        // Fails for the first event only, each time.
        let text = format!(
            "#!/bin/sh\necho x >>{0}\ntest $(wc -l <{0}) -gt {REFUSALS}\n",
            count.display()
        );
        script(&program, &text);
        let route = Route::Program { program, address: "/run/c.sock".to_owned() };
        let publisher = Publisher::new(route, "tests");
        ["1", "2"].iter().for_each(|id| publisher.publish(&exit(id)));
        assert!(publisher.drained(LIMIT).await);
        let runs = std::fs::read_to_string(&count).unwrap().lines().count();
        assert_eq!(runs, REFUSALS as usize + 1);
    });
}

#[test]
fn nobody_is_told() {
    in_runtime(async {
        let publisher = Publisher::new(Route::Nowhere, "tests");
        publisher.publish(&exit("1"));
        assert!(publisher.drained(LIMIT).await);
    });
}
