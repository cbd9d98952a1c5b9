use serde::Deserialize;
use serde_json::Value;

use crate::filter::{self, Filter, InvalidFilter};

/// Which changes of which tables a channel wants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Binding {
    pub(crate) id: u32,
    /// `None` is any.
    pub(crate) event: Option<Event>,
    pub(crate) schema: String,
    /// `None` is all tables of the schema.
    pub(crate) table: Option<String>,
    pub(crate) filters: Vec<Filter>,
    /// Which columns; all that the role may read, if none are named.
    pub(crate) select: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    Insert,
    Update,
    Delete,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidBinding {
    #[error("it must be an object with event, schema and, unless all tables are meant, table")]
    Shape,
    #[error("`{0}` is no event; write INSERT, UPDATE, DELETE or *")]
    Event(String),
    #[error("filter and select need a table")]
    NoTable,
    #[error("Error parsing `filter` params: {0}")]
    Filter(InvalidFilter),
}

#[derive(Deserialize)]
struct Asked {
    event: String,
    schema: String,
    table: Option<String>,
    filter: Option<String>,
    select: Option<Select>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Select {
    List(Vec<String>),
    Text(String),
}

impl Binding {
    pub(crate) fn parse(asked: &Value) -> Result<Self, InvalidBinding> {
        let parsed = Asked::deserialize(asked).map_err(|_| InvalidBinding::Shape)?;
        let event = match &*parsed.event.to_ascii_uppercase() {
            "*" => None,
            "INSERT" => Some(Event::Insert),
            "UPDATE" => Some(Event::Update),
            "DELETE" => Some(Event::Delete),
            _ => return Err(InvalidBinding::Event(parsed.event)),
        };
        let table = parsed.table.filter(|table| table != "*");
        let filter = parsed.filter.filter(|filter| !filter.is_empty());
        if table.is_none() && (filter.is_some() || parsed.select.is_some()) {
            return Err(InvalidBinding::NoTable);
        }
        let filters = filter.map_or(Ok(Vec::new()), |filter| filter::parse(&filter));
        Ok(Self {
            id: Self::id(asked),
            event,
            schema: parsed.schema,
            table,
            filters: filters.map_err(InvalidBinding::Filter)?,
            select: parsed.select.map(Select::columns).filter(|columns| !columns.is_empty()),
        })
    }

    /// The same for the same wish, so that it stays the same when a client joins again (FNV-1a over
    /// the wish with its keys in order).
    pub(crate) fn id(asked: &Value) -> u32 {
        let text = asked.to_string();
        let hash = text
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        // Clients take 0 for none.
        hash.max(1)
    }

    pub(crate) fn wants(&self, event: Event, schema: &str, table: &str) -> bool {
        self.event.is_none_or(|wanted| wanted == event)
            && self.schema == schema
            && self.table.as_deref().is_none_or(|wanted| wanted == table)
    }
}

impl Event {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

impl Select {
    fn columns(self) -> Vec<String> {
        match self {
            Self::List(columns) => columns,
            Self::Text(text) => {
                let columns = text.split(',').map(str::trim).filter(|column| !column.is_empty());
                columns.map(str::to_owned).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_binding_says_which_changes_it_wants() {
        let binding = |asked: Value| Binding::parse(&asked).unwrap();
        let one = binding(json!({ "event": "INSERT", "schema": "public", "table": "a" }));
        assert!(one.wants(Event::Insert, "public", "a"));
        assert!(!one.wants(Event::Update, "public", "a"));
        assert!(!one.wants(Event::Insert, "public", "b"));
        assert!(!one.wants(Event::Insert, "other", "a"));
        for all in [
            json!({ "event": "*", "schema": "public" }),
            json!({ "event": "*", "schema": "public", "table": "*", "filter": "" }),
        ] {
            assert!(binding(all).wants(Event::Delete, "public", "b"));
        }
        let some = json!({ "event": "*", "schema": "s", "table": "t", "select": "a, b" });
        assert_eq!(binding(some).select.unwrap(), ["a", "b"]);
        let some = json!({ "event": "*", "schema": "s", "table": "t", "select": ["a"] });
        assert_eq!(binding(some).select.unwrap(), ["a"]);
    }

    #[test]
    fn the_same_wish_has_the_same_id_and_another_wish_another() {
        let one: Value = serde_json::from_str(r#"{"event":"*","schema":"public"}"#).unwrap();
        let same: Value = serde_json::from_str(r#"{"schema":"public","event":"*"}"#).unwrap();
        assert_eq!(Binding::id(&one), Binding::id(&same));
        let other = json!({ "event": "*", "schema": "public", "table": "a" });
        assert_ne!(Binding::id(&one), Binding::id(&other));
    }

    #[test]
    fn a_wrong_wish_is_refused_with_a_reason() {
        for (asked, why) in [
            (json!("INSERT"), "must be an object"),
            (json!({ "event": "INSERT" }), "must be an object"),
            (json!({ "event": "TRUNCATE", "schema": "public" }), "`TRUNCATE` is no event"),
            (json!({ "event": "*", "schema": "public", "filter": "a=eq.1" }), "need a table"),
            (
                json!({ "event": "*", "schema": "public", "table": "t", "filter": "a" }),
                "Error parsing `filter` params: `a` is no filter",
            ),
        ] {
            let error = Binding::parse(&asked).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
