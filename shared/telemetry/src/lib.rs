//! What a process says about itself. Start at [`start`]; [`Chain`] prints an error with its causes.
//! Invariant: nothing is redacted here, because payloads, prompts and credentials are never logged.

mod chain;
mod levels;
mod log;

pub use chain::Chain;
pub use levels::{InvalidLevels, Levels};
pub use log::{AlreadyStarted, LogFormat, LogSettings, start};
