use std::collections::HashMap;
use std::sync::Arc;

use db::{DbError, Parameter, Statement, Type};
use serde_json::{Map, Value, json};
use telemetry::Chain;
use time::format_description::well_known::Rfc3339;
use tracing::{debug, warn};

use crate::binding::{Binding, Event};
use crate::changes::{Batch, Change};
use crate::counts::add;
use crate::feed::Subscription;
use crate::identity::Identity;
use crate::matching::matching;
use crate::pgoutput::Relation;
use crate::server::Server;

static TABLE: Statement = Statement {
    name: "standin.table",
    sql: "select c.relrowsecurity,
              array(select a.attname::text from pg_index as i
                  join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
                  where i.indrelid = c.oid and i.indisprimary)
          from pg_class as c where c.oid = $1",
    types: &[Type::OID],
};

static TYPES: Statement = Statement {
    name: "standin.types",
    sql: "select oid, typname::text from pg_type where oid = any ($1)",
    types: &[Type::OID_ARRAY],
};

static READABLE: Statement = Statement {
    name: "standin.readable",
    sql: "select attname::text from pg_attribute
          where attrelid = $2 and attnum > 0 and not attisdropped
              and has_column_privilege($1::name, $2, attnum, 'select')",
    types: &[Type::TEXT, Type::OID],
};

static AS_JSON: Statement = Statement {
    name: "standin.as_json",
    sql: "select standin.as_json($1, $2, $3)",
    types: &[Type::TEXT_ARRAY, Type::OID_ARRAY, Type::TEXT_ARRAY],
};

static SEES: Statement = Statement {
    name: "standin.sees",
    sql: "select standin.sees_as($1, $2, $3, $4, $5, $6)",
    types: &[
        Type::TEXT,
        Type::TEXT,
        Type::OID,
        Type::TEXT_ARRAY,
        Type::OID_ARRAY,
        Type::TEXT_ARRAY,
    ],
};

/// Of a row that is too large, only values that short are told.
const SHORT: usize = 64;

/// What the catalog says of a table.
struct Facts {
    row_security: bool,
    /// The names of its primary key's columns.
    key: Vec<String>,
    /// Of types, by number.
    names: HashMap<u32, String>,
}

/// Asks the catalog once per batch.
struct Catalog<'a> {
    server: &'a Server,
    facts: HashMap<u32, Option<Arc<Facts>>>,
    readable: HashMap<(String, u32), Arc<Vec<String>>>,
}

/// One row, and what was found out about it.
struct Telling<'a> {
    server: &'a Server,
    change: &'a Change,
    facts: &'a Facts,
    record: Map<String, Value>,
    old: Map<String, Value>,
    seen: HashMap<Arc<Identity>, bool>,
}

type Values<'a> = [(usize, Option<&'a str>)];

