//! The Supabase door: a client of Realtime over one websocket, and one of PostgREST.

mod socket;

pub use socket::{
    AccessToken, Broadcast, Change, ChangeEvent, ChangeFilter, ChangeKind, Channel, Down,
    Happening, InvalidJoin, InvalidRealtime, JoinOptions, Link, Payload, Protocol, Realtime,
    RealtimeOptions, Replay, SendError, Status, Timings, TokenError, TokenSource, Trouble, Way,
};
