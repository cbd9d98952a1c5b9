use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use db::{Commit, Json, Row, Session, Statement, Type};
use model::{MessageId, Route, Shard, Stage, Tenant, Word};
use serde_json::value::RawValue;
use tracing::{info, warn};

use crate::doorbell::{CANCEL, RING_ALL};
use crate::lease::until;
use crate::statement::statement;
use crate::{Bus, BusError, Doorbell, Lease, Listen, Message};

/// A worker's place at the bus: claims for its routes, and sleeps where a producer can ring it.
pub struct Station {
    bus: Bus,
    worker: String,
    routes: Vec<String>,
    channel: String,
    ear: Ear,
    parked: bool,
    cursor: Cursor,
    /// A lane's number means the same route for ever, so it is read once.
    addresses: HashMap<i32, Arc<Route>>,
    /// The next wait between two looks while we only poll.
    next_poll: Duration,
}

/// How we hear. The listening connection also claims: both are things that may be forgotten, so it
/// commits without waiting for the disk. What must not be forgotten goes through the pool.
enum Ear {
    Listening(Session),
    /// The connection broke, or is not open yet.
    Deaf,
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
    "select id, lease, lane, service, role, shard, tenant, project_id, trace_id, traceparent,
        parent_id, ordering_key, attempt, max_attempts, created_at, lease_ms, payload
    from public.bus_claim($1, $2, $3, $4, $5)",
    &[Type::TEXT, Type::TEXT_ARRAY, Type::INT4, Type::INT4_ARRAY, Type::INT8_ARRAY],
);
pub(crate) static PARK: Statement = statement(
    "bus.park",
    "select public.bus_park($1, $2, $3, $4)",
    &[Type::TEXT, Type::TEXT, Type::TEXT_ARRAY, Type::INT4],
);
pub(crate) static UNPARK: Statement =
    statement("bus.unpark", "select public.bus_unpark($1)", &[Type::TEXT]);
pub(crate) static RING: Statement =
    statement("bus.ring", "select public.bus_ring($1, $2)", &[Type::TEXT, Type::TEXT_ARRAY]);

const FIRST_POLL: Duration = Duration::from_millis(50);
const SLOWEST_POLL: Duration = Duration::from_secs(1);
/// As many as one statement returns without holding others up.
const LARGEST_CLAIM: usize = 500;

impl Station {
    pub fn new(bus: &Bus, worker: &str, routes: &[Listen]) -> Self {
        Self {
            // A channel's name is at most 63 bytes, a worker's may be longer.
            channel: format!("cogo_{}", uuid::Uuid::new_v4().simple()),
            ear: if bus.listens() { Ear::Deaf } else { Ear::Polling },
            bus: bus.clone(),
            worker: worker.to_owned(),
            routes: routes.iter().map(ToString::to_string).collect(),
            parked: false,
            cursor: Cursor::new(),
            addresses: HashMap::new(),
            next_poll: FIRST_POLL,
        }
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
        let rows = rows?;
        self.cursor.advance(
            limit,
            position.lanes.is_none().then(|| asked_at.elapsed()),
            rows.iter().map(|row| (row.get(2), row.get(0))),
        );
        if !rows.is_empty() {
            self.next_poll = FIRST_POLL;
        }
        Ok(rows.iter().map(|row| self.lease(row, asked_at)).collect())
    }

    async fn rows(&self, limit: usize, position: &Position) -> Result<Vec<Row>, BusError> {
        let limit = i32::try_from(limit).expect("the largest claim is far smaller");
        let parameters: &[&(dyn db::ToSql + Sync)] =
            &[&self.worker, &self.routes, &limit, &position.lanes, &position.after];
        Ok(match &self.ear {
            Ear::Listening(session) => session.query(&CLAIM, parameters).await?,
            Ear::Deaf | Ear::Polling => self.bus.db().query(&CLAIM, parameters).await?,
        })
    }

