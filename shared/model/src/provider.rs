use std::fmt;
use std::str::FromStr;

use crate::text_type;
use crate::{nearest, quote};

/// Whose registry an account is at, and so how one logs in there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provider {
    /// GitHub.
    Ghcr,
    DockerHub,
    /// Amazon.
    Ecr,
    /// Google: Artifact Registry, and Container Registry before it.
    Gcr,
    /// Any other that speaks the OCI distribution API.
    Oci,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is no provider of a registry{}; write ghcr, dockerhub, ecr, gcr or, for any other, oci",
    quote(.0),
    nearest(.0, Provider::ALL.map(Provider::as_str))
        .map(|near| format!(" (did you mean `{near}`?)"))
        .unwrap_or_default()
)]
pub struct InvalidProvider(String);

impl Provider {
    pub const ALL: [Self; 5] = [Self::Ghcr, Self::DockerHub, Self::Ecr, Self::Gcr, Self::Oci];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ghcr => "ghcr",
            Self::DockerHub => "dockerhub",
            Self::Ecr => "ecr",
            Self::Gcr => "gcr",
            Self::Oci => "oci",
        }
    }
}

impl FromStr for Provider {
    type Err = InvalidProvider;

    fn from_str(text: &str) -> Result<Self, InvalidProvider> {
        let found = Self::ALL.into_iter().find(|provider| provider.as_str() == text);
        found.ok_or_else(|| InvalidProvider(text.to_owned()))
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

text_type!(Provider);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_prints_as_it_is_parsed_and_nothing_else_is_one() {
        for provider in Provider::ALL {
            assert_eq!(provider.to_string().parse(), Ok(provider));
        }
        for text in ["", "GHCR", "docker", "quay", "ghcr "] {
            assert_eq!(text.parse::<Provider>(), Err(InvalidProvider(text.to_owned())));
        }
        assert_eq!(
            "dockrhub".parse::<Provider>().unwrap_err().to_string(),
            "`dockrhub` is no provider of a registry (did you mean `dockerhub`?); write ghcr, \
             dockerhub, ecr, gcr or, for any other, oci",
        );
    }
}
