use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use miette::{Context, IntoDiagnostic, miette};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use crate::passage::Passage;

/// The processes of one run. Killed when dropped.
pub(crate) struct Fleet {
    program: PathBuf,
    environment: Vec<(&'static str, String)>,
    /// Of workers, besides those of every run.
    arguments: &'static [&'static str],
    logs: PathBuf,
    processes: Vec<Process>,
}

struct Process {
    role: Role,
    number: usize,
    /// How often it was started.
    life: usize,
    child: Child,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Worker,
    Keeper,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Runs,
    /// By SIGSTOP, until then.
    Stopped(Instant),
    /// By SIGTERM, since then.
    Drains(Instant),
}

const WORKERS: usize = 4;
const KEEPERS: usize = 2;
/// A worker that was told to drain is given so long before it is killed.
const DRAIN: Duration = Duration::from_secs(20);

impl Fleet {
    pub(crate) fn start(
        program: PathBuf,
        passage: &Passage,
        logs: PathBuf,
    ) -> miette::Result<Self> {
        let Passage { environment, arguments, .. } = passage;
        let (environment, processes) = (environment.clone(), Vec::new());
        let mut fleet = Self { program, environment, arguments, logs, processes };
        for (role, count) in [(Role::Worker, WORKERS), (Role::Keeper, KEEPERS)] {
            for number in 0..count {
                let child = fleet.spawn(role, number, 0)?;
                fleet.processes.push(Process { role, number, life: 0, child, state: State::Runs });
            }
        }
        Ok(fleet)
    }

    fn spawn(&self, role: Role, number: usize, life: usize) -> miette::Result<Child> {
        let name = match role {
            Role::Worker => format!("worker-{number}"),
            Role::Keeper => format!("keeper-{number}"),
        };
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.logs.join(format!("{name}.log")))
            .into_diagnostic()?;
        let mut command = Command::new(&self.program);
        match role {
            Role::Worker => command
                .arg("worker")
                .args(["--agent-shard", "*", "--worker-slots", "16", "--worker-grace", "3s"])
                .args(["--worker-beat", "1s", "--db-pool", "6", "--bus-poll-ms", "2000"])
                .args(["--holder-id", &format!("{name}.{life}")])
                .args(self.arguments),
            Role::Keeper => command.args(["keeper", "--keeper-every", "200ms"]),
        };
        command
            .env_clear()
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .into_diagnostic()
            .wrap_err("could not start a process of the fleet")
    }

    /// Ends stops and drains whose time has come. Fails when a process died that nobody killed.
    pub(crate) fn tend(&mut self) -> miette::Result<()> {
        for place in 0..self.processes.len() {
            let process = &mut self.processes[place];
            let ended = process.child.try_wait().into_diagnostic()?;
            match (process.state, ended) {
                (State::Drains(_), Some(status)) if status.success() => self.renew(place)?,
                (State::Drains(since), None) if since.elapsed() > DRAIN => {
                    return Err(miette!("{} did not drain within {DRAIN:?}", process.name()));
                }
                (_, Some(status)) => {
                    return Err(miette!("{} died by itself: {status}", process.name()));
                }
                (State::Stopped(until), None) if Instant::now() >= until => {
                    process.signal(Signal::SIGCONT)?;
                    process.state = State::Runs;
                }
                (State::Runs | State::Stopped(_) | State::Drains(_), None) => {}
            }
        }
        Ok(())
    }

    pub(crate) async fn kill(&mut self, role: Role, number: usize) -> miette::Result<()> {
        let place = self.place(role, number);
        self.processes[place].child.kill().await.into_diagnostic()?;
        self.renew(place)
    }

    /// False: none is running now.
    pub(crate) fn stop(&mut self, number: usize, time: Duration) -> miette::Result<bool> {
        let Some(process) = self.running_worker(number) else { return Ok(false) };
        process.signal(Signal::SIGSTOP)?;
        process.state = State::Stopped(Instant::now() + time);
        Ok(true)
    }

    /// False: none is running now.
    pub(crate) fn drain(&mut self, number: usize) -> miette::Result<bool> {
        let Some(process) = self.running_worker(number) else { return Ok(false) };
        process.signal(Signal::SIGTERM)?;
        process.state = State::Drains(Instant::now());
        Ok(true)
    }

    /// Whatever is stopped goes on.
    pub(crate) fn resume_all(&mut self) -> miette::Result<()> {
        for process in &mut self.processes {
            if let State::Stopped(_) = process.state {
                process.signal(Signal::SIGCONT)?;
                process.state = State::Runs;
            }
        }
        Ok(())
    }

    /// Ends all of them in good order: whoever reads the tables afterwards reads the last word.
    pub(crate) async fn end(mut self) -> miette::Result<()> {
        self.resume_all()?;
        for process in &mut self.processes {
            if process.state == State::Runs {
                process.signal(Signal::SIGTERM)?;
            }
        }
        for process in &mut self.processes {
            let status = timeout(DRAIN, process.child.wait())
                .await
                .map_err(|_| miette!("{} did not end within {DRAIN:?}", process.name()))?
                .into_diagnostic()?;
            if !status.success() {
                return Err(miette!("{} ended badly: {status}", process.name()));
            }
        }
        Ok(())
    }

    /// This one, or else the next.
    fn running_worker(&mut self, number: usize) -> Option<&mut Process> {
        let places = (0..WORKERS).map(|next| self.place(Role::Worker, number + next));
        let place = places.into_iter().find(|place| self.processes[*place].state == State::Runs)?;
        Some(&mut self.processes[place])
    }

    /// Starts it again.
    fn renew(&mut self, place: usize) -> miette::Result<()> {
        let Process { role, number, life, .. } = self.processes[place];
        let child = self.spawn(role, number, life + 1)?;
        self.processes[place] = Process { role, number, life: life + 1, child, state: State::Runs };
        Ok(())
    }

    /// Any number will do: it wraps around.
    fn place(&self, role: Role, number: usize) -> usize {
        match role {
            Role::Worker => number % WORKERS,
            Role::Keeper => WORKERS + number % KEEPERS,
        }
    }
}

impl Process {
    fn name(&self) -> String {
        format!("{:?} {} (life {})", self.role, self.number, self.life)
    }

    fn signal(&self, signal: Signal) -> miette::Result<()> {
        let Some(pid) = self.child.id() else { return Ok(()) };
        kill(Pid::from_raw(pid.cast_signed()), signal).into_diagnostic()
    }
}
