use std::time::Duration;

use db::{Db, DbSettings, Statement};
use miette::miette;
use tokio::time::sleep;

/// The one text that this statement answers.
pub(crate) async fn text(db: &DbSettings, sql: &str) -> miette::Result<String> {
    Ok(Db::connect(db)?.query_one(&once(sql), &[]).await?.get(0))
}

/// Asks a hundred times a second.
pub(crate) async fn until(db: &DbSettings, condition: &str) -> miette::Result<()> {
    let pool = Db::connect(db)?;
    let statement = once(&format!("select {condition}"));
    for _ in 0..60_000 {
        if pool.query_one(&statement, &[]).await?.get(0) {
            return Ok(());
        }
        sleep(Duration::from_millis(10)).await;
    }
    Err(miette!("waited ten minutes for {condition}"))
}

/// A statement made for this run; a few dozen in the life of the process, so they may stay.
fn once(sql: &str) -> Statement {
    Statement { name: "bench.read", sql: Box::leak(sql.to_owned().into_boxed_str()), types: &[] }
}
