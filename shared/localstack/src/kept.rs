use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use hyper::{Request, StatusCode};
use model::Secret;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::recover::inside;
use crate::upstream::Upstream;
use crate::watched::{Farewell, SHELL, Watched, appended_log, fresh_log, last_words};

/// A program beside Postgres that listens for the gateway.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// What people call it.
    pub(crate) name: &'static str,
    /// Its working directory, which tells its processes from all others, with its log.
    pub(crate) folder: PathBuf,
    pub(crate) line: Vec<OsString>,
    /// All of its environment.
    pub(crate) env: Vec<(&'static str, Secret)>,
    pub(crate) listens: Upstream,
}

/// How a program is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Starting,
    Up,
    /// And why.
    Down(String),
}

/// A program that runs for as long as this value lives: whenever it ends by itself it is started
/// again, ever more slowly while that does not help.
#[derive(Debug)]
pub(crate) struct Kept {
    program: Program,
    health: watch::Receiver<Health>,
    stop: CancellationToken,
    keeping: JoinSet<()>,
}

/// Hears, in one line, what people should know.
pub type Tell = Arc<dyn Fn(&str) + Send + Sync>;

const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// For whoever hangs, so that the next look is not held up.
const LOOKING: Duration = Duration::from_secs(5);
/// Longer than its watcher waits until it kills it.
const STOPPING: Duration = Duration::from_secs(8);

impl Kept {
    pub(crate) fn start(program: Program, tell: Tell) -> io::Result<Self> {
        end_orphans(&program);
        // Made anew, so that each start of the stack has a log of its own.
        fresh_log(&program.log())?;
        let (send, health) = watch::channel(Health::Starting);
        let stop = CancellationToken::new();
        let mut keeping = JoinSet::new();
        keeping.spawn(keep(program.clone(), send, stop.clone(), tell));
        Ok(Self { program, health, stop, keeping })
    }

    /// Whether it runs, as soon as that is known, or after `patience` in any case.
    pub(crate) async fn settled(&self, patience: Duration) -> Health {
        let mut health = self.health.clone();
        let known = health.wait_for(|health| *health != Health::Starting);
        if let Ok(Ok(health)) = timeout(patience, known).await {
            return health.clone();
        }
        self.health.borrow().clone()
    }

    pub(crate) fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }

    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        while self.keeping.join_next().await.is_some() {}
    }
}

impl Program {
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn launch(&self) -> io::Result<Watched> {
        if let Upstream::Unix(socket) = &self.listens {
            // One that was killed leaves its socket behind.
            let _ = fs::remove_file(socket);
        }
        let mut shell = Command::new(SHELL);
        shell.env_clear().env("PATH", "/usr/bin:/bin").current_dir(&self.folder);
        shell.envs(self.env.iter().map(|(name, value)| (name, value.expose())));
        Watched::spawn(shell, &self.line, appended_log(&self.log())?, Farewell::Terminate)
    }

    /// Whether it answers, whatever it thinks of the question.
    async fn answers(&self) -> bool {
        let asking = async {
            let (mut send, connection) = self.listens.open().await.ok()?;
            let request = Request::head("/").header("host", "localhost").body(String::new());
            let request = request.expect("it is a constant");
            let asked = async move { send.send_request(request).await.ok() };
            // The connection ends by itself once nobody can send on it any more.
            let (answer, _) = tokio::join!(asked, connection);
            answer
        };
        let answer = timeout(LOOKING, asking).await.ok().flatten();
        answer.is_some_and(|answer| answer.status() != StatusCode::SERVICE_UNAVAILABLE)
    }

    async fn starts_to_answer(&self) {
        while !self.answers().await {
            sleep(LOOK_EVERY).await;
        }
    }
}

async fn keep(
    program: Program,
    health: watch::Sender<Health>,
    stop: CancellationToken,
    tell: Tell,
) {
    let mut wait = FIRST_WAIT;
    let mut fell = false;
    loop {
        let why = match program.launch() {
            Err(error) => error.to_string(),
            Ok(mut watched) => {
                health.send_replace(Health::Starting);
                let mut up = false;
                loop {
                    tokio::select! {
                        () = stop.cancelled() => {
                            watched.release();
                            let _ = timeout(STOPPING, watched.ended()).await;
                            return;
                        }
                        ended = watched.ended() => break ended,
                        () = program.starts_to_answer(), if !up => {
                            up = true;
                            wait = FIRST_WAIT;
                            health.send_replace(Health::Up);
                            if std::mem::take(&mut fell) {
                                tell(&format!("{} runs again", program.name));
                            }
                        }
                    }
                }
            }
        };
        fell = true;
        tell(&program.obituary(&why, wait));
        health.send_replace(Health::Down(why));
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(wait) => {}
        }
        wait = (2 * wait).min(LONGEST_WAIT);
    }
}

impl Program {
    fn obituary(&self, why: &str, wait: Duration) -> String {
        let words = last_words(&self.log(), 1);
        let words = if words.is_empty() { words } else { format!(", saying \"{words}\"") };
        format!(
            "{} ended by itself ({why}){words}; starting it again in {:.2} s; its log is {}",
            self.name,
            wait.as_secs_f64(),
            self.log().display()
        )
    }
}

/// Those that outlived both us and their watcher.
fn end_orphans(program: &Program) {
    for pid in inside(&program.folder) {
        let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
    }
}
