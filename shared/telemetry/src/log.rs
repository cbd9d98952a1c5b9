use std::io::{self, IsTerminal};

use clap::{Args, ValueEnum};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{fmt, registry};

use crate::Levels;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Log")]
pub struct LogSettings {
    /// How much is logged: off, error, warn, info, debug or trace; louder for a part as in
    /// info,bus=debug.
    #[arg(long, env = "COGO_LOG", default_value = "info", value_name = "LEVELS", global = true)]
    pub log: Levels,

    /// Who reads the log: people (short lines) or json (one object per line, for a log collector).
    #[arg(
        long,
        env = "COGO_LOG_FORMAT",
        default_value = "people",
        value_enum,
        value_name = "READER",
        global = true
    )]
    pub log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    People,
    Json,
}

#[derive(Debug, thiserror::Error)]
#[error("this process already writes a log; `telemetry::start` is for `main` alone")]
pub struct AlreadyStarted(#[source] TryInitError);

/// Sends every trace event of this process to stderr; stdout is for what a command answers.
pub fn start(settings: &LogSettings) -> Result<(), AlreadyStarted> {
    let lines = match settings.log_format {
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(io::stderr).boxed(),
        LogFormat::People => {
            let lines = fmt::layer().compact().with_writer(io::stderr);
            // Colours stay as they are by default on a terminal, where NO_COLOR is obeyed.
            if io::stderr().is_terminal() { lines.boxed() } else { lines.with_ansi(false).boxed() }
        }
    };
    registry().with(lines.with_filter(settings.log.targets())).try_init().map_err(AlreadyStarted)
}
