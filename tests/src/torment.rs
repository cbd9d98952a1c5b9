use std::sync::Arc;
use std::time::Duration;

use db::{Db, DbError, Statement, Type};
use miette::IntoDiagnostic;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use testkit::{Cluster, Supabase};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::fleet::{Fleet, Role};
use crate::proxy::Proxy;

/// What was done to the fleet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub kills: usize,
    pub stops: usize,
    pub drains: usize,
    pub terminations: usize,
    pub cuts: usize,
    pub restarts: usize,
    pub rest_restarts: usize,
    pub realtime_restarts: usize,
}

#[derive(Clone, Copy, Debug)]
enum Blow {
    KillWorker,
    StopWorker,
    DrainWorker,
    KillKeeper,
    TerminateBackends,
    CutConnections,
    /// Answers are late.
    Stall,
    /// Answers are held back, and then the connections are cut: nobody knows what was done.
    Doubt,
    RestartPostgres,
    RestartRest,
    RestartRealtime,
}

/// With how often each comes, once each has come.
const EACH: [(Blow, usize); 9] = [
    (Blow::KillWorker, 25),
    (Blow::StopWorker, 15),
    (Blow::DrainWorker, 8),
    (Blow::KillKeeper, 6),
    (Blow::TerminateBackends, 15),
    (Blow::CutConnections, 10),
    (Blow::Stall, 6),
    (Blow::Doubt, 10),
    (Blow::RestartPostgres, 5),
];

/// Where the fleet goes over Supabase.
const BEYOND: [(Blow, usize); 2] = [(Blow::RestartRest, 8), (Blow::RestartRealtime, 10)];

/// A stopped worker sleeps past its leases, which are two seconds long.
const STOP_MS: std::ops::Range<u64> = 2_500..5_500;
const PAUSE_MS: std::ops::Range<u64> = 50..400;
const TICK: Duration = Duration::from_millis(20);

pub(crate) struct Tormentor<'a> {
    pub rng: StdRng,
    pub fleet: &'a mut Fleet,
    pub proxy: &'a Proxy,
    pub supabase: Option<&'a mut Supabase>,
    pub cluster: &'a Arc<Cluster>,
    /// Around the proxy.
    pub db: &'a Db,
    pub tally: Tally,
}

impl Tormentor<'_> {
    /// For as long as `time`, not counting what Postgres takes to recover; but each blow falls at
    /// least once.
    pub(crate) async fn torment(mut self, time: Duration) -> miette::Result<Tally> {
        let mut end = Instant::now() + time;
        // The fence is for those that come back: no run is without some of them.
        let mut each = EACH.to_vec();
        if self.supabase.is_some() {
            each.extend(BEYOND);
        }
        let mut first: Vec<Blow> = each.iter().map(|(blow, _)| *blow).collect();
        first.extend([Blow::StopWorker, Blow::StopWorker, Blow::KillWorker]);
        first.shuffle(&mut self.rng);
        let mut first = first.into_iter();
        loop {
            let pause = Duration::from_millis(self.rng.random_range(PAUSE_MS));
            self.tend_for(pause).await?;
            let blow = match first.next() {
                Some(blow) => blow,
                None if Instant::now() >= end => return Ok(self.tally),
                None => self.choose(&each),
            };
            let struck = Instant::now();
            self.strike(blow).await?;
            if let Blow::RestartPostgres = blow {
                end += struck.elapsed();
            }
        }
    }

    fn choose(&mut self, each: &[(Blow, usize)]) -> Blow {
        let chosen = each.choose_weighted(&mut self.rng, |(_, weight)| *weight);
        chosen.expect("the weights are positive").0
    }

    async fn tend_for(&mut self, time: Duration) -> miette::Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.fleet.tend()?;
            sleep(TICK).await;
        }
        Ok(())
    }

    async fn strike(&mut self, blow: Blow) -> miette::Result<()> {
        // Drawn in any case, so that a blow in vain does not change those that follow.
        let number = self.rng.random_range(0..100);
        let length = Duration::from_millis(self.rng.random_range(200..1_500));
        let stop = Duration::from_millis(self.rng.random_range(STOP_MS));
        let chance = self.rng.random_range(0.1..0.9);
        let tally = &mut self.tally;
        match blow {
            Blow::KillWorker => {
                self.fleet.kill(Role::Worker, number).await?;
                tally.kills += 1;
            }
            Blow::KillKeeper => {
                self.fleet.kill(Role::Keeper, number).await?;
                tally.kills += 1;
            }
            Blow::StopWorker => tally.stops += usize::from(self.fleet.stop(number, stop)?),
            Blow::DrainWorker => tally.drains += usize::from(self.fleet.drain(number)?),
            Blow::TerminateBackends => {
                let terminated = terminate(self.db, &mut self.rng, chance).await;
                tally.terminations += terminated.into_diagnostic()?;
            }
            Blow::CutConnections => tally.cuts += self.proxy.cut(&mut self.rng, chance),
            Blow::Stall => {
                self.proxy.hold_back(true);
                let tended = self.tend_for(length).await;
                self.proxy.hold_back(false);
                tended?;
            }
            Blow::Doubt => {
                self.proxy.hold_back(true);
                let tended = self.tend_for(length / 3).await;
                self.tally.cuts += self.proxy.cut(&mut self.rng, 1.0);
                self.proxy.hold_back(false);
                tended?;
            }
            Blow::RestartPostgres => {
                let cluster = self.cluster.clone();
                let restarted = spawn_blocking(move || cluster.restart_immediate()).await;
                restarted.into_diagnostic()?.into_diagnostic()?;
                tally.restarts += 1;
            }
            Blow::RestartRest => {
                if let Some(supabase) = &mut self.supabase {
                    supabase.rest.restart().await;
                    tally.rest_restarts += 1;
                }
            }
            Blow::RestartRealtime => {
                if let Some(supabase) = &self.supabase {
                    supabase.realtime.restart(length).await;
                    tally.realtime_restarts += 1;
                }
            }
        }
        Ok(())
    }
}

static BACKENDS: Statement = Statement {
    name: "chaos.backends",
    sql: "select pid from pg_stat_activity
        where datname = current_database() and backend_type = 'client backend'
            and pid <> pg_backend_pid() and application_name <> 'chaos-judge'
        order by pid",
    types: &[],
};

static TERMINATE: Statement = Statement {
    name: "chaos.terminate",
    sql: "select pg_terminate_backend(pid) from unnest($1::int[]) as chosen(pid)",
    types: &[Type::INT4_ARRAY],
};

async fn terminate(db: &Db, rng: &mut StdRng, chance: f64) -> Result<usize, DbError> {
    // A connection of the pool may not have noticed yet that Postgres was restarted.
    let rows = loop {
        match db.query(&BACKENDS, &[]).await {
            Ok(rows) => break rows,
            Err(error) if error.disposition() == db::Disposition::Retry => sleep(TICK).await,
            Err(error) => return Err(error),
        }
    };
    let pids: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
    let chosen: Vec<i32> = pids.into_iter().filter(|_| rng.random_bool(chance)).collect();
    db.query(&TERMINATE, &[&chosen]).await?;
    Ok(chosen.len())
}
