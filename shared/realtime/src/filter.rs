/// Which rows, in which order, how many.
#[derive(Clone, Copy, Debug)]
pub enum Filter<'a> {
    /// This column has this value.
    Is(&'a str, &'a str),
    /// This column has one of these values.
    In(&'a str, &'a [&'a str]),
    Above(&'a str, i64),
    OrderBy(&'a str),
    Limit(u32),
}

impl Filter<'_> {
    /// As it stands in the address.
    pub(crate) fn query(&self) -> (&str, String) {
        match self {
            Self::Is(column, value) => (column, format!("eq.{value}")),
            Self::In(column, values) => {
                let quoted: Vec<String> = values.iter().map(|value| quoted(value)).collect();
                (column, format!("in.({})", quoted.join(",")))
            }
            Self::Above(column, value) => (column, format!("gt.{value}")),
            Self::OrderBy(columns) => ("order", (*columns).to_owned()),
            Self::Limit(rows) => ("limit", rows.to_string()),
        }
    }
}

/// A comma or a bracket in a value would otherwise end it.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_leave_its_place() {
        let filter = Filter::In("k", &["a,b", "c)", "d\"e", "f\\"]);
        assert_eq!(filter.query(), ("k", r#"in.("a,b","c)","d\"e","f\\")"#.to_owned()));
        assert_eq!(Filter::Is("k", "a&b=c").query().1, "eq.a&b=c");
    }
}
