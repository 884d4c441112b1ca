//! Hooks of the container's namespaces: the child forks again, by the same rules.

use super::program;
use super::report::{self, Failure};
use super::runner::{Child, Outcome};
use crate::protocol::{
    Bytes, Record, RecordKind, Reserve, Slot, Step, TEXT_LENGTH, Text, Texts, hook,
};
use crate::sys::path::{c_text, chdir, seek};
use crate::sys::{Errno, program as programs, raw};

/// Bytes of each output stream that are kept: the last ones.
const KEPT: usize = 4096;

/// Of the greatest pid.
const DIGITS: usize = 10;

const SECOND: u64 = 1_000_000_000;

/// What is run.
pub(super) struct Command {
    pub(super) path: Text,
    pub(super) directory: Text,
    pub(super) args: Texts,
    pub(super) env: Texts,
    pub(super) home: Reserve,
    pub(super) timeout: u64,
    pub(super) state: Slot,
    pub(super) out: Slot,
    pub(super) error: Slot,
    pub(super) vector: Reserve,
}

/// Runs the hook of a step.
pub(super) fn run_step(child: &mut Child<'_>, step: &Step) -> Outcome {
    let Step::RunHook {
        path, directory, args, env, home, timeout, state, out, error, vector, ..
    } = *step
    else {
        return Err(Failure::from(Errno(libc::EINVAL)));
    };
    let command = Command { path, directory, args, env, home, timeout, state, out, error, vector };
    run(child, &command)
}

/// The state document, sealed: a hook that wrote into it would change what the next one reads.
/// Where memfd_create(2) is refused it lies in a pipe, of which each hook gets a copy.
pub(super) fn prepare_state(
    child: &mut Child<'_>,
    state: Slot,
    before: Bytes,
    after: Bytes,
) -> Outcome {
    let file = match programs::memory_file(c"state") {
        Err(Errno(libc::ENOSYS | libc::EPERM)) => return prepare_pipe(child, state, before, after),
        file => file?,
    };
    write_state(child, file, before, after)?;
    let seals = libc::F_SEAL_WRITE | libc::F_SEAL_GROW | libc::F_SEAL_SHRINK | libc::F_SEAL_SEAL;
    raw::fcntl(file, libc::F_ADD_SEALS, seals as usize)?;
    child.keep(state, file)
}

fn prepare_pipe(child: &mut Child<'_>, state: Slot, before: Bytes, after: Bytes) -> Outcome {
    let [read, write] = programs::pipe(libc::O_CLOEXEC | libc::O_NONBLOCK)?;
    let length = child.bytes(before)?.len().saturating_add(child.bytes(after)?.len());
    programs::fit_pipe(write, length.saturating_add(DIGITS))?;
    write_state(child, write, before, after)?;
    raw::close(write);
    child.keep(state, read)
}

fn write_state(child: &Child<'_>, file: i32, before: Bytes, after: Bytes) -> Outcome {
    let mut digits = [0; DIGITS];
    write_all(file, child.bytes(before)?)?;
    write_all(file, decimal(programs::own_pid(), &mut digits))?;
    write_all(file, child.bytes(after)?)
}

/// What a hook reads: the sealed file from its beginning, or a pipe of its own.
fn input_of(state: i32) -> Result<i32, Errno> {
    match seek(state, 0) {
        Err(Errno(libc::ESPIPE)) => {}
        result => return result.map(|_| state),
    }
    let [read, write] = programs::pipe(libc::O_CLOEXEC)?;
    let copied = programs::copy_pipe(state, write);
    raw::close(write);
    copied.map(|()| read)
}

fn write_all(file: i32, bytes: &[u8]) -> Outcome {
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = raw::write(file, rest)?;
        rest = rest.get(written..).filter(|_| written > 0).ok_or(Errno(libc::EIO))?;
    }
    Ok(())
}

