use std::time::Duration;

use bus::{Bus, BusError};
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

/// Waits until nothing is queued and nothing is claimed. No keeper runs beside a measurement, and
/// without one, what a worker loses would never come back: so this sweeps, as often as a keeper.
pub(crate) async fn until_worked_off(db: &DbSettings, bus: &Bus) -> miette::Result<()> {
    let empty = "not exists (select from cogo.ready) and not exists (select from cogo.leases)";
    tokio::select! {
        waited = until(db, empty) => waited,
        Err(error) = keep(bus) => Err(error.into()),
    }
}

async fn keep(bus: &Bus) -> Result<(), BusError> {
    loop {
        sleep(Duration::from_secs(1)).await;
        bus.sweep("bench", 1000).await?;
    }
}

/// A statement made for this run; a few dozen in the life of the process, so they may stay.
fn once(sql: &str) -> Statement {
    Statement { name: "bench.read", sql: Box::leak(sql.to_owned().into_boxed_str()), types: &[] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noop::message;
    use bus::{BusSettings, Station};

    #[tokio::test]
    async fn what_a_worker_lost_does_not_keep_a_measurement_waiting_for_ever() {
        let test = testkit::database().await;
        let bus = Bus::connect(&test.settings(), &BusSettings::default()).unwrap();
        bus.publish(message(0, 0, 1)).await.unwrap();
        let routes = ["bench/noop/0".parse().unwrap()];
        let lost = Station::new(&bus, "dead", &routes).claim(1).await.unwrap();
        assert_eq!(lost.len(), 1);
        test.advance(Duration::from_secs(3600)).await;

        let another = async {
            let mut station = Station::new(&bus, "alive", &routes);
            let lease = loop {
                if let Some(lease) = station.claim(1).await.unwrap().pop() {
                    break lease;
                }
                sleep(Duration::from_millis(10)).await;
            };
            let (id, lease) = (lease.message.id, lease.token);
            let outcome = bus::Outcome { id, lease, settle: bus::Settle::done() };
            bus.settle("alive", &[outcome]).await.unwrap();
        };
        let settings = test.settings();
        let waited = async { tokio::join!(until_worked_off(&settings, &bus), another).0 };
        let in_time = tokio::time::timeout(Duration::from_secs(60), Box::pin(waited)).await;
        in_time.expect("somebody sweeps").unwrap();
    }
}
