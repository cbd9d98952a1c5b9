//! The store as its users see it, over a folder and over HTTP.
#![expect(clippy::unwrap_used, reason = "clippy allows it in tests, but not in what they share")]

mod hostile;
mod s3;
mod shelf;
mod storing;
