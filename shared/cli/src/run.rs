use clap::{ArgMatches, Command};

use crate::WorkerEntry;
use crate::worker_entry::Start;

pub(crate) fn command(workers: &[WorkerEntry]) -> Command {
    Command::new("run")
        .about("Run a worker in this process, until it is stopped with Ctrl-C or SIGTERM")
        .after_help(
            "Examples:\n  \
             cogo run bus-keeper                  keep the bus: lost leases, expiry, retention\n  \
             cogo run probe --worker-slots 4      answer what `cogo bus send cogo/probe/0` sends\n  \
             cogo run bus-keeper --help           every setting of that worker",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand_value_name("WORKER")
        .subcommand_help_heading("Workers")
        .disable_help_subcommand(true)
        .subcommands(workers.iter().map(WorkerEntry::command))
}

/// The worker that was asked for, ready to be started.
pub(crate) fn parse(
    workers: Vec<WorkerEntry>,
    asked: &ArgMatches,
) -> Result<(&'static str, Start), clap::Error> {
    let (name, found) = asked.subcommand().expect("clap requires a worker");
    let worker = workers.into_iter().find(|worker| worker.name == name);
    let worker = worker.expect("clap knows only these workers");
    Ok((worker.name, worker.parse(found)?))
}
