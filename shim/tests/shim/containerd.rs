//! containerd's side of the events.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use containerd_shim_protos::api::Empty;
use containerd_shim_protos::events::task::{TaskExecAdded, TaskExit, TaskStart};
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::shim::events::ForwardRequest;
use containerd_shim_protos::shim_sync::{Events, create_events};
use containerd_shim_protos::ttrpc::{self, Server, TtrpcContext};

use crate::support::{NAMESPACE, eventually};

/// A containerd that comes and goes, and remembers what it heard.
pub(crate) struct Containerd {
    path: PathBuf,
    server: Mutex<Option<Server>>,
    heard: Heard,
}

/// Topics without `/tasks/`, with the exec's id where there is one, and the exit status.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Containerd {
    /// One that does not listen yet.
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), server: Mutex::default(), heard: Heard::default() }
    }

    /// Begins to listen.
    pub(crate) fn comes(&self) {
        let mut server = Server::new()
            .bind(&format!("unix://{}", self.path.display()))
            .unwrap()
            .register_service(create_events(Arc::new(self.heard.clone())));
        server.start().unwrap();
        *self.server.lock().unwrap() = Some(server);
    }

    /// Hangs up and listens no more.
    pub(crate) fn goes(&self) {
        if let Some(server) = self.server.lock().unwrap().take() {
            server.shutdown();
            fs::remove_file(&self.path).expect("its socket was there");
        }
    }

    /// What was heard so far.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.0.lock().unwrap().clone()
    }

    /// What was heard, as soon as the last of it is `last`.
    #[track_caller]
    pub(crate) fn heard_until(&self, last: &str) -> Vec<String> {
        eventually(last, || {
            let heard = self.heard();
            (heard.last().map(String::as_str) == Some(last)).then_some(heard)
        })
    }
}

impl Events for Heard {
    fn forward(&self, context: &TtrpcContext, request: ForwardRequest) -> ttrpc::Result<Empty> {
        assert_eq!(context.metadata["containerd-namespace-ttrpc"], [NAMESPACE]);
        let envelope = request.envelope.unwrap();
        assert_eq!(envelope.namespace, NAMESPACE);
        let topic = envelope.topic.strip_prefix("/tasks/").unwrap();
        let event = &envelope.event.value;
        let told = match topic {
            "exit" => {
                let exit = TaskExit::parse_from_bytes(event).unwrap();
                // The container's own process has its id.
                let is_init = exit.id == exit.container_id;
                let of = if is_init { String::new() } else { format!(" {}", exit.id) };
                format!("exit{of} {}", exit.exit_status)
            }
            // Both have the exec's id as second field; TaskStart has the container's as first.
            "exec-added" | "exec-started" => {
                format!("{topic} {}", TaskExecAdded::parse_from_bytes(event).unwrap().exec_id)
            }
            _ => topic.to_owned(),
        };
        assert!(!TaskStart::parse_from_bytes(event).unwrap().container_id.is_empty());
        self.0.lock().unwrap().push(told);
        Ok(Empty::default())
    }
}