fn decimal(number: u32, digits: &mut [u8; DIGITS]) -> &[u8] {
    let mut rest = number;
    let mut first = digits.len();
    for (index, place) in digits.iter_mut().enumerate().rev() {
        *place = b'0'.wrapping_add((rest % 10) as u8);
        rest /= 10;
        first = index;
        if rest == 0 {
            break;
        }
    }
    digits.get(first..).unwrap_or_default()
}

/// Descriptors between this process and its hook.
struct Pipes {
    out: [i32; 2],
    error: [i32; 2],
    /// Closed by a successful execve; else it carries the error.
    executed: [i32; 2],
}

/// Runs a hook. Its failure comes as records with its output, followed by the step's failure.
fn run(child: &mut Child<'_>, command: &Command) -> Outcome {
    let state = child.fd(command.state)?;
    let input = input_of(state)?;
    let flags = libc::O_CLOEXEC;
    let pipes = Pipes {
        out: programs::pipe(flags)?,
        error: programs::pipe(flags)?,
        executed: programs::pipe(flags)?,
    };
    let mut pidfd = -1;
    let pid = programs::fork(&mut pidfd)?;
    if pid == 0 {
        let errno = match become_hook(child, command, input, &pipes) {
            Ok(errno) => errno,
            Err(failure) => failure.errno,
        };
        // Nobody reads it when the runtime has died; then nobody needs it.
        let _ = raw::write(pipes.executed[1], &errno.0.to_ne_bytes());
        raw::exit_group(127);
    }
    for end in [pipes.out[1], pipes.error[1], pipes.executed[1]] {
        raw::close(end);
    }
    if input != state {
        raw::close(input);
    }
    let outcome = watch(child, command, pid, pidfd, &pipes);
    for end in [pipes.out[0], pipes.error[0], pipes.executed[0], pidfd] {
        raw::close(end);
    }
    outcome
}

/// In the hook's process: standard descriptors, nothing else, execve.
fn become_hook(
    child: &mut Child<'_>,
    command: &Command,
    input: i32,
    pipes: &Pipes,
) -> Result<Errno, Failure> {
    let out = child.fd(command.out).unwrap_or(pipes.out[1]);
    let error = child.fd(command.error).unwrap_or(pipes.error[1]);
    for (fd, place) in [(input, 0), (out, 1), (error, 2)] {
        raw::dup3(fd, place, 0)?;
    }
    raw::dup3(pipes.executed[1], 3, libc::O_CLOEXEC)
        .or_else(|errno| if pipes.executed[1] == 3 { Ok(()) } else { Err(errno) })?;
    super::descriptors::close_between(4, i32::MAX)?;
    if command.directory.length > 0 {
        // As far as it can be reached: runc's hooks begin in the bundle, but may not need it.
        let _ = chdir(c_text(child.text(command.directory)?)?);
    }
    let path = c_text(child.text(command.path)?)?;
    let Command { args, env, home, vector, .. } = *command;
    let errno = program::become_program(child, path, args, env, home, vector)?;
    let _ = raw::write(3, &errno.0.to_ne_bytes());
    raw::exit_group(127)
}

/// What has been read of a stream: the last bytes of it, in a window of scratch.
#[derive(Clone, Copy, Default)]
struct Tail {
    filled: usize,
    ended: bool,
}

