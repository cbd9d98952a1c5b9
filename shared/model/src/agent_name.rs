use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::quote;
use crate::text_type;

/// An entry of the agent catalogue: `cogo-<domain>-<role>`, as in `cogo-codegen-worker`. Its
/// Deployment, its Service and its labels in Kubernetes are called the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentName(Arc<str>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is no name of an agent: {why}; write cogo-<domain>-<role>, as in `cogo-codegen-worker`",
    quote(text)
)]
pub struct InvalidAgentName {
    text: String,
    why: &'static str,
}

const PREFIX: &str = "cogo-";

impl AgentName {
    /// What the check constraint in SQL says about names of agents, beside [`Self::LONGEST`]; a test
    /// holds the two together.
    pub const PATTERN: &'static str = "^cogo-[a-z][a-z0-9]*(-[a-z0-9]+)+$";

    /// What Kubernetes allows a label and most names.
    pub const LONGEST: usize = 63;

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The word after `cogo-`: `code` of `cogo-code-build-test`.
    pub fn domain(&self) -> &str {
        self.parts().0
    }

    /// What follows the domain: `build-test` of `cogo-code-build-test`.
    pub fn role(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&str, &str) {
        self.0[PREFIX.len()..].split_once('-').expect("the parser saw a domain and a role")
    }
}

impl FromStr for AgentName {
    type Err = InvalidAgentName;

    fn from_str(text: &str) -> Result<Self, InvalidAgentName> {
        let invalid = |why| InvalidAgentName { text: text.to_owned(), why };
        let rest = text.strip_prefix(PREFIX).ok_or_else(|| invalid(NO_PREFIX))?;
        if text.len() > Self::LONGEST {
            return Err(invalid(TOO_LONG));
        }
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !rest.bytes().all(letter) {
            return Err(invalid(BAD_LETTERS));
        }
        if rest.split('-').any(str::is_empty) {
            return Err(invalid(BAD_HYPHENS));
        }
        if !rest.starts_with(|first: char| first.is_ascii_lowercase()) {
            return Err(invalid(BAD_DOMAIN));
        }
        if !rest.contains('-') {
            return Err(invalid(NO_ROLE));
        }
        Ok(Self(text.into()))
    }
}

const NO_PREFIX: &str = "it does not begin with `cogo-`";
const TOO_LONG: &str = "it is longer than the 63 letters that Kubernetes allows";
const BAD_LETTERS: &str = "it has something other than lower-case letters, digits and `-`";
const BAD_HYPHENS: &str = "a `-` stands between two words, and nowhere else";
const BAD_DOMAIN: &str = "its domain does not begin with a letter";
const NO_ROLE: &str = "it has a domain and no role";

impl fmt::Display for AgentName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&self.0)
    }
}

text_type!(AgentName);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matching::matching;
    use proptest::prelude::*;

    #[test]
    fn an_agent_is_named_for_its_domain_and_its_role() {
        let longest = format!("cogo-a-{}", "b".repeat(56));
        for (text, domain, role) in [
            ("cogo-agent-core", "agent", "core"),
            ("cogo-codegen-worker", "codegen", "worker"),
            ("cogo-code-build-test", "code", "build-test"),
            ("cogo-a-1", "a", "1"),
            (&longest, "a", &longest[7..]),
        ] {
            let name: AgentName = text.parse().unwrap();
            assert_eq!((name.as_str(), name.domain(), name.role()), (text, domain, role));
        }
    }

    #[test]
    fn a_wrong_name_says_what_is_wrong_with_it() {
        let too_long = format!("cogo-a-{}", "b".repeat(57));
        for (text, why) in [
            ("", NO_PREFIX),
            ("codegen-worker", NO_PREFIX),
            ("Cogo-codegen-worker", NO_PREFIX),
            ("cogo-Codegen-worker", BAD_LETTERS),
            ("cogo-codegen_worker", BAD_LETTERS),
            ("cogo-codegen-worker\n", BAD_LETTERS),
            ("cogo-codegen.worker", BAD_LETTERS),
            ("cogo-", BAD_HYPHENS),
            ("cogo-codegen-", BAD_HYPHENS),
            ("cogo--worker", BAD_HYPHENS),
            ("cogo-codegen--worker", BAD_HYPHENS),
            ("cogo-1a-worker", BAD_DOMAIN),
            ("cogo-codegen", NO_ROLE),
            (&too_long, TOO_LONG),
        ] {
            let invalid = InvalidAgentName { text: text.to_owned(), why };
            assert_eq!(text.parse::<AgentName>(), Err(invalid));
        }
        assert_eq!(
            "cogo-codegen".parse::<AgentName>().unwrap_err().to_string(),
            "`cogo-codegen` is no name of an agent: it has a domain and no role; \
             write cogo-<domain>-<role>, as in `cogo-codegen-worker`",
        );
    }

    proptest! {
        #[test]
        fn whatever_the_pattern_makes_is_a_name_unless_it_is_too_long(
            text in matching(AgentName::PATTERN),
        ) {
            match text.parse::<AgentName>() {
                Ok(name) => {
                    let (domain, role) = (name.domain(), name.role());
                    prop_assert_eq!(format!("cogo-{domain}-{role}"), &*text);
                    prop_assert_eq!(name.to_string(), text);
                }
                Err(error) => {
                    prop_assert_eq!(error.why, TOO_LONG);
                    prop_assert!(text.len() > AgentName::LONGEST);
                }
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic_or_print_differently(text in "(cogo-)?[a-z0-9A-Z.é-]{0,70}") {
            if let Ok(name) = text.parse::<AgentName>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }
}
