use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::quote;
use crate::text_type;

/// Whose message it is. Producers that never heard of tenants use `default`.
///
/// Wider than a word, because tenants are named by others: uuids, `org_2b7X`, `acme.example`.
/// Without `/`, so that a route can end in one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenant(Arc<str>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is not a tenant; use at most 128 letters, digits and `_ . : -`, starting with a letter or \
     a digit, as in `acme`",
    quote(.0)
)]
pub struct InvalidTenant(String);

impl Tenant {
    /// What the check constraints in SQL say about tenants; a test holds the two together.
    pub const PATTERN: &'static str = "^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$";

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Tenant {
    fn default() -> Self {
        Self("default".into())
    }
}

impl FromStr for Tenant {
    type Err = InvalidTenant;

    fn from_str(text: &str) -> Result<Self, InvalidTenant> {
        let letter = |byte: u8| byte.is_ascii_alphanumeric();
        let valid = text.len() <= 128
            && text.bytes().next().is_some_and(letter)
            && text.bytes().all(|byte| letter(byte) || b"_.:-".contains(&byte));
        if valid { Ok(Self(text.into())) } else { Err(InvalidTenant(text.to_owned())) }
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&self.0)
    }
}

text_type!(Tenant);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matching::matching;
    use proptest::prelude::*;

    #[test]
    fn tenants_may_be_named_as_others_name_them_but_never_with_a_slash() {
        let (longest, too_long) = ("t".repeat(128), "t".repeat(129));
        for text in ["default", "org_2b7X", "acme.example", "a:b-c", "7", &longest] {
            assert_eq!(text.parse::<Tenant>().unwrap().as_str(), text);
        }
        for text in ["", "a/b", "_a", ".a", "-a", "a b", "a@b", "ä", "a\n", "a'b", &too_long] {
            assert_eq!(text.parse::<Tenant>(), Err(InvalidTenant(text.to_owned())));
        }
    }

    #[test]
    fn the_default_tenant_is_a_tenant() {
        assert_eq!("default".parse(), Ok(Tenant::default()));
    }

    proptest! {
        #[test]
        fn whatever_the_pattern_makes_is_a_tenant_and_prints_as_it_is_parsed(
            text in matching(Tenant::PATTERN),
        ) {
            let tenant: Tenant = text.parse().unwrap();
            prop_assert_eq!(tenant.to_string(), text);
        }
    }
}
