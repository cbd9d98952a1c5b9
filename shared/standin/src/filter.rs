use std::iter::Peekable;
use std::str::Chars;

/// One condition of a subscription, such as `kind=eq.task`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Filter {
    pub(crate) column: String,
    pub(crate) negated: bool,
    /// As Postgres writes it.
    pub(crate) operator: &'static str,
    /// As Postgres reads it: for `in` an array.
    pub(crate) wanted: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidFilter {
    #[error("`{0}` is no filter; write column=operator.value, as in kind=eq.task")]
    Shape(String),
    #[error(
        "`{0}` is no operator of filters; use eq, neq, gt, gte, lt, lte, in, is, like, ilike, \
         match, imatch or isdistinct, with not. before it if need be"
    )]
    Operator(String),
    #[error("`in` wants a list, as in id=in.(1,2)")]
    List,
    #[error("`is` wants null, true, false or unknown")]
    Is,
    #[error("a quoted value has no end")]
    Unquoted,
}

const OPERATORS: [(&str, &str); 13] = [
    ("eq", "="),
    ("neq", "<>"),
    ("gt", ">"),
    ("gte", ">="),
    ("lt", "<"),
    ("lte", "<="),
    ("in", "in"),
    ("is", "is"),
    ("like", "~~"),
    ("ilike", "~~*"),
    ("match", "~"),
    ("imatch", "~*"),
    ("isdistinct", "is distinct from"),
];

/// All conditions of a filter, which are separated by commas; a value with a comma is quoted.
pub(crate) fn parse(text: &str) -> Result<Vec<Filter>, InvalidFilter> {
    let mut rest = text.chars().peekable();
    let mut filters = Vec::new();
    loop {
        filters.push(one(&mut rest, text)?);
        match rest.next() {
            None => return Ok(filters),
            Some(',') => {}
            Some(_) => return Err(InvalidFilter::Shape(text.to_owned())),
        }
    }
}

fn one(rest: &mut Peekable<Chars<'_>>, text: &str) -> Result<Filter, InvalidFilter> {
    let shape = || InvalidFilter::Shape(text.to_owned());
    let column = until(rest, '=').filter(|column| !column.is_empty()).ok_or_else(shape)?;
    let mut operator = until(rest, '.').ok_or_else(shape)?;
    let negated = operator == "not";
    if negated {
        operator = until(rest, '.').ok_or_else(shape)?;
    }
    let known = OPERATORS.iter().find(|(name, _)| *name == operator);
    let (_, operator) = *known.ok_or(InvalidFilter::Operator(operator))?;
    let wanted = match operator {
        "in" => list(rest)?,
        "is" => value(rest, &[','])?.to_ascii_lowercase(),
        _ => value(rest, &[','])?,
    };
    if operator == "is" && !["null", "true", "false", "unknown"].contains(&wanted.as_str()) {
        return Err(InvalidFilter::Is);
    }
    Ok(Filter { column, negated, operator, wanted })
}

fn until(rest: &mut Peekable<Chars<'_>>, end: char) -> Option<String> {
    let mut text = String::new();
    loop {
        match rest.next()? {
            c if c == end => return Some(text),
            c => text.push(c),
        }
    }
}

/// `(a,"b,c")`, as an array of Postgres.
fn list(rest: &mut Peekable<Chars<'_>>) -> Result<String, InvalidFilter> {
    if rest.next() != Some('(') {
        return Err(InvalidFilter::List);
    }
    let mut array = String::from("{");
    if rest.next_if_eq(&')').is_some() {
        return Ok(array + "}");
    }
    loop {
        let item = value(rest, &[',', ')'])?;
        array.push('"');
        for c in item.chars() {
            if matches!(c, '"' | '\\') {
                array.push('\\');
            }
            array.push(c);
        }
        array.push('"');
        match rest.next() {
            Some(',') => array.push(','),
            Some(')') => return Ok(array + "}"),
            Some(_) | None => return Err(InvalidFilter::List),
        }
    }
}

/// Quoted, or up to one of `ends`.
fn value(rest: &mut Peekable<Chars<'_>>, ends: &[char]) -> Result<String, InvalidFilter> {
    let mut text = String::new();
    if rest.next_if_eq(&'"').is_none() {
        while let Some(c) = rest.next_if(|c| !ends.contains(c)) {
            text.push(c);
        }
        return Ok(text);
    }
    loop {
        match rest.next().ok_or(InvalidFilter::Unquoted)? {
            '"' => return Ok(text),
            '\\' => text.push(rest.next().ok_or(InvalidFilter::Unquoted)?),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn filters_say_column_operator_and_value() {
        for (text, expected) in [
            ("kind=eq.task", vec![("kind", false, "=", "task")]),
            ("a=neq.", vec![("a", false, "<>", "")]),
            (
                "at=gte.2026-01-01T00:00:00.5+01:00",
                vec![("at", false, ">=", "2026-01-01T00:00:00.5+01:00")],
            ),
            ("a=not.eq.1,b=lt.2", vec![("a", true, "=", "1"), ("b", false, "<", "2")]),
            ("id=in.(1,2)", vec![("id", false, "in", r#"{"1","2"}"#)]),
            ("id=not.in.()", vec![("id", true, "in", "{}")]),
            (r#"n=in.("a,b","c\"d",e f)"#, vec![("n", false, "in", r#"{"a,b","c\"d","e f"}"#)]),
            (
                r#"n=eq."a,b=c",m=like.x%"#,
                vec![("n", false, "=", "a,b=c"), ("m", false, "~~", "x%")],
            ),
            ("a=is.NULL", vec![("a", false, "is", "null")]),
            ("a=is.true", vec![("a", false, "is", "true")]),
            ("a=not.isdistinct.1", vec![("a", true, "is distinct from", "1")]),
            ("odd name=eq.1", vec![("odd name", false, "=", "1")]),
        ] {
            let filters = parse(text).unwrap();
            let told: Vec<_> = filters
                .iter()
                .map(|one| (&*one.column, one.negated, one.operator, &*one.wanted))
                .collect();
            assert_eq!(told, expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused_with_a_reason() {
        let shape = |text: &str| InvalidFilter::Shape(text.to_owned());
        for (text, why) in [
            ("", shape("")),
            ("kind", shape("kind")),
            ("=eq.1", shape("=eq.1")),
            ("kind=eq", shape("kind=eq")),
            ("a=eq.1,", shape("a=eq.1,")),
            ("a=eq.b,c", shape("a=eq.b,c")),
            ("a=eq.\"b\"c", shape("a=eq.\"b\"c")),
            ("a=same.1", InvalidFilter::Operator("same".to_owned())),
            ("a=not.1", shape("a=not.1")),
            ("a=in.1", InvalidFilter::List),
            ("a=in.(1", InvalidFilter::List),
            ("a=is.1", InvalidFilter::Is),
            ("a=eq.\"1", InvalidFilter::Unquoted),
            ("a=eq.\"1\\", InvalidFilter::Unquoted),
        ] {
            assert_eq!(parse(text).unwrap_err(), why, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_value_can_be_written_in_quotes(value in "\\PC{0,20}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let filters = parse(&format!("a=eq.\"{quoted}\",b=in.(\"{quoted}\",x)")).unwrap();
            prop_assert_eq!(&filters[0].wanted, &value);
            prop_assert_eq!(&filters[1].wanted, &format!("{{\"{quoted}\",\"x\"}}"));
        }

        #[test]
        fn no_text_makes_parsing_panic(text in "[a=.,()\"\\\\not. in]{0,24}") {
            let _ = parse(&text);
        }
    }
}
