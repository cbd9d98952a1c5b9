use bus::{Depth, Depths};
use clap::Args;
use model::Stage;

use crate::connection::Connection;
use crate::ended::Ended;
use crate::human::duration;
use crate::table::{Sheet, or_dash};

/// Show how deep every route is, by tenant.
///
/// ready: may be claimed now; delayed: waits for a time; waiting: for its turn behind another of the
/// same ordering key; claimed: a worker has it; oldest: how long the oldest ready one has been ready.
#[derive(Args)]
pub(crate) struct Stats {
    /// Only this stage, as in codegen/generate.
    stage: Option<Stage>,

    /// Also routes on which nothing stands and nothing happened lately.
    #[arg(long)]
    all: bool,
}

impl Stats {
    pub(crate) async fn run(self, to: &Connection) -> miette::Result<Ended> {
        let mut depths = to.bus()?.depth().await?;
        depths.routes.retain(|depth| {
            self.stage.as_ref().is_none_or(|stage| stage == depth.route.stage())
                && (self.all || is_busy(depth))
        });
        to.out().answer(&depths, table)?;
        Ok(Ended::Well)
    }
}

fn is_busy(depth: &Depth) -> bool {
    let standing = depth.ready + depth.delayed + depth.waiting + depth.claimed;
    depth.paused || standing + depth.done_last_hour + depth.failed_last_hour > 0
}

fn table(depths: &Depths) -> String {
    if depths.routes.is_empty() {
        return "nothing stands anywhere, and nothing happened in the last hour".to_owned();
    }
    let mut sheet = Sheet::new(&[
        "route",
        "tenant",
        "#ready",
        "#delayed",
        "#waiting",
        "#claimed",
        "#oldest",
        "#done/h",
        "#failed/h",
        "",
    ]);
    let at_least = if depths.last_hour_is_partial { "≥" } else { "" };
    for depth in &depths.routes {
        let route = &depth.route;
        sheet.row([
            format!("{}/{}", route.stage(), route.shard()),
            or_dash(route.tenant()),
            depth.ready.to_string(),
            depth.delayed.to_string(),
            depth.waiting.to_string(),
            depth.claimed.to_string(),
            or_dash(depth.oldest_ready.map(duration)),
            format!("{at_least}{}", depth.done_last_hour),
            format!("{at_least}{}", depth.failed_last_hour),
            if depth.paused { "paused".to_owned() } else { String::new() },
        ]);
    }
    sheet.text()
}
