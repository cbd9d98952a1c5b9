use std::io::{self, ErrorKind, Write};

use clap::ValueEnum;
use miette::{Context, IntoDiagnostic};
use serde::Serialize;

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs: one document; of a command that goes on, one document a line.
    Json,
}

/// Where answers go: stdout.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Out {
    format: Format,
}

impl Out {
    pub(crate) fn new(format: Format) -> Self {
        Self { format }
    }

    /// The whole answer of a command.
    pub(crate) fn answer<T: Serialize + ?Sized>(
        self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> miette::Result<()> {
        match self.format {
            Format::Table => write(&text(value)),
            Format::Json => write(&serde_json::to_string_pretty(value).into_diagnostic()?),
        }
    }

    /// One of many answers of a command that goes on.
    pub(crate) fn line<T: Serialize + ?Sized>(
        self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> miette::Result<()> {
        match self.format {
            Format::Table => write(&text(value)),
            Format::Json => write(&serde_json::to_string(value).into_diagnostic()?),
        }
    }
}

fn write(text: &str) -> miette::Result<()> {
    // Takes the colours out where nobody would see them.
    let mut stdout = anstream::stdout().lock();
    let written = writeln!(stdout, "{}", text.trim_end()).and_then(|()| stdout.flush());
    match written {
        // Whoever read us has seen enough, as in `cogo bus tail | head`.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        written => written.into_diagnostic().wrap_err("could not write the answer"),
    }
}

/// A part of an answer that is only for people.
pub(crate) fn say(text: &str) -> miette::Result<()> {
    write(text)
}

/// Says something beside the answer, to people.
pub(crate) fn aside(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
