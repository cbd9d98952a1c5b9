//! The `cogo` command. Start at [`main`]; `command.rs` is the table of commands, and each has a file
//! of its own.
//!
//! Invariants: knows no worker, only what it is handed as [`WorkerEntry`]. Stdout is the answer,
//! stderr everything else. Exit codes: 0 done, 1 failed, not found or unhealthy, 2 wrong usage.
//! Nothing that is printed contains a credential.

mod accounts;
mod agents;
mod bench;
mod cancel;
mod chosen;
mod command;
mod connection;
mod crew;
mod demo;
mod dev;
mod dlq;
mod doctor;
mod ended;
mod explain;
mod human;
mod image_status;
mod images;
mod intent_api;
mod journey;
mod local;
mod migrations;
mod out;
mod pause;
mod peek;
mod replay;
mod rollout_demo;
mod run;
mod secret_check;
mod send;
mod simulated_workers;
mod stats;
mod status;
mod subject;
mod table;
mod tail;
mod top;
mod trace;
mod waterfall;
mod worker_entry;
mod workers;

use std::process::ExitCode;

use boot::{ProcessSettings, Refused, block_on_with_stop, finish, matches};
use clap::{ArgMatches, FromArgMatches};
use miette::IntoDiagnostic;
use telemetry::LogSettings;
use tokio_util::sync::CancellationToken;

use crate::command::{Cogo, command};
use crate::crew::Crew;
use crate::demo::Demo;
use crate::dev::Dev;
use crate::ended::{Ended, explained, is_wrong_usage};
pub use crate::worker_entry::WorkerEntry;

/// The whole life of a `cogo` process, which can run any of `workers`.
pub fn main(workers: impl IntoIterator<Item = WorkerEntry>) -> ExitCode {
    let workers: Vec<WorkerEntry> = workers.into_iter().collect();
    match parse_and_run(workers) {
        Ok(code) => code,
        Err(refused) => refused.tell(),
    }
}

fn parse_and_run(workers: Vec<WorkerEntry>) -> Result<ExitCode, Refused> {
    let found = matches(command(&workers), std::env::args_os())?;
    let process = ProcessSettings::from_arg_matches(&found)?;
    match found.subcommand() {
        Some(("run", asked)) => return run_worker(&process, workers, asked),
        Some(("dev", asked)) => {
            let dev = Dev::from_arg_matches(asked)?;
            let crew = Crew::choose(workers, dev.chosen(), &process)?;
            return Ok(obey(&process, |stop| dev.run(crew, stop)));
        }
        Some(("demo", asked)) => {
            let demo = Demo::from_arg_matches(asked)?;
            let crew = Crew::choose(workers, &demo.chosen(), &process)?;
            return Ok(obey(&process, |stop| demo.run(crew, stop)));
        }
        _ => {}
    }
    let cogo = Cogo::from_arg_matches(&found)?;
    let names: Vec<&str> = workers.iter().map(|worker| worker.name).collect();
    if cogo.draws() {
        return Ok(ending(&process.log, drawing(&process, |stop| cogo.obey(&names, stop))));
    }
    Ok(obey(&process, |stop| cogo.obey(&names, stop)))
}

/// Without log lines, which would be written into what is drawn.
fn drawing<F, Fut>(process: &ProcessSettings, command: F) -> miette::Result<Ended>
where
    F: FnOnce(CancellationToken) -> Fut,
    Fut: Future<Output = miette::Result<Ended>>,
{
    block_on_with_stop("cogo", process.threads, command)?
}

fn obey<F, Fut>(process: &ProcessSettings, command: F) -> ExitCode
where
    F: FnOnce(CancellationToken) -> Fut,
    Fut: Future<Output = miette::Result<Ended>>,
{
    let result = telemetry::start(&process.log)
        .into_diagnostic()
        .and_then(|()| block_on_with_stop("cogo", process.threads, command)?);
    ending(&process.log, result)
}

/// As `boot::run` does for a worker's own program.
fn run_worker(
    process: &ProcessSettings,
    workers: Vec<WorkerEntry>,
    asked: &ArgMatches,
) -> Result<ExitCode, Refused> {
    let (name, start) = run::parse(workers, asked)?;
    let result = telemetry::start(&process.log)
        .into_diagnostic()
        .and_then(|()| block_on_with_stop(name, process.threads, start)?)
        .map_err(|report| explained(report).wrap_err(format!("{name} stopped")));
    Ok(finish(&process.log, result))
}

fn ending(log: &LogSettings, result: miette::Result<Ended>) -> ExitCode {
    match result {
        Ok(Ended::Well) => ExitCode::SUCCESS,
        Ok(Ended::Badly) => ExitCode::FAILURE,
        Err(report) => {
            let wrong_usage = is_wrong_usage(&report);
            let code = finish(log, Err(explained(report)));
            if wrong_usage { ExitCode::from(2) } else { code }
        }
    }
}
