use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::counts::{Counters, add};
use crate::frame::{Broadcast, Version};
use crate::outbox::Outbox;
use crate::rate::Meter;

/// Who joined what, and the way of a broadcast to all of them.
#[derive(Debug)]
pub(crate) struct Hub {
    channels: Mutex<Channels>,
    counters: Arc<Counters>,
    meter: Arc<Meter>,
}

#[derive(Debug, Default)]
struct Channels {
    members: HashMap<Channel, HashMap<u64, Member>>,
    next: u64,
}

/// A private channel and a public one of the same name are strangers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Channel {
    pub(crate) name: String,
    pub(crate) private: bool,
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) version: Version,
    pub(crate) outbox: Outbox,
}

/// Dropping it leaves the channel.
pub(crate) struct Membership {
    hub: Arc<Hub>,
    channel: Channel,
    pub(crate) number: u64,
}

impl Hub {
    pub(crate) fn new(counters: Arc<Counters>, meter: Arc<Meter>) -> Self {
        Self { channels: Mutex::default(), counters, meter }
    }

    /// `welcome` happens before anything is broadcast to the new member, and nothing is broadcast
    /// between the two.
    pub(crate) fn join(
        self: &Arc<Self>,
        channel: Channel,
        member: Member,
        welcome: impl FnOnce(),
    ) -> Membership {
        let mut channels = self.channels();
        welcome();
        channels.next += 1;
        let number = channels.next;
        channels.members.entry(channel.clone()).or_default().insert(number, member);
        Membership { hub: self.clone(), channel, number }
    }

    /// To all members but `except`.
    pub(crate) fn broadcast(&self, channel: &Channel, broadcast: &Broadcast, except: Option<u64>) {
        let topic = format!("realtime:{}", channel.name);
        // One frame for all who speak the same version.
        let mut frames = [Version::V1, Version::V2].map(|version| (version, None));
        let mut delivered = 0;
        let channels = self.channels();
        let members = channels.members.get(channel).into_iter().flatten();
        for (number, member) in members.filter(|(number, _)| Some(**number) != except) {
            let (version, frame) = &mut frames[usize::from(member.version == Version::V2)];
            let frame = frame.get_or_insert_with(|| version.write_broadcast(&topic, broadcast));
            if let Some(frame) = frame
                && member.outbox.push(frame.clone())
            {
                delivered += 1;
            } else {
                tracing::debug!(member = number, "a broadcast did not reach a client");
            }
        }
        drop(channels);
        add(&self.counters.broadcasts, 1);
        add(&self.counters.delivered, delivered);
        self.meter.count(1 + delivered);
    }

    fn channels(&self) -> MutexGuard<'_, Channels> {
        // A map is whole whenever the lock is free.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut channels = self.hub.channels();
        let Some(members) = channels.members.get_mut(&self.channel) else { return };
        members.remove(&self.number);
        if members.is_empty() {
            channels.members.remove(&self.channel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Body, raw};
    use crate::outbox::Waiting;

    fn member(hub: &Arc<Hub>, name: &str, private: bool) -> (Membership, Waiting) {
        let (outbox, waiting) = Outbox::new();
        let channel = Channel { name: name.to_owned(), private };
        let membership = hub.join(channel, Member { version: Version::V2, outbox }, || {});
        (membership, waiting)
    }

    #[tokio::test]
    async fn a_broadcast_reaches_the_others_of_its_channel_until_they_leave() {
        let counters = Arc::new(Counters::default());
        let hub = Arc::new(Hub::new(counters.clone(), Arc::new(Meter::new(None))));
        let (one, _one) = member(&hub, "a", true);
        let (_two, mut heard) = member(&hub, "a", true);
        let (_public, _heard) = member(&hub, "a", false);
        let (_other, _heard) = member(&hub, "b", true);
        let body = Body::Json(raw(&1));
        let broadcast = Broadcast { event: "e".to_owned(), body, meta: None, as_text: false };
        let channel = Channel { name: "a".to_owned(), private: true };
        hub.broadcast(&channel, &broadcast, Some(one.number));
        assert!(heard.next().await.unwrap().is_binary());
        assert_eq!(counters.now().delivered, 1);
        drop(one);
        hub.broadcast(&channel, &broadcast, None);
        assert_eq!(counters.now().delivered, 2);
        assert_eq!(hub.channels().members.len(), 3);
    }
}
