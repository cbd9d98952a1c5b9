//! No order of publish, claim, renew, settle, cancel, expire, sweep and replay loses a message or
//! does one twice: random steps of three workers against the database and against [`World`], a
//! model of it small enough to be seen to be right. After each step both must say the same.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::fixture::{Fixture, claim, message, publish, refusal, settle};
use crate::world::{Known, LEASE, Outcome, Place, STEP, TTL, WAIT, World};

#[derive(Clone, Debug)]
enum Step {
    Publish {
        tenant: u8,
        priority: i16,
        key: Option<u8>,
        delayed: bool,
        ttl: bool,
        attempts: u8,
        copies: u8,
    },
    /// In a transaction that stays open until the next of these.
    Unfinished {
        commits: bool,
    },
    Claim {
        worker: u8,
        limit: u8,
        tenant: Option<u8>,
    },
    /// Any leases ever given, current or not.
    Settle {
        leases: Vec<(Index, Outcome)>,
    },
    Done {
        leases: Vec<Index>,
    },
    Renew {
        leases: Vec<Index>,
    },
    Cancel {
        message: Index,
    },
    Replay {
        message: Index,
    },
    Delete {
        message: Index,
    },
    Pause {
        paused: bool,
    },
    Advance,
    Sweep,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop_oneof![
        3 => Just(Outcome::Done),
        3 => Just(Outcome::Retry),
        1 => Just(Outcome::Fail),
        2 => Just(Outcome::Release),
        1 => Just(Outcome::Cancel),
    ];
    let several = prop::collection::vec(any::<Index>(), 1..5);
    let step = prop_oneof![
        6 => (0..3u8, 0..2i16, prop::option::weighted(0.5, 0..2u8), prop::bool::weighted(0.2),
                prop::bool::weighted(0.3), 1..4u8, 1..4u8)
            .prop_map(|(tenant, priority, key, delayed, ttl, attempts, copies)| {
                Step::Publish { tenant, priority, key, delayed, ttl, attempts, copies }
            }),
        1 => any::<bool>().prop_map(|commits| Step::Unfinished { commits }),
        6 => (0..3u8, 1..5u8, prop::option::weighted(0.2, 0..3u8))
            .prop_map(|(worker, limit, tenant)| Step::Claim { worker, limit, tenant }),
        5 => prop::collection::vec((any::<Index>(), outcome), 1..5)
            .prop_map(|leases| Step::Settle { leases }),
        2 => several.clone().prop_map(|leases| Step::Done { leases }),
        2 => several.prop_map(|leases| Step::Renew { leases }),
        2 => any::<Index>().prop_map(|message| Step::Cancel { message }),
        1 => any::<Index>().prop_map(|message| Step::Replay { message }),
        1 => any::<Index>().prop_map(|message| Step::Delete { message }),
        1 => prop::bool::weighted(0.3).prop_map(|paused| Step::Pause { paused }),
        3 => Just(Step::Advance),
        3 => Just(Step::Sweep),
    ];
    prop::collection::vec(step, 1..60)
}

/// The database and the sessions that work with it.
struct Real {
    on: Fixture,
    workers: Vec<Client>,
    producer: Client,
}

/// What is.
async fn there(on: &Fixture) -> Vec<(i64, String, i32, bool)> {
    let sql = "select message.id,
            case when message.status <> 'queued' then message.status
                when exists (select from cogo.ready where ready.id = message.id) then 'ready'
                when exists (select from cogo.later where later.id = message.id) then 'later'
                when exists (select from cogo.ordered where ordered.id = message.id and not placed) then 'waiting'
                else 'lost' end,
            message.attempts, message.cancel_requested
        from public.agent_messages as message order by message.id";
    let rows = on.rows(sql, &[]).await;
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect()
}

