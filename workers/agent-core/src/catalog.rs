use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bus::BusError;
use db::{Db, Json, Statement, Type};
use jsonschema::Validator;
use model::{InvalidRoute, Route};
use serde_json::{Map, Value};
use time::OffsetDateTime;

/// The intents there are: the table, with each one's schema compiled once for each of its versions.
#[derive(Clone)]
pub(crate) struct Catalog {
    db: Db,
    // Bounded by the number of intents: a new version takes the place of the old.
    compiled: Arc<Mutex<HashMap<String, Arc<KnownIntent>>>>,
}

/// A row of `intents`, ready for use.
pub(crate) struct KnownIntent {
    updated_at: OffsetDateTime,
    pub(crate) target: Route,
    pub(crate) schema: Validator,
    /// What a payload gets that says nothing of these fields.
    pub(crate) defaults: Map<String, Value>,
    pub(crate) default_assignment: Value,
    pub(crate) enabled: bool,
}

/// Why an intent of the table cannot be used. Its operator has to mend it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokenIntent {
    #[error("its target cannot be used")]
    Target(#[source] InvalidRoute),
    #[error("its payload_schema is no JSON Schema: {0}")]
    Schema(String),
}

pub(crate) enum Found {
    Intent(Arc<KnownIntent>),
    Broken(BrokenIntent),
    /// There is none of that name; these are the names of those that are enabled.
    Nothing(Vec<String>),
}

pub(crate) static INTENT: Statement = Statement {
    name: "agent_core.intent",
    sql: "select target, payload_schema, default_assignment, enabled, updated_at
        from public.intent_known(p_name => $1)",
    types: &[Type::TEXT],
};

pub(crate) static NAMES: Statement = Statement {
    name: "agent_core.intent_names",
    sql: "select name from public.intent_names()",
    types: &[],
};

impl Catalog {
    pub(crate) fn new(db: Db) -> Self {
        Self { db, compiled: Arc::default() }
    }

    /// Asks the table each time, so that a change holds at once in every process.
    pub(crate) async fn find(&self, name: &str) -> Result<Found, BusError> {
        let Some(row) = self.db.query_opt(&INTENT, &[&name]).await? else {
            let rows = self.db.query(&NAMES, &[]).await?;
            return Ok(Found::Nothing(rows.iter().map(|row| row.get(0)).collect()));
        };
        let updated_at: OffsetDateTime = row.get(4);
        if let Some(known) = self.compiled().get(name)
            && known.updated_at == updated_at
        {
            return Ok(Found::Intent(Arc::clone(known)));
        }
        let (Json(schema), Json(default_assignment)) =
            (row.get::<Json<Value>>(1), row.get::<Json<Value>>(2));
        let target: String = row.get(0);
        let target = match target.parse() {
            Ok(target) => target,
            Err(error) => return Ok(Found::Broken(BrokenIntent::Target(error))),
        };
        let validator = match jsonschema::validator_for(&schema) {
            Ok(validator) => validator,
            Err(error) => return Ok(Found::Broken(BrokenIntent::Schema(error.to_string()))),
        };
        let known = Arc::new(KnownIntent {
            updated_at,
            target,
            schema: validator,
            defaults: defaults(&schema),
            default_assignment,
            enabled: row.get(3),
        });
        self.compiled().insert(name.to_owned(), Arc::clone(&known));
        Ok(Found::Intent(known))
    }

    fn compiled(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<KnownIntent>>> {
        self.compiled.lock().expect("nothing panics while it holds the schemas")
    }
}

/// The `default`s of the fields on the top level; a schema only describes them, so we fill them in.
fn defaults(schema: &Value) -> Map<String, Value> {
    let fields = schema["properties"].as_object().into_iter().flatten();
    fields.filter_map(|(name, field)| Some((name.clone(), field.get("default")?.clone()))).collect()
}
