use bench::{PipelineArgs, PublishArgs, RunArgs, WorkArgs};
use clap::{Args, Subcommand};
use miette::IntoDiagnostic;
use tokio_util::sync::CancellationToken;

use crate::connection::Connection;
use crate::ended::Ended;
use crate::out::aside;

/// Measure the bus and the pipeline.
///
/// `bus` and `pipeline` start a Postgres of their own; `publish` and `work` load the database they are given and
/// say one line of JSON, for a harness that sets Cogo beside others.
#[derive(Args)]
#[command(after_help = "\
Examples:
  cogo bench bus                                      everything, in about five minutes
  cogo bench bus --quick --output json                without the million rows, for a program
  cogo bench bus --via direct,realtime                how late a worker hears, each way
  cogo bench pipeline --burst 1000                    from an intent to tested code
  cogo bench publish --count 20000 --connections 16   one transaction each
  cogo bench publish --count 100000 --callers 1000    concurrent calls in one process
  cogo bench work --count 100000                      then work them off")]
pub(crate) struct Bench {
    #[command(subcommand)]
    command: BenchCommands,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Subcommand)]
enum BenchCommands {
    Bus(Box<RunArgs>),
    Pipeline(PipelineArgs),
    Publish(PublishArgs),
    Work(Box<WorkArgs>),
}

impl Bench {
    /// `workers` are those that this program can run.
    pub(crate) async fn run(
        self,
        workers: &[&str],
        stop: CancellationToken,
    ) -> miette::Result<Ended> {
        let Self { command, connection } = self;
        match command {
            BenchCommands::Bus(args) => {
                let measured = tokio::select! {
                    report = Box::pin(bench::run(&args, aside)) => Some(report?),
                    () = stop.cancelled() => None,
                };
                let Some(report) = measured else { return Ok(Ended::Badly) };
                connection.out().answer(&report, ToString::to_string)?;
            }
            BenchCommands::Pipeline(args) => {
                let measured = tokio::select! {
                    report = Box::pin(bench::pipeline(&args, workers, aside)) => Some(report?),
                    () = stop.cancelled() => None,
                };
                let Some(report) = measured else { return Ok(Ended::Badly) };
                connection.out().answer(&report, ToString::to_string)?;
            }
            BenchCommands::Publish(args) => {
                say(&bench::publish(&connection.db, &args).await?)?;
            }
            BenchCommands::Work(args) => {
                say(&Box::pin(bench::work(&connection.db, &args, stop)).await?)?;
            }
        }
        Ok(Ended::Well)
    }
}

/// One line, whatever --output says: this is for programs.
fn say(report: &impl serde::Serialize) -> miette::Result<()> {
    println!("{}", serde_json::to_string(report).into_diagnostic()?);
    Ok(())
}
