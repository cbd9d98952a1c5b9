use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::value::RawValue;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::backoff::Backoff;
use super::change::change;
use super::channel::{Done, SendError};
use super::down::{Down, Trouble, chain};
use super::frame::{Broadcast, Frame, Malformed, broadcast};
use super::heard::{Happening, Heard};
use super::join::{self, JoinOptions, wire_topic};
use super::options::Timings;
use super::replies::{Reply, System, blames_the_token, filter_ids, read, reason, text};
use super::seen::Seen;
use super::stage::{Sources, Stage};
use super::token::{TokenNumber, Tokens, sendable};
use super::turn::{Turn, empty};

/// One channel's place on the connection: what was asked, what was answered, what comes next.
/// Pure but for the clock it is told: it returns frames, and never waits.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) topic: String,
    pub(crate) wire_topic: String,
    options: JoinOptions,
    heard: Arc<Heard>,
    stage: Stage,
    backoff: Backoff,
    /// What the server calls each filter.
    ids: Vec<i64>,
    seen: Seen,
    token: TokenNumber,
    was_ready: bool,
    /// How often it became ready again.
    pub(crate) rejoins: u64,
    heard_until: Option<SystemTime>,
    /// The last reason for being down that was told.
    told: Option<String>,
    acks: HashMap<u64, Done>,
}

impl Membership {
    pub(crate) fn new(
        topic: String,
        options: JoinOptions,
        heard: Arc<Heard>,
        timings: &Timings,
        now: Instant,
    ) -> Self {
        Self {
            wire_topic: wire_topic(&topic),
            topic,
            options,
            heard,
            stage: Stage::Waiting { until: now },
            backoff: Backoff::new(timings.backoff, timings.backoff_cap),
            ids: Vec::new(),
            seen: Seen::default(),
            token: TokenNumber::default(),
            was_ready: false,
            rejoins: 0,
            heard_until: None,
            told: None,
            acks: HashMap::new(),
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::Ready { .. })
    }

