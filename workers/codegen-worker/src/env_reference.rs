use std::fmt;
use std::str::FromStr;

use model::Secret;
use serde::Deserialize;

/// Names a secret in this worker's environment, as `env:ANTHROPIC_API_KEY`. May be printed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct EnvReference {
    name: String,
}

/// Never quotes what was written: somebody may have pasted the secret itself.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidReference {
    #[error("a secret is given by reference, as in env:ANTHROPIC_API_KEY, and never itself")]
    NoReference,
    #[error(
        "this worker cannot resolve {scheme} references; give it the secret in its environment \
         and write env:NAME"
    )]
    OtherStore { scheme: &'static str },
    #[error("{INVALID_NAME}")]
    Name,
}

pub(crate) const INVALID_NAME: &str =
    "the name of a variable has letters, digits and `_`, and does not begin with a digit";

impl EnvReference {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// At the moment of use; `None` if it is not set.
    pub(crate) fn resolve(&self) -> Option<Secret> {
        variable(&self.name).filter(|value| !value.is_empty()).map(Secret::new)
    }
}

/// Variables that operators name in a file cannot be settings: --help does not know them.
#[expect(clippy::disallowed_methods, reason = "the names come from the executors file")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl FromStr for EnvReference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        match text.split_once(':') {
            Some(("env", name)) if is_name(name) => Ok(Self { name: name.to_owned() }),
            Some(("env", _)) => Err(InvalidReference::Name),
            Some(("k8s", _)) => Err(InvalidReference::OtherStore { scheme: "k8s" }),
            Some(("vault", _)) => Err(InvalidReference::OtherStore { scheme: "vault" }),
            _ => Err(InvalidReference::NoReference),
        }
    }
}

impl TryFrom<String> for EnvReference {
    type Error = InvalidReference;

    fn try_from(text: String) -> Result<Self, InvalidReference> {
        text.parse()
    }
}

impl fmt::Display for EnvReference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "env:{}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_environment_is_known_and_no_value_is_repeated() {
        let parsed: EnvReference = "env:A_KEY2".parse().unwrap();
        assert_eq!((parsed.name(), parsed.to_string().as_str()), ("A_KEY2", "env:A_KEY2"));
        for (text, error) in [
            ("sk-hunter2", InvalidReference::NoReference),
            ("", InvalidReference::NoReference),
            ("https://hunter2", InvalidReference::NoReference),
            ("env:", InvalidReference::Name),
            ("env:2", InvalidReference::Name),
            ("env:A B", InvalidReference::Name),
            ("k8s:ns/hunter2", InvalidReference::OtherStore { scheme: "k8s" }),
            ("vault:mount/path#key", InvalidReference::OtherStore { scheme: "vault" }),
        ] {
            let said = text.parse::<EnvReference>().unwrap_err();
            assert!(!said.to_string().contains("hunter2"));
            assert_eq!(said, error, "{text}");
        }
    }

    #[test]
    fn a_reference_is_resolved_when_it_is_used() {
        // Cargo sets this one for every test.
        let package: EnvReference = "env:CARGO_PKG_NAME".parse().unwrap();
        assert_eq!(package.resolve().unwrap().expose(), "codegen-worker");
        assert!("env:COGO_NOBODY_SETS_THIS".parse::<EnvReference>().unwrap().resolve().is_none());
    }
}
