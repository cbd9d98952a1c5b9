use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// Which pods somebody means, by their labels.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    pub(crate) labels: BTreeMap<String, String>,
    rules: Vec<LabelSelectorRequirement>,
}

impl Selector {
    pub(crate) fn of(selector: LabelSelector) -> Self {
        let labels = selector.match_labels.unwrap_or_default();
        Self { labels, rules: selector.match_expressions.unwrap_or_default() }
    }

    pub(crate) fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.rules.iter().all(|rule| follows(rule, labels.get(&rule.key)))
    }

    /// All labels that it looks at.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &String> {
        self.labels.keys().chain(self.rules.iter().map(|rule| &rule.key))
    }
}

fn follows(rule: &LabelSelectorRequirement, value: Option<&String>) -> bool {
    let among = |value: &String| rule.values.iter().flatten().any(|one| one == value);
    match rule.operator.as_str() {
        "In" => value.is_some_and(among),
        "NotIn" => !value.is_some_and(among),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        // Kubernetes knows no other; what we do not understand may match.
        _ => true,
    }
}

/// As a list is asked for.
impl fmt::Display for Selector {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels = self.labels.iter().map(|(key, value)| format!("{key}={value}"));
        let rules = self.rules.iter().map(|rule| {
            let key = &rule.key;
            let values = rule.values.as_deref().unwrap_or_default().join(",");
            match rule.operator.as_str() {
                "In" => format!("{key} in ({values})"),
                "NotIn" => format!("{key} notin ({values})"),
                "DoesNotExist" => format!("!{key}"),
                _ => key.clone(),
            }
        });
        out.write_str(&labels.chain(rules).collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn selector(text: Value) -> Selector {
        Selector::of(serde_json::from_value(text).unwrap())
    }

    #[test]
    fn a_selector_matches_and_is_asked_for_as_kubernetes_has_it() {
        let rule = |operator: &str, values: &[&str]| {
            json!({ "matchLabels": { "app": "a" }, "matchExpressions": [
                { "key": "track", "operator": operator, "values": values }] })
        };
        for (given, asked, bare, canary) in [
            (json!({ "matchLabels": { "app": "a" } }), "app=a", true, true),
            (rule("In", &["stable", "old"]), "app=a,track in (stable,old)", false, false),
            (rule("NotIn", &["canary"]), "app=a,track notin (canary)", true, false),
            (rule("Exists", &[]), "app=a,track", false, true),
            (rule("DoesNotExist", &[]), "app=a,!track", true, false),
        ] {
            let selector = selector(given);
            assert_eq!(selector.to_string(), asked);
            let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
            let labels = BTreeMap::from([label("app", "a")]);
            assert_eq!(selector.matches(&labels), bare, "{asked}");
            let labels = BTreeMap::from([label("app", "a"), label("track", "canary")]);
            assert_eq!(selector.matches(&labels), canary, "{asked}");
            assert!(!selector.matches(&BTreeMap::new()), "{asked}");
        }
    }
}
