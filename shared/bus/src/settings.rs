use std::time::Duration;

use clap::Args;

use crate::Doorbell;

/// How a process uses the bus.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Bus")]
pub struct BusSettings {
    /// Milliseconds between two looks at the table when no doorbell rings.
    ///
    /// The doorbell makes a worker quick, this makes it right: it is how late a message can be when
    /// its ring was lost. Smaller costs a query per worker and period.
    #[arg(long, env, default_value = "15000", value_parser = clap::value_parser!(u64).range(10..=3_600_000))]
    pub bus_poll_ms: u64,

    /// How a sleeping worker hears of new messages.
    ///
    /// `listen` needs a session connection, `realtime` and `postgres-changes` a Supabase project;
    /// `poll` works everywhere and is up to a second late; `auto` takes the best that there is.
    #[arg(long, env, default_value = "auto", value_enum)]
    pub bus_doorbell: Doorbell,
}

impl BusSettings {
    pub(crate) fn poll(&self) -> Duration {
        Duration::from_millis(self.bus_poll_ms)
    }
}

impl Default for BusSettings {
    fn default() -> Self {
        Self { bus_poll_ms: 15_000, bus_doorbell: Doorbell::Auto }
    }
}
