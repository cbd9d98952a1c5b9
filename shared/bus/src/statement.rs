use db::{Statement, Type};

/// Every statement of this crate is a static made here; a test prepares them all.
pub(crate) const fn statement(
    name: &'static str,
    sql: &'static str,
    types: &'static [Type],
) -> Statement {
    Statement { name, sql, types }
}
