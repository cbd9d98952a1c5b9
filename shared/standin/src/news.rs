use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use db::{Commit, DbError, Session};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::sleep;
use tracing::{debug, warn};
use uuid::Uuid;

use crate::counts::add;
use crate::frame::{Body, Broadcast, Meta};
use crate::hub::Channel;
use crate::messages::{RECENT, Stored, recent, stored};
use crate::server::Server;

const CHANNEL: &str = "standin_messages";
const AGAIN: Duration = Duration::from_secs(1);

/// Broadcasts over this size are dropped, as the real server does with its default.
pub(crate) const LARGEST: usize = 3_000 * 1024;

/// What the database says of a new message: all of it, or only its id when it is large.
#[derive(Deserialize)]
struct Notice {
    id: Uuid,
    topic: Option<String>,
    event: Option<String>,
    #[serde(default)]
    private: bool,
    payload: Option<Box<RawValue>>,
}

/// Passes on what is inserted into `realtime.messages`, for ever. What is sent while there is no
/// connection is lost to those who are listening, as it is in earnest.
pub(crate) async fn pass_on(server: Arc<Server>) {
    let db = server.settings.db.clone().named("standin-broadcast");
    let mut seen = Seen::default();
    loop {
        let ended = match Session::open(&db, &[CHANNEL.to_owned()], Commit::Forgettable).await {
            Ok(session) => {
                server.listening.send_replace(true);
                listen(&server, &session, &mut seen).await
            }
            Err(error) => error,
        };
        server.listening.send_replace(false);
        warn!(error = %ended, "broadcasts from the database do not arrive; connecting again");
        sleep(AGAIN).await;
    }
}

/// Returns why it ended.
async fn listen(server: &Server, session: &Session, seen: &mut Seen) -> DbError {
    loop {
        let heard = match session.notified().await {
            Ok(heard) => heard,
            Err(error) => return error,
        };
        for ring in heard.rang {
            if let Err(error) = tell(server, session, &ring.payload, seen).await {
                return error;
            }
        }
        if heard.more {
            // There were more than a session remembers; the table has them all.
            match recent(session).await {
                Ok(missed) => missed.into_iter().for_each(|one| broadcast(server, one, seen)),
                Err(error) => return error,
            }
        }
    }
}

async fn tell(
    server: &Server,
    session: &Session,
    notice: &str,
    seen: &mut Seen,
) -> Result<(), DbError> {
    let Ok(Notice { id, topic, event, private, payload }) = serde_json::from_str(notice) else {
        // Anybody who may connect can notify.
        debug!("a notification is not ours");
        return Ok(());
    };
    let message = match (topic, payload) {
        (Some(topic), Some(payload)) => {
            Some(Stored { id, topic, event: event.unwrap_or_default(), private, payload })
        }
        _ => stored(session, id).await?,
    };
    if let Some(message) = message {
        broadcast(server, message, seen);
    }
    Ok(())
}

fn broadcast(server: &Server, message: Stored, seen: &mut Seen) {
    let Stored { id, topic, event, private, payload } = message;
    if !seen.first_time(id) {
        return;
    }
    if payload.get().len() > LARGEST {
        warn!("a broadcast from the database is larger than {LARGEST} bytes and was dropped");
        return;
    }
    if server.meter.exceeded() {
        add(&server.counters.dropped, 1);
        debug!("too many messages per second: a broadcast from the database was dropped");
        return;
    }
    let meta = Some(Meta { id, replayed: false });
    let broadcast = Broadcast { event, body: Body::Json(payload), meta, as_text: false };
    server.hub.broadcast(&Channel { name: topic, private }, &broadcast, None);
}

/// The last ids, so that reading the table after a burst repeats nothing.
#[derive(Default)]
struct Seen {
    ids: HashSet<Uuid>,
    order: VecDeque<Uuid>,
}

impl Seen {
    fn first_time(&mut self, id: Uuid) -> bool {
        if !self.ids.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > usize::try_from(RECENT).expect("it is positive")
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}
