use std::time::Instant;

use db::{Statement, Type};
use model::MessageId;
use uuid::Uuid;

use crate::lease::until;
use crate::statement::statement;
use crate::{Bus, BusError};

/// A lease that is still ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewed {
    pub id: MessageId,
    pub until: Instant,
    /// Somebody asked for this message to be stopped.
    pub cancel_requested: bool,
}

pub(crate) static RENEW: Statement = statement(
    "bus.renew",
    "select id, lease_ms, cancel_requested
    from public.bus_renew(p_worker => $1, p_ids => $2, p_leases => $3)",
    &[Type::TEXT, Type::INT8_ARRAY, Type::UUID_ARRAY],
);

impl Bus {
    /// Prolongs all these leases in one call. Those not answered are lost.
    pub async fn renew(
        &self,
        worker: &str,
        held: &[(MessageId, Uuid)],
    ) -> Result<Vec<Renewed>, BusError> {
        let mut renewed = Vec::with_capacity(held.len());
        for held in held.chunks(self.most_answers()) {
            let (ids, leases): (Vec<MessageId>, Vec<Uuid>) = held.iter().copied().unzip();
            let asked_at = Instant::now();
            let rows = self.db().query(&RENEW, &[&worker, &ids, &leases]).await?;
            renewed.extend(rows.iter().map(|row| Renewed {
                id: row.get(0),
                until: until(asked_at, row.get(1)),
                cancel_requested: row.get(2),
            }));
        }
        Ok(renewed)
    }
}
