use std::collections::BTreeSet;

use boot::ProcessSettings;
use clap::{Args, Command, CommandFactory, Parser, Subcommand};
use db::DbSettings;
use tokio_util::sync::CancellationToken;

use crate::accounts::Accounts;
use crate::agents::Agents;
use crate::bench::Bench;
use crate::cancel::Cancel;
use crate::connection::Connection;
use crate::dlq::Dlq;
use crate::doctor::Doctor;
use crate::ended::Ended;
use crate::explain::Explain;
use crate::images::Images;
use crate::migrations::Migrations;
use crate::pause::{Pause, Resume};
use crate::peek::Peek;
use crate::replay::Replay;
use crate::secret_check::SecretCommands;
use crate::send::Send;
use crate::stats::Stats;
use crate::status::Status;
use crate::tail::Tail;
use crate::top::Top;
use crate::trace::Trace;
use crate::workers::Workers;
use crate::{WorkerEntry, demo, dev, run};

/// A message bus for agents, on Postgres.
///
/// `demo` and `dev` bring a database along; every other command needs one: give it by DATABASE_URL, by --database-url, or in a file named
/// by --settings. Logs and errors go to stderr, answers to stdout, as tables for people or with
/// --output json for programs.
#[derive(Parser)]
#[command(
    name = "cogo",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "\
Exit codes:
  0  done
  1  failed, not found, or unhealthy
  2  wrong usage

To see it work, without anything set up:
  cogo demo                                         an intent on its way to tested code
  cogo dev                                          the same stack, to stay

A first message, with DATABASE_URL set:
  cogo db migrate                                   make the tables
  cogo run probe                                    a worker, in a second terminal
  cogo bus tail --messages                          what happens, in a third
  cogo bus send cogo/probe/0 '{\"text\": \"hello\"}'    and the message"
)]
pub(crate) struct Cogo {
    #[command(subcommand)]
    command: Commands,

    #[command(flatten)]
    _process: ProcessSettings,
}

/// `run`, `dev` and `demo` are not among them: what they do depends on the workers.
#[derive(Subcommand)]
enum Commands {
    Status(Status),
    Doctor(Box<Doctor>),
    Db(Migrations),
    Bus(Box<Bus>),
    Trace(Trace),
    Explain(Explain),
    Top(Top),
    Workers(Workers),
    Secrets(SecretCommands),
    Accounts(Accounts),
    Agents(Agents),
    Images(Images),
    Bench(Box<Bench>),
}

/// Send, watch and steer messages.
#[derive(Args)]
struct Bus {
    #[command(subcommand)]
    command: BusCommands,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Subcommand)]
enum BusCommands {
    Send(Send),
    Tail(Tail),
    Stats(Stats),
    Peek(Peek),
    Cancel(Cancel),
    Pause(Pause),
    Resume(Resume),
    Replay(Replay),
    Dlq(Dlq),
}

impl Cogo {
    /// Whether it takes the whole terminal for itself.
    pub(crate) fn draws(&self) -> bool {
        matches!(&self.command, Commands::Top(top) if top.draws())
    }

    /// `workers` are those that this program can run.
    pub(crate) async fn obey(
        self,
        workers: &[&str],
        stop: CancellationToken,
    ) -> miette::Result<Ended> {
        match self.command {
            Commands::Status(status) => status.run().await,
            Commands::Doctor(doctor) => doctor.run().await,
            Commands::Db(migrations) => migrations.run().await,
            Commands::Bus(bus) => bus.command.run(&bus.connection, stop).await,
            Commands::Trace(trace) => trace.run().await,
            Commands::Explain(explain) => explain.run().await,
            Commands::Top(top) => top.run(stop).await,
            Commands::Workers(workers) => workers.run().await,
            Commands::Secrets(secrets) => secrets.run().await,
            Commands::Accounts(accounts) => accounts.run().await,
            Commands::Agents(agents) => agents.run().await,
            Commands::Images(images) => images.run(stop).await,
            Commands::Bench(bench) => bench.run(workers, stop).await,
        }
    }
}

impl BusCommands {
    async fn run(self, to: &Connection, stop: CancellationToken) -> miette::Result<Ended> {
        match self {
            Self::Send(send) => send.run(to, stop).await,
            Self::Tail(tail) => tail.run(to, stop).await,
            Self::Stats(stats) => stats.run(to).await,
            Self::Peek(peek) => peek.run(to).await,
            Self::Cancel(cancel) => cancel.run(to).await,
            Self::Pause(pause) => pause.run(to).await,
            Self::Resume(resume) => resume.run(to).await,
            Self::Replay(replay) => replay.run(to).await,
            Self::Dlq(dlq) => dlq.run(to, stop).await,
        }
    }
}

/// Everything that `cogo` understands.
pub(crate) fn command(workers: &[WorkerEntry]) -> Command {
    let seldom = |arg: clap::Arg| arg.hide_short_help(true);
    Cogo::command()
        // A command is asked for its answer; `run` has the workers' default.
        .mut_arg("log", |arg| arg.default_value("warn"))
        .mut_arg("threads", seldom)
        .mut_arg("log_format", seldom)
        // `demo` and `dev` come first.
        .mut_subcommands(|one| {
            let order = one.get_display_order();
            with_database(one).display_order(order + 2)
        })
        .subcommand(run::command(workers))
        .subcommand(dev::command())
        .subcommand(demo::command())
}

/// Lets the database be named behind any subcommand, and keeps what is seldom needed out of `-h`.
fn with_database(command: Command) -> Command {
    let database = DbSettings::augment_args(Command::new(""));
    let ids: BTreeSet<&str> = database.get_arguments().map(|arg| arg.get_id().as_str()).collect();
    command.mut_args(|arg| {
        if !ids.contains(arg.get_id().as_str()) {
            return arg;
        }
        let seldom = arg.get_id() != "database_url";
        arg.global(true).hide_short_help(seldom)
    })
}
