use clap::Args;
use model::MessageId;
use serde::Serialize;

use crate::connection::Connection;
use crate::ended::Ended;

/// Publish a copy of a message that has ended, under the same trace.
#[derive(Args)]
pub(crate) struct Replay {
    /// The message's number.
    id: MessageId,
}

#[derive(Serialize)]
pub(crate) struct Replayed {
    pub(crate) id: MessageId,
    pub(crate) replay_of: MessageId,
}

impl Replayed {
    pub(crate) fn text(&self) -> String {
        format!("message {} repeats message {}", self.id, self.replay_of)
    }
}

impl Replay {
    pub(crate) async fn run(self, to: &Connection) -> miette::Result<Ended> {
        let id = to.bus()?.replay(self.id).await?;
        to.out().answer(&Replayed { id, replay_of: self.id }, Replayed::text)?;
        Ok(Ended::Well)
    }
}
