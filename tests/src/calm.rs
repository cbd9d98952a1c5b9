use std::time::Duration;

use db::{Db, Statement};
use tokio::time::{Instant, sleep};

use crate::fleet::Fleet;

/// So long without a single message ending means that those left never will: longer than the
/// longest wait of the fleet, which is a keeper's takeover and then a lease.
const STUCK: Duration = Duration::from_secs(30);
const TICK: Duration = Duration::from_millis(100);

static UNFINISHED: Statement = Statement {
    name: "chaos.unfinished",
    sql: "select (select count(*) from cogo.agent_messages as message
            where not exists (select from cogo.receipts where receipts.id = message.id)),
        (select count(*) from cogo.receipts)",
    types: &[],
};

/// Waits until every message has ended, or nothing moves any more; the judge tells which.
pub(crate) async fn wait(db: &Db, fleet: &mut Fleet) -> miette::Result<()> {
    let mut last = (0, Instant::now());
    loop {
        fleet.tend()?;
        match db.query_one(&UNFINISHED, &[]).await {
            Ok(row) => {
                let (unfinished, finished): (i64, i64) = (row.get(0), row.get(1));
                if unfinished == 0 {
                    return Ok(());
                }
                if finished != last.0 {
                    last = (finished, Instant::now());
                }
            }
            Err(error) if error.disposition() == db::Disposition::Retry => {}
            Err(error) => return Err(error.into()),
        }
        if last.1.elapsed() > STUCK {
            return Ok(());
        }
        sleep(TICK).await;
    }
}
