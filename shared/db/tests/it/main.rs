//! The way to a real Postgres, and what happens when it is interrupted.
#![expect(clippy::unwrap_used, reason = "clippy allows it in tests, but not in what they share")]

mod migrating;
mod pool;
mod pooler;
mod secrets;
mod session;
mod stall;
mod tls;

/// The whole chain of an error, and its `Debug`.
fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = format!("{error:?} / {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
