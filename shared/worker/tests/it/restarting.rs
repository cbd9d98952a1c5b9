use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bus::Bus;
use messages::Probe;
use testkit::{Cluster, ClusterOptions, Way};
use tokio::time::{sleep, timeout};
use worker::{Cx, Handlers, Received, Settle};

use crate::hall::{generous, patient, settings, start};

testkit::on_every_wire!(a_restart_of_the_database_under_load_loses_nothing);

const DATABASE: &str = "restarting";
const MESSAGES: i64 = 400;

async fn connected(url: &str) -> tokio_postgres::Client {
    loop {
        if let Ok((client, connection)) = tokio_postgres::connect(url, tokio_postgres::NoTls).await
        {
            #[expect(clippy::disallowed_methods, reason = "the connection ends with its client")]
            tokio::spawn(connection);
            return client;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn a_restart_of_the_database_under_load_loses_nothing(way: Way) {
    let cluster = tokio::task::spawn_blocking(|| Cluster::start(&ClusterOptions::default()));
    let cluster = Arc::new(cluster.await.unwrap().unwrap());
    let url = cluster.create_migrated_database(DATABASE).await.unwrap();
    let client = connected(&url).await;
    client
        .batch_execute(&format!(
            "insert into public.bus_routes (service, role, lease, max_attempts) values ('cogo', 'probe', '2 s', 50);
            insert into public.agent_messages (service, role, payload)
            select 'cogo', 'probe', '{{\"text\": \"x\"}}' from generate_series(1, {MESSAGES})"
        ))
        .await
        .unwrap();

    let handled = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&handled);
    let handlers = Handlers::new().on(move |_: Received<Probe>, _: Cx| {
        counter.fetch_add(1, Ordering::Relaxed);
        async {
            // As if it worked.
            sleep(Duration::from_millis(10)).await;
            Ok(Settle::done().publish_to(&"next/stage/0".parse().unwrap(), &())?)
        }
    });
    let reached = way.reach(&cluster.socket_url(DATABASE)).await;
    let mut poll = patient();
    if way == Way::Supabase {
        // Realtime does not say that it lost the database, and so not that rings were lost.
        poll.bus_poll_ms = 1_000;
    }
    let bus = Bus::connect(&generous(&reached.settings), &poll).unwrap();
    let mut one = start(bus.clone(), handlers.clone(), settings("w1", 4));
    let mut other = start(bus.clone(), handlers, settings("w2", 4));
    let some = |count: usize| {
        let handled = Arc::clone(&handled);
        async move {
            while handled.load(Ordering::Relaxed) < count {
                sleep(Duration::from_millis(2)).await;
            }
        }
    };
    for part in [80, 200] {
        timeout(Duration::from_secs(60), some(part)).await.expect("the workers found back");
        let restarted = Arc::clone(&cluster);
        tokio::task::spawn_blocking(move || restarted.restart_immediate()).await.unwrap().unwrap();
    }
    let client = connected(&url).await;
    let keeping = async {
        loop {
            // A keeper, for what was claimed and forgotten.
            let _ = bus.sweep("keeper", 1000).await;
            let sql = "select count(*) filter (where status = 'done'), count(*) from public.agent_messages where service = 'cogo'";
            let row = client.query_one(sql, &[]).await.unwrap();
            if row.get::<_, i64>(0) == MESSAGES {
                return row.get::<_, i64>(1);
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    let ended = timeout(Duration::from_secs(90), keeping).await;
    assert_eq!(ended.expect("some messages never ended"), MESSAGES);
    let next = "select count(*), count(distinct parent_id) from public.agent_messages where service = 'next'";
    let row = client.query_one(next, &[]).await.unwrap();
    assert_eq!(
        (row.get::<_, i64>(0), row.get::<_, i64>(1)),
        (MESSAGES, MESSAGES),
        "each was followed once"
    );
    one.stops().await;
    other.stops().await;
}