    /// When something has to happen although nobody says anything.
    pub(crate) fn due(&self, tokens: &Tokens, now: Instant) -> Option<Instant> {
        match self.stage {
            // Without a token there is nothing to do; its coming wakes us.
            Stage::Waiting { .. } if tokens.current(now).is_err() => None,
            Stage::Waiting { until }
            | Stage::Joining { until, .. }
            | Stage::Settling { until, .. } => Some(until),
            Stage::Ready { .. } => None,
        }
    }

    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) {
        let topic = self.topic.clone();
        match self.stage {
            Stage::Waiting { until } if until <= turn.now => self.join(turn),
            Stage::Joining { until, .. } if until <= turn.now => {
                let limit = turn.timings.join_answer;
                self.fail(Down::Unanswered { topic, limit }, turn);
            }
            Stage::Settling { until, heard, .. } if until <= turn.now => {
                let what = if self.options.postgres_changes.is_empty() || heard.changes {
                    "broadcasts from the database"
                } else {
                    "table changes"
                };
                self.fail(Down::NotReady { topic, what, limit: turn.timings.ready }, turn);
            }
            _ => {}
        }
    }

    fn join(&mut self, turn: &mut Turn<'_>) {
        let payload = match turn.tokens.current(turn.now) {
            Ok((token, number)) => {
                self.token = number;
                join::payload(&self.options, self.heard_until, sendable(token))
            }
            Err(why) => {
                if let Some(why) = why {
                    self.tell_down(Down::Token { topic: self.topic.clone(), why });
                }
                return;
            }
        };
        let join = turn.push(&self.wire_topic, 0, "phx_join", payload);
        let until = turn.now + turn.timings.join_answer;
        self.stage = Stage::Joining { join, until, heard: Sources::default() };
    }

    /// A frame for our topic.
    pub(crate) fn frame(&mut self, frame: &Frame, turn: &mut Turn<'_>) {
        let Some(join) = self.stage.join() else { return };
        let closes = matches!(frame.event.as_str(), "phx_close" | "phx_error");
        // Protocol 1.0.0 has no join_ref, but the end of a channel carries it as its reference.
        let of = match (&frame.join_ref, &frame.reference) {
            (Some(of), _) => Some(of),
            (None, Some(of)) if closes => Some(of),
            (None, _) => None,
        };
        if of.is_some_and(|of| *of != join.to_string()) {
            debug!(realtime.topic = self.topic, "ignored a frame for an earlier join");
            return;
        }
        let topic = self.topic.clone();
        let read = match frame.event.as_str() {
            "phx_reply" => self.reply(frame, join, turn),
            "system" => self.system(&frame.payload, turn),
            "broadcast" => broadcast(&frame.payload).map(|broadcast| self.broadcast(broadcast)),
            "postgres_changes" => change(&frame.payload, &self.ids).map(|change| {
                if change.filters.is_empty() {
                    debug!(realtime.topic = topic, "ignored a change that no filter asked for");
                } else {
                    self.heard.tell(Happening::Change(Box::new(change)));
                }
            }),
            "phx_close" => {
                turn.tokens.suspect(self.token, turn.now);
                self.fail(Down::Closed { topic }, turn);
                Ok(())
            }
            "phx_error" => {
                self.fail(Down::Crashed { topic }, turn);
                Ok(())
            }
            // Presence, and whatever will be invented.
            _ => Ok(()),
        };
        if let Err(error) = read {
            warn!(realtime.topic = self.topic, error = %error, "ignored a frame we cannot read");
        }
    }

    fn reply(&mut self, frame: &Frame, join: u64, turn: &mut Turn<'_>) -> Result<(), Malformed> {
        let Reply { status, response } = read(&frame.payload, "phx_reply")?;
        let reference = frame.reference.as_deref().and_then(|text| text.parse::<u64>().ok());
        let said =
            || response.as_deref().map_or_else(String::new, |json| turn.hush.said(&reason(json)));
        let ok = status == "ok";
        match reference {
            Some(reference) if reference == join => {
                if ok {
                    return self.joined(response.as_deref(), turn);
                }
                let said = said();
                if blames_the_token(&said) {
                    turn.tokens.suspect(self.token, turn.now);
                }
                self.fail(Down::Refused { topic: self.topic.clone(), said }, turn);
            }
            // Of something older than this join, as its goodbye.
            Some(reference) if reference < join => {}
            Some(reference) => {
                let said = said();
                let forgotten = !ok && said.contains("unmatched topic");
                if let Some(ack) = self.acks.remove(&reference) {
                    let result = if ok {
                        Ok(())
                    } else {
                        Err(SendError::Refused { topic: self.topic.clone(), said })
                    };
                    // Whoever sent it may have stopped waiting.
                    let _ = ack.send(result);
                }
                if forgotten {
                    self.fail(Down::Forgotten { topic: self.topic.clone() }, turn);
                }
            }
            None => {}
        }
        Ok(())
    }

    fn joined(
        &mut self,
        response: Option<&RawValue>,
        turn: &mut Turn<'_>,
    ) -> Result<(), Malformed> {
        let Stage::Joining { join, heard, .. } = self.stage else { return Ok(()) };
        let wanted = self.options.postgres_changes.len();
        self.ids = response.map(filter_ids).unwrap_or_default();
        if self.ids.len() != wanted {
            let said = format!("it took {} of our {wanted} filters", self.ids.len());
            self.fail(Down::Refused { topic: self.topic.clone(), said }, turn);
            return Ok(());
        }
        self.stage = Stage::Settling { join, until: turn.now + turn.timings.ready, heard };
        // It may have changed while the server was thinking.
        let current = turn.tokens.current(turn.now).ok().map(|(_, number)| number);
        if let Some(number) = current.filter(|number| *number != self.token) {
            self.new_token(number, turn);
        }
        self.settle(turn);
        Ok(())
    }

    fn system(&mut self, payload: &RawValue, turn: &mut Turn<'_>) -> Result<(), Malformed> {
        let System { extension, status, message } = read(payload, "system")?;
        if status != "ok" {
            let said = turn.hush.said(&text(&message));
            if blames_the_token(&said) {
                turn.tokens.suspect(self.token, turn.now);
            }
            self.fail(Down::System { topic: self.topic.clone(), said }, turn);
            return Ok(());
        }
        if let Stage::Joining { heard, .. } | Stage::Settling { heard, .. } = &mut self.stage {
            match extension.as_str() {
                "postgres_changes" => heard.changes = true,
                "system" => heard.replication = true,
                _ => {}
            }
        }
        self.settle(turn);
        Ok(())
    }

    /// Ready, if everything that was asked for is up.
    fn settle(&mut self, turn: &mut Turn<'_>) {
        let Stage::Settling { join, heard, .. } = self.stage else { return };
        let wants_changes = !self.options.postgres_changes.is_empty();
        if (wants_changes && !heard.changes)
            || (self.options.replication_ready && !heard.replication)
        {
            return;
        }
        self.stage = Stage::Ready { join, since: turn.now };
        self.told = None;
        if std::mem::replace(&mut self.was_ready, true) {
            self.rejoins += 1;
        }
        info!(realtime.topic = self.topic, "hearing {}", self.topic);
        self.heard.tell(Happening::Ready);
    }

    pub(crate) fn broadcast(&mut self, broadcast: Broadcast) {
        if let Stage::Waiting { .. } = self.stage {
            return;
        }
        if broadcast.id.as_deref().is_none_or(|id| self.seen.first_time(id)) {
            self.heard.tell(Happening::Broadcast(broadcast));
        }
    }

    /// The channel is not joined any more, or never was: leave it for certain, and try again later.
    fn fail(&mut self, why: Down, turn: &mut Turn<'_>) {
        if let Stage::Ready { since, .. } = self.stage
            && turn.now.duration_since(since) >= turn.timings.steady
        {
            self.backoff.recovered();
        }
        self.leave(turn);
        self.stopped();
        self.stage = Stage::Waiting { until: turn.now + self.backoff.failed() };
        self.tell_down(why);
    }

    /// The connection is gone.
    pub(crate) fn lost(&mut self, why: &Arc<Trouble>, now: Instant) {
        self.stopped();
        // The connection has waited already; joining need not wait again.
        self.stage = Stage::Waiting { until: now };
        self.tell_down(Down::Link { topic: self.topic.clone(), why: why.clone() });
    }

    fn stopped(&mut self) {
        if self.is_ready() {
            self.heard_until = Some(SystemTime::now());
        }
        for (_, ack) in self.acks.drain() {
            let _ = ack.send(Err(SendError::Lost { topic: self.topic.clone() }));
        }
    }

    fn tell_down(&mut self, why: Down) {
        let told = chain(&why);
        if self.told.as_ref() == Some(&told) {
            debug!(realtime.topic = self.topic, error = told, "still not hearing {}", self.topic);
            return;
        }
        warn!(realtime.topic = self.topic, error = told, "not hearing {}", self.topic);
        self.told = Some(told);
        self.heard.tell(Happening::Down { why: Arc::new(why) });
    }

    /// There will be nothing more to tell.
    pub(crate) fn close(&self) {
        self.heard.close();
    }

    pub(crate) fn leave(&mut self, turn: &mut Turn<'_>) {
        if let Some(join) = self.stage.join() {
            turn.push(&self.wire_topic, join, "phx_leave", empty());
        }
    }

    pub(crate) fn new_token(&mut self, number: TokenNumber, turn: &mut Turn<'_>) {
        let (Stage::Settling { join, .. } | Stage::Ready { join, .. }) = self.stage else {
            return;
        };
        let Ok((token, _)) = turn.tokens.current(turn.now) else { return };
        self.token = number;
        if let Some(token) = sendable(token) {
            let payload = join::token_payload(token);
            turn.push(&self.wire_topic, join, "access_token", payload);
        }
    }

    /// Whoever sends is told by `done`: at once, or when the server confirmed it.
    pub(crate) fn send(
        &mut self,
        payload: Box<RawValue>,
        done: Done,
        turn: &mut Turn<'_>,
    ) -> Option<Done> {
        let (Stage::Settling { join, .. } | Stage::Ready { join, .. }) = self.stage else {
            let _ = done.send(Err(SendError::NotJoined { topic: self.topic.clone() }));
            return None;
        };
        let reference = turn.push(&self.wire_topic, join, "broadcast", payload);
        if !self.options.ack {
            return Some(done);
        }
        self.acks.retain(|_, waiting| !waiting.is_closed());
        self.acks.insert(reference, done);
        None
    }
}
