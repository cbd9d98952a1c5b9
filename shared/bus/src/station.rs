use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use db::{Commit, Json, Row, Session, Statement, Type};
use model::{Route, Stage};
use serde::Deserialize;
use tracing::warn;

use crate::claimed::{Claimed, claimed_columns};
use crate::cursor::{Cursor, Position};
use crate::doorbell::{CANCEL, RING_ALL};
use crate::lease::until;
use crate::statement::statement;
use crate::topics::{inserts, rings, wakes, worker_topic};
use crate::{Bus, BusError, Doorbell, Lease, Listen, Message};

/// A worker's place at the bus: claims for its routes, and sleeps where a producer can ring it.
pub struct Station {
    bus: Bus,
    worker: String,
    listens: Vec<Listen>,
    /// The same, as the database reads them.
    routes: Vec<String>,
    channel: String,
    ear: Ear,
    parked: bool,
    /// How long to sleep, when the last claim has settled that as well.
    resting: Option<Duration>,
    cursor: Cursor,
    /// A lane's number means the same route for ever, so it is read once.
    addresses: HashMap<i32, Arc<Route>>,
    /// How long to wait while somebody publishes to us.
    next_moment: Duration,
    /// The next wait between two looks while we only poll.
    next_poll: Duration,
}

/// How we hear. The listening connection also claims: both are things that may be forgotten, so it
/// commits without waiting for the disk. What must not be forgotten goes through the pool.
enum Ear {
    Listening(Session),
    /// The connection broke, or is not open yet.
    Deaf,
    /// Rung by the database, over Realtime; every call is a request.
    Realtime(db::Ear),
    /// Told of inserted rows, over Realtime; nobody needs to know that we sleep.
    PostgresChanges(db::Ear),
    /// Listening is impossible or unwanted.
    Polling,
}

/// What a sleeper was woken by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// There may be work; also said when the connection broke, since rings may have been missed.
    pub ring: bool,
    /// Somebody cancelled a message of ours, or wants us to drain.
    pub attention: bool,
}

pub(crate) static CLAIM: Statement = statement(
    "bus.claim",
    concat!(
        "select ",
        claimed_columns!(),
        " from public.bus_claim(p_worker => $1, p_routes => $2, p_limit => $3, p_lanes => $4,
            p_after => $5)"
    ),
    &[Type::TEXT, Type::TEXT_ARRAY, Type::INT4, Type::INT4_ARRAY, Type::INT8_ARRAY],
);
pub(crate) static CLAIM_OR_PARK: Statement = statement(
    "bus.claim_or_park",
    "select public.bus_claim_or_park(p_worker => $1, p_routes => $2, p_limit => $3,
        p_channel => $4, p_ms => $5, p_lanes => $6, p_after => $7)",
    &[
        Type::TEXT,
        Type::TEXT_ARRAY,
        Type::INT4,
        Type::TEXT,
        Type::INT4,
        Type::INT4_ARRAY,
        Type::INT8_ARRAY,
    ],
);
pub(crate) static PARK: Statement = statement(
    "bus.park",
    "select public.bus_park($1, $2, $3, $4)",
    &[Type::TEXT, Type::TEXT, Type::TEXT_ARRAY, Type::INT4],
);
pub(crate) static UNPARK: Statement =
    statement("bus.unpark", "select public.bus_unpark(p_worker => $1)", &[Type::TEXT]);
pub(crate) static RING: Statement = statement(
    "bus.ring",
    "select public.bus_ring(p_worker => $1, p_routes => $2)",
    &[Type::TEXT, Type::TEXT_ARRAY],
);

/// Where `bus_claim_or_park` says that we listen.
const REALTIME: &str = "realtime";
/// Somebody who is publishing to us at this very moment is soon done, or takes his time.
const FIRST_MOMENT: Duration = Duration::from_millis(5);
const LONGEST_MOMENT: Duration = Duration::from_millis(100);
const FIRST_POLL: Duration = Duration::from_millis(50);
const SLOWEST_POLL: Duration = Duration::from_secs(1);
/// As many as one statement returns without holding others up.
const LARGEST_CLAIM: usize = 500;

impl Station {
    pub fn new(bus: &Bus, worker: &str, routes: &[Listen]) -> Self {
        Self {
            // A channel's name is at most 63 bytes, a worker's may be longer.
            channel: format!("cogo_{}", uuid::Uuid::new_v4().simple()),
            ear: Ear::Deaf,
            bus: bus.clone(),
            worker: worker.to_owned(),
            listens: routes.to_vec(),
            routes: routes.iter().map(ToString::to_string).collect(),
            parked: false,
            resting: None,
            cursor: Cursor::new(),
            addresses: HashMap::new(),
            next_moment: FIRST_MOMENT,
            next_poll: FIRST_POLL,
        }
    }

    /// How long to sleep now, if the last claim leaves nothing to be done before: where every look
    /// costs a request, or is all we have, there is one for each ring and each turn of the poll.
    pub fn resting(&self) -> Option<Duration> {
        self.resting
    }

