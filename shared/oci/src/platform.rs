use std::fmt;
use std::str::FromStr;

use model::{quote, text_type};

/// What a machine runs: `linux/amd64`, `linux/arm/v7`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is no platform; write os/architecture[/variant], as in `linux/amd64` or `linux/arm64`",
    quote(.0)
)]
pub struct InvalidPlatform(String);

impl Platform {
    /// Of what an image says of itself. Two ways to say the same become one.
    pub(crate) fn new(os: &str, architecture: &str, variant: Option<&str>) -> Option<Self> {
        let word = |text: &str| {
            (1..=32).contains(&text.len())
                && text.bytes().all(|byte| {
                    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte)
                })
        };
        let variant = variant.filter(|variant| !variant.is_empty());
        let variant = variant.filter(|variant| (architecture, *variant) != ("arm64", "v8"));
        let valid = word(os) && word(architecture) && variant.is_none_or(word);
        valid.then(|| Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        })
    }

    /// Whether an image for this also runs where `needs` is asked for.
    pub(crate) fn serves(&self, needs: &Self) -> bool {
        self.os == needs.os
            && self.architecture == needs.architecture
            && (needs.variant.is_none() || needs.variant == self.variant)
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Self, InvalidPlatform> {
        let mut parts = text.split('/');
        let (os, architecture, variant) = (parts.next(), parts.next(), parts.next());
        let found = match (os, architecture, parts.next()) {
            (Some(os), Some(architecture), None) if variant != Some("") => {
                Self::new(os, architecture, variant)
            }
            _ => None,
        };
        found.ok_or_else(|| InvalidPlatform(text.to_owned()))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(out, "/{variant}"))
    }
}

text_type!(Platform);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn platform(text: &str) -> Platform {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_platform_is_an_os_an_architecture_and_perhaps_a_variant() {
        assert_eq!(platform("linux/arm64/v8"), platform("linux/arm64"));
        for text in
            ["", "linux", "linux/", "/amd64", "Linux/amd64", "linux/arm/v7/x", "a b/c", "a/b/"]
        {
            assert_eq!(text.parse::<Platform>(), Err(InvalidPlatform(text.to_owned())));
        }
    }

    #[test]
    fn an_image_serves_what_asks_for_no_other_variant() {
        for (image, needs, serves) in [
            ("linux/amd64", "linux/amd64", true),
            ("linux/arm64/v8", "linux/arm64", true),
            ("linux/arm64", "linux/arm64/v8", true),
            ("linux/arm/v7", "linux/arm", true),
            ("linux/arm", "linux/arm/v7", false),
            ("linux/arm/v6", "linux/arm/v7", false),
            ("linux/amd64", "linux/arm64", false),
            ("windows/amd64", "linux/amd64", false),
        ] {
            assert_eq!(platform(image).serves(&platform(needs)), serves, "{image} {needs}");
        }
    }

    proptest! {
        #[test]
        fn a_platform_prints_as_it_is_parsed(text in "[a-z]{1,9}/[a-z0-9]{1,9}(/v[0-7])?") {
            prop_assert_eq!(platform(&text).to_string(), text);
        }
    }
}
