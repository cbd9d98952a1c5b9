mod ask;
mod draw;
mod keys;
mod look;
mod once;
mod panes;
mod rows;
mod run;
mod screen;
mod state;
#[cfg(test)]
mod tests;

use std::io::{IsTerminal, stdout};
use std::time::Duration;

use clap::Args;
use model::duration;
use tokio_util::sync::CancellationToken;

use self::look::Reader;
use crate::connection::Connection;
use crate::ended::{Ended, WrongUsage};
use crate::out::Format;

/// See the fleet live: routes, workers, rollouts. ? shows the keys.
///
/// Goes on while the database is away, and says so. With --once it prints what it sees and ends,
/// for scripts and for where there is no terminal.
#[derive(Args)]
#[command(after_help = "\
Keys:
  tab, shift-tab          the next pane, the one before
  ↑ ↓ or j k              choose a line; enter looks into it
  p                       pause or resume the route, after asking
  r                       replay the route's dead letters, after asking
  esc, q                  back; leave

Examples:
  cogo top --every 1s
  cogo top --once --output json")]
pub(crate) struct Top {
    /// Time between two looks.
    #[arg(long, default_value = "2s", value_name = "TIME", value_parser = duration)]
    every: Duration,

    /// The time over which messages are counted for in/s and out/s.
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = duration)]
    window: Duration,

    /// Print one look and end.
    #[arg(long)]
    once: bool,

    #[command(flatten)]
    connection: Connection,
}

/// More often nobody can read it.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(3600);

impl Top {
    /// Whether it draws on the terminal, where log lines would be in between.
    pub(crate) fn draws(&self) -> bool {
        !self.once
    }

    pub(crate) async fn run(self, stop: CancellationToken) -> miette::Result<Ended> {
        if self.window < SHORTEST || self.window > LONGEST {
            return Err(wrong("--window is not between 100 ms and an hour", "10s is a good one"));
        }
        if !self.once && self.connection.format() == Format::Json {
            let help = "add --once, and call it as often as you like";
            return Err(wrong("a live view is for people, and --output json for programs", help));
        }
        let reader = Reader::new(&self.connection, self.window)?;
        if self.once {
            let look = reader.look().await?;
            self.connection.out().answer(&look, once::text)?;
            return Ok(Ended::Well);
        }
        if !stdout().is_terminal() {
            let help = "--once prints what it sees, and --output json with it for programs";
            return Err(wrong("a live view needs a terminal, and stdout is none", help));
        }
        run::run(reader, self.every.clamp(SHORTEST, LONGEST), stop).await
    }
}

fn wrong(what: &str, help: &str) -> miette::Report {
    WrongUsage { what: what.to_owned(), help: help.to_owned() }.into()
}
