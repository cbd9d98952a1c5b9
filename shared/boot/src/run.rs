use std::process::ExitCode;

use clap::{Args, Command, FromArgMatches};
use miette::{Context, IntoDiagnostic};
use telemetry::{Chain, LogFormat, LogSettings};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::settings::{Refused, matches};
use crate::{ProcessSettings, block_on_with_stop};

/// The whole life of a worker process. Exits with 0 when the work is done (also when it was told to
/// stop), with 1 when it failed, and with 2 when its settings are wrong.
pub fn run<S, F, Fut>(name: &'static str, work: F) -> ExitCode
where
    S: Args,
    F: FnOnce(S, CancellationToken) -> Fut,
    Fut: Future<Output = miette::Result<()>>,
{
    let (process, settings) = match parse::<S>(name) {
        Ok(parsed) => parsed,
        Err(refused) => return refused.tell(),
    };
    let result = telemetry::start(&process.log)
        .into_diagnostic()
        .and_then(|()| block_on_with_stop(name, process.threads, |stop| work(settings, stop))?)
        .wrap_err_with(|| format!("{name} stopped"));
    finish(&process.log, result)
}

fn parse<S: Args>(name: &'static str) -> Result<(ProcessSettings, S), Refused> {
    // The worker's settings go in last: their doc comment is what --help says about the worker.
    let command = Command::new(name).version(env!("CARGO_PKG_VERSION"));
    let command = ProcessSettings::augment_args(command);
    // clap carries headings and descriptions over to whatever comes next.
    let command = command.next_help_heading(None).about(None).long_about(None);
    let command = S::augment_args(command);
    let found = matches(command, std::env::args_os())?;
    Ok((ProcessSettings::from_arg_matches(&found)?, S::from_arg_matches(&found)?))
}

/// Tells why the work failed, once, in the form the log is read in, and turns it into the exit
/// code.
pub fn finish(log: &LogSettings, result: miette::Result<()>) -> ExitCode {
    let Err(report) = result else { return ExitCode::SUCCESS };
    match log.log_format {
        LogFormat::People => eprintln!("{report:?}"),
        // A report drawn over several lines would reach the log collector as several broken
        // objects.
        LogFormat::Json => {
            let help = report.help().map(|help| help.to_string());
            error!(error = %Chain(report.as_ref()), help, "gave up");
        }
    }
    ExitCode::FAILURE
}
