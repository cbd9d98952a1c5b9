use serde_json::Value;

use crate::look;

/// Which labels an object must have.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

impl Selector {
    /// From a `LabelSelector`.
    pub(crate) fn of(selector: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut all: Vec<Requirement> = look::entries(selector, "/matchLabels")
            .map(|(key, value)| Requirement::In(key.clone(), vec![text(value)]))
            .collect();
        for one in look::list(selector, "/matchExpressions") {
            let key = text(&one["key"]);
            let values = look::list(one, "/values").iter().map(text).collect();
            all.push(match one["operator"].as_str().unwrap_or_default() {
                "In" => Requirement::In(key, values),
                "NotIn" => Requirement::NotIn(key, values),
                "DoesNotExist" => Requirement::Absent(key),
                _ => Requirement::Exists(key),
            });
        }
        Self(all)
    }

    /// From a query: `app=worker,tier in (a,b),!old`. `None` if it is no selector.
    pub(crate) fn parse(query: &str) -> Option<Self> {
        let mut all = Vec::new();
        for part in split(query) {
            let part = part.trim();
            let requirement = if let Some((key, value)) = part.split_once("!=") {
                Requirement::NotIn(word(key)?, vec![value.trim().to_owned()])
            } else if let Some((key, value)) = part.split_once("==").or(part.split_once('=')) {
                Requirement::In(word(key)?, vec![value.trim().to_owned()])
            } else if let Some((key, values)) = part.split_once(" notin ") {
                Requirement::NotIn(word(key)?, values_of(values)?)
            } else if let Some((key, values)) = part.split_once(" in ") {
                Requirement::In(word(key)?, values_of(values)?)
            } else if let Some(key) = part.strip_prefix('!') {
                Requirement::Absent(word(key)?)
            } else {
                Requirement::Exists(word(part)?)
            };
            all.push(requirement);
        }
        Some(Self(all))
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.0.iter().all(|one| match one {
            Requirement::In(key, values) => {
                labels[key].as_str().is_some_and(|held| values.iter().any(|one| one == held))
            }
            Requirement::NotIn(key, values) => {
                labels[key].as_str().is_none_or(|held| values.iter().all(|one| one != held))
            }
            Requirement::Exists(key) => labels[key].is_string(),
            Requirement::Absent(key) => !labels[key].is_string(),
        })
    }
}

/// At commas that are not inside brackets.
fn split(query: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, letter) in query.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&query[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    if from < query.len() {
        parts.push(&query[from..]);
    }
    parts
}

fn word(text: &str) -> Option<String> {
    let text = text.trim();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    (!text.is_empty() && text.bytes().all(plain)).then(|| text.to_owned())
}

fn values_of(text: &str) -> Option<Vec<String>> {
    let inner = text.trim().strip_prefix('(')?.strip_suffix(')')?;
    Some(inner.split(',').map(|one| one.trim().to_owned()).collect())
}

/// What a `fieldSelector` may ask for: `metadata.name=x,status.phase!=Running`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FieldSelector(Vec<(String, String, bool)>);

impl FieldSelector {
    pub(crate) fn parse(query: &str) -> Option<Self> {
        let mut all = Vec::new();
        for part in query.split(',').filter(|part| !part.is_empty()) {
            let (field, value, same) = match part.split_once("!=") {
                Some((field, value)) => (field, value, false),
                None => {
                    let (field, value) = part.split_once("==").or(part.split_once('='))?;
                    (field, value, true)
                }
            };
            all.push((format!("/{}", field.replace('.', "/")), value.to_owned(), same));
        }
        Some(Self(all))
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|(pointer, value, same)| (look::text(object, pointer) == value) == *same)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn labels_are_matched_as_the_query_says() {
        let object = json!({ "metadata": { "labels": { "app": "a", "tier": "x" } } });
        for (query, expected) in [
            ("app=a", true),
            ("app==a,tier=x", true),
            ("app=b", false),
            ("app!=b", true),
            ("other!=b", true),
            ("app in (a, b),tier notin (y)", true),
            ("tier in (y)", false),
            ("app", true),
            ("!app", false),
            ("!other", true),
        ] {
            assert_eq!(Selector::parse(query).unwrap().matches(&object), expected, "{query}");
        }
        assert_eq!(Selector::parse("a b=c"), None);
    }
}