    /// Up to `limit` messages, leased to us.
    pub async fn claim(&mut self, limit: usize) -> Result<Vec<Lease>, BusError> {
        self.look(limit, false).await
    }

    /// The same, for whoever slept and was rung: nobody needs to ring us any more. Both in one
    /// round trip.
    pub async fn wake_and_claim(&mut self, limit: usize) -> Result<Vec<Lease>, BusError> {
        self.look(limit, self.parked).await
    }

    async fn look(&mut self, limit: usize, unpark: bool) -> Result<Vec<Lease>, BusError> {
        self.open_ear().await?;
        let limit = limit.min(LARGEST_CLAIM);
        let asked_at = Instant::now();
        let position = self.cursor.position(unpark);
        self.resting = None;
        if let Ear::Realtime(_) = self.ear {
            return self.claim_or_park(limit, &position, asked_at).await;
        }
        // Sent in this order on one connection, without waiting for the first answer. The work comes
        // first: a producer that still sees us parked only rings once more than needed.
        let (rows, unparked) = tokio::join!(
            biased;
            self.rows(limit, &position),
            async { if unpark { self.delete_parked().await } else { Ok(()) } }
        );
        if unpark {
            self.parked = false;
        }
        unparked?;
        let claimed: Vec<Claimed> = rows?.iter().map(Claimed::from_row).collect();
        Ok(self.took(claimed, limit, &position, asked_at))
    }

    fn took(
        &mut self,
        claimed: Vec<Claimed>,
        limit: usize,
        position: &Position,
        asked_at: Instant,
    ) -> Vec<Lease> {
        self.cursor.advance(
            limit,
            position.lanes.is_none().then(|| asked_at.elapsed()),
            claimed.iter().map(|one| (one.lane, one.id)),
        );
        if !claimed.is_empty() {
            self.next_poll = FIRST_POLL;
        }
        if claimed.len() < limit {
            self.resting = match &self.ear {
                Ear::Polling => Some(self.wait_longer()),
                Ear::PostgresChanges(ear) if ear.is_ready() => Some(self.bus.settings().poll()),
                Ear::PostgresChanges(_) => Some(self.wait_longer()),
                Ear::Listening(_) | Ear::Deaf | Ear::Realtime(_) => None,
            };
        }
        claimed.into_iter().map(|one| self.lease(one, asked_at)).collect()
    }

    /// Claims, and lies down in the same request if there is less than we asked for.
    async fn claim_or_park(
        &mut self,
        limit: usize,
        position: &Position,
        asked_at: Instant,
    ) -> Result<Vec<Lease>, BusError> {
        let most = i32::try_from(limit).expect("the largest claim is far smaller");
        let poll = i32::try_from(self.bus.settings().bus_poll_ms).expect("its range fits");
        let parameters: &[&dyn db::Parameter] = &[
            &self.worker,
            &self.routes,
            &most,
            &REALTIME,
            &poll,
            &position.lanes,
            &position.after,
        ];
        let row = self.bus.db().query_one(&CLAIM_OR_PARK, parameters).await?;
        let Json(answer) = row.get::<Json<ClaimedOrParked>>(0);
        self.parked = answer.wait_ms.is_some();
        let short = answer.leases.len() < limit;
        let leases = self.took(answer.leases, limit, position, asked_at);
        // Whoever cannot be rung at this moment looks again soon.
        let rung = matches!(&self.ear, Ear::Realtime(ear) if ear.is_ready());
        let publishing = answer.wait_ms.is_none() && short;
        if !publishing {
            self.next_moment = FIRST_MOMENT;
        }
        self.resting = match answer.wait_ms {
            Some(wait_ms) if rung => Some(Duration::from_millis(wait_ms)),
            Some(_) => Some(self.wait_longer()),
            None if publishing => Some(self.wait_a_moment()),
            None => None,
        };
        Ok(leases)
    }

    /// Somebody is publishing to us at this very moment.
    fn wait_a_moment(&mut self) -> Duration {
        let wait = self.next_moment;
        self.next_moment = (wait * 2).min(LONGEST_MOMENT);
        wait
    }

    fn wait_longer(&mut self) -> Duration {
        let wait = self.next_poll;
        self.next_poll = (wait * 2).min(SLOWEST_POLL).min(self.bus.settings().poll());
        wait
    }

    async fn rows(&self, limit: usize, position: &Position) -> Result<Vec<Row>, BusError> {
        let limit = i32::try_from(limit).expect("the largest claim is far smaller");
        let parameters: &[&dyn db::Parameter] =
            &[&self.worker, &self.routes, &limit, &position.lanes, &position.after];
        Ok(match &self.ear {
            Ear::Listening(session) => session.query(&CLAIM, parameters).await?,
            Ear::Deaf | Ear::Realtime(_) | Ear::PostgresChanges(_) | Ear::Polling => {
                self.bus.db().query(&CLAIM, parameters).await?
            }
        })
    }

