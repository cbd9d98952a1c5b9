use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use model::Secret;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use telemetry::Chain;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::warn;

use crate::counts::add;
use crate::follow::follow;
use crate::frame::{Body, Broadcast, Payload};
use crate::hub::{Channel, Member, Membership};
use crate::identity::{Identity, Refused};
use crate::join::{Config, InvalidJoin, Join};
use crate::messages::{Right, replayed};
use crate::news::LARGEST;
use crate::place::Place;
use crate::server::Server;

/// Broadcasts from the database arrive so long after a join at most, or the channel is shut.
const REPLICATION_LIMIT: Duration = Duration::from_secs(60);

/// What a client asks a channel it has joined.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) reference: Value,
    pub(crate) event: String,
    pub(crate) payload: Payload,
}

/// A channel that was joined.
struct Joined {
    place: Place,
    channel: Channel,
    config: Config,
    membership: Membership,
    who: watch::Sender<Arc<Identity>>,
    token: Option<Secret>,
    /// Asked once for each token.
    may_write: Option<bool>,
}

/// Why a join failed, in the words of the real server where clients might read them.
#[derive(Debug, thiserror::Error)]
enum NotJoined {
    #[error(transparent)]
    Invalid(#[from] InvalidJoin),
    #[error("InvalidJWTToken: {0}")]
    Token(#[from] Refused),
    #[error("Unauthorized: You do not have permissions to read from this Channel topic: {0}")]
    Unauthorized(String),
    #[error("DatabaseUnavailable: the policies of realtime.messages could not be asked; try again")]
    Database,
    #[error("ClientJoinRateLimitReached: Too many messages per second")]
    Rate,
}

/// How a channel ends from within.
enum End {
    /// The client left.
    Left,
    /// With what the client is told before.
    Shut(String),
}

#[derive(Deserialize)]
struct Push {
    event: String,
    payload: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct NewToken {
    access_token: Option<Secret>,
}

impl Place {
    /// From a join to the end of the channel.
    pub(crate) async fn run(
        self,
        reference: Value,
        payload: Box<RawValue>,
        asking: mpsc::Receiver<Asked>,
    ) {
        let counters = &self.line.server.counters.clone();
        match self.clone().enter(&reference, payload.get()).await {
            Ok(joined) => {
                add(&counters.joined, 1);
                joined.stay(asking).await;
            }
            Err(why) => {
                add(&counters.refused, 1);
                sleep(self.line.server.settings.awkward.refused_join).await;
                self.reply(&reference, "error", &json!({ "reason": why.to_string() }));
            }
        }
    }

    async fn enter(self, reference: &Value, payload: &str) -> Result<Joined, NotJoined> {
        let server = &self.line.server;
        let name = Join::name(&self.topic)?.to_owned();
        let join = Join::parse(payload)?;
        let token = join.access_token.as_ref().filter(|token| is_token(token)).cloned();
        let identity = match &token {
            Some(token) => server.doorkeeper.identify(token.expose())?,
            None => self.line.identity.clone(),
        };
        if identity.left().is_some_and(|left| left.is_zero()) {
            return Err(Refused::Expired.into());
        }
        if server.meter.exceeded() {
            return Err(NotJoined::Rate);
        }
        let channel = Channel { name, private: join.config.private };
        self.check_read(&identity, &channel).await?;

        let member = Member { version: self.line.version, outbox: self.line.outbox.clone() };
        let answer = join.answer();
        let membership =
            server.hub.join(channel.clone(), member, || self.reply(reference, "ok", &answer));
        if join.config.presence.enabled {
            self.tell("presence_state", &json!({}));
        }
        if let Some(replay) = join.config.broadcast.replay {
            match replayed(&server.db, &channel.name, replay).await {
                Ok(broadcasts) => {
                    let write = |one| self.line.version.write_broadcast(&self.topic, one);
                    let frames = broadcasts.iter().filter_map(write);
                    frames.for_each(|frame| _ = self.line.outbox.push(frame));
                }
                Err(error) => warn!(error = %Chain(&error), "could not replay messages"),
            }
        }
        let who = watch::Sender::new(Arc::new(identity));
        let config = join.config;
        Ok(Joined { channel, config, membership, who, token, may_write: None, place: self })
    }

    async fn check_read(&self, identity: &Identity, channel: &Channel) -> Result<(), NotJoined> {
        match self.line.server.may(Right::Read, identity, channel).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(NotJoined::Unauthorized(channel.name.clone())),
            Err(error) if crate::messages::denied(&error) => {
                Err(NotJoined::Unauthorized(channel.name.clone()))
            }
            Err(error) => {
                warn!(error = %Chain(&error), "could not ask the policies of realtime.messages");
                Err(NotJoined::Database)
            }
        }
    }
}

impl Joined {
    async fn stay(mut self, mut asking: mpsc::Receiver<Asked>) {
        let place = self.place.clone();
        let asked = std::mem::take(&mut self.config.postgres_changes);
        let follow = follow(&place, &asked, self.who.subscribe());
        let mut follow = pin!(follow);
        let wanted = self.config.broadcast.replication_ready;
        let mut replication = pin!(replication(&place, wanted));
        let end = loop {
            let expiry = self.expiry();
            tokio::select! {
                asked = asking.recv() => match asked {
                    Some(asked) => if let Err(end) = self.hear(asked).await {
                        break end;
                    },
                    None => return,
                },
                () = expiry => break End::Shut("Token has expired 0 seconds ago".to_owned()),
                () = &mut follow => {}
                end = &mut replication => break end,
            }
        };
        if let End::Shut(why) = end {
            place.tell_system("system", "error", &why);
        }
        // As Phoenix does: to the join it ends.
        place.send(&place.join_ref, "phx_close", &json!({}));
    }

    /// When the token does.
    fn expiry(&self) -> impl Future<Output = ()> + use<> {
        let left = self.who.borrow().left();
        let left = left.filter(|_| self.place.line.server.settings.awkward.expiry);
        async move {
            match left {
                Some(left) => sleep(left).await,
                None => pending().await,
            }
        }
    }

    async fn hear(&mut self, asked: Asked) -> Result<(), End> {
        let Asked { reference, event, payload } = asked;
        match (&*event, payload) {
            ("phx_leave", _) => {
                self.place.reply(&reference, "ok", &json!({}));
                Err(End::Left)
            }
            ("access_token", Payload::Json(payload)) => self.renew(payload.get()).await,
            ("broadcast", Payload::Broadcast { event, body }) => {
                self.broadcast(&reference, event, body).await
            }
            ("broadcast", Payload::Json(payload)) => {
                let Ok(push) = serde_json::from_str::<Push>(payload.get()) else {
                    let reason = "a broadcast is {type: \"broadcast\", event, payload}";
                    self.place.reply(&reference, "error", &json!({ "reason": reason }));
                    return Ok(());
                };
                let body = Body::Json(push.payload.unwrap_or_default());
                self.broadcast(&reference, push.event, body).await
            }
            ("presence", _) => {
                let reason = "there is no presence in the local stand-in";
                self.place.reply(&reference, "error", &json!({ "reason": reason }));
                Ok(())
            }
            // The real server only logs what it does not know.
            _ => Ok(()),
        }
    }

    async fn broadcast(&mut self, reference: &Value, event: String, body: Body) -> Result<(), End> {
        let server = self.place.line.server.clone();
        if server.meter.exceeded() {
            return Err(End::Shut("Too many messages per second".to_owned()));
        }
        let size = match &body {
            Body::Json(json) => json.get().len(),
            Body::Binary(bytes) => bytes.len(),
        };
        let ack = self.config.broadcast.ack;
        if size > LARGEST {
            if ack {
                self.place.reply(reference, "error", &json!({ "reason": "payload_size_exceeded" }));
            }
            return Ok(());
        }
        if !self.may_write(&server).await {
            return Ok(());
        }
        let broadcast = Broadcast { event, body, meta: None, as_text: false };
        let except = Some(self.membership.number).filter(|_| !self.config.broadcast.own);
        server.hub.broadcast(&self.channel, &broadcast, except);
        if ack {
            self.place.reply(reference, "ok", &json!({}));
        }
        Ok(())
    }

    /// Who may not is not told, as in earnest.
    async fn may_write(&mut self, server: &Server) -> bool {
        if let Some(known) = self.may_write {
            return known;
        }
        let identity = self.who.borrow().clone();
        match server.may(Right::Write, &identity, &self.channel).await {
            Ok(may) => {
                self.may_write = Some(may);
                may
            }
            Err(error) => {
                warn!(error = %Chain(&error), "could not ask the policies of realtime.messages");
                false
            }
        }
    }

    /// Another token for the same channel.
    async fn renew(&mut self, payload: &str) -> Result<(), End> {
        let new = serde_json::from_str::<NewToken>(payload).ok().and_then(|new| new.access_token);
        let old = self.token.as_ref().map(Secret::expose);
        let new = new.filter(|new| is_token(new) && Some(new.expose()) != old);
        let Some(token) = new else { return Ok(()) };
        let refused = |why: NotJoined| End::Shut(why.to_string());
        let identity = self.place.line.server.doorkeeper.identify(token.expose());
        let identity = identity.map_err(|why| refused(why.into()))?;
        self.place.check_read(&identity, &self.channel).await.map_err(refused)?;
        self.token = Some(token);
        self.may_write = None;
        self.who.send_replace(Arc::new(identity));
        Ok(())
    }
}

/// Keys are sent as tokens, too, by clients that have nothing else; the socket's own holds then.
fn is_token(token: &Secret) -> bool {
    !token.expose().is_empty() && !token.expose().starts_with("sb_")
}

/// Tells once that broadcasts from the database arrive. Ends only when they do not.
async fn replication(place: &Place, wanted: bool) -> End {
    if wanted {
        let mut listening = place.line.server.listening.subscribe();
        let up = timeout(REPLICATION_LIMIT, listening.wait_for(|up| *up)).await;
        if !matches!(up, Ok(Ok(_))) {
            return End::Shut("Replication connection could not be established".to_owned());
        }
        place.tell_system("system", "ok", "Replication connection established");
    }
    pending().await
}
