use bus::Cancelled;
use clap::Args;
use model::MessageId;
use serde::Serialize;

use crate::connection::Connection;
use crate::ended::Ended;

/// Cancel a message: at once if it is queued, else its worker is asked to stop.
///
/// Exits with 1 if the message had already ended.
#[derive(Args)]
pub(crate) struct Cancel {
    /// The message's number.
    id: MessageId,

    /// Why, as a code, for the record.
    #[arg(long, default_value = "cancelled")]
    reason: String,
}

#[derive(Serialize)]
struct Answer {
    id: MessageId,
    /// cancelled, asked, or the state in which it had ended before.
    state: &'static str,
    ended_before: bool,
}

impl Cancel {
    pub(crate) async fn run(self, to: &Connection) -> miette::Result<Ended> {
        let (state, ended_before) = match to.bus()?.cancel(self.id, &self.reason).await? {
            Cancelled::Now => ("cancelled", false),
            Cancelled::Asked => ("asked", false),
            Cancelled::Ended(state) => (state, true),
        };
        to.out().answer(&Answer { id: self.id, state, ended_before }, |answer| {
            let Answer { id, state, ended_before } = answer;
            match (*state, ended_before) {
                (state, true) => format!("message {id} had already ended: {state}"),
                ("asked", false) => {
                    format!("message {id} is being worked on; its worker was asked to stop")
                }
                _ => format!("message {id} is cancelled"),
            }
        })?;
        Ok(if ended_before { Ended::Badly } else { Ended::Well })
    }
}
