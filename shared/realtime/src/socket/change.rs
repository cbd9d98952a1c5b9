use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::frame::Malformed;

/// A row was written, as `postgres_changes` tells it.
#[derive(Clone, Debug)]
pub struct Change {
    /// Which filters of the join it matches, counted from 0.
    pub filters: Vec<usize>,
    pub kind: ChangeKind,
    pub schema: String,
    pub table: String,
    /// As the database wrote it.
    pub commit_timestamp: String,
    /// The new row; none after a delete.
    pub record: Option<Box<RawValue>>,
    /// The old row's primary key, or all of it with `replica identity full`.
    pub old_record: Option<Box<RawValue>>,
    /// Why the record is not whole, as `Error 413: Payload Too Large`.
    pub errors: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ChangeKind {
    Insert,
    Update,
    Delete,
}

impl Change {
    pub(crate) fn size(&self) -> usize {
        [&self.record, &self.old_record].into_iter().flatten().map(|json| json.get().len()).sum()
    }
}

#[derive(Deserialize)]
struct Envelope {
    ids: Vec<i64>,
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "type")]
    kind: ChangeKind,
    schema: String,
    table: String,
    #[serde(default)]
    commit_timestamp: String,
    #[serde(default)]
    record: Option<Box<RawValue>>,
    #[serde(default)]
    old_record: Option<Box<RawValue>>,
    #[serde(default)]
    errors: Value,
}

/// `ids` are those the server gave to the filters of the join, in their order.
pub(crate) fn change(payload: &RawValue, ids: &[i64]) -> Result<Change, Malformed> {
    let Envelope { ids: matched, data } =
        serde_json::from_str(payload.get()).map_err(|_| Malformed::Payload("postgres_changes"))?;
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    Ok(Change {
        // Two equal filters have one id.
        filters: (0..ids.len()).filter(|&filter| matched.contains(&ids[filter])).collect(),
        kind: data.kind,
        schema: data.schema,
        table: data.table,
        commit_timestamp: data.commit_timestamp,
        record: data.record,
        old_record: data.old_record,
        errors: match data.errors {
            Value::Null => Vec::new(),
            Value::Array(errors) => errors.into_iter().map(text).collect(),
            other => vec![text(other)],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(data: &str, ids: &[i64]) -> Result<Change, Malformed> {
        let data = format!(r#"{{"ids":[7,9],"data":{{"schema":"public","table":"t",{data}}}}}"#);
        change(&RawValue::from_string(data).unwrap(), ids)
    }

    fn json(raw: Option<&RawValue>) -> &str {
        raw.map_or("", RawValue::get)
    }

    #[test]
    fn a_change_is_read_whatever_its_key_is_made_of() {
        let key = r#"{"id":"5e1c3c80-0000-4000-8000-000000000000"}"#;
        for (data, kind, record, old_record, errors) in [
            (
                r#""type":"INSERT","record":{"id":1},"errors":null"#.to_owned(),
                ChangeKind::Insert,
                r#"{"id":1}"#,
                "",
                &[][..],
            ),
            (
                format!(r#""type":"UPDATE","record":{key},"old_record":{key}"#),
                ChangeKind::Update,
                key,
                key,
                &[],
            ),
            (format!(r#""type":"DELETE","old_record":{key}"#), ChangeKind::Delete, "", key, &[]),
            (
                r#""type":"INSERT","record":{},"errors":["Error 413: Payload Too Large"]"#
                    .to_owned(),
                ChangeKind::Insert,
                "{}",
                "",
                &["Error 413: Payload Too Large"],
            ),
            (r#""type":"INSERT","errors":"one""#.to_owned(), ChangeKind::Insert, "", "", &["one"]),
        ] {
            let change = read(&data, &[9]).unwrap();
            assert_eq!(change.kind, kind);
            assert_eq!(json(change.record.as_deref()), record);
            assert_eq!(json(change.old_record.as_deref()), old_record);
            assert_eq!(change.errors, errors);
            assert_eq!(change.filters, [0]);
        }
        assert!(read(r#""type":"TRUNCATE""#, &[]).is_err());
    }

    #[test]
    fn a_change_is_led_to_the_filters_it_matches() {
        let filters = |ids| read(r#""type":"INSERT""#, ids).unwrap().filters;
        assert_eq!(filters(&[7, 8, 9]), [0, 2]);
        assert_eq!(filters(&[9, 9]), [0, 1]);
        assert_eq!(filters(&[1, 2]), [0; 0]);
    }
}
