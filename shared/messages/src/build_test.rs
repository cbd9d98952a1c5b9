use serde::{Deserialize, Serialize};

use crate::{Assignment, Payload};

/// Asks for code to be built and tested.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BuildTest {
    pub source: Source,
    #[serde(default)]
    pub build: BuildPlan,
    #[serde(default, rename = "__assignment")]
    pub assignment: Assignment,
}

/// Where the code is: `{"artifact": "sha256:…"}` or `{"git": {"url": …, "ref": …}}`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Source {
    /// The digest of an artifact in the store.
    Artifact(String),
    Git {
        url: String,
        #[serde(rename = "ref")]
        at: String,
    },
}

/// How code is built and tested.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BuildPlan {
    /// One after the other, each a program and its arguments; found out from the files, if empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<Vec<String>>,
    /// Whether the commands may reach the network.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub network: bool,
    /// For all commands together; the worker's own limit holds as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

impl Payload for BuildTest {
    const SERVICE: &'static str = "code";
    const ROLE: &'static str = "build-test";
}

/// What building and testing came to: the result of the message, and what its event carries.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct BuildReport {
    pub passed: bool,
    /// Tests that ran.
    pub tests: u64,
    /// Of these, those that failed, and commands that failed without naming a test.
    pub failures: u64,
    pub duration_ms: u64,
    /// Where the whole report is, with the commands' output.
    pub report_url: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_an_artifact_or_a_repository() {
        for wire in [
            r#"{"artifact":"sha256:ab"}"#,
            r#"{"git":{"url":"https://git.example/a.git","ref":"main"}}"#,
        ] {
            let source: Source = serde_json::from_str(wire).unwrap();
            assert_eq!(serde_json::to_string(&source).unwrap(), wire);
        }
        let message: BuildTest =
            serde_json::from_str(r#"{"source": {"artifact": "sha256:ab"}}"#).unwrap();
        assert_eq!(message.build, BuildPlan::default());
        assert!(serde_json::from_str::<BuildTest>(r#"{"source": {"folder": "/"}}"#).is_err());
    }
}
