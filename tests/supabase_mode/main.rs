//! Workers that know nothing but `SUPABASE_URL` and `SUPABASE_SECRET_KEY`, and what may happen to
//! them: lost rings, lost connections, refused keys. How late a message is then, is measured by
//! `cargo test -p stories --test supabase_mode -- --ignored --nocapture`.
#![expect(clippy::unwrap_used, reason = "clippy allows it in tests, but not in what they share")]

mod crew;
mod losing;
mod manners;
mod secrets;
