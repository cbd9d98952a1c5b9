//! Runs programs we do not trust, each with its whole process tree, bounded in time, memory,
//! processes and output. Start at [`Sandbox::start`], then read `run.rs`.
//!
//! Invariants: a run returns only when nothing of its tree is left, whatever the tree did to
//! escape; nothing outlives this process, even if it is killed; a child inherits no variable of
//! ours. How far a child is kept from the machine is the [`Layer`]'s: under [`Layer::None`] nothing
//! but its user keeps it from files and the network.

mod child;
mod command;
mod guardian;
mod layer;
mod limits;
mod output;
mod redact;
mod run;
mod sandbox;
mod settings;
mod size;
mod spawner;
mod tools;
mod tree;
mod user;
mod view;
mod workspace;

pub use child::{Child, ChildError, Ended, How, Stream};
pub use layer::{Layer, Wanted};
pub use limits::Limits;
pub use output::Kept;
pub use sandbox::{Sandbox, SandboxError};
pub use settings::ChildSettings;
pub use size::{InvalidSize, size};
pub use workspace::Workspace;
