//! containerd's side of the events.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use containerd_shim_protos::api::Empty;
use containerd_shim_protos::events::task::{TaskExit, TaskStart};
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::shim::events::ForwardRequest;
use containerd_shim_protos::ttrpc::{self, Server, TtrpcContext};
use containerd_shim_protos::{Events, create_events};

use super::{NAMESPACE, eventually};

/// One that runs until it is dropped.
pub(crate) struct Containerd {
    server: Option<Server>,
    path: PathBuf,
    heard: Heard,
}

/// What was heard: topics without `/tasks/`, with the exec's id where there is one.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<String>>>);

impl Containerd {
    /// Listens at `path`; a former one there must be gone.
    pub(crate) fn start(path: &Path, heard: &Heard) -> Self {
        let mut server = Server::new()
            .bind(&format!("unix://{}", path.display()))
            .unwrap()
            .register_service(create_events(Arc::new(heard.clone())));
        server.start().unwrap();
        Self { server: Some(server), path: path.to_owned(), heard: heard.clone() }
    }

    /// What was heard, as soon as the last of it is `last`.
    #[track_caller]
    pub(crate) fn heard_until(&self, last: &str) -> Vec<String> {
        self.heard.until(last)
    }
}

impl Heard {
    #[track_caller]
    fn until(&self, last: &str) -> Vec<String> {
        eventually(last, || {
            let heard = self.0.lock().unwrap();
            (heard.last().map(String::as_str) == Some(last)).then(|| heard.clone())
        })
    }

    /// Whether nothing was heard.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().unwrap().is_empty()
    }

    /// What was heard until now.
    pub(crate) fn now(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            server.shutdown();
        }
        fs::remove_file(&self.path).ok();
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
                use containerd_shim_protos::events::task::TaskExecAdded;
                format!("{topic} {}", TaskExecAdded::parse_from_bytes(event).unwrap().exec_id)
            }
            _ => topic.to_owned(),
        };
        assert!(!TaskStart::parse_from_bytes(event).unwrap().container_id.is_empty());
        self.0.lock().unwrap().push(told);
        Ok(Empty::default())
    }
}
