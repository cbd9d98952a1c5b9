use db::{Json, Statement, Type};
use model::{Route, Shard, Stage, Word};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;
use time::OffsetDateTime;

use crate::history::{MessageState, state, state_columns};
use crate::new_message::millis;
use crate::statement::statement;
use crate::{Bus, BusError};

/// What stands on every route at one moment, and what came and ended there lately.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Activity {
    #[serde(with = "time::serde::rfc3339")]
    pub read_at: OffsetDateTime,
    /// The seconds over which `published` was counted: less than asked for where much happens.
    pub published_s: f64,
    /// The same for `done` and `failed`.
    pub ended_s: f64,
    pub routes: Vec<RouteActivity>,
}

/// Of one route, all tenants together. Nothing is counted beyond ten thousand of a kind.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct RouteActivity {
    pub service: Word,
    pub role: Word,
    pub shard: Shard,
    pub paused: bool,
    pub ready: i64,
    /// Waits for a time.
    pub later: i64,
    /// Waits for another of its ordering key.
    pub behind: i64,
    pub claimed: i64,
    /// More stands here than was counted.
    pub at_least: bool,
    /// How long the oldest ready message has been ready.
    pub oldest_s: Option<f64>,
    pub published: i64,
    pub done: i64,
    pub failed: i64,
    /// Dead letters that nobody has replayed.
    pub letters: i64,
}

impl RouteActivity {
    pub fn stage(&self) -> Stage {
        Stage::new(self.service.clone(), self.role.clone())
    }

    pub fn route(&self) -> Route {
        Route::new(self.stage(), self.shard)
    }
}

pub(crate) static ACTIVITY: Statement =
    statement("bus.activity", "select public.bus_activity(p_window_ms => $1)", &[Type::INT8]);

pub(crate) static STANDING: Statement = statement(
    "bus.standing",
    concat!(
        "select ",
        state_columns!(),
        " from public.bus_standing(p_service => $1, p_role => $2, p_shard => $3, p_limit => $4)"
    ),
    &[Type::TEXT, Type::TEXT, Type::INT4, Type::INT8],
);

impl Bus {
    /// How it goes on every route. Cheap enough to be asked every second, whatever has piled up.
    pub async fn activity(&self, window: Duration) -> Result<Activity, BusError> {
        let row = self.db().query_one(&ACTIVITY, &[&millis(window)]).await?;
        let Json(answer) = row.get::<Json<Value>>(0);
        Ok(serde_json::from_value(answer)?)
    }

    /// Messages of a route that have not come to a good end, of each kind up to `limit`: claimed,
    /// then queued, then dead letters that nobody has replayed.
    pub async fn standing(&self, route: &Route, limit: u32) -> Result<Vec<MessageState>, BusError> {
        let (service, role) = (route.stage().service().as_str(), route.stage().role().as_str());
        let parameters: [&dyn db::Parameter; 4] =
            [&service, &role, &route.shard(), &i64::from(limit)];
        let rows = self.db().query(&STANDING, &parameters).await?;
        Ok(rows.iter().map(state).collect())
    }
}
