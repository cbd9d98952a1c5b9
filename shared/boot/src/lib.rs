//! How a Cogo process starts and stops. Start at [`run`], which reads like the list of what it
//! does.
//!
//! Invariants: settings come from flags, then the environment, then a file, and nowhere else; their
//! values are never printed, because any of them may hold a credential.

mod mistyped;
mod process;
mod run;
mod settings;
mod settings_file;
mod stop;

pub use mistyped::Mistyped;
pub use process::ProcessSettings;
pub use run::{finish, run};
pub use settings::{Refused, matches};
pub use settings_file::InvalidSettingsFile;
pub use stop::block_on_with_stop;