async fn take(real: &Real, world: &mut World, step: &Step) {
    let on = &real.on;
    match step {
        Step::Publish { tenant, priority, key, delayed, ttl, attempts, copies } => {
            let mut fields = json!({ "tenant": format!("t{tenant}"), "priority": priority, "max_attempts": attempts });
            let mut say = |name: &str, value: Option<Value>| {
                if let Some(value) = value {
                    fields[name] = value;
                }
            };
            say("ordering_key", key.map(|key| format!("k{key}").into()));
            say("delay_ms", delayed.then(|| (WAIT * 1000).into()));
            say("ttl_ms", ttl.then(|| (TTL * 1000).into()));
            let messages = vec![message(&fields); (*copies).into()];
            for id in on.publish(messages.into()).await {
                let known = Known {
                    place: Place::Ready,
                    tenant: *tenant,
                    priority: *priority,
                    key: *key,
                    attempts: 0,
                    max_attempts: i32::from(*attempts),
                    expires: ttl.then_some(world.now + TTL),
                };
                world.arrive(id, known, delayed.then_some(world.now + WAIT));
            }
        }
        Step::Unfinished { commits } => {
            let end = if *commits { "commit" } else { "rollback" };
            real.producer.batch_execute("begin").await.unwrap();
            let published = publish(&real.producer, &message(&json!({ "tenant": "t0" }))).await;
            assert_eq!(there(on).await, world.told(), "while it is not committed");
            real.producer.batch_execute(end).await.unwrap();
            if *commits {
                let known = Known {
                    place: Place::Ready,
                    tenant: 0,
                    priority: 0,
                    key: None,
                    attempts: 0,
                    max_attempts: 3,
                    expires: None,
                };
                world.arrive(published.unwrap()[0].0, known, None);
            }
        }
        Step::Claim { worker, limit, tenant } => {
            world.promote();
            let route = match tenant {
                Some(tenant) => format!("codegen/generate/0/t{tenant}"),
                None => "codegen/generate/*".to_owned(),
            };
            let name = format!("w{worker}");
            let client = &real.workers[usize::from(*worker)];
            let claims = claim(client, &name, &[&route], (*limit).into()).await.unwrap();
            let claimable = world.claimable(*tenant);
            assert_eq!(claims.len(), claimable.len().min((*limit).into()), "{claimable:?}");
            let claimed: BTreeSet<i64> = claims.iter().map(|claim| claim.id).collect();
            assert_eq!(claimed.len(), claims.len());
            assert!(claimed.iter().all(|id| claimable.contains(id)), "{claimed:?} {claimable:?}");
            // Of one tenant nothing is taken before what comes before it.
            let rank = |id: &i64| (-world.messages[id].priority, *id);
            for left in claimable.iter().filter(|id| !claimed.contains(id)) {
                for taken in &claimed {
                    let same = world.messages[left].tenant == world.messages[taken].tenant;
                    assert!(!same || rank(taken) < rank(left), "{taken} was taken before {left}");
                }
            }
            for claim in claims {
                let message = world.messages.get_mut(&claim.id).unwrap();
                assert_eq!(claim.attempt, message.attempts + 1);
                assert_eq!(claim.tenant, format!("t{}", message.tenant));
                message.place = Place::Leased {
                    lease: claim.lease,
                    until: world.now + LEASE,
                    cancelled: false,
                };
                world.leases.push((claim.id, claim.lease));
            }
        }
        Step::Settle { leases } => {
            let chosen: Vec<(i64, Uuid, Outcome)> = leases
                .iter()
                .filter_map(|(index, outcome)| {
                    world.lease(*index).map(|(id, lease)| (id, lease, *outcome))
                })
                .collect();
            let outcomes: Vec<Value> = chosen
                .iter()
                .map(|(id, lease, outcome)| {
                    let mut said = json!({ "id": id, "lease": lease,
                        "outcome": format!("{outcome:?}").to_lowercase(),
                        "events": [{ "event_type": "settled" }] });
                    if *outcome == Outcome::Retry {
                        said["retry_in_ms"] = json!(WAIT * 1000);
                    }
                    said
                })
                .collect();
            let noted = "select count(*) from public.bus_events where event_type = 'settled'";
            let before = on.number(noted).await;
            let answers = settle(&real.workers[0], "w0", &outcomes.into()).await.unwrap();
            assert_eq!(answers.len(), chosen.len());
            let accepted = answers.iter().filter(|answer| answer.1).count();
            assert_eq!(on.number(noted).await - before, i64::try_from(accepted).unwrap());
            let mut may: BTreeSet<(i64, Uuid)> = chosen
                .iter()
                .map(|(id, lease, _)| (*id, *lease))
                .filter(|(id, lease)| world.holds(*id, *lease))
                .collect();
            for ((id, lease, outcome), answer) in chosen.into_iter().zip(answers) {
                assert_eq!(id, answer.0);
                if answer.1 {
                    assert!(may.remove(&(id, lease)), "{id} was settled by a lease it has not");
                    world.settle(id, outcome);
                    let state = match world.messages[&id].place {
                        Place::Ended(how) => how,
                        _ => "queued",
                    };
                    assert_eq!(answer.2.as_deref(), Some(state));
                }
            }
            assert!(may.is_empty(), "{may:?} were refused");
        }
        Step::Done { leases } => {
            let chosen: Vec<(i64, Uuid)> =
                leases.iter().filter_map(|index| world.lease(*index)).collect();
            let (ids, tokens): (Vec<i64>, Vec<Uuid>) = chosen.iter().copied().unzip();
            let sql = "select public.bus_done('w1', $1, $2)";
            let done: Vec<i64> =
                real.workers[1].query_one(sql, &[&ids, &tokens]).await.unwrap().get(0);
            let due: BTreeSet<i64> = chosen
                .iter()
                .filter(|(id, lease)| world.holds(*id, *lease))
                .map(|(id, _)| *id)
                .collect();
            assert_eq!(done.iter().copied().collect::<BTreeSet<i64>>(), due);
            for id in due {
                world.settle(id, Outcome::Done);
            }
        }
        Step::Renew { leases } => {
            let chosen: BTreeSet<(i64, Uuid)> =
                leases.iter().filter_map(|index| world.lease(*index)).collect();
            let (ids, tokens): (Vec<i64>, Vec<Uuid>) = chosen.iter().copied().unzip();
            let sql = "select id, cancel_requested from public.bus_renew('w2', $1, $2)";
            let rows = real.workers[2].query(sql, &[&ids, &tokens]).await.unwrap();
            let renewed: BTreeMap<i64, bool> =
                rows.iter().map(|row| (row.get(0), row.get(1))).collect();
            let mut due = BTreeMap::new();
            for (id, lease) in chosen
                .into_iter()
                .filter(|(id, lease)| world.holds(*id, *lease))
                .collect::<Vec<_>>()
            {
                let message = world.messages.get_mut(&id).unwrap();
                let Place::Leased { until, cancelled, .. } = &mut message.place else {
                    unreachable!()
                };
                *until = world.now + LEASE;
                due.insert(id, *cancelled);
                let _ = lease;
            }
            assert_eq!(renewed, due);
        }
        Step::Cancel { message } => {
            let Some(id) = world.any(*message) else { return };
            let said = on.cancel(id).await;
            let due = match &mut world.messages.get_mut(&id).unwrap().place {
                Place::Ended(how) => *how,
                Place::Leased { cancelled, .. } => {
                    *cancelled = true;
                    "claimed"
                }
                _ => {
                    world.end(id, "cancelled");
                    "cancelled"
                }
            };
            assert_eq!(said, due);
        }
        Step::Replay { message } => {
            let Some(id) = world.any(*message) else { return };
            let replayed = on.sql.query_one("select public.bus_replay($1)", &[&id]).await;
            let old = world.messages[&id].clone();
            if !old.is_ended() {
                assert!(refusal(replayed).contains("has not ended yet"));
                return;
            }
            let known = Known { place: Place::Ready, attempts: 0, expires: None, ..old };
            world.arrive(replayed.unwrap().get(0), known, None);
        }
        Step::Delete { message } => {
            let Some(id) = world.any(*message) else { return };
            on.rows("delete from cogo.agent_messages where id = $1", &[&id]).await;
            let gone = world.messages.remove(&id).unwrap();
            if !gone.is_ended() && !matches!(gone.place, Place::Waiting { .. }) {
                world.next_of(gone.stream());
            }
        }
        Step::Pause { paused } => {
            on.rows("select public.bus_pause('codegen', 'generate', $1)", &[paused]).await;
            world.paused = *paused;
        }
        Step::Advance => {
            on.advance(STEP).await;
            world.now += STEP;
        }
        Step::Sweep => {
            on.sweep().await;
            world.sweep();
        }
    }
}

