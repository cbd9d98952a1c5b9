use db::{Statement, Type};

use crate::history::{MessageState, state, state_columns};
use crate::statement::statement;
use crate::{Bus, BusError, Listen};

pub(crate) static PEEK: Statement = statement(
    "bus.peek",
    concat!(
        "with next as (
            select ready.id as number
            from cogo.lanes as lane
            cross join lateral (
                select id from cogo.ready
                where lane_id = lane.id and (expires_at is null or expires_at > now())
                order by id limit $5
            ) as ready
            where lane.service = $1 and lane.role = $2 and ($3::int is null or lane.shard = $3)
                and ($4::text is null or lane.tenant = $4)
            order by lane.priority desc, ready.id limit $5
        )
        select ",
        state_columns!(),
        ", payload from next join public.agent_messages on id = number order by priority desc, id"
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
