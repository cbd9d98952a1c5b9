//! Our own small Realtime server, for a machine that has only Postgres: `cogo dev` and tests. Start
//! at [`Standin::start`]; [`provide`] gives the database what migrations written for Supabase count
//! on. Then follow a client: `http.rs` opens its socket, `socket.rs` reads it, `channel.rs` is what
//! it joined; `news.rs` brings broadcasts from the database, `feed.rs` changes of tables.
//!
//! Invariants: no nicer than the real server where that would hide a mistake (see [`Awkward`]);
//! policies are asked by trying, as the role of whoever asks, in a transaction that is rolled back;
//! whoever reads too slowly is hung up on and holds up nobody; no key or token is ever logged.

mod binding;
mod changes;
mod channel;
mod counts;
mod deliver;
mod feed;
mod filter;
mod follow;
mod frame;
mod http;
mod hub;
mod identity;
mod join;
mod matching;
mod messages;
mod news;
mod outbox;
mod pgoutput;
mod place;
mod provide;
mod rate;
mod server;
mod settings;
mod socket;
mod standin;

pub use counts::Counts;
pub use provide::{ProvideError, provide};
pub use settings::{ApiKeys, Awkward, Rate, StandinSettings};
pub use standin::{Standin, StartError};
