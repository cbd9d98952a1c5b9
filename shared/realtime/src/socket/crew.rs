use std::collections::HashMap;
use std::mem::take;
use std::sync::Arc;

use model::Secret;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::canary::Canary;
use super::channel::{Done, Outgoing, SendError};
use super::down::{Trouble, chain};
use super::frame::{Broadcast, Frame};
use super::hush::Hush;
use super::membership::Membership;
use super::options::{RealtimeOptions, Timings};
use super::roster::Asked;
use super::token::{Answer, Tokens};
use super::turn::Turn;

/// All memberships of a connection, with what they share: the token, the numbering of frames, and
/// the frames that wait to be written. Never waits, except for a token.
#[derive(Debug)]
pub(crate) struct Crew {
    /// By the topic on the wire.
    memberships: HashMap<String, Membership>,
    canary: Option<Canary>,
    /// Of the channels that were left.
    past_rejoins: u64,
    shared: Shared,
}

#[derive(Debug)]
struct Shared {
    timings: Timings,
    tokens: Tokens,
    last_reference: u64,
    frames: Vec<Frame>,
}

impl Shared {
    fn turn<'a>(&'a mut self, hush: &'a Hush, now: Instant) -> Turn<'a> {
        Turn {
            now,
            timings: &self.timings,
            hush,
            tokens: &mut self.tokens,
            last_reference: &mut self.last_reference,
            frames: &mut self.frames,
        }
    }
}

impl Crew {
    pub(crate) fn new(key: &Secret, options: &RealtimeOptions) -> Self {
        let timings = options.timings;
        let now = Instant::now();
        Self {
            memberships: HashMap::new(),
            canary: options.canary.map(|every| Canary::new(every, &timings, now)),
            past_rejoins: 0,
            shared: Shared {
                timings,
                tokens: Tokens::new(&options.token, key, &timings),
                last_reference: 0,
                frames: Vec::new(),
            },
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.memberships.is_empty()
    }

    pub(crate) fn counts(&self) -> (usize, usize) {
        let ready = self.memberships.values().filter(|membership| membership.is_ready()).count();
        (self.memberships.len(), ready)
    }

    pub(crate) fn rejoins(&self) -> u64 {
        let rejoins = self.memberships.values().map(|membership| membership.rejoins);
        rejoins.sum::<u64>() + self.past_rejoins
    }

    pub(crate) fn asked(
        &mut self,
        asked: Asked,
        down: Option<&Arc<Trouble>>,
        hush: &Hush,
        now: Instant,
    ) {
        match asked {
            Asked::Join { topic, options, heard } => {
                let timings = &self.shared.timings;
                let mut membership = Membership::new(topic, options, heard, timings, now);
                if let Some(why) = down {
                    membership.lost(why, now);
                }
                self.memberships.insert(membership.wire_topic.clone(), membership);
            }
            Asked::Leave { topic } => {
                let wire_topic = super::join::wire_topic(&topic);
                if let Some(mut membership) = self.memberships.remove(&wire_topic) {
                    self.past_rejoins += membership.rejoins;
                    membership.leave(&mut self.shared.turn(hush, now));
                }
            }
        }
    }

    /// Does what is due while connected. False when the canary was not heard.
    pub(crate) fn tick(&mut self, hush: &Hush, now: Instant) -> bool {
        self.tick_tokens(now);
        let mut turn = self.shared.turn(hush, now);
        for membership in self.memberships.values_mut() {
            membership.tick(&mut turn);
        }
        let Some(canary) = &mut self.canary else { return true };
        canary.membership.tick(&mut turn);
        canary.tick(&mut turn)
    }

    pub(crate) fn due(&self, now: Instant) -> Option<Instant> {
        let tokens = &self.shared.tokens;
        let canary = self.canary.as_ref();
        let memberships = self.memberships.values().chain(canary.map(|canary| &canary.membership));
        memberships
            .filter_map(|membership| membership.due(tokens, now))
            .chain(canary.and_then(Canary::due))
            .chain(tokens.due())
            .min()
    }

    pub(crate) fn frame(&mut self, frame: &Frame, hush: &Hush, now: Instant) {
        let mut turn = self.shared.turn(hush, now);
        match self.memberships.get_mut(&frame.topic) {
            Some(membership) => membership.frame(frame, &mut turn),
            None => match &mut self.canary {
                Some(canary) if canary.membership.wire_topic == frame.topic => {
                    canary.membership.frame(frame, &mut turn);
                }
                _ => debug!("ignored a frame for a channel we left"),
            },
        }
    }

    pub(crate) fn broadcast(&mut self, topic: &str, broadcast: Broadcast) {
        match self.memberships.get_mut(topic) {
            Some(membership) => membership.broadcast(broadcast),
            None => match &mut self.canary {
                Some(canary) if canary.membership.wire_topic == topic => {
                    canary.membership.broadcast(broadcast);
                }
                _ => debug!("ignored a broadcast for a channel we left"),
            },
        }
    }

    /// Who is to be told once it is written.
    pub(crate) fn send(&mut self, outgoing: Outgoing, hush: &Hush, now: Instant) -> Option<Done> {
        let Outgoing { topic, payload, done } = outgoing;
        match self.memberships.get_mut(&super::join::wire_topic(&topic)) {
            Some(membership) => membership.send(payload, done, &mut self.shared.turn(hush, now)),
            None => {
                let _ = done.send(Err(SendError::NotJoined { topic }));
                None
            }
        }
    }

    /// What is to be written now.
    pub(crate) fn frames(&mut self) -> Vec<Frame> {
        take(&mut self.shared.frames)
    }

    pub(crate) fn next_reference(&mut self) -> u64 {
        self.shared.last_reference += 1;
        self.shared.last_reference
    }

    pub(crate) fn lost(&mut self, why: &Arc<Trouble>, now: Instant) {
        self.shared.frames.clear();
        for membership in self.memberships.values_mut() {
            membership.lost(why, now);
        }
        if let Some(canary) = &mut self.canary {
            canary.membership.lost(why, now);
        }
    }

    pub(crate) fn close(&mut self) {
        for membership in self.memberships.values() {
            membership.close();
        }
    }

    pub(crate) fn tick_tokens(&mut self, now: Instant) {
        self.shared.tokens.tick(now);
    }

    pub(crate) fn tokens_due(&self) -> Option<Instant> {
        self.shared.tokens.due()
    }

    pub(crate) async fn token_answered(&mut self) -> Answer {
        self.shared.tokens.answered().await
    }

    pub(crate) fn keep_token(&mut self, answer: Answer, hush: &Hush, now: Instant) {
        match self.shared.tokens.keep(answer, now) {
            Ok((token, number)) => {
                hush.also(&token);
                debug!("got a new access token");
                let mut turn = self.shared.turn(hush, now);
                for membership in self.memberships.values_mut() {
                    membership.new_token(number, &mut turn);
                }
                if let Some(canary) = &mut self.canary {
                    canary.membership.new_token(number, &mut turn);
                }
            }
            Err(error) => warn!(error = chain(&*error), "no new access token, trying again"),
        }
    }
}
