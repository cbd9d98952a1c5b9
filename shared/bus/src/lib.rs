//! The bus: messages in `agent_messages`, published, claimed under a lease, and settled. Start at
//! [`Bus`]; a message's way is `publish.rs`, `station.rs` (claim, sleep, wake), `settle.rs`.
//! Invariant: the database decides. Every change of state is one SQL function, and a lease that is
//! no longer current changes nothing.
mod activity;
mod beat;
mod claimed;
mod control;
mod cursor;
mod dead_letters;
mod depth;
mod disk;
mod doorbell;
mod error;
mod event;
mod events;
mod explain;
mod fleet;
mod follow;
mod health;
mod history;
mod in_order;
mod insert;
mod lease;
mod listen;
mod message;
mod new_message;
mod ordered_events;
mod peek;
mod publish;
mod renew;
mod settings;
mod settle;
mod statement;
mod station;
mod supabase;
mod sweep;
mod topics;

pub use activity::{Activity, RouteActivity};
pub use beat::{Heartbeat, WorkerState};
pub use control::{Cancelled, CancelledTrace};
pub use dead_letters::{DeadLetter, LetterFilter};
pub use depth::{Depth, Depths};
pub use disk::{Disk, Slot, TableSize};
pub use doorbell::Doorbell;
pub use error::BusError;
pub use event::NewEvent;
pub use events::EventRow;
pub use explain::{
    Explained, HeldLease, Letter, MessageFacts, OwnEvent, Place, Receipt, Relative, RouteSettings,
    ServingWorker,
};
pub use fleet::WorkerSeen;
pub use follow::Follow;
pub use health::{Holder, KeeperSeen, Server};
pub use history::{MessageState, Status, TraceHistory, UnknownStatus};
pub use in_order::InOrder;
pub use lease::Lease;
pub use listen::{InvalidListen, Listen};
pub use message::Message;
pub use new_message::{InvalidPayload, NewMessage};
pub use ordered_events::{EventPage, TraceScope};
pub use publish::{Bus, Published};
pub use renew::Renewed;
pub use settings::BusSettings;
pub use settle::{Answer, Outcome, Settle};
#[doc(hidden)]
pub use statement::statements;
pub use station::{Heard, Station};
pub use supabase::RealtimeNeed;
pub use sweep::{Retained, Retention, Swept};
