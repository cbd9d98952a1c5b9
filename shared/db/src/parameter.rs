use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio_postgres::types::ToSql;

/// What a statement is given: as Postgres wants it, and as a function's argument in JSON.
pub trait Parameter: Sync {
    #[doc(hidden)]
    fn sql(&self) -> &(dyn ToSql + Sync);
    #[doc(hidden)]
    fn json(&self) -> serde_json::Result<Box<RawValue>>;
}

/// Whatever is both: numbers, texts, our own words, [`Json`](crate::Json), and lists of them. Not a
/// time: JSON has none, so a function takes it as a text.
impl<T: ToSql + Serialize + Sync> Parameter for T {
    fn sql(&self) -> &(dyn ToSql + Sync) {
        self
    }

    fn json(&self) -> serde_json::Result<Box<RawValue>> {
        to_raw_value(self)
    }
}

pub(crate) type Parameters<'a> = &'a [&'a dyn Parameter];

pub(crate) fn sql<'a>(parameters: Parameters<'a>) -> Vec<&'a (dyn ToSql + Sync)> {
    parameters.iter().map(|one| one.sql()).collect()
}
