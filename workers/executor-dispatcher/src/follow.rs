use std::time::Duration;

use db::{Db, DbError, Json, Row, Statement, Type};
use serde::Deserialize;
use telemetry::Chain;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::Settings;

pub(crate) static FOLLOW: Statement = Statement {
    name: "execution.follow",
    sql: "select public.execution_follow(p_limit => $1)",
    types: &[Type::INT4],
};

pub(crate) static RETAIN: Statement = Statement {
    name: "execution.retain",
    sql: "select public.execution_retain(p_keep => $1::interval, p_limit => $2)",
    types: &[Type::TEXT, Type::INT4],
};

/// Executions that one call may touch: some milliseconds of work.
const BATCH: i32 = 500;
/// Another dispatcher may have died and left its executions open.
const SLOW: Duration = Duration::from_secs(5);
/// Looking takes at most a tenth of the time, however many executions are open.
const REST: u32 = 9;
const RETAIN_EVERY: Duration = Duration::from_secs(600);

/// Tells what becomes of executions at their targets, for ever. Every dispatcher does this; the
/// database sees to it that each end is told once.
pub(crate) async fn follow(db: &Db, settings: &Settings, forwarded: &Notify) {
    let mut retained: Option<Instant> = None;
    loop {
        let mut wait = match look(db, settings).await {
            Ok(wait) => wait,
            Err(error) => {
                warn!(error = %Chain(&error), "could not follow executions; trying again");
                Wait::Whatever(SLOW)
            }
        };
        if retained.is_none_or(|last| last.elapsed() >= RETAIN_EVERY) {
            match retain(db, settings.keep_executions).await {
                Ok(true) => wait = Wait::Whatever(settings.follow_every),
                Ok(false) => retained = Some(Instant::now()),
                Err(error) => {
                    warn!(error = %Chain(&error), "could not delete old executions");
                    retained = Some(Instant::now());
                }
            }
        }
        match wait {
            Wait::Whatever(time) => sleep(time).await,
            Wait::OrForwarded => tokio::select! {
                () = forwarded.notified() => {}
                () = sleep(SLOW) => {}
            },
        }
    }
}

enum Wait {
    Whatever(Duration),
    /// Nothing is open: until this process forwards something.
    OrForwarded,
}

#[derive(Deserialize)]
struct Seen {
    ended: u32,
    more: bool,
    open: bool,
}

async fn look(db: &Db, settings: &Settings) -> Result<Wait, DbError> {
    let started = Instant::now();
    let row: Row = db.query_one(&FOLLOW, &[&BATCH]).await?;
    let Json(seen): Json<Seen> = row.get(0);
    if seen.ended > 0 {
        info!(ended = seen.ended, "{} executions have ended", seen.ended);
    }
    Ok(if seen.more {
        Wait::Whatever(Duration::ZERO)
    } else if seen.open {
        Wait::Whatever(settings.follow_every.max(started.elapsed() * REST))
    } else {
        Wait::OrForwarded
    })
}

/// Whether there may be more.
async fn retain(db: &Db, keep: Duration) -> Result<bool, DbError> {
    let row = db.query_one(&RETAIN, &[&format!("{} ms", keep.as_millis()), &BATCH]).await?;
    Ok(row.get::<i32>(0) >= BATCH)
}
