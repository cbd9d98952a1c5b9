//! The door to secrets: turns a [`model::CredentialRef`] into the secret that it names, at the
//! moment of use. Start at [`Secrets::resolve`]; `shelf.rs` is what is kept and for how long,
//! `vault/session.rs` the login.
//!
//! Invariants: nothing is read that SECRETS_ALLOW does not name, and without it nothing at all. A
//! value is never part of an error, a log line or a `Debug`, and neither is what a server says. What
//! cannot be read any more is used until its lease ends, and not after.

mod allow;
mod backoff;
mod clock;
mod env;
mod found;
mod kubernetes;
mod quietly;
mod reference;
mod secrets;
mod settings;
mod shelf;
mod trouble;
mod vault;

pub use allow::InvalidAllow;
pub use clock::Clock;
pub use found::Through;
pub use model::Disposition;
pub use reference::reference;
pub use secrets::{InvalidSettings, Resolved, Secrets};
pub use settings::{SecretsSettings, VaultAuth};
pub use trouble::{ResolveError, Trouble};
