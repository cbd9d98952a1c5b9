use bus::{Bus, BusError, BusSettings};
use clap::Args;
use db::{Db, DbSettings};
use registry::Registry;

use crate::out::{Format, Out};

/// Which database is asked, and how the answer is written.
#[derive(Args, Clone, Debug)]
pub(crate) struct Connection {
    /// How the answer is written: a table for people, or one JSON document for programs.
    #[arg(long, value_enum, default_value = "table", global = true, display_order = 900)]
    output: Format,

    #[command(flatten)]
    pub(crate) db: DbSettings,
}

impl Connection {
    /// A database that nobody had to name, shown to people.
    pub(crate) fn to(db: DbSettings) -> Self {
        Self { output: Format::Table, db }
    }

    pub(crate) fn out(&self) -> Out {
        Out::new(self.output)
    }

    pub(crate) fn format(&self) -> Format {
        self.output
    }

    /// Connects to nothing yet.
    pub(crate) fn bus(&self) -> Result<Bus, BusError> {
        Bus::connect(&self.db, &BusSettings::default())
    }

    /// Connects to nothing yet.
    pub(crate) fn registry(&self) -> miette::Result<Registry> {
        Ok(Registry::new(Db::connect(&self.db)?))
    }
}
