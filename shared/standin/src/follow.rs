use std::future::pending;
use std::sync::Arc;

use db::{Db, DbError, Statement, Type};
use serde_json::Value;
use telemetry::Chain;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::binding::{Binding, InvalidBinding};
use crate::feed::{State, Subscription};
use crate::identity::Identity;
use crate::matching::MATCHES;
use crate::place::Place;

static IS_PUBLISHED: Statement = Statement {
    name: "standin.is_published",
    sql: "select exists (select from pg_publication_tables where pubname = 'supabase_realtime'
              and schemaname = $1 and ($2::text is null or tablename = $2))",
    types: &[Type::TEXT, Type::TEXT],
};

static COLUMNS: Statement = Statement {
    name: "standin.columns",
    sql: "select a.attname, a.atttypid from pg_attribute as a
              join pg_class as c on c.oid = a.attrelid
              join pg_namespace as n on n.oid = c.relnamespace
          where n.nspname = $1 and c.relname = $2 and a.attnum > 0 and not a.attisdropped",
    types: &[Type::TEXT, Type::TEXT],
};

#[derive(Debug, thiserror::Error)]
enum NotFollowed {
    #[error(transparent)]
    Invalid(#[from] InvalidBinding),
    #[error(
        "{table} is not in the publication supabase_realtime; run: alter publication \
         supabase_realtime add table {table}"
    )]
    NotPublished { table: String },
    #[error("{table} has no column `{column}`")]
    NoColumn { table: String, column: String },
    #[error("the filter on `{column}` does not fit the column's type: {why}")]
    Value { column: String, why: String },
    #[error("the database did not answer; join again")]
    Database(#[source] DbError),
}

impl From<DbError> for NotFollowed {
    fn from(error: DbError) -> Self {
        Self::Database(error)
    }
}

/// Keeps a channel subscribed to changes of tables, and tells its client how that stands. Never
/// ends; dropping it unsubscribes.
pub(crate) async fn follow(
    place: &Place,
    asked: &[Value],
    mut who: watch::Receiver<Arc<Identity>>,
) {
    if asked.is_empty() {
        return pending().await;
    }
    let server = &place.line.server;
    let bindings = match check(&server.db, asked).await {
        Ok(bindings) => bindings,
        Err(why) => {
            let why =
                format!("Unable to subscribe to changes with given parameters: {}", Chain(&why));
            place.tell_system("postgres_changes", "error", &why);
            // As in earnest: only a new join is looked at again.
            return pending().await;
        }
    };
    // The log is read only while somebody wants to know.
    let _wanted = server.feed.want();
    let mut state = server.feed.state();
    let mut subscribed = None;
    loop {
        let now = state.borrow_and_update().clone();
        match now {
            State::Off => {}
            State::Ready => {
                if subscribed.is_none() {
                    sleep(server.settings.awkward.ready_after).await;
                    let place = place.clone();
                    let (bindings, who) = (bindings.clone(), who.clone());
                    let subscription = Subscription { place, bindings, who };
                    subscribed = Some(server.feed.subscribe(subscription));
                }
                place.tell_system("postgres_changes", "ok", "Subscribed to PostgreSQL");
            }
            State::Failed(why) => place.tell_system("postgres_changes", "error", &why),
        }
        tokio::select! {
            changed = state.changed() => if changed.is_err() {
                return pending().await;
            },
            // The subscription asks anew who it is for; its client wants to hear that it stands.
            Ok(()) = who.changed() => {}
        }
    }
}

async fn check(db: &Db, asked: &[Value]) -> Result<Vec<Binding>, NotFollowed> {
    let mut bindings = Vec::new();
    for asked in asked {
        let binding = Binding::parse(asked)?;
        check_one(db, &binding).await?;
        bindings.push(binding);
    }
    Ok(bindings)
}

async fn check_one(db: &Db, binding: &Binding) -> Result<(), NotFollowed> {
    let Binding { schema, table, .. } = binding;
    let told = format!("{schema}.{}", table.as_deref().unwrap_or("*"));
    if !db.query_one(&IS_PUBLISHED, &[schema, table]).await?.get::<bool>(0) {
        return Err(NotFollowed::NotPublished { table: told });
    }
    let Some(table) = table else { return Ok(()) };
    let rows = db.query(&COLUMNS, &[schema, table]).await?;
    let kind = |column: &str| {
        let found = rows.iter().find(|row| row.get::<String>(0) == *column);
        found
            .map(|row| row.get::<u32>(1))
            .ok_or_else(|| NotFollowed::NoColumn { table: told.clone(), column: column.to_owned() })
    };
    for column in binding.select.iter().flatten() {
        kind(column)?;
    }
    for filter in &binding.filters {
        let kind = kind(&filter.column)?;
        // What does not fit is refused for a null as for any other value.
        let (kinds, nothing) = ([kind].to_vec(), [None::<&str>].to_vec());
        let (operators, wanted) = ([filter.operator].to_vec(), [&*filter.wanted].to_vec());
        let asked = db.query_one(&MATCHES, &[&kinds, &operators, &nothing, &wanted]).await;
        asked.map_err(|error| match error.server() {
            Some(said) => {
                NotFollowed::Value { column: filter.column.clone(), why: said.message.clone() }
            }
            None => NotFollowed::Database(error),
        })?;
    }
    Ok(())
}
