use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use bus::Lease;
use model::MessageId;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The messages this process holds, from claim to settle.
#[derive(Clone, Default)]
pub(crate) struct Held {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    messages: Mutex<HashMap<MessageId, Holding>>,
    freed: Notify,
}

struct Holding {
    lease: Uuid,
    until: Instant,
    stop: CancellationToken,
    cancelled: bool,
    /// The handler settled it in a transaction of its own.
    settled: bool,
}

impl Held {
    pub(crate) fn take(&self, lease: &Lease) {
        let holding = Holding {
            lease: lease.token,
            until: lease.until,
            stop: CancellationToken::new(),
            cancelled: false,
            settled: false,
        };
        self.lock().insert(lease.message.id, holding);
    }

    /// Settled, lost or given back: its slot is free.
    pub(crate) fn let_go(&self, id: MessageId, lease: Uuid) {
        let mut messages = self.lock();
        // We may have claimed the same message again meanwhile.
        if messages.get(&id).is_some_and(|holding| holding.lease == lease) {
            messages.remove(&id);
            drop(messages);
            self.inner.freed.notify_one();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Resolves when a slot has become free since the last time.
    pub(crate) async fn freed(&self) {
        self.inner.freed.notified().await;
    }

    pub(crate) fn leases(&self) -> Vec<(MessageId, Uuid)> {
        let messages = self.lock();
        messages.iter().map(|(id, holding)| (*id, holding.lease)).collect()
    }

    /// The first lease to run out, if any.
    pub(crate) fn first_end(&self) -> Option<Instant> {
        self.lock().values().map(|holding| holding.until).min()
    }

    pub(crate) fn renewed(&self, id: MessageId, until: Instant) {
        if let Some(holding) = self.lock().get_mut(&id) {
            holding.until = until;
        }
    }

    /// Its handler is told to stop, because it was cancelled.
    pub(crate) fn cancel(&self, id: MessageId) -> bool {
        let mut messages = self.lock();
        let Some(holding) = messages.get_mut(&id) else { return false };
        holding.stop.cancel();
        !std::mem::replace(&mut holding.cancelled, true)
    }

    /// Its handler is told to stop, because somebody else may have the message.
    pub(crate) fn lose(&self, id: MessageId, lease: Uuid) -> bool {
        let messages = self.lock();
        let held = messages.get(&id).filter(|holding| holding.lease == lease && !holding.settled);
        if let Some(holding) = held {
            holding.stop.cancel();
        }
        held.is_some()
    }

    pub(crate) fn stop_of(&self, id: MessageId) -> CancellationToken {
        self.lock().get(&id).map(|holding| holding.stop.clone()).unwrap_or_default()
    }

    pub(crate) fn is_cancelled(&self, id: MessageId) -> bool {
        self.lock().get(&id).is_some_and(|holding| holding.cancelled)
    }

    pub(crate) fn settled_by_handler(&self, id: MessageId) {
        if let Some(holding) = self.lock().get_mut(&id) {
            holding.settled = true;
        }
    }

    pub(crate) fn was_settled_by_handler(&self, id: MessageId) -> bool {
        self.lock().get(&id).is_some_and(|holding| holding.settled)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<MessageId, Holding>> {
        self.inner.messages.lock().expect("nothing panics while it holds this")
    }
}
