use clap::ValueEnum;

/// How a sleeping worker hears of new messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Doorbell {
    /// LISTEN where the connection allows it, else poll.
    Auto,
    /// LISTEN/NOTIFY on one connection of the process.
    Listen,
    /// No doorbell: look again and again, rarer while nothing comes.
    Poll,
}

/// Everybody who publishes from an old snapshot rings here, see `cogo.ring_for_new`.
pub(crate) const RING_ALL: &str = "cogo_all";
/// Carries the name of a worker that should ask what was cancelled.
pub(crate) const CANCEL: &str = "cogo_cancel";
