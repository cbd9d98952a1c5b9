//! The same at once: nobody takes turns, so no model can say what should be, but what must never be
//! is known.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_postgres::{Client, Error};
use uuid::Uuid;

use crate::fixture::{Fixture, claim, is_whole, message, settle};

const SESSIONS: u64 = 6;
const STEPS: usize = 200;

/// What everybody knows.
#[derive(Default)]
struct Shared {
    published: Mutex<Vec<i64>>,
    leases: Mutex<Vec<(i64, Uuid)>>,
    /// How each message was said to have ended.
    ended: Mutex<BTreeMap<i64, Vec<String>>>,
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_many_sessions_do_at_once_each_message_is_in_one_place_and_ends_once() {
    let on = Fixture::new().await;
    on.run(
        "insert into public.bus_routes (service, role, max_in_flight_per_tenant, backoff_base)
        values ('codegen', 'generate', null, '0 s'), ('limited', 'stage', 7, '0 s')",
    )
    .await;
    let seed: u64 = rand::random();
    // Shown when the test fails.
    println!("seed {seed}");
    let shared = Arc::new(Shared::default());
    let mut tasks = JoinSet::new();
    for session in 0..SESSIONS {
        let client = on.test.client().await;
        let shared = Arc::clone(&shared);
        let random = StdRng::seed_from_u64(seed.wrapping_add(session));
        tasks.spawn(async move { act(&client, &format!("w{session}"), random, &shared).await });
    }
    let watcher = on.test.client().await;
    while !tasks.is_empty() {
        is_whole(&watcher).await;
        while let Some(finished) = tasks.try_join_next() {
            finished.unwrap();
        }
    }
    is_whole(&on.sql).await;

    // What remains is done by one, and then nothing may remain.
    on.run("update public.bus_routes set max_in_flight_per_tenant = null").await;
    for _ in 0..1000 {
        on.advance(60).await;
        on.sweep().await;
        let claims = on.claim(&["codegen/generate/*", "limited/stage/*"], 1000).await;
        let done: Vec<Value> = claims
            .iter()
            .map(|claim| json!({ "id": claim.id, "lease": claim.lease, "outcome": "done" }))
            .collect();
        assert!(on.settle(done.into()).await.iter().all(|answer| answer.1));
        if on.number("select count(*) from cogo.agent_messages").await
            == on.number("select count(*) from cogo.receipts").await
        {
            break;
        }
    }
    is_whole(&on.sql).await;
    let unfinished = "select count(*) from public.agent_messages where done_at is null";
    assert_eq!(on.number(unfinished).await, 0);
    assert_eq!(on.number("select count(*) from cogo.ordered").await, 0);
    let published = shared.published.lock().unwrap().len();
    let followed = on.number("select count(*) from cogo.agent_messages where parent_id is not null or replay_of is not null").await;
    let all = on.number("select count(*) from cogo.agent_messages").await;
    assert_eq!(all - followed, i64::try_from(published).unwrap());
    let ended = std::mem::take(&mut *shared.ended.lock().unwrap());
    for (id, ends) in ended {
        assert_eq!(ends.len(), 1, "message {id} was said to have ended as {ends:?}");
        assert_eq!(on.status(id).await, ends[0]);
    }
    let followed =
        on.number("select count(*) from cogo.agent_messages where parent_id is not null").await;
    let accepted =
        on.number("select count(*) from public.bus_events where event_type = 'followed'").await;
    assert_eq!(followed, accepted, "a follow-up and its event come together");
}

async fn act(client: &Client, worker: &str, mut random: StdRng, shared: &Shared) {
    let mut held: Vec<(i64, Uuid)> = Vec::new();
    for _ in 0..STEPS {
        let result = step(client, worker, &mut random, shared, &mut held).await;
        if let Err(error) = result {
            // Postgres may end one of two that wait for each other; everything else is a fault.
            let code = error.code().map(|code| code.code().to_owned());
            assert_eq!(code.as_deref(), Some("40P01"), "{error:?}");
        }
    }
}

async fn step(
    client: &Client,
    worker: &str,
    random: &mut StdRng,
    shared: &Shared,
    held: &mut Vec<(i64, Uuid)>,
) -> Result<(), Error> {
    match random.random_range(0..100) {
        0..25 => {
            let messages: Vec<Value> =
                (0..random.random_range(1..4)).map(|_| any_message(random)).collect();
            let ids: Vec<i64> = crate::fixture::publish(client, &messages.into())
                .await?
                .into_iter()
                .map(|(id, _)| id)
                .collect();
            shared.published.lock().unwrap().extend(ids);
        }
        25..50 => {
            let routes = ["codegen/generate/*", "limited/stage/*"];
            let claims = claim(client, worker, &routes, random.random_range(1..6)).await?;
            let leases = claims.iter().map(|claim| (claim.id, claim.lease));
            held.extend(leases.clone());
            shared.leases.lock().unwrap().extend(leases);
        }
        50..80 => {
            let mut chosen: Vec<(i64, Uuid)> = Vec::new();
            for _ in 0..random.random_range(1..4) {
                if !held.is_empty() {
                    chosen.push(held.swap_remove(random.random_range(0..held.len())));
                }
            }
            // Of another worker, or long gone.
            if random.random_bool(0.2) {
                chosen.extend(shared.leases.lock().unwrap().choose(random).copied());
            }
            let outcomes: Vec<Value> =
                chosen.iter().map(|lease| any_outcome(random, lease)).collect();
            for (id, accepted, state) in settle(client, worker, &outcomes.into()).await? {
                if let (true, Some(state)) = (accepted, state)
                    && state != "queued"
                {
                    shared.ended.lock().unwrap().entry(id).or_default().push(state);
                }
            }
        }
        80..85 => {
            let (ids, leases): (Vec<i64>, Vec<Uuid>) = held.iter().copied().unzip();
            client
                .query("select id from public.bus_renew($1, $2, $3)", &[&worker, &ids, &leases])
                .await?;
        }
        85..90 => {
            let id = shared.published.lock().unwrap().choose(random).copied();
            if let Some(id) = id {
                client.query("select public.bus_cancel($1)", &[&id]).await?;
            }
        }
        90..93 => {
            let id = shared.published.lock().unwrap().choose(random).copied();
            let replayed = client.query("select public.bus_replay($1)", &[&id]).await;
            // Most have not ended.
            if let Err(error) = replayed
                && error.code().is_none_or(|code| !["55000", "P0002"].contains(&code.code()))
            {
                return Err(error);
            }
        }
        _ => {
            // Somebody's worker has died.
            let expire =
                "update cogo.leases set lease_until = now() - interval '1 s' where id = any (array(
                select id from cogo.leases order by random() limit 2 for update skip locked))";
            client.batch_execute(expire).await?;
            client.query("select public.bus_sweep('keeper', 50)", &[]).await?;
        }
    }
    Ok(())
}

fn any_message(random: &mut StdRng) -> Value {
    let mut fields = json!({
        "tenant": format!("t{}", random.random_range(0..4)),
        "shard": random.random_range(0..2),
        "max_attempts": random.random_range(1..4),
    });
    if random.random_bool(0.4) {
        fields["ordering_key"] = format!("k{}", random.random_range(0..2)).into();
    }
    if random.random_bool(0.1) {
        fields["delay_ms"] = random.random_range(0..20).into();
    }
    if random.random_bool(0.1) {
        fields["ttl_ms"] = random.random_range(1..500).into();
    }
    if random.random_bool(0.3) {
        fields["service"] = "limited".into();
        fields["role"] = "stage".into();
    }
    message(&fields)
}

fn any_outcome(random: &mut StdRng, (id, lease): &(i64, Uuid)) -> Value {
    let outcome = ["done", "done", "retry", "fail", "release", "cancel"].choose(random).unwrap();
    let mut said = json!({ "id": id, "lease": lease, "outcome": outcome });
    if random.random_bool(0.2) {
        said["publish"] = json!([any_message(random)]);
        said["events"] = json!([{ "event_type": "followed" }]);
    }
    said
}
