//! The way to Postgres: a pool for statements ([`Db`]), one dedicated connection for listening
//! ([`Session`]) and the migrations ([`migrate`]). Start at [`Db`]; what may be told it is in
//! [`DbSettings`].
//!
//! Invariants: no SQL of any feature lives here, only that of migrating. The database URL never
//! appears in an error, a log line or a `Debug`. Behind a pooler in transaction mode no statement
//! gets a name. Every wait has a name and a limit.

mod address;
mod bell;
mod call;
mod client;
mod ear;
mod error;
pub mod migrate;
mod open;
mod parameter;
mod pool;
mod refused;
mod row;
mod session;
mod settings;
mod split;
mod statement;
mod tls;
mod within;

pub use address::InvalidUrl;
pub use bell::{Heard, Rang};
pub use client::{Client, Transaction};
pub use ear::{Ear, Topic};
pub use error::{DbError, Login, ServerError, Trouble};
pub use model::Disposition;
pub use parameter::Parameter;
pub use pool::Db;
pub use refused::Refused;
pub use row::{Column, FromJson, Row};
pub use session::{Commit, Session};
pub use settings::{DbSettings, SessionMode, SessionSetting};
pub use statement::Statement;
pub use tls::InvalidTls;
pub use tokio_postgres::types::{FromSql, Json, Type};
pub use within::{TimedOut, within};
