use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, BusSettings};
use db::{Db, DbSettings};
use messages::EventType;
use miette::{Context, IntoDiagnostic};
use rand::SeedableRng;
use rand::rngs::StdRng;
use testkit::{Cluster, ClusterOptions};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::ChaosArgs;
use crate::broken_fence::break_fence;
use crate::calm;
use crate::fleet::Fleet;
use crate::history::History;
use crate::judge::{Finding, judge};
use crate::passage::Passage;
use crate::plan::{Planned, plan};
use crate::publisher::Publisher;
use crate::torment::{Tally, Tormentor};

/// What came of one seed.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub messages: usize,
    pub done: usize,
    pub failed: usize,
    pub cancelled: usize,
    pub reclaimed: usize,
    pub tally: Tally,
    pub time: Duration,
    pub findings: Vec<Finding>,
}

const DATABASE: &str = "chaos";

/// Short leases, and attempts enough that only those messages fail that are meant to.
const PREPARE: &str = "
insert into public.bus_routes (service, role, lease, max_attempts, backoff_base, backoff_cap)
values ('chaos', 'act', '2 s', 100, '50 ms', '1 s'), ('chaos', 'echo', '2 s', 100, '50 ms', '1 s');
-- No unique constraint: what is done twice must show.
create table public.chaos_effects (
    message_id bigint not null,
    worker text not null,
    attempt int not null,
    began timestamptz not null,
    ended timestamptz not null
);
-- The effect and its settle in one transaction, for those who can only call. A quarter of them take their time, to be
-- cut off between the settle and its commit.
create function public.chaos_finish(p_worker text, p_id bigint, p_lease uuid, p_attempt int, p_began_us bigint)
returns boolean language plpgsql security definer set search_path = '' as $$
declare
    v_accepted boolean;
begin
    select settled.accepted into v_accepted from public.bus_settle(p_worker,
        jsonb_build_array(jsonb_build_object('id', p_id, 'lease', p_lease, 'outcome', 'done'))) as settled;
    if v_accepted then
        insert into public.chaos_effects values (
            p_id, p_worker, p_attempt, 'epoch'::timestamptz + p_began_us * interval '1 us', clock_timestamp());
    end if;
    if p_id % 4 = 0 then
        perform pg_catalog.pg_sleep(0.025);
    end if;
    return v_accepted;
end
$$;
revoke all on function public.chaos_finish(text, bigint, uuid, int, bigint) from public;
grant execute on function public.chaos_finish(text, bigint, uuid, int, bigint) to service_role;";

/// Publishing and torment last at least this long, and longer for many messages.
const SHORTEST: Duration = Duration::from_secs(8);
const MESSAGES_PER_SECOND: usize = 250;

/// One run: a server and a fleet of its own, torment, calm, judgement.
pub(crate) async fn run_seed(seed: u32, args: &ChaosArgs, logs: &Path) -> miette::Result<Outcome> {
    let started = Instant::now();
    let cluster = spawn_blocking(|| Cluster::start(&ClusterOptions::default())).await;
    let cluster = Arc::new(cluster.into_diagnostic()?.into_diagnostic()?);
    let outcome = run_on(&cluster, seed, args, logs).await;
    std::fs::write(logs.join("postgres.log"), cluster.log()).into_diagnostic()?;
    Ok(Outcome { time: started.elapsed(), ..outcome? })
}

async fn run_on(
    cluster: &Arc<Cluster>,
    seed: u32,
    args: &ChaosArgs,
    logs: &Path,
) -> miette::Result<Outcome> {
    let url = cluster.create_migrated_database(DATABASE).await.into_diagnostic()?;
    let db = Db::connect(&DbSettings::at(&url).named("chaos-judge"))?;
    db.client().await?.batch("chaos.prepare", PREPARE).await?;
    if args.break_fence {
        break_fence(&db).await?;
    }

    let mut passage = Passage::open(args.via, cluster, DATABASE).await?;
    let program = std::env::current_exe().into_diagnostic()?;
    let mut fleet = Fleet::start(program, &passage, logs.to_owned())?;
    let bus = Bus::connect(&passage.settings, &BusSettings::default())?;
    let publisher = Publisher::new(&bus, &passage.sql);

    let sendings = plan(&mut StdRng::seed_from_u64(seed.into()), args.messages);
    let planned: BTreeMap<i64, Planned> = sendings
        .iter()
        .flat_map(|sending| &sending.messages)
        .map(|planned| (planned.n, planned.clone()))
        .collect();
    let time = SHORTEST.max(Duration::from_secs((args.messages / MESSAGES_PER_SECOND) as u64));
    let tormentor = Tormentor {
        // Not the plan's numbers again.
        rng: StdRng::seed_from_u64(u64::from(seed) | 1 << 32),
        fleet: &mut fleet,
        proxy: &passage.proxy,
        supabase: passage.supabase.as_mut(),
        cluster,
        db: &db,
        tally: Tally::default(),
    };
    let (accounts, tally) =
        tokio::try_join!(publisher.publish_all(sendings, time), tormentor.torment(time))?;
    fleet.resume_all()?;
    calm::wait(&db, &mut fleet).await?;
    fleet.end().await?;

    let history = History::read(&db).await.wrap_err("could not read the history")?;
    let findings = judge(&planned, &accounts, &history);
    let reclaimed = EventType::RECLAIMED;
    Ok(Outcome {
        messages: history.stories.len(),
        done: history.ended("done"),
        failed: history.ended("failed"),
        cancelled: history.ended("cancelled"),
        reclaimed: history.stories.values().map(|s| s.events(reclaimed.as_str()).len()).sum(),
        tally,
        time: Duration::ZERO,
        findings,
    })
}
