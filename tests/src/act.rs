use messages::{EventType, Payload};
use model::MessageId;
use serde::{Deserialize, Serialize};

/// What a message of the chaos asks of its handler.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Act {
    /// Its number in the plan.
    pub n: i64,
    pub part: Part,
    /// How long the handler takes.
    pub ms: u64,
}

impl Payload for Act {
    const SERVICE: &'static str = "chaos";
    const ROLE: &'static str = "act";
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Part {
    /// Writes its effect in one transaction with its settle.
    Row,
    /// Its effect is an event in its settle.
    Event,
    /// Its effects are an event and a message that follows.
    Follow,
    /// As `Row`, but takes longer than a lease.
    Slow,
    /// As `Row`, but its first attempt fails.
    Flaky,
    /// Fails each time.
    Fails,
    /// Panics each time.
    Panics,
    /// Says at once that no attempt will help.
    Refuses,
    /// Cannot even be read.
    Garbled,
}

/// What a message leaves behind when it is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    pub rows: usize,
    pub events: usize,
    pub follow_ups: usize,
}

impl Part {
    /// `None`: it can never be done.
    pub(crate) fn effects(self) -> Option<Effects> {
        let effects = Effects::default();
        match self {
            Self::Row | Self::Slow | Self::Flaky => Some(Effects { rows: 1, ..effects }),
            Self::Event => Some(Effects { events: 1, ..effects }),
            Self::Follow => Some(Effects { events: 1, follow_ups: 1, ..effects }),
            Self::Fails | Self::Panics | Self::Refuses | Self::Garbled => None,
        }
    }
}

/// What follows from an act; half of them write a row, the others an event.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Echo {
    pub of: MessageId,
}

impl Payload for Echo {
    const SERVICE: &'static str = "chaos";
    const ROLE: &'static str = "echo";
}

impl Echo {
    pub(crate) fn part(of: MessageId) -> Part {
        if of.get() % 2 == 0 { Part::Row } else { Part::Event }
    }
}

/// The reason code of [`Part::Refuses`].
pub(crate) const REFUSED: &str = "chaos_refused";
const ACTED: &str = "chaos_acted";

pub(crate) fn acted() -> EventType {
    ACTED.parse().expect("it is an event type")
}
