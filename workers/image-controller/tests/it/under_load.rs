//! A rollout loses no message, whichever way it ends.

use std::time::Duration;

use bus::{Bus, BusSettings, NewMessage};
use messages::Probe;
use registry::Phase;
use simcluster::Fate;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::bed::Bed;
use crate::real_workers::EFFECTS;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rolling_back_and_forth_under_load_loses_and_repeats_nothing() {
    let bed = Bed::with_real_workers().await;
    let client = bed.db.client().await;
    client.batch_execute(EFFECTS).await.unwrap();
    // A worker that dies is noticed soon.
    let route =
        "insert into public.bus_routes (service, role, lease) values ('cogo', 'probe', '2 s')";
    client.batch_execute(route).await.unwrap();
    let bus = Bus::connect(&bed.db.settings(), &BusSettings::default()).unwrap();
    let agent = bed.running("one").await;
    let controller = bed.controller();
    let mut load = JoinSet::new();
    load.spawn(publish(bus.clone()));
    load.spawn(keep(bus.clone()));

    for (tag, fate, ends) in [
        ("v1.0.1", Fate::Ready, Phase::Active),
        ("v1.0.2", Fate::CrashAfterReady(Duration::from_secs(3)), Phase::RolledBack),
        ("v1.0.3", Fate::Ready, Phase::Active),
        ("v1.0.4", Fate::NeverReady, Phase::RolledBack),
    ] {
        bed.fate(tag, fate).await;
        let id = bed.record(&agent, tag).await;
        bed.until_phase(id, ends).await;
    }
    let back = bed.registry.rollback(&agent, None).await.unwrap();
    bed.until_phase(back.release_id, Phase::Active).await;
    load.abort_all();
    while load.join_next().await.is_some() {}
    load.spawn(keep(bus.clone()));
    let count = async |sql: &str| -> i64 { client.query_one(sql, &[]).await.unwrap().get(0) };
    let open = "select count(*) from public.agent_messages where status in ('queued', 'claimed')";
    bed.until("an empty queue", async || (count(open).await == 0).then_some(())).await;

    let published = count("select count(*) from cogo.agent_messages").await;
    assert!(published > 300, "{published} messages are no load");
    assert_eq!(count("select count(*) from cogo.receipts where status = 'done'").await, published);
    assert_eq!(count("select count(*) from effects").await, published);
    assert_eq!(count("select count(*) from public.agent_messages_dlq").await, 0);
    let served = "select count(distinct worker.release_id) from cogo.receipts as receipt
        join public.workers as worker on worker.id = receipt.worker";
    assert!(count(served).await >= 4, "several releases have worked");
    controller.stop().await;
}

async fn publish(bus: Bus) {
    loop {
        let message = NewMessage::of(&Probe { text: "work".to_owned() }).unwrap();
        bus.publish(message).await.unwrap();
        sleep(Duration::from_millis(20)).await;
    }
}

/// What the keeper does.
async fn keep(bus: Bus) {
    loop {
        bus.sweep("keeper", 1000).await.unwrap();
        sleep(Duration::from_millis(200)).await;
    }
}
