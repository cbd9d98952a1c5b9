//! The artifact store: what workers make and hand to each other, kept by the digest of its bytes in
//! a folder or in S3-compatible storage. Start at [`Store`]; `pack.rs` makes the one archive of a
//! tree, `unpack.rs` takes one apart that anybody may have made.
//!
//! Invariants: an address names its content, so nothing stored ever changes and storing it twice is
//! harmless; a reader sees a whole blob or none; nothing is unpacked whose digest is not the one
//! asked for, and nothing is ever written outside the folder it is unpacked into.

mod base;
mod bounds;
mod error;
mod manifest;
mod pack;
mod pax;
mod place;
mod settings;
mod store;
mod unpack;

pub use bounds::Bounds;
pub use error::{ArtifactError, Refusal};
pub use manifest::{About, Manifest, ManifestFile};
pub use model::{Digest, InvalidDigest};
pub use place::Place;
pub use settings::{ArtifactSettings, S3Style};
pub use store::{Artifact, Store};
pub use unpack::Unpacked;
