use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::Message;

/// A message that is ours until it is settled, or until `until`.
#[must_use = "an unsettled message comes back only when its lease expires"]
#[derive(Debug)]
pub struct Lease {
    pub message: Message,
    /// The fence. Random for each claim, so that not even a crash of Postgres can hand it out twice.
    pub token: Uuid,
    /// By our own clock, which was told a length and not a time: only the server's clock decides.
    pub until: Instant,
}

pub(crate) fn until(asked_at: Instant, lease_ms: i64) -> Instant {
    asked_at + Duration::from_millis(lease_ms.max(0).unsigned_abs())
}