fn watch(
    child: &mut Child<'_>,
    command: &Command,
    pid: usize,
    pidfd: i32,
    pipes: &Pipes,
) -> Outcome {
    let began = raw::monotonic();
    let limit = command.timeout.saturating_mul(SECOND);
    let mut tails = [Tail::default(); 2];
    let mut timed_out = false;
    loop {
        let left = limit.saturating_sub(raw::monotonic().saturating_sub(began));
        if limit != 0 && left == 0 {
            timed_out = true;
            break;
        }
        let wanted = |tail: &Tail, fd| if tail.ended { -1 } else { fd };
        let [out, error] = &tails;
        let mut polled = [wanted(out, pipes.out[0]), wanted(error, pipes.error[0]), pidfd]
            .map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
        let ready =
            if limit == 0 { raw::poll(&mut polled) } else { programs::poll_for(&mut polled, left) };
        match ready {
            Err(Errno(libc::EINTR)) => continue,
            ready => ready?,
        };
        let [out, error, ended] = polled;
        for (index, (stream, polled)) in tails.iter_mut().zip([out, error]).enumerate() {
            if polled.revents != 0 {
                read_tail(child, index, polled.fd, stream);
            }
        }
        if ended.revents != 0 {
            break;
        }
    }
    if timed_out {
        // It may have ended in this moment.
        let _ = programs::kill(pid, libc::SIGKILL);
    }
    let status = programs::wait(pid)?;
    for (index, (stream, fd)) in tails.iter_mut().zip([pipes.out[0], pipes.error[0]]).enumerate() {
        drain(child, index, fd, stream);
    }
    conclude(child, pipes, &tails, status, timed_out)
}

/// What lies in the pipe when the hook has ended; processes that it left behind may hold the
/// other end for ever.
fn drain(child: &mut Child<'_>, index: usize, fd: i32, tail: &mut Tail) {
    while !tail.ended {
        let mut polled = [libc::pollfd { fd, events: libc::POLLIN, revents: 0 }];
        match programs::poll_for(&mut polled, 0) {
            Ok(1) => read_tail(child, index, fd, tail),
            _ => return,
        }
    }
}

fn read_tail(child: &mut Child<'_>, index: usize, fd: i32, tail: &mut Tail) {
    let start = index.saturating_mul(KEPT.saturating_mul(2));
    let end = start.saturating_add(KEPT.saturating_mul(2));
    let Some(window) = child.scratch.get_mut(start..end) else {
        tail.ended = true;
        return;
    };
    if tail.filled > KEPT {
        let surplus = tail.filled.saturating_sub(KEPT);
        window.copy_within(surplus..tail.filled, 0);
        tail.filled = KEPT;
    }
    let free = window.get_mut(tail.filled..).unwrap_or_default();
    match raw::read(fd, free) {
        Ok(0) | Err(_) => tail.ended = true,
        Ok(length) => tail.filled = tail.filled.saturating_add(length),
    }
}

fn conclude(
    child: &mut Child<'_>,
    pipes: &Pipes,
    tails: &[Tail; 2],
    status: i32,
    timed_out: bool,
) -> Outcome {
    let mut word = [0; 4];
    if matches!(raw::read(pipes.executed[0], &mut word), Ok(4)) {
        return Err(Failure::from(Errno(i32::from_ne_bytes(word))));
    }
    let detail = if timed_out {
        hook::TIMED_OUT
    } else if libc::WIFSIGNALED(status) {
        hook::SIGNALLED | libc::WTERMSIG(status) as u32
    } else if libc::WEXITSTATUS(status) != 0 {
        libc::WEXITSTATUS(status) as u32
    } else {
        return Ok(());
    };
    for (index, tail) in tails.iter().enumerate() {
        send_output(child, index, *tail);
    }
    Err(Failure::from(Errno(0)).at(detail))
}

fn send_output(child: &Child<'_>, index: usize, tail: Tail) {
    let start = index.saturating_mul(KEPT.saturating_mul(2));
    let end = start.saturating_add(tail.filled);
    let output = child.scratch.get(start..end).unwrap_or_default();
    let kept = output.get(output.len().saturating_sub(KEPT)..).unwrap_or_default();
    for chunk in kept.chunks(TEXT_LENGTH) {
        let mut record = Record::new(RecordKind::Hook, child.step);
        record.detail = index as u32;
        record.length = chunk.len() as u32;
        for (to, from) in record.text.iter_mut().zip(chunk) {
            *to = *from;
        }
        report::send(child, &record);
    }
}
