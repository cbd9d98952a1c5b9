use std::future::pending;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::geteuid;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::ChildStdin;
use tokio::time::{interval_at, sleep, sleep_until, timeout};

use crate::command::{Around, NOT_SET_UP};
use crate::output::{Kept, Lines};
use crate::redact::Redact;
use crate::tree::{Tree, threads_of};
use crate::{Child, ChildError, Ended, How, Layer, Stream, Workspace, spawner, tools};

/// Between two looks at how much memory a tree has.
const MEMORY_LOOK: Duration = Duration::from_millis(500);

/// Nothing writes any more; this is how long it may take to read what is still in the pipes.
const REST: Duration = Duration::from_secs(2);

const CHUNK: usize = 64 * 1024;

/// See [`Workspace::run`].
pub(crate) async fn run(
    workspace: &Workspace,
    child: Child,
    mut on_line: impl FnMut(Stream, &str) + Send,
    stop: impl Future<Output = ()> + Send,
) -> Result<Ended, ChildError> {
    let started = Instant::now();
    let layer = workspace.sandbox().layer();
    let mut command = command(workspace, &child)?;
    command.stdin(if child.stdin.is_empty() { Stdio::null() } else { Stdio::piped() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    if layer == Layer::None {
        // A terminal's Ctrl-C is for us.
        command.process_group(0);
    }
    let mut process = spawner::spawn(command).await.map_err(ChildError::Spawn)?;
    let root = process.id().and_then(|id| i32::try_from(id).ok());
    let tree = Tree {
        root,
        wrapped: layer != Layer::None,
        mark: workspace.mark().to_owned(),
        user: workspace.user(),
    };
    let mut running = Running { tree, over: false };

    let mut stdout = Output::new(Stream::Stdout, process.stdout.take(), &child);
    let mut stderr = Output::new(Stream::Stderr, process.stderr.take(), &child);
    let mut stop = std::pin::pin!(stop);
    let mut feed = std::pin::pin!(feed(process.stdin.take(), &child.stdin));
    let mut fed = false;
    let mut memory = interval_at((started + MEMORY_LOOK).into(), MEMORY_LOOK);
    // Why it is being ended, and when it is killed.
    let mut ending: Option<(How, Instant)> = None;

    let how = loop {
        let deadline = ending.map_or(started + child.limits.time, |(_, kill_at)| kill_at);
        let mut end = None;
        tokio::select! {
            status = process.wait() => {
                running.tree.root = None;
                break match ending {
                    Some((how, _)) => how,
                    None => how_it_ended(status.map_err(ChildError::Spawn)?, layer),
                };
            }
            read = stdout.read() => stdout.keep(&read, &mut on_line),
            read = stderr.read() => stderr.keep(&read, &mut on_line),
            () = &mut feed, if !fed => fed = true,
            () = &mut stop, if ending.is_none() => end = Some(How::Stopped),
            _ = memory.tick(), if ending.is_none() => {
                end = (running.tree.memory() > child.limits.memory).then_some(How::OutOfMemory);
            }
            () = sleep_until(deadline.into()) => match ending {
                None => end = Some(How::TimedOut),
                Some(_) => {
                    running.tree.kill();
                    // What was forked meanwhile is found at the next look.
                    sleep(Duration::from_millis(5)).await;
                }
            },
        }
        if let Some(how) = end {
            // What takes too much memory is given no time to take more.
            let grace = if how == How::OutOfMemory { Duration::ZERO } else { child.limits.grace };
            running.tree.terminate();
            ending = Some((how, Instant::now() + grace));
        }
    };
    // What it left behind, such as a daemon, would hold the pipes open.
    running.tree.end().await;
    running.over = true;
    let rest = async {
        stdout.read_to_end(&mut on_line).await;
        stderr.read_to_end(&mut on_line).await;
    };
    let _ = timeout(REST, rest).await;

    let ended = Ended {
        how,
        stdout: stdout.finish(&mut on_line),
        stderr: stderr.finish(&mut on_line),
        duration: started.elapsed(),
    };
    match set_up_failure(&ended, layer) {
        Some(said) => Err(ChildError::Sandbox { said }),
        None => Ok(ended),
    }
}

fn command(workspace: &Workspace, child: &Child) -> Result<tokio::process::Command, ChildError> {
    let sandbox = workspace.sandbox();
    let name = child.argv.first().map(|name| name.to_string_lossy().into_owned());
    let not_found = || ChildError::NotFound { program: name.clone().unwrap_or_default() };
    let program = child.argv.first().ok_or_else(not_found)?;
    let path = child.env.get(std::ffi::OsStr::new("PATH")).cloned().unwrap_or_default();
    let program = tools::find(program, &path, &child.cwd).ok_or_else(not_found)?;
    if sandbox.layer() == Layer::None
        && workspace.user().is_some()
        && let Some(closed) = tools::closed_folder(&program)
        && !closed.starts_with(workspace.work())
    {
        let (program, closed) = (program.display().to_string(), closed.display().to_string());
        return Err(ChildError::Unreadable { program, closed });
    }
    // In namespaces of our own making the kernel counts from zero, as it does for a user that is
    // nobody else's.
    let alone = workspace.user().is_some() || sandbox.layer() != Layer::None;
    let around = Around {
        layer: sandbox.layer(),
        tools: sandbox.tools(),
        view: sandbox.view(),
        workspace,
        others: if alone { 0 } else { threads_of(geteuid().as_raw()) },
    };
    around.command(child, &program)
}

/// Ends with what it is dropped with, when a caller does not wait for the end.
struct Running {
    tree: Tree,
    over: bool,
}

/// A tree that forks quickly needs several looks; nobody waits here for more than these.
const LOOKS: usize = 10;

impl Drop for Running {
    fn drop(&mut self) {
        let mut looks = 0;
        while !self.over && looks < LOOKS && self.tree.kill() {
            looks += 1;
        }
    }
}

async fn feed(stdin: Option<ChildStdin>, bytes: &[u8]) {
    if let Some(mut stdin) = stdin {
        // A program need not read what it is given.
        let _ = stdin.write_all(bytes).await;
    }
}

fn how_it_ended(status: ExitStatus, layer: Layer) -> How {
    if let Some(signal) = status.signal() {
        return How::Signalled(signal);
    }
    match status.code().unwrap_or_default() {
        // So its first process tells of the signal that ended the program.
        code @ 129..=192 if layer != Layer::None => How::Signalled(code - 128),
        code => How::Exited(code),
    }
}

/// Whether the program never ran. Both say so in their first words.
fn set_up_failure(ended: &Ended, layer: Layer) -> Option<String> {
    let said = ended.stderr.text();
    let failed = match layer {
        Layer::Bubblewrap => ended.how == How::Exited(1) && said.starts_with("bwrap: "),
        Layer::Namespaces => {
            ended.how == How::Exited(NOT_SET_UP) && said.contains("sandbox: could not")
                || ended.how == How::Exited(1) && said.starts_with("unshare: ")
        }
        Layer::None => false,
    };
    (failed && ended.stdout.total() == 0).then(|| said.trim().to_owned())
}

/// One of the two output streams.
struct Output<R> {
    stream: Stream,
    pipe: Option<R>,
    buffer: Vec<u8>,
    redact: Redact,
    lines: Lines,
    kept: Kept,
}

impl<R: AsyncRead + Unpin> Output<R> {
    fn new(stream: Stream, pipe: Option<R>, child: &Child) -> Self {
        Self {
            stream,
            pipe,
            buffer: vec![0; CHUNK],
            redact: Redact::new(&child.redact),
            lines: Lines::default(),
            kept: Kept::new(child.limits.output),
        }
    }

    /// Reads once, without secrets; never resolves after the end.
    async fn read(&mut self) -> Vec<u8> {
        let Some(pipe) = &mut self.pipe else { return pending().await };
        match pipe.read(&mut self.buffer).await {
            Ok(0) | Err(_) => {
                self.pipe = None;
                self.redact.finish()
            }
            Ok(read) => self.redact.push(&self.buffer[..read]),
        }
    }

    async fn read_to_end(&mut self, on_line: &mut impl FnMut(Stream, &str)) {
        while self.pipe.is_some() {
            let read = self.read().await;
            self.keep(&read, on_line);
        }
    }

    fn keep(&mut self, clear: &[u8], on_line: &mut impl FnMut(Stream, &str)) {
        self.kept.push(clear);
        self.lines.push(clear, |line| on_line(self.stream, line));
    }

    fn finish(mut self, on_line: &mut impl FnMut(Stream, &str)) -> Kept {
        let rest = self.redact.finish();
        self.keep(&rest, on_line);
        self.lines.finish(|line| on_line(self.stream, line));
        self.kept
    }
}
