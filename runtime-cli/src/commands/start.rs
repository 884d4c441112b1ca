//! `start`: executes the program of a created container.

use anyhow::Result;
use libcontainer::Status;

use crate::args::{Arity, Verb};
use crate::call::Call;
use crate::notify::Notify;

pub(crate) const VERB: Verb = Verb {
    name: "start",
    about: "execute the program of a created container",
    operands: "<container-id>",
    description: "With NOTIFY_SOCKET it waits until the container says that it is ready.",
    flags: &[],
    arity: Arity::Exactly(1),
    passes_rest: false,
    starts_process: false,
    joins_container: false,
    failure: 1,
    run,
};

fn run(call: &Call<'_>) -> Result<u8> {
    let container = call.container()?;
    // Others are refused by start.
    let created = container.status()? == Status::Created;
    let notify = if created { Notify::listen(call, &container)? } else { None };
    container.start()?;
    if let Some(notify) = notify {
        notify.await_ready(&container)?;
    }
    Ok(0)
}