async fn begin(real: &Real) -> World {
    real.on
        .run(&format!(
            "truncate cogo.agent_messages, cogo.lanes, cogo.ready, cogo.later, cogo.ordered, cogo.leases, cogo.receipts,
                public.agent_messages_dlq, public.bus_events, public.bus_routes;
            insert into public.bus_routes (service, role, lease) values ('codegen', 'generate', '{LEASE} s')"
        ))
        .await;
    World::default()
}

#[test]
fn no_order_of_steps_loses_a_message_or_does_one_twice() {
    if let Err(failed) = tried(40, None) {
        panic!("{failed}");
    }
}

/// A test that cannot fail shows nothing.
#[test]
fn the_model_notices_when_the_bus_is_wrong() {
    let mistakes = [
        // No fence.
        ("public.bus_settle", "leases.lease = wanted.lease", "true"),
        ("public.bus_done", "leases.lease = given.lease", "true"),
        // A release that spends an attempt.
        ("public.bus_settle", "when judged.outcome = 'release' and", "when false and"),
        // A dead worker that spends none.
        ("public.bus_sweep", "message.attempts + 1, null", "message.attempts, null"),
        // The next of a stream is forgotten.
        ("cogo.leave_streams", "perform cogo.place_head(v_stream);", ""),
        // The last comes first.
        ("public.bus_claim", "order by candidate.id", "order by candidate.id desc"),
        ("cogo.take", "order by ready.id", "order by ready.id desc"),
        // A cancellation that is forgotten.
        ("public.bus_settle", "and freed.cancel_requested", "and false"),
    ];
    std::thread::scope(|scope| {
        let running =
            mistakes.map(|mistake| scope.spawn(move || (mistake, tried(200, Some(mistake)))));
        for ((function, part, _), noticed) in running.map(|thread| thread.join().unwrap()) {
            assert!(noticed.is_err(), "{function} without `{part}` passes");
        }
    });
}

