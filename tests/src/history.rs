use std::collections::BTreeMap;

use db::{Db, DbError, Statement};
use model::MessageId;
use time::OffsetDateTime;

/// All that the tables say about one message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Story {
    pub role: String,
    /// Its number in the plan; an echo has none.
    pub n: Option<i64>,
    pub parent: Option<MessageId>,
    /// Trace and tenant.
    pub belongs_to: (String, String),
    pub ordering_key: Option<String>,
    pub max_attempts: i32,
    pub expires: bool,
    /// The state tables that name it: `ready`, `later`, `leases`, `receipts`, or `waiting` for its
    /// turn.
    pub places: Vec<String>,
    /// It is still in its ordering key's stream.
    pub in_stream: bool,
    pub receipt: Option<Receipt>,
    pub letters: Vec<Letter>,
    pub effects: Vec<Effect>,
    /// Ids of its events, by type.
    pub events: BTreeMap<String, Vec<i64>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Receipt {
    pub status: String,
    pub attempts: i32,
    pub reason: Option<String>,
    pub error: Option<String>,
    /// By whom it was settled; none for one that was never claimed.
    pub worker: Option<String>,
    pub done_at: OffsetDateTime,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    pub reason: String,
    pub attempts: i32,
}

/// A row that a handler wrote in the transaction of its settle.
#[derive(Clone, Debug)]
pub(crate) struct Effect {
    pub began: OffsetDateTime,
    pub ended: OffsetDateTime,
}

#[derive(Debug, Default)]
pub(crate) struct History {
    pub stories: BTreeMap<MessageId, Story>,
    /// Rows that name a message that is not there.
    pub orphans: Vec<String>,
}

static MESSAGES: Statement = Statement {
    name: "chaos.messages",
    sql: "select message.id, message.role, (message.payload ->> 'n')::bigint, message.parent_id,
            message.trace_id, message.tenant, message.ordering_key,
            coalesce(message.max_attempts, route.max_attempts, 3), message.expires_at is not null
        from cogo.agent_messages as message
        left join public.bus_routes as route
            on route.service = message.service and route.role = message.role",
    types: &[],
};

static PLACES: Statement = Statement {
    name: "chaos.places",
    sql: "select id, 'ready' from cogo.ready
        union all select id, 'later' from cogo.later
        union all select id, 'leases' from cogo.leases
        union all select id, 'receipts' from cogo.receipts
        union all select id, 'waiting' from cogo.ordered where not placed
        union all select id, 'stream' from cogo.ordered",
    types: &[],
};

static RECEIPTS: Statement = Statement {
    name: "chaos.receipts",
    sql: "select id, status, attempts, reason, error, worker, done_at from cogo.receipts",
    types: &[],
};

static LETTERS: Statement = Statement {
    name: "chaos.letters",
    sql: "select orig_id, reason, attempts from public.agent_messages_dlq",
    types: &[],
};

static EFFECTS: Statement = Statement {
    name: "chaos.effects",
    sql: "select message_id, began, ended from public.chaos_effects order by ended",
    types: &[],
};

static EVENTS: Statement = Statement {
    name: "chaos.events",
    sql: "select message_id, event_type, id from public.bus_events
        where message_id is not null order by id",
    types: &[],
};

impl History {
    /// The fleet has ended, so nothing moves between these reads.
    pub(crate) async fn read(db: &Db) -> Result<Self, DbError> {
        let mut history = Self::default();
        for row in db.query(&MESSAGES, &[]).await? {
            let story = Story {
                role: row.get(1),
                n: row.get(2),
                parent: row.get(3),
                belongs_to: (row.get(4), row.get(5)),
                ordering_key: row.get(6),
                max_attempts: row.get(7),
                expires: row.get(8),
                ..Story::default()
            };
            history.stories.insert(row.get(0), story);
        }
        for row in db.query(&PLACES, &[]).await? {
            let place: String = row.get(1);
            history.tell(row.get(0), &place, |story| match place.as_str() {
                "stream" => story.in_stream = true,
                _ => story.places.push(place.clone()),
            });
        }
        for row in db.query(&RECEIPTS, &[]).await? {
            let receipt = Receipt {
                status: row.get(1),
                attempts: row.get(2),
                reason: row.get(3),
                error: row.get(4),
                worker: row.get(5),
                done_at: row.get(6),
            };
            history.tell(row.get(0), "receipts", |story| story.receipt = Some(receipt));
        }
        for row in db.query(&LETTERS, &[]).await? {
            let letter = Letter { reason: row.get(1), attempts: row.get(2) };
            history.tell(row.get(0), "agent_messages_dlq", |story| story.letters.push(letter));
        }
        for row in db.query(&EFFECTS, &[]).await? {
            let effect = Effect { began: row.get(1), ended: row.get(2) };
            history.tell(row.get(0), "chaos_effects", |story| story.effects.push(effect));
        }
        for row in db.query(&EVENTS, &[]).await? {
            let (kind, id) = (row.get(1), row.get(2));
            history.tell(row.get(0), "bus_events", |story| {
                story.events.entry(kind).or_default().push(id);
            });
        }
        Ok(history)
    }

    fn tell(&mut self, id: MessageId, table: &str, note: impl FnOnce(&mut Story)) {
        match self.stories.get_mut(&id) {
            Some(story) => note(story),
            None => self.orphans.push(format!("{table} names message {id}, which is not there")),
        }
    }

    pub(crate) fn ended(&self, status: &str) -> usize {
        let receipts = self.stories.values().filter_map(|story| story.receipt.as_ref());
        receipts.filter(|receipt| receipt.status == status).count()
    }
}

impl Story {
    pub(crate) fn events(&self, kind: &str) -> &[i64] {
        self.events.get(kind).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn status(&self) -> Option<&str> {
        self.receipt.as_ref().map(|receipt| receipt.status.as_str())
    }
}
