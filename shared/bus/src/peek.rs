use db::{Statement, Type};

use crate::history::{MessageState, state, state_columns};
use crate::statement::statement;
use crate::{Bus, BusError, Listen};

pub(crate) static PEEK: Statement = statement(
    "bus.peek",
    concat!(
        "select ",
        state_columns!(),
        " from public.bus_peek(
            p_service => $1, p_role => $2, p_shard => $3, p_tenant => $4, p_limit => $5)"
    ),
    &[Type::TEXT, Type::TEXT, Type::INT4, Type::TEXT, Type::INT8],
);

impl Bus {
    /// The messages that would be claimed next, without claiming them. Tenants take turns by chance
    /// in a real claim; here they come by priority and age.
    pub async fn peek(&self, what: &Listen, limit: u32) -> Result<Vec<MessageState>, BusError> {
        let (service, role) = (what.stage.service().as_str(), what.stage.role().as_str());
        let limit = i64::from(limit);
        let rows =
            self.db().query(&PEEK, &[&service, &role, &what.shard, &what.tenant, &limit]).await?;
        Ok(rows.iter().map(state).collect())
    }
}
