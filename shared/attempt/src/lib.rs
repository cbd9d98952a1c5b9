//! One attempt at a message whose work is done by programs: how long it may take, what it tells
//! while they run, and what becomes of the message when nothing comes of it. Start at [`Attempt`];
//! then [`Words`], what programs say on its way to whoever follows the trace, and [`Trouble`].
//!
//! Invariants: what is told while the work runs is told before its end; an event is bounded,
//! whatever a program says; what cannot be told stops no work. Knows nothing of what the work is.

mod attempt;
mod clean;
mod cut;
mod trouble;
mod words;

pub use attempt::Attempt;
pub use clean::clean;
pub use cut::{cut, tail};
pub use trouble::{Next, Trouble};
pub use words::{Said, Words};
