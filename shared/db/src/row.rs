use model::{MessageId, Shard, Tenant, TraceId, Traceparent, Word};
use serde::de::{DeserializeOwned, Error as _};
use serde_json::value::RawValue;
use serde_json::{Result, Value, from_str};
use time::format_description::well_known::{Iso8601, Rfc3339};
use time::{OffsetDateTime, PrimitiveDateTime};
use tokio_postgres::types::{FromSql, Json};
use uuid::Uuid;

/// A row of an answer, whichever way it came.
#[derive(Debug)]
pub struct Row(Way);

#[derive(Debug)]
enum Way {
    Wire(tokio_postgres::Row),
    Rest(Vec<Box<RawValue>>),
}

/// What a column of an answer can be read as.
pub trait Column: for<'a> FromSql<'a> + FromJson {}

impl<T: for<'a> FromSql<'a> + FromJson> Column for T {}

/// What can be read from the JSON that PostgREST makes of a column.
pub trait FromJson: Sized {
    fn from_json(text: &RawValue) -> Result<Self>;
}

impl Row {
    pub(crate) fn wire(row: tokio_postgres::Row) -> Self {
        Self(Way::Wire(row))
    }

    pub(crate) fn rest(columns: Vec<Box<RawValue>>) -> Self {
        Self(Way::Rest(columns))
    }

    /// How many columns it has.
    #[expect(clippy::len_without_is_empty, reason = "no row is without a column")]
    pub fn len(&self) -> usize {
        match &self.0 {
            Way::Wire(row) => row.len(),
            Way::Rest(columns) => columns.len(),
        }
    }

    /// A column by its place. Panics if it is not of that type: the statement says otherwise.
    pub fn get<T: Column>(&self, place: usize) -> T {
        match &self.0 {
            Way::Wire(row) => row.get(place),
            Way::Rest(columns) => T::from_json(&columns[place]).unwrap_or_else(|error| {
                panic!("column {place} is not as its statement says: {error}")
            }),
        }
    }
}

macro_rules! as_serde_reads_it {
    ($($name:ty),*) => {$(
        impl FromJson for $name {
            fn from_json(text: &RawValue) -> Result<Self> {
                from_str(text.get())
            }
        }
    )*};
}

as_serde_reads_it!(bool, i16, i32, u32, i64, f64, String, Uuid, Value);
as_serde_reads_it!(MessageId, Shard, Tenant, TraceId, Traceparent, Word);

impl<T: DeserializeOwned> FromJson for Json<T> {
    fn from_json(text: &RawValue) -> Result<Self> {
        from_str(text.get()).map(Json)
    }
}

impl<T: FromJson> FromJson for Option<T> {
    fn from_json(text: &RawValue) -> Result<Self> {
        if text.get() == "null" { Ok(None) } else { T::from_json(text).map(Some) }
    }
}

impl<T: FromJson> FromJson for Vec<T> {
    fn from_json(text: &RawValue) -> Result<Self> {
        let items: Vec<Box<RawValue>> = from_str(text.get())?;
        items.iter().map(|item| T::from_json(item)).collect()
    }
}

/// A `bytea`.
impl FromJson for Vec<u8> {
    fn from_json(text: &RawValue) -> Result<Self> {
        let text: String = from_str(text.get())?;
        let bytes = text.strip_prefix("\\x").and_then(|text| hex::decode(text).ok());
        bytes.ok_or_else(|| serde_json::Error::custom("these are no bytes"))
    }
}

/// A time without a zone.
impl FromJson for PrimitiveDateTime {
    fn from_json(text: &RawValue) -> Result<Self> {
        let text: String = from_str(text.get())?;
        Self::parse(&text, &Iso8601::PARSING).map_err(serde_json::Error::custom)
    }
}

impl FromJson for OffsetDateTime {
    fn from_json(text: &RawValue) -> Result<Self> {
        let text: String = from_str(text.get())?;
        Self::parse(&text, &Rfc3339).map_err(serde_json::Error::custom)
    }
}
