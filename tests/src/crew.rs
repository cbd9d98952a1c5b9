use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use miette::{Context, IntoDiagnostic};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Real workers, each a process of its own, as `cogo run` starts them. Killed when dropped.
pub struct Crew {
    program: PathBuf,
    /// Their logs, and what they make.
    folder: TempDir,
    members: BTreeMap<&'static str, Child>,
}

impl Crew {
    /// Of a program that runs every worker, as `cogo` does.
    pub fn of(program: impl Into<PathBuf>) -> miette::Result<Self> {
        let folder = tempfile::Builder::new().prefix("cogo-crew-").tempdir().into_diagnostic()?;
        Ok(Self { program: program.into(), folder, members: BTreeMap::new() })
    }

    /// The artifacts they share.
    pub fn artifacts(&self) -> PathBuf {
        self.folder.path().join("artifacts")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a worker, in the place of the one of that name if there is one.
    pub fn start(&mut self, worker: &'static str, url: &str, more: &[&str]) -> miette::Result<()> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log(worker))
            .into_diagnostic()
            .wrap_err("could not open a log")?;
        let mut command = Command::new(&self.program);
        let child = command
            .args(["run", worker])
            .args(more)
            .env_clear()
            .env("PATH", PROGRAMS)
            .env("DATABASE_URL", url)
            .env("ARTIFACTS_BASE", self.artifacts())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .into_diagnostic()
            .wrap_err_with(|| format!("could not start {worker}"))?;
        self.members.insert(worker, child);
        Ok(())
    }

    /// By SIGKILL: it has no time to do anything.
    pub async fn kill(&mut self, worker: &str) -> miette::Result<()> {
        match self.members.remove(worker) {
            Some(mut child) => child.kill().await.into_diagnostic(),
            None => Ok(()),
        }
    }

    /// Those that ended although nobody killed them, with the last that they said.
    pub fn dead(&mut self) -> Vec<String> {
        let mut dead = Vec::new();
        for (worker, child) in &mut self.members {
            if let Ok(Some(status)) = child.try_wait() {
                dead.push(format!("{worker} died by itself ({status})"));
            }
        }
        dead
    }

    /// The last lines that each of them said.
    pub fn last_words(&self) -> String {
        let mut said = String::new();
        for worker in self.members.keys() {
            let log = std::fs::read_to_string(self.log(worker)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(TOLD)..].join("\n");
            said = format!("{said}--- {worker}\n{last}\n");
        }
        said
    }

    fn log(&self, worker: &str) -> PathBuf {
        self.folder.path().join(format!("{worker}.log"))
    }
}

/// What builds and their sandboxes are made of.
const PROGRAMS: &str = "/usr/local/bin:/usr/bin:/bin";
const TOLD: usize = 30;
