//! The door to registries of images: what a tag is, what an image is for, and what it is pulled
//! with. Start at [`Oci::registry`], then [`Registry::resolve`]; `session.rs` is how we prove who we
//! are, `realm.rs` to whom.
//!
//! Invariants: a credential is shown to the registry that it is of, and to nobody that `realm.rs`
//! does not allow. Neither it, nor a token, nor an address that an answer gave us is ever part of an
//! error, a log line or a `Debug`. What is said to be a digest is hashed before it is believed.
//! Nothing is written to a registry.

mod account;
mod challenge;
mod credential;
mod docker_config;
mod ecr;
mod error;
mod facts;
mod image;
mod login;
mod manifest;
mod platform;
mod realm;
mod registry;
mod session;
mod settings;
mod sigv4;
mod tokens;
mod wire;

pub use account::{Account, InvalidAccount};
pub use credential::InvalidCredential;
pub use error::{Disposition, OciError};
pub use facts::ImageFacts;
pub use image::Image;
pub use login::{Login, content_hash, dockerconfigjson};
pub use platform::{InvalidPlatform, Platform};
pub use registry::{InvalidSettings, Oci, Registry};
pub use settings::OciSettings;
