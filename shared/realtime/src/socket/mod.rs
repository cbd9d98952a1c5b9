//! Realtime over one websocket. `realtime.rs` is the handle, `driver.rs` the life of the connection,
//! `talk.rs` what is said on it, `membership.rs` one channel's state, `frame.rs` the wire.

mod address;
mod backoff;
mod canary;
mod change;
mod channel;
mod connect;
mod crew;
mod down;
mod driver;
mod frame;
mod heard;
mod hush;
mod join;
mod membership;
mod options;
mod realtime;
mod replies;
mod roster;
mod seen;
mod stage;
mod status;
mod talk;
mod token;
mod turn;

pub use change::{Change, ChangeKind};
pub use channel::{Channel, SendError};
pub use down::{Down, Trouble, Way};
pub use frame::{Broadcast, Payload, Protocol};
pub use heard::Happening;
pub use join::{ChangeEvent, ChangeFilter, InvalidJoin, JoinOptions, Replay};
pub use options::{RealtimeOptions, Timings};
pub use realtime::Realtime;
pub use status::{Link, Status};
pub use token::{AccessToken, TokenError, TokenSource};
