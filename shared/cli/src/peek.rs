use bus::{Listen, MessageState};
use clap::Args;

use crate::connection::Connection;
use crate::ended::Ended;
use crate::human::{cut, date, route};
use crate::table::Sheet;

/// Show the messages that would be claimed next, without claiming them.
#[derive(Args)]
pub(crate) struct Peek {
    /// Where: service/role/shard, `*` for every shard, and a tenant if you like.
    route: Listen,

    /// How many at most.
    #[arg(long, default_value = "5", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

const SHOWN_OF_A_PAYLOAD: usize = 60;

impl Peek {
    pub(crate) async fn run(self, to: &Connection) -> miette::Result<Ended> {
        let next = to.bus()?.peek(&self.route, self.limit).await?;
        to.out().answer(&next, |next| {
            if next.is_empty() {
                return format!("nothing is ready on {}", self.route);
            }
            table(next)
        })?;
        Ok(Ended::Well)
    }
}

fn table(next: &[MessageState]) -> String {
    let mut sheet = Sheet::new(&["#id", "route", "#priority", "#attempts", "published", "payload"]);
    for message in next {
        let payload = message.payload.as_ref().map_or("", |payload| payload.get());
        sheet.row([
            message.id.to_string(),
            route(&message.route),
            message.priority.to_string(),
            message.attempts.to_string(),
            date(message.created_at),
            cut(payload, SHOWN_OF_A_PAYLOAD),
        ]);
    }
    sheet.text()
}