    /// Lies down to sleep, to be rung. `None`: somebody is publishing at this moment, so look again
    /// soon. Otherwise look once more, and then sleep with [`Station::heard`] for at most this long.
    pub async fn park(&mut self) -> Result<Option<Duration>, BusError> {
        // What is there before we sleep may lie anywhere.
        self.cursor.start_over();
        let Ear::Listening(session) = &self.ear else {
            return Ok(Some(self.wait_longer()));
        };
        let poll = i32::try_from(self.bus.settings().bus_poll_ms).expect("its range fits");
        let row =
            session.query_one(&PARK, &[&self.worker, &self.channel, &self.routes, &poll]).await?;
        let wait: Option<i32> = row.get(0);
        self.parked = wait.is_some();
        Ok(wait.map(|ms| Duration::from_millis(ms.unsigned_abs().into())))
    }

    /// Awake again: nobody needs to ring us.
    pub async fn unpark(&mut self) -> Result<(), BusError> {
        if self.parked {
            self.delete_parked().await?;
        }
        self.parked = false;
        Ok(())
    }

    async fn delete_parked(&self) -> Result<(), BusError> {
        match &self.ear {
            Ear::Listening(session) => {
                session.execute(&UNPARK, &[&self.worker]).await?;
            }
            Ear::Realtime(_) => {
                self.bus.db().query(&UNPARK, &[&self.worker]).await?;
            }
            Ear::Deaf | Ear::PostgresChanges(_) | Ear::Polling => {}
        }
        Ok(())
    }

    /// Waits until somebody rings or calls, or until our connection breaks. Never while we only poll.
    pub async fn heard(&self) -> Heard {
        let session = match &self.ear {
            Ear::Listening(session) => session,
            Ear::Realtime(ear) | Ear::PostgresChanges(ear) => {
                return self.heard_over_realtime(ear).await;
            }
            Ear::Deaf | Ear::Polling => return std::future::pending().await,
        };
        let Ok(heard) = session.notified().await else {
            return Heard { ring: true, attention: false };
        };
        let (calls, rings): (Vec<_>, Vec<_>) =
            heard.rang.iter().partition(|rang| rang.channel == CANCEL);
        Heard {
            ring: heard.more || !rings.is_empty(),
            attention: heard.more || calls.iter().any(|rang| rang.payload == self.worker),
        }
    }

    async fn heard_over_realtime(&self, ear: &db::Ear) -> Heard {
        let calls = worker_topic(&self.worker);
        loop {
            let heard = ear.notified().await;
            let (calls, rings): (Vec<_>, Vec<_>) =
                heard.rang.iter().partition(|rang| rang.channel == calls);
            let heard = Heard {
                // A topic is shared: each ring says whom it is meant to wake.
                ring: heard.more || rings.iter().any(|rang| wakes(&rang.payload, &self.worker)),
                attention: heard.more || !calls.is_empty(),
            };
            if heard.ring || heard.attention {
                return heard;
            }
        }
    }

    /// We were rung with our hands full: let another sleeper have it.
    pub async fn pass_on(&self) -> Result<(), BusError> {
        self.bus.db().query(&RING, &[&self.worker, &self.routes]).await?;
        Ok(())
    }

    async fn open_ear(&mut self) -> Result<(), BusError> {
        if let Ear::Listening(session) = &self.ear
            && session.is_closed()
        {
            warn!("lost the listening connection; opening another");
            self.ear = Ear::Deaf;
        }
        let Ear::Deaf = self.ear else { return Ok(()) };
        self.ear = match self.bus.doorbell() {
            Doorbell::Auto | Doorbell::Listen => Ear::Listening(self.open_session().await?),
            Doorbell::Realtime => {
                Ear::Realtime(self.bus.db().listen(&rings(&self.listens, &self.worker))?)
            }
            Doorbell::PostgresChanges => {
                Ear::PostgresChanges(self.bus.db().listen(&inserts(&self.listens, &self.worker))?)
            }
            Doorbell::Poll => Ear::Polling,
        };
        self.parked = false;
        Ok(())
    }

    async fn open_session(&self) -> Result<Session, BusError> {
        let channels = [self.channel.clone(), RING_ALL.to_owned(), CANCEL.to_owned()];
        Ok(Session::open(self.bus.db_settings(), &channels, Commit::Forgettable).await?)
    }

    fn lease(&mut self, claimed: Claimed, asked_at: Instant) -> Lease {
        let address = self.addresses.entry(claimed.lane).or_insert_with(|| {
            let stage = Stage::new(claimed.service, claimed.role);
            Arc::new(Route::new(stage, claimed.shard).for_tenant(claimed.tenant))
        });
        Lease {
            token: claimed.lease,
            until: until(asked_at, claimed.lease_ms),
            message: Message {
                id: claimed.id,
                route: Arc::clone(address),
                project_id: claimed.project_id,
                trace: claimed.trace_id,
                traceparent: claimed.traceparent,
                parent: claimed.parent_id,
                ordering_key: claimed.ordering_key,
                attempt: claimed.attempt,
                max_attempts: claimed.max_attempts,
                created_at: claimed.created_at,
                payload: claimed.payload,
            },
        }
    }
}

#[derive(Deserialize)]
struct ClaimedOrParked {
    leases: Vec<Claimed>,
    wait_ms: Option<u64>,
}
