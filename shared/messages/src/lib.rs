//! The catalogue of everything said on the bus. "Find references" on a payload type shows both ends
//! of the wire: who publishes it and who handles it. Start at [`Payload`].
//!
//! Invariants: pure data; old and new pods run side by side, so a field is added with a default and
//! never renamed.

mod event_type;
mod payload;
mod probe;

pub use event_type::{EventType, InvalidEventType};
pub use payload::{Event, Payload};
pub use probe::Probe;