    /// Lies down to sleep, to be rung. `None`: somebody is publishing at this moment, so look again
    /// soon. Otherwise look once more, and then sleep with [`Station::heard`] for at most this long.
    pub async fn park(&mut self) -> Result<Option<Duration>, BusError> {
        // What is there before we sleep may lie anywhere.
        self.cursor.from_the_start = true;
        let Ear::Listening(session) = &self.ear else {
            let wait = self.next_poll;
            self.next_poll = (wait * 2).min(SLOWEST_POLL).min(self.bus.settings().poll());
            return Ok(Some(wait));
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
        if let Ear::Listening(session) = &self.ear {
            session.execute(&UNPARK, &[&self.worker]).await?;
        }
        Ok(())
    }

    /// Waits until somebody rings or calls, or until our connection breaks. Never while we only poll.
    pub async fn heard(&self) -> Heard {
        let Ear::Listening(session) = &self.ear else { return std::future::pending().await };
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

    /// We were rung with our hands full: let another sleeper have it.
    pub async fn pass_on(&self) -> Result<(), BusError> {
        self.bus.db().execute(&RING, &[&self.worker, &self.routes]).await?;
        Ok(())
    }

    async fn open_ear(&mut self) -> Result<(), BusError> {
        if let Ear::Listening(session) = &self.ear
            && session.is_closed()
        {
            warn!("lost the listening connection; opening another");
            self.ear = Ear::Deaf;
        }
        if let Ear::Deaf = self.ear {
            let channels = [self.channel.clone(), RING_ALL.to_owned(), CANCEL.to_owned()];
            let session =
                Session::open(self.bus.db_settings(), &channels, Commit::Forgettable).await?;
            self.ear = Ear::Listening(session);
            self.parked = false;
        }
        Ok(())
    }

    fn lease(&mut self, row: &Row, asked_at: Instant) -> Lease {
        let address = self.addresses.entry(row.get(2)).or_insert_with(|| {
            let stage = Stage::new(row.get::<_, Word>(3), row.get::<_, Word>(4));
            let route = Route::new(stage, row.get::<_, Shard>(5));
            Arc::new(route.for_tenant(row.get::<_, Tenant>(6)))
        });
        let Json(payload) = row.get::<_, Json<Box<RawValue>>>(16);
        Lease {
            token: row.get(1),
            until: until(asked_at, row.get(15)),
            message: Message {
                id: row.get(0),
                route: Arc::clone(address),
                project_id: row.get(7),
                trace: row.get(8),
                traceparent: row.get(9),
                parent: row.get(10),
                ordering_key: row.get(11),
                attempt: row.get(12),
                max_attempts: row.get(13),
                created_at: row.get(14),
                payload,
            },
        }
    }
}

impl Bus {
    /// Whether workers of this process are rung, or only poll.
    pub fn listens(&self) -> bool {
        match self.settings().bus_doorbell {
            Doorbell::Auto => self.db().mode() == db::SessionMode::Session,
            Doorbell::Listen => true,
            Doorbell::Poll => false,
        }
    }

    /// Says once, at the start of a process, how it hears of messages.
    pub fn tell_doorbell(&self) {
        let poll_ms = self.settings().bus_poll_ms;
        if self.listens() {
            info!(poll_ms, "hearing of messages by LISTEN, and by a look every {poll_ms} ms");
        } else {
            info!("hearing of messages by polling alone, up to a second late");
        }
    }
}

/// Where we left off in each lane. A claim that starts there does not walk over the dead rows of
/// what was claimed before, which is what makes queues slow while vacuum is held back.
struct Cursor {
    after: HashMap<i32, i64>,
    /// Where the next claim looks.
    from_the_start: bool,
    looked_from_the_start: Instant,
    look_again_after: Duration,
}

struct Position {
    lanes: Option<Vec<i32>>,
    after: Option<Vec<i64>>,
}

/// A message with a lower id may appear later (its transaction was slower, or it is tried again):
/// it waits this long, or longer where a look from the start is slow; a tenth of our time at most
/// goes into those.
const LOOK_FROM_THE_START: Duration = Duration::from_millis(200);
/// More than this are not worth sending along: each costs a claim a comparison.
const MOST_LANES: usize = 1_000;

impl Cursor {
    fn new() -> Self {
        Self {
            after: HashMap::new(),
            from_the_start: true,
            looked_from_the_start: Instant::now(),
            look_again_after: LOOK_FROM_THE_START,
        }
    }

    /// Whoever was rung looks behind the cursor first, since that is where new messages are; unless
    /// it finds as many as it asked for, it looks from the start right afterwards.
    fn position(&mut self, rung: bool) -> Position {
        let overdue = self.looked_from_the_start.elapsed() >= self.look_again_after;
        if self.after.is_empty() || (!rung && (self.from_the_start || overdue)) {
            return Position { lanes: None, after: None };
        }
        let (lanes, after) = self.after.iter().unzip();
        Position { lanes: Some(lanes), after: Some(after) }
    }

    fn advance(
        &mut self,
        limit: usize,
        from_the_start: Option<Duration>,
        taken: impl ExactSizeIterator<Item = (i32, MessageId)>,
    ) {
        if let Some(took) = from_the_start {
            self.looked_from_the_start = Instant::now();
            self.look_again_after = LOOK_FROM_THE_START.max(took * 9);
        }
        // It came back short: whatever is left lies before the cursor, or nowhere.
        self.from_the_start = taken.len() < limit;
        for (lane, id) in taken {
            let after = self.after.entry(lane).or_default();
            *after = (*after).max(id.get());
        }
        if self.after.len() > MOST_LANES {
            self.after.clear();
        }
    }
}
