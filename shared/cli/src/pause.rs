use clap::Args;
use model::Stage;
use serde::Serialize;

use crate::connection::Connection;
use crate::ended::Ended;

/// Stop handing out the messages of a stage, for the whole fleet, within a second.
///
/// Messages are still accepted, and what is being worked on is finished.
#[derive(Args)]
pub(crate) struct Pause {
    /// The stage, as in codegen/generate.
    stage: Stage,
}

/// Hand out the messages of a paused stage again.
#[derive(Args)]
pub(crate) struct Resume {
    /// The stage, as in codegen/generate.
    stage: Stage,
}

#[derive(Serialize)]
struct Answer {
    stage: Stage,
    paused: bool,
}

impl Pause {
    pub(crate) async fn run(self, to: &Connection) -> miette::Result<Ended> {
        to.bus()?.pause(&self.stage).await?;
        to.out().answer(&Answer { stage: self.stage, paused: true }, |answer| {
            format!("{0} is paused; `cogo bus resume {0}` ends it", answer.stage)
        })?;
        Ok(Ended::Well)
    }
}

impl Resume {
    pub(crate) async fn run(self, to: &Connection) -> miette::Result<Ended> {
        to.bus()?.resume(&self.stage).await?;
        to.out().answer(&Answer { stage: self.stage, paused: false }, |answer| {
            format!("{} goes on", answer.stage)
        })?;
        Ok(Ended::Well)
    }
}
