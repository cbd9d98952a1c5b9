use db::{Json, Statement};
use serde::Deserialize;
use serde_json::Value;

use crate::statement::statement;
use crate::{Bus, BusError};

/// What the database takes on its disk.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Disk {
    pub database_bytes: u64,
    /// Where the server keeps it, on the server's machine; `None` if we may not know.
    pub data_folder: Option<String>,
    /// The largest tables with all that belongs to them, partitions with their table.
    pub biggest: Vec<TableSize>,
    /// Who makes the server keep log.
    pub slots: Vec<Slot>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct TableSize {
    pub name: String,
    pub bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Slot {
    pub name: String,
    pub active: bool,
    pub kept_bytes: u64,
}

pub(crate) static DISK: Statement = statement("bus.disk", "select public.bus_disk()", &[]);

impl Bus {
    pub async fn disk(&self) -> Result<Disk, BusError> {
        let Json(answer) = self.db().query_one(&DISK, &[]).await?.get::<Json<Value>>(0);
        Ok(serde_json::from_value(answer)?)
    }
}