/// Runs so many random cases, with a function spoilt if asked for.
fn tried(cases: u32, spoilt: Option<(&str, &str, &str)>) -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let real = runtime.block_on(async {
        let on = Fixture::new().await;
        if let Some((function, part, wrong)) = spoilt {
            let sql = "select pg_get_functiondef(to_regproc($1))";
            let source: String = on.row(sql, &[&function]).await.get(0);
            assert!(source.contains(part), "{function} has changed; spoil it otherwise");
            on.run(&source.replace(part, wrong)).await;
        }
        let mut workers = Vec::new();
        for _ in 0..3 {
            workers.push(on.test.client().await);
        }
        let producer = on.test.client().await;
        Real { on, workers, producer }
    });
    let config = Config {
        cases,
        // A failure is printed with all its steps; nothing is to be written beside the tests.
        failure_persistence: None,
        max_shrink_iters: if spoilt.is_some() { 0 } else { 200 },
        ..Config::default()
    };
    let run = |steps: Vec<Step>| {
        runtime.block_on(async {
            // What a step that failed left open.
            real.producer.batch_execute("rollback").await.unwrap();
            let mut world = begin(&real).await;
            for step in &steps {
                take(&real, &mut world, step).await;
                assert_eq!(there(&real.on).await, world.told(), "after {step:?}");
                real.on.is_whole().await;
            }
        });
        Ok(())
    };
    let result = TestRunner::new(config).run(&steps(), run).map_err(|failed| failed.to_string());
    let _within = runtime.enter();
    drop(real);
    result
}
