use realtime::{Rest, RestError};
use serde_json::value::RawValue;
use std::collections::HashMap;

use crate::parameter::Parameters;
use crate::{DbError, Row, Statement};

/// A statement that only calls one of our functions, and so can also be called over REST:
/// `select public.f(a => $1)`, or `select x, y from public.f(a => $1, b => $2)`.
#[derive(Debug, PartialEq, Eq)]
struct Call<'a> {
    function: &'a str,
    /// Named, each with the number of its parameter.
    arguments: Vec<(&'a str, usize)>,
    /// `None`: the function's value is the only column of the only row.
    columns: Option<Vec<&'a str>>,
}

/// Runs a statement over REST.
pub(crate) async fn query(
    rest: &Rest,
    statement: &Statement,
    parameters: Parameters<'_>,
) -> Result<Vec<Row>, DbError> {
    let Some(call) = Call::of(statement.sql) else {
        return Err(DbError::NeedsDirect(statement.name));
    };
    assert_eq!(parameters.len(), statement.types.len(), "parameters of {}", statement.name);
    let mut arguments = HashMap::with_capacity(call.arguments.len());
    for (name, number) in &call.arguments {
        let value = parameters[number - 1].json().map_err(|error| failed(&error))?;
        arguments.insert(*name, value);
    }
    let answer = rest.call(call.function, &arguments).await;
    let answer = answer.map_err(|error| DbError::calling(statement.name, error))?;
    rows(&call, answer).map_err(|error| failed(&error))
}

/// Whether it can be run over REST; for tests.
pub(crate) fn is_call(sql: &str) -> bool {
    Call::of(sql).is_some()
}

fn rows(call: &Call<'_>, answer: Option<Box<RawValue>>) -> serde_json::Result<Vec<Row>> {
    // A function without a result.
    let Some(answer) = answer else { return Ok(Vec::new()) };
    let Some(columns) = &call.columns else { return Ok(vec![Row::rest(vec![answer])]) };
    // A function with out parameters answers with one object, one that returns a set with many.
    let objects: Vec<HashMap<&str, Box<RawValue>>> = if answer.get().starts_with('[') {
        serde_json::from_str(answer.get())?
    } else {
        vec![serde_json::from_str(answer.get())?]
    };
    let row = |mut object: HashMap<&str, Box<RawValue>>| {
        let mut column = |name: &&str| {
            let missing = || serde::de::Error::custom(format!("there is no `{name}`"));
            object.remove(*name).ok_or_else(missing)
        };
        Ok(Row::rest(columns.iter().map(&mut column).collect::<serde_json::Result<_>>()?))
    };
    objects.into_iter().map(row).collect()
}

fn failed(error: &serde_json::Error) -> DbError {
    DbError::Supabase(RestError::Unreadable(error.to_string()))
}

impl<'a> Call<'a> {
    fn of(sql: &'a str) -> Option<Self> {
        let rest = sql.trim().strip_prefix("select ")?;
        let (before, rest) = rest.split_once("public.")?;
        let columns = match before.trim() {
            "" => None,
            list => Some(list.strip_suffix(" from")?.split(',').map(str::trim).collect::<Vec<_>>()),
        };
        let (function, rest) = rest.split_once('(')?;
        let arguments = rest.strip_suffix(')')?;
        let arguments = if arguments.trim().is_empty() {
            Vec::new()
        } else {
            arguments.split(',').map(argument).collect::<Option<_>>()?
        };
        let named =
            |name: &&str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let columns_are_names = columns.iter().flatten().all(named);
        (named(&function) && columns_are_names).then_some(Self { function, arguments, columns })
    }
}

/// `name => $1`, or with a cast, `name => $1::interval`: Postgres and PostgREST both read texts.
fn argument(text: &str) -> Option<(&str, usize)> {
    let (name, value) = text.split_once("=>")?;
    let value = value.trim().strip_prefix('$')?;
    let number = value.split_once("::").map_or(value, |(number, _)| number);
    Some((name.trim(), number.parse().ok().filter(|number| *number > 0)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_told_from_other_statements() {
        let call = |sql| Call::of(sql);
        assert_eq!(
            call("select public.f()"),
            Some(Call { function: "f", arguments: vec![], columns: None })
        );
        assert_eq!(
            call("select id, lease_ms\n    from public.g(p_a => $2, p_b => $1::interval)"),
            Some(Call {
                function: "g",
                arguments: vec![("p_a", 2), ("p_b", 1)],
                columns: Some(vec!["id", "lease_ms"]),
            })
        );
        for other in [
            "select 1",
            "select * from public.f()",
            "select id from public.t",
            "select public.f($1)",
            "select public.f(a => 1)",
            "select public.f(a => $0)",
            "select public.f(a => $1) + 1",
            "select count(*) from public.f(a => $1)",
            "select a from public.f(a => $1) order by a",
            "insert into public.t (a) values ($1)",
        ] {
            assert_eq!(call(other), None, "{other}");
        }
    }

    #[test]
    fn an_answer_becomes_rows_in_the_order_of_the_statement() {
        let raw = |text: &str| Some(RawValue::from_string(text.to_owned()).unwrap());
        let call = Call::of("select b, a from public.f()").unwrap();
        let read = |text| {
            let rows = rows(&call, raw(text)).unwrap();
            rows.iter()
                .map(|row| (row.get::<String>(0), row.get::<Option<i64>>(1)))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            read(r#"[{"a":1,"b":"x","c":[]},{"b":"y","a":null}]"#),
            [("x".to_owned(), Some(1)), ("y".to_owned(), None)]
        );
        assert_eq!(read(r#"{"a":1,"b":"x"}"#), [("x".to_owned(), Some(1))]);
        assert!(read("[]").is_empty());
        assert!(rows(&call, raw(r#"[{"a":1}]"#)).is_err(), "a column is missing");
        let value = Call::of("select public.f()").unwrap();
        assert_eq!(rows(&value, raw("[1,2]")).unwrap()[0].get::<Vec<i64>>(0), [1, 2]);
        assert!(rows(&value, None).unwrap().is_empty(), "a function may return nothing");
    }
}
