//! The words everything else is said in: routes, tenants, traces, message numbers, secrets and their
//! names, agents and their images. Start at [`Route`]; the other text types are built the same way.
//!
//! Invariants: pure, no runtime and no client of any kind. A value is parsed once, at the edge, and
//! `parse(display(x)) == x`; clap, serde and Postgres all go through that one parser.

mod agent_name;
mod credential_ref;
mod digest;
mod disposition;
mod duration;
#[cfg(test)]
mod matching;
mod message_id;
mod nearest;
mod number_type;
mod provider;
mod quote;
mod repo;
mod route;
mod secret;
mod secret_place;
mod shard;
mod stage;
mod tag;
mod tenant;
#[doc(hidden)]
pub mod text_type;
mod trace;
mod traceparent;
mod word;

pub use agent_name::{AgentName, InvalidAgentName};
pub use credential_ref::{CredentialRef, InvalidCredentialRef};
pub use digest::{Digest, InvalidDigest};
pub use disposition::Disposition;
pub use duration::{InvalidDuration, duration};
pub use message_id::{InvalidMessageId, MessageId};
pub use nearest::nearest;
pub use provider::{InvalidProvider, Provider};
pub use quote::quote;
pub use repo::{InvalidRepo, Repo};
pub use route::{InvalidRoute, Route};
pub use secret::Secret;
pub use secret_place::SecretPlace;
pub use shard::{InvalidShard, Shard};
pub use stage::{InvalidStage, Stage};
pub use tag::{InvalidTag, Tag, TagKind};
pub use tenant::{InvalidTenant, Tenant};
pub use trace::{InvalidTraceId, TraceId};
pub use traceparent::{InvalidTraceparent, Traceparent};
pub use word::{InvalidWord, Word};
