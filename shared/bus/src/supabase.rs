use db::{Statement, Type};

use crate::statement::statement;
use crate::{Bus, BusError};

/// Something that Realtime needs of the database, and whether it is there.
#[derive(Clone, Debug)]
pub struct RealtimeNeed {
    /// As in `policy on realtime.messages`.
    pub name: String,
    pub fine: bool,
}

pub(crate) static SCHEMA: Statement = statement("bus.schema", "select public.bus_schema()", &[]);

pub(crate) static REALTIME: Statement =
    statement("bus.realtime", "select check_name, fine from public.bus_realtime()", &[]);

pub(crate) static RING_TOPIC: Statement =
    statement("bus.ring_topic", "select public.bus_ring_topic(p_topic => $1)", &[Type::TEXT]);

impl Bus {
    /// The version of the newest migration that is applied; `None` where nobody recorded them.
    pub async fn schema(&self) -> Result<Option<String>, BusError> {
        Ok(self.db().query_one(&SCHEMA, &[]).await?.get(0))
    }

    /// What Realtime needs of the database.
    pub async fn realtime_needs(&self) -> Result<Vec<RealtimeNeed>, BusError> {
        let rows = self.db().query(&REALTIME, &[]).await?;
        Ok(rows.iter().map(|row| RealtimeNeed { name: row.get(0), fine: row.get(1) }).collect())
    }

    /// Rings on a private topic of Realtime, for who wants to hear whether rings arrive.
    pub async fn ring_topic(&self, topic: &str) -> Result<(), BusError> {
        self.db().query(&RING_TOPIC, &[&topic]).await?;
        Ok(())
    }
}