impl Batch {
    /// To everybody who wants to know and may. Fails only if the database does.
    pub(crate) async fn deliver(&self, server: &Server) -> Result<(), DbError> {
        let subscriptions = server.feed.all();
        let mut catalog = Catalog { server, facts: HashMap::new(), readable: HashMap::new() };
        for change in &self.changes {
            let wanted: Vec<_> = subscriptions.iter().filter(|one| wants(one, change)).collect();
            if wanted.is_empty() {
                continue;
            }
            match catalog.tell(change, &wanted).await {
                Ok(()) => {}
                // The table or a type of it may be gone or changed by now.
                Err(error) if error.server().is_some() => {
                    warn!(error = %Chain(&error), "could not tell of a change");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn wants(subscription: &Subscription, change: &Change) -> bool {
    let Relation { schema, table, .. } = &*change.relation;
    subscription.bindings.iter().any(|binding| binding.wants(change.event, schema, table))
}

impl Catalog<'_> {
    async fn tell(
        &mut self,
        change: &Change,
        wanted: &[&Arc<Subscription>],
    ) -> Result<(), DbError> {
        let Some(facts) = self.facts(&change.relation).await? else { return Ok(()) };
        let matching = matching(self.server, change, wanted).await?;
        if matching.is_empty() {
            return Ok(());
        }
        let old = match change.before() {
            // Policies are about rows as they are; what was before is nobody's to see.
            Some(before) if !facts.row_security => before,
            _ if change.event == Event::Insert => Vec::new(),
            _ => change.key(&facts.key),
        };
        let large = change.too_large();
        let mut telling = Telling {
            server: self.server,
            change,
            facts: &facts,
            record: as_json(self.server, change, &change.current(), large).await?,
            old: as_json(self.server, change, &old, large).await?,
            seen: HashMap::new(),
        };
        for (subscription, bindings) in matching {
            let who = subscription.who.borrow().clone();
            let readable = self.readable(&who.role, change.relation.id).await?;
            telling.tell(subscription, &bindings, &who, &readable, large).await?;
        }
        Ok(())
    }

    async fn facts(&mut self, relation: &Relation) -> Result<Option<Arc<Facts>>, DbError> {
        if let Some(known) = self.facts.get(&relation.id) {
            return Ok(known.clone());
        }
        let db = &self.server.db;
        let facts = match db.query_opt(&TABLE, &[&relation.id]).await? {
            Some(table) => {
                let kinds: Vec<u32> = relation.columns.iter().map(|column| column.kind).collect();
                let types = db.query(&TYPES, &[&kinds]).await?;
                let names = types.iter().map(|row| (row.get(0), row.get(1))).collect();
                Some(Arc::new(Facts { row_security: table.get(0), key: table.get(1), names }))
            }
            None => None,
        };
        self.facts.insert(relation.id, facts.clone());
        Ok(facts)
    }

    async fn readable(&mut self, role: &str, table: u32) -> Result<Arc<Vec<String>>, DbError> {
        let key = (role.to_owned(), table);
        if let Some(known) = self.readable.get(&key) {
            return Ok(known.clone());
        }
        let columns = match self.server.db.query(&READABLE, &[&role, &table]).await {
            Ok(rows) => rows.iter().map(|row| row.get(0)).collect(),
            // There is no such role.
            Err(error) if error.server().is_some() => Vec::new(),
            Err(error) => return Err(error),
        };
        let columns = Arc::new(columns);
        self.readable.insert(key, columns.clone());
        Ok(columns)
    }
}

async fn as_json(
    server: &Server,
    change: &Change,
    values: &Values<'_>,
    large: bool,
) -> Result<Map<String, Value>, DbError> {
    let columns = &change.relation.columns;
    let fits = |value: &Option<&str>| !large || value.is_none_or(|value| value.len() <= SHORT);
    let told: Vec<_> = values
        .iter()
        .filter_map(|(index, value)| Some((columns.get(*index)?, *value)))
        .filter(|(_, value)| fits(value))
        .collect();
    if told.is_empty() {
        return Ok(Map::new());
    }
    let names: Vec<&str> = told.iter().map(|(column, _)| &*column.name).collect();
    let kinds: Vec<u32> = told.iter().map(|(column, _)| column.kind).collect();
    let values: Vec<Option<&str>> = told.iter().map(|(_, value)| *value).collect();
    match server.db.query_one(&AS_JSON, &[&names, &kinds, &values]).await?.get(0) {
        Value::Object(row) => Ok(row),
        _ => Ok(Map::new()),
    }
}

impl Telling<'_> {
    async fn tell(
        &mut self,
        subscription: &Subscription,
        bindings: &[&Binding],
        who: &Arc<Identity>,
        readable: &[String],
        large: bool,
    ) -> Result<(), DbError> {
        let Facts { key, row_security, .. } = self.facts;
        let gone = self.change.event == Event::Delete;
        let error = if !gone && key.is_empty() {
            Some("Error 400: Bad Request, no primary key")
        } else if !gone && !key.iter().all(|column| readable.contains(column)) {
            Some("Error 401: Unauthorized")
        } else if large {
            Some("Error 413: Payload Too Large")
        } else {
            None
        };
        let whole = error.is_none() || large;
        // Whoever may not even read the key cannot be asked about the row.
        if whole && !gone && *row_security && !self.sees(who).await? {
            return Ok(());
        }
        let server = self.server;
        if server.meter.exceeded() {
            add(&server.counters.dropped, 1);
            debug!("too many messages per second: a change was dropped");
            return Ok(());
        }
        let data = self.data(bindings, readable, error, whole);
        let ids: Vec<u32> = bindings.iter().map(|binding| binding.id).collect();
        subscription.place.tell("postgres_changes", &json!({ "ids": ids, "data": data }));
        add(&server.counters.delivered, 1);
        server.meter.count(1);
        Ok(())
    }

    fn data(
        &self,
        bindings: &[&Binding],
        readable: &[String],
        error: Option<&str>,
        whole: bool,
    ) -> Value {
        let Change { relation, event, committed_at, .. } = self.change;
        // With several bindings, whatever one of them asks for.
        let chosen = |name: &String| {
            bindings.iter().any(|one| one.select.as_ref().is_none_or(|list| list.contains(name)))
        };
        let told = |name: &String| whole && readable.contains(name) && chosen(name);
        let pick = |row: &Map<String, Value>| -> Map<String, Value> {
            let picked = row.iter().filter(|(name, _)| told(name));
            picked.map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        let columns: Vec<Value> = relation
            .columns
            .iter()
            .filter(|column| told(&column.name))
            .map(|column| {
                let kind = self.facts.names.get(&column.kind);
                json!({ "name": column.name, "type": kind })
            })
            .collect();
        let at = committed_at.replace_microsecond(committed_at.microsecond() / 1000 * 1000);
        let at = at.ok().and_then(|at| at.format(&Rfc3339).ok());
        let mut data = json!({
            "schema": relation.schema,
            "table": relation.table,
            "commit_timestamp": at,
            "type": event.name(),
            "columns": columns,
            "errors": error.map(|error| [error]),
        });
        if *event != Event::Delete {
            data["record"] = pick(&self.record).into();
        }
        if *event != Event::Insert {
            data["old_record"] = pick(&self.old).into();
        }
        data
    }

    /// Asks the policies, as whoever wants to know. A row that is gone by now is seen by nobody, as
    /// in earnest.
    async fn sees(&mut self, who: &Arc<Identity>) -> Result<bool, DbError> {
        if let Some(known) = self.seen.get(who) {
            return Ok(*known);
        }
        let columns = &self.change.relation.columns;
        let current = self.change.current();
        let key: Vec<_> = current
            .iter()
            .filter_map(|(index, value)| Some((columns.get(*index)?, *value)))
            .filter(|(column, _)| self.facts.key.contains(&column.name))
            .collect();
        let names: Vec<&str> = key.iter().map(|(column, _)| &*column.name).collect();
        let kinds: Vec<u32> = key.iter().map(|(column, _)| column.kind).collect();
        let values: Vec<Option<&str>> = key.iter().map(|(_, value)| *value).collect();

        let Identity { role, claims, .. } = &**who;
        let table = self.change.relation.id;
        let asked: [&dyn Parameter; 6] = [role, claims, &table, &names, &kinds, &values];
        let seen = match self.server.db.query_one(&SEES, &asked).await {
            Ok(row) => row.get(0),
            // A policy that fails lets nobody see anything.
            Err(error) if error.server().is_some() => false,
            Err(error) => return Err(error),
        };
        self.seen.insert(who.clone(), seen);
        Ok(seen)
    }
}
