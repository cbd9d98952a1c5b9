use clap::Args;
use model::TraceId;

use crate::connection::Connection;
use crate::ended::{Ended, NotFound};
use crate::out::aside;
use crate::subject::Subject;
use crate::table::width;
use crate::waterfall::waterfall;

/// Show all that followed from one intent: messages, waits, attempts, durations, events.
///
/// Each message is a bar: ░ while it waited to be claimed (with its failed attempts), █ while its
/// last attempt was worked on. Children stand below the message whose handler published them.
#[derive(Args)]
#[command(after_help = "\
Examples:
  cogo trace 42                                    the trace of message 42
  cogo trace 4bf92f3577b34da6a3ce929d0e0e4736")]
pub(crate) struct Trace {
    /// A trace id, or the number of any message in it.
    id: Subject,

    #[command(flatten)]
    connection: Connection,
}

/// Of what is not a terminal.
const PAGE: u16 = 120;

impl Trace {
    pub(crate) async fn run(self) -> miette::Result<Ended> {
        let bus = self.connection.bus()?;
        let trace: TraceId = match self.id {
            Subject::Trace(trace) => trace,
            Subject::Message(id) => match bus.message(id).await? {
                Some(message) => message.trace_id,
                None => return Err(not_found(format!("there is no message {id}"))),
            },
        };
        let Some(history) = bus.trace(trace).await? else {
            return Err(not_found(format!("nothing belongs to the trace {trace}")));
        };
        if history.truncated {
            aside("this trace is too long to show; here is its beginning");
        }
        let width = width().unwrap_or(PAGE);
        self.connection.out().answer(&history, |history| waterfall(history, width.into()))?;
        Ok(Ended::Well)
    }
}

fn not_found(what: String) -> miette::Report {
    let help = "it may have been removed by retention, or DATABASE_URL names another database";
    NotFound { what, help: help.to_owned() }.into()
}
