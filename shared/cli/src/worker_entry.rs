use std::pin::Pin;

use boot::ProcessSettings;
use clap::{ArgMatches, Args, Command};
use tokio_util::sync::CancellationToken;

/// A worker that `cogo run` and `cogo dev` can run: its name, its settings, and its `run` function.
pub struct WorkerEntry {
    pub(crate) name: &'static str,
    /// It needs what a machine alone does not have, so it runs there only if it is named.
    pub(crate) for_a_cluster: bool,
    augment: fn(Command) -> Command,
    parse: Parse,
}

/// Ends when the worker does.
pub(crate) type Running = Pin<Box<dyn Future<Output = miette::Result<()>> + Send>>;
pub(crate) type Start = Box<dyn FnOnce(CancellationToken) -> Running>;
type Parse = Box<dyn FnOnce(&ArgMatches) -> Result<Start, clap::Error>>;

impl WorkerEntry {
    /// `WorkerEntry::new("codegen-worker", codegen_worker::run)`, the same two things that
    /// `boot::run` takes.
    pub fn new<S, F, Fut>(name: &'static str, run: F) -> Self
    where
        S: Args + 'static,
        F: FnOnce(S, CancellationToken) -> Fut + 'static,
        Fut: Future<Output = miette::Result<()>> + Send + 'static,
    {
        let parse: Parse = Box::new(move |found| {
            let settings = S::from_arg_matches(found)?;
            let start: Start = Box::new(move |stop| Box::pin(run(settings, stop)));
            Ok(start)
        });
        Self { name, for_a_cluster: false, augment: S::augment_args, parse }
    }

    /// Needs Kubernetes: `cogo dev` runs it only if it is named.
    #[must_use]
    pub fn for_a_cluster(self) -> Self {
        Self { for_a_cluster: true, ..self }
    }

    /// With exactly the settings and the help of the worker's own program.
    pub(crate) fn command(&self) -> Command {
        // The process settings of `cogo` itself log less; a worker is started to be watched.
        let command = ProcessSettings::augment_args(Command::new(self.name));
        // clap carries headings and descriptions over to whatever comes next.
        (self.augment)(command.next_help_heading(None).about(None).long_about(None))
    }

    pub(crate) fn parse(self, found: &ArgMatches) -> Result<Start, clap::Error> {
        (self.parse)(found)
    }
}
