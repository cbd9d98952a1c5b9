use std::collections::BTreeMap;

use serde::Deserialize;

use crate::Platform;
use crate::manifest::PlatformWritten;

/// What an image says of itself, in its labels. Nobody checks that it is true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFacts {
    pub platform: Platform,
    /// `org.opencontainers.image.version`
    pub version: Option<String>,
    /// `org.opencontainers.image.revision`: the commit that it was built from.
    pub revision: Option<String>,
    /// `cogo.component`: which of our programs is in it.
    pub component: Option<String>,
}

/// Longer ones are no version, commit or name.
const LONGEST: usize = 256;

impl ImageFacts {
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let config: Config = serde_json::from_slice(body).ok()?;
        let labels = config.config.and_then(|inner| inner.labels).unwrap_or_default();
        let label = |name: &str| {
            let value = labels.get(name)?;
            let plain =
                !value.is_empty() && value.len() <= LONGEST && !value.chars().any(char::is_control);
            plain.then(|| value.clone())
        };
        Some(Self {
            platform: config.platform.read()?,
            version: label("org.opencontainers.image.version"),
            revision: label("org.opencontainers.image.revision"),
            component: label("cogo.component"),
        })
    }
}

#[derive(Deserialize)]
struct Config {
    #[serde(flatten)]
    platform: PlatformWritten,
    #[serde(default)]
    config: Option<Inner>,
}

#[derive(Deserialize)]
struct Inner {
    #[serde(default, rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parse(value: &Value) -> Option<ImageFacts> {
        ImageFacts::parse(value.to_string().as_bytes())
    }

    #[test]
    fn labels_that_are_not_there_or_are_none_are_left_out() {
        let facts = |labels: Value| {
            let config = json!({ "Labels": labels });
            let value = json!({ "os": "linux", "architecture": "amd64", "config": config });
            parse(&value).unwrap()
        };
        let full = facts(json!({
            "org.opencontainers.image.version": "v1.2.3",
            "org.opencontainers.image.revision": "1a2b3c4",
            "cogo.component": "codegen-worker",
            "else": "x",
        }));
        assert_eq!(full.platform, "linux/amd64".parse().unwrap());
        assert_eq!(full.version.as_deref(), Some("v1.2.3"));
        assert_eq!(full.revision.as_deref(), Some("1a2b3c4"));
        assert_eq!(full.component.as_deref(), Some("codegen-worker"));
        for labels in [
            json!(null),
            json!({}),
            json!({ "cogo.component": "" }),
            json!({ "cogo.component": "a\nb" }),
            json!({ "cogo.component": "a".repeat(257) }),
        ] {
            assert_eq!(facts(labels).component, None);
        }
    }

    #[test]
    fn a_config_without_a_platform_is_none() {
        assert_eq!(parse(&json!({ "config": {} })), None);
        assert_eq!(parse(&json!({ "os": "linux" })), None);
        assert_eq!(ImageFacts::parse(b"<html>"), None);
        assert!(parse(&json!({ "os": "linux", "architecture": "amd64" })).is_some());
    }
}
