use messages::Probe;
use testkit::Way;
use worker::{Cx, Handlers, Received, Settle};

use crate::hall::{Hall, settings};

testkit::in_every_way!(a_worker_is_ready_counts_its_busy_slots_and_goes);

async fn a_worker_is_ready_counts_its_busy_slots_and_goes(way: Way) {
    let hall = Hall::over(way).await;
    // Where nobody calls a worker, a renewal tells it of a cancellation.
    hall.run(
        "insert into public.bus_routes (service, role, lease) values ('cogo', 'probe', '3 s')",
    )
    .await;
    let handlers = Handlers::new().on(async |_: Received<Probe>, cx: Cx| {
        cx.stopped().await;
        Ok(Settle::cancelled())
    });
    let mut own = settings("w1", 7);
    own.worker_beat = std::time::Duration::from_millis(20);
    own.cogo_image = Some("ghcr.io/x/y".into());
    own.agent_shard = "0-2".parse().unwrap();
    let mut working = hall.start(handlers, own);
    hall.until("select exists (select from public.workers where state = 'ready' and busy = 0)")
        .await;
    let told = "select concat_ws(' ', id, agent_name, service, role, shards, slots, image, host is not null, version is not null)
        from public.workers";
    assert_eq!(hall.text(told).await.unwrap(), "w1 prober cogo probe {0,1,2} 7 ghcr.io/x/y t t");
    let id = hall.probe("x").await;
    hall.until("select busy = 1 from public.workers").await;
    hall.bus.cancel(id.try_into().unwrap(), "x").await.unwrap();
    hall.until("select busy = 0 from public.workers").await;
    working.stops().await;
    assert_eq!(hall.text("select state || busy from public.workers").await.unwrap(), "gone0");
    let fleet = hall.bus.fleet().await.unwrap();
    assert_eq!((fleet.len(), fleet[0].id.as_str()), (1, "w1"));
}
