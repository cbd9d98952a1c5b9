//! Behind a real PgBouncer. That everything works in transaction mode, the other modules say of
//! [`testkit::Way::Pooled`].

use bus::{Bus, Doorbell};
use messages::Probe;
use testkit::{Pooler, Pooling, Way};
use worker::{Handlers, Received, Settle};

use crate::hall::{Hall, patient, settings, start};

fn willing() -> Handlers {
    Handlers::new().on(async |_: Received<Probe>, _| Ok(Settle::done()))
}

#[tokio::test]
async fn in_session_mode_a_worker_is_rung() {
    let hall = Hall::over(Way::Direct).await;
    let pooler = Pooler::before(&hall.test.url(), Pooling::Session).await;
    let bus = Bus::connect(&pooler.settings(), &patient()).unwrap();
    assert_eq!(bus.doorbell(), Doorbell::Listen);
    let mut working = start(bus, willing(), settings("w1", 4));
    for text in ["one", "two"] {
        hall.until("select exists (select from cogo.parked where worker = 'w1')").await;
        // It looks again in an hour, so only a ring can wake it.
        let id = hall.probe(text).await;
        hall.until_status(id, "done").await;
    }
    working.stops().await;
}

#[tokio::test]
async fn in_transaction_mode_a_worker_polls_and_many_take_each_message_once() {
    let hall = Hall::over(Way::Pooled).await;
    assert_eq!(hall.bus.doorbell(), Doorbell::Poll);
    let first = hall.bus.ring_ourselves().await;
    assert!(first.is_err(), "there is nothing to be rung by: {first:?}");
    hall.run(
        "create table effects (id bigint, attempt int);
        insert into public.agent_messages (service, role, payload)
        select 'cogo', 'probe', '{\"text\": \"x\"}' from generate_series(1, 200)",
    )
    .await;
    static EFFECT: db::Statement = db::Statement {
        name: "test.effect",
        sql: "insert into effects values ($1, $2)",
        types: &[db::Type::INT8, db::Type::INT4],
    };
    let handlers = Handlers::new().on(async |probe: Received<Probe>, cx: worker::Cx| {
        let mut client = cx.bus().db().client().await?;
        let transaction = client.transaction().await?;
        transaction.execute(&EFFECT, &[&probe.id.get(), &probe.attempt]).await?;
        cx.settle_in(&transaction, Settle::done()).await?;
        transaction.commit().await?;
        Ok(Settle::done())
    });
    let mut one = hall.start(handlers.clone(), settings("w1", 16));
    let mut other = hall.start(handlers, settings("w2", 5));
    hall.until("select count(*) = 200 from cogo.receipts where status = 'done'").await;
    let effects =
        "select count(*) || ' ' || count(distinct id) || ' ' || max(attempt) from effects";
    assert_eq!(hall.text(effects).await.unwrap(), "200 200 1");
    assert_eq!(hall.text("select count(*) from cogo.parked").await.unwrap(), "0");
    one.stops().await;
    other.stops().await;
}
