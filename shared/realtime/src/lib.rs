//! The Supabase door: a client of the REST API ([`Rest`]), and one of Realtime over one websocket
//! ([`Realtime`]).
//!
//! Invariant: no key and no token is ever part of an error, a log line or a `Debug`.

mod endpoint;
mod filter;
mod rest;
mod rest_error;
mod socket;

pub use endpoint::{Endpoint, InvalidEndpoint, SupabaseSettings};
pub use filter::Filter;
pub use rest::{Rest, RestLimits};
pub use rest_error::{Refusal, RestError};
pub use socket::{
    AccessToken, Broadcast, Change, ChangeEvent, ChangeFilter, ChangeKind, Channel, Down,
    Happening, InvalidJoin, JoinOptions, Link, Payload, Protocol, Realtime, RealtimeOptions,
    Replay, SendError, Status, Timings, TokenError, TokenSource, Trouble, Way,
};
