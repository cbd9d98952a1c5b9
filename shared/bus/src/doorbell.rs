use clap::ValueEnum;
use db::SessionMode;
use tracing::info;

use crate::Bus;

/// How a sleeping worker hears of new messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Doorbell {
    /// The best that there is: LISTEN over a connection, Realtime over Supabase, else poll.
    Auto,
    /// LISTEN/NOTIFY on one connection of the process.
    Listen,
    /// What the database broadcasts over Supabase Realtime, on a private topic of each route.
    Realtime,
    /// What Supabase Realtime tells of inserted rows: half a second late, and some hundred a second.
    PostgresChanges,
    /// No doorbell: look again and again, rarer while nothing comes.
    Poll,
}

/// Everybody who publishes from an old snapshot rings here, see `cogo.ring_everybody`.
pub(crate) const RING_ALL: &str = "cogo_all";
/// Carries the name of a worker that should ask what was cancelled.
pub(crate) const CANCEL: &str = "cogo_cancel";

impl Bus {
    /// The doorbell of this process: what `auto` comes to, and otherwise what was set.
    pub fn doorbell(&self) -> Doorbell {
        match (self.settings().bus_doorbell, self.db().mode()) {
            (Doorbell::Auto, SessionMode::Session) => Doorbell::Listen,
            (Doorbell::Auto, SessionMode::Supabase) => Doorbell::Realtime,
            (Doorbell::Auto, SessionMode::Transaction) => Doorbell::Poll,
            (set, _) => set,
        }
    }

    /// Says once, at the start of a process, how it hears of messages.
    pub fn tell_doorbell(&self) {
        let poll_ms = self.settings().bus_poll_ms;
        match self.doorbell() {
            Doorbell::Auto => unreachable!("it comes to one of the others"),
            Doorbell::Listen => {
                info!(poll_ms, "hearing of messages by LISTEN, and by a look every {poll_ms} ms");
            }
            Doorbell::Realtime => {
                info!(
                    poll_ms,
                    "hearing of messages over Realtime, and by a look every {poll_ms} ms"
                );
            }
            Doorbell::PostgresChanges => info!(
                poll_ms,
                "hearing of messages by Realtime's postgres_changes, half a second late, and by a \
                 look every {poll_ms} ms"
            ),
            Doorbell::Poll => info!("hearing of messages by polling alone, up to a second late"),
        }
    }
}
