use std::time::{SystemTime, UNIX_EPOCH};

use bus::NewMessage;
use messages::{Event, EventType, Payload};
use model::Tenant;
use serde::{Deserialize, Serialize};

/// The message that asks for nothing.
#[derive(Deserialize, Serialize)]
pub(crate) struct Noop {
    /// When it was about to be published, in nanoseconds; for latencies within one machine.
    pub at: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pad: String,
}

impl Payload for Noop {
    const SERVICE: &'static str = "bench";
    const ROLE: &'static str = "noop";
}

#[derive(Serialize)]
pub(crate) struct NoopDone {}

impl Event for NoopDone {
    const TYPE: EventType = EventType::PROBE_DONE;
}

impl Noop {
    pub(crate) fn now() -> Self {
        Self { at: nanos(), pad: String::new() }
    }
}

pub(crate) fn nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    u64::try_from(since.as_nanos()).expect("until the year 2554")
}

/// A message with so many bytes of padding, of one of so many tenants.
pub(crate) fn message(number: usize, bytes: usize, tenants: usize) -> NewMessage {
    let payload = Noop { at: 0, pad: "x".repeat(bytes) };
    let message = NewMessage::of(&payload).expect("it is plain JSON");
    if tenants > 1 {
        let tenant: Tenant = format!("t{}", number % tenants).parse().expect("a plain word");
        message.tenant(tenant)
    } else {
        message
    }
}
