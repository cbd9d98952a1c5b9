use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;

use boot::{ProcessSettings, Refused, matches};
use clap::Command;
use clap::error::ErrorKind;
use miette::{Report, miette};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::WorkerEntry;
use crate::chosen::Chosen;
use crate::command::command;
use crate::ended::WrongUsage;
use crate::run;

/// Workers that are about to run in this process, each as `cogo run` would run it.
pub(crate) struct Crew {
    workers: Vec<WorkerEntry>,
    /// All that `cogo` understands, because a settings file may set anything in it.
    command: Command,
    settings_file: Option<PathBuf>,
}

impl Crew {
    pub(crate) fn choose(
        workers: Vec<WorkerEntry>,
        chosen: &Chosen,
        process: &ProcessSettings,
    ) -> Result<Self, Refused> {
        let mut command = command(&workers);
        let names: Vec<&str> = workers.iter().map(|worker| worker.name).collect();
        if let Some(told) = chosen.mistake(&names) {
            let error = clap::Error::raw(ErrorKind::InvalidValue, told);
            return Err(error.format(&mut command).into());
        }
        let workers = workers.into_iter().filter(|worker| {
            chosen.wants(worker.name) && (!worker.for_a_cluster || chosen.names(worker.name))
        });
        let workers = workers.collect();
        Ok(Self { workers, command, settings_file: process.settings.clone() })
    }

    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.workers.iter().map(|worker| worker.name).collect()
    }

    /// Whether one of them has a setting of this name, such as `PORT`.
    pub(crate) fn has(&self, setting: &str) -> bool {
        let of =
            |worker: &WorkerEntry| worker.command().get_arguments().any(|arg| is(arg, setting));
        self.workers.iter().any(of)
    }

    /// Starts all of them. Whoever has a setting of a name that is `given` gets its value; what is
    /// not given comes from the environment and the settings file, as always.
    pub(crate) fn start(
        self,
        given: &[(&str, String)],
        stop: &CancellationToken,
    ) -> miette::Result<Members> {
        let mut starts = Vec::new();
        for worker in self.workers {
            let name = worker.name;
            let arguments = arguments(&worker, given, self.settings_file.as_ref());
            let refused = |refused: Refused| WrongUsage {
                what: format!("{name} cannot run with these settings: {refused}"),
                help: format!("`cogo run {name} --help` lists its settings"),
            };
            let found = matches(self.command.clone(), arguments).map_err(refused)?;
            let found = found.subcommand_matches("run").expect("asked for above");
            let start = run::parse(vec![worker], found).map_err(|error| refused(error.into()))?.1;
            starts.push((name, start));
        }
        // Nobody starts before all are known to have what they need.
        let mut members = Members { running: JoinSet::new(), names: HashMap::new() };
        for (name, start) in starts {
            let id = members.running.spawn(start(stop.clone())).id();
            members.names.insert(id, name);
        }
        Ok(members)
    }
}

/// As if somebody had typed `cogo run <worker>` with what is given.
fn arguments(
    worker: &WorkerEntry,
    given: &[(&str, String)],
    settings_file: Option<&PathBuf>,
) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["cogo".into(), "run".into(), worker.name.into()];
    if let Some(file) = settings_file {
        arguments.extend(["--settings".into(), file.into()]);
    }
    for arg in worker.command().get_arguments() {
        let value = given.iter().find(|(name, _)| is(arg, name));
        if let (Some(flag), Some((_, value))) = (arg.get_long(), value) {
            arguments.push(format!("--{flag}={value}").into());
        }
    }
    arguments
}

fn is(arg: &clap::Arg, setting: &str) -> bool {
    arg.get_env().is_some_and(|name| name == setting)
}

/// Workers that run. Ended with the value, if they have not ended before.
pub(crate) struct Members {
    running: JoinSet<miette::Result<()>>,
    names: HashMap<Id, &'static str>,
}

impl Members {
    /// The next one that ends, and why; nothing when all have ended.
    pub(crate) async fn next(&mut self) -> Option<(&'static str, miette::Result<()>)> {
        let (id, ended) = match self.running.join_next_with_id().await? {
            Ok((id, ended)) => (id, ended),
            Err(died) => (died.id(), Err(miette!("{died}"))),
        };
        Some((self.names.get(&id).copied().unwrap_or("a worker"), ended))
    }

    /// Why everything stops: a worker ended that nobody had told to.
    pub(crate) async fn ended_early(&mut self) -> Report {
        match self.next().await {
            Some((name, Err(report))) => report.wrap_err(format!("{name} failed")),
            Some((name, Ok(()))) => miette!("{name} ended, although nobody told it to stop"),
            // Nobody was chosen: there is nothing to fail.
            None => std::future::pending().await,
        }
    }
}
