use std::fmt;
use std::str::FromStr;

use model::{Route, Shard, Stage, Tenant};

/// What a worker listens to: a stage, one shard or every one, one tenant or every one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listen {
    pub stage: Stage,
    pub shard: Option<Shard>,
    pub tenant: Option<Tenant>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}; `*` as the shard means every shard")]
pub struct InvalidListen {
    why: String,
}

impl FromStr for Listen {
    type Err = InvalidListen;

    fn from_str(text: &str) -> Result<Self, InvalidListen> {
        let parse = |text: &str| {
            text.parse::<Route>().map_err(|invalid| InvalidListen { why: invalid.to_string() })
        };
        let parts: Vec<&str> = text.splitn(4, '/').collect();
        let every_shard = parts.get(2) == Some(&"*");
        let route = if every_shard {
            let mut parts = parts;
            parts[2] = "0";
            parse(&parts.join("/"))?
        } else {
            parse(text)?
        };
        Ok(Self {
            stage: route.stage().clone(),
            shard: (!every_shard).then(|| route.shard()),
            tenant: route.tenant().cloned(),
        })
    }
}

impl From<Route> for Listen {
    fn from(route: Route) -> Self {
        Self {
            stage: route.stage().clone(),
            shard: Some(route.shard()),
            tenant: route.tenant().cloned(),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/", self.stage)?;
        match self.shard {
            Some(shard) => write!(out, "{shard}")?,
            None => write!(out, "*")?,
        }
        match &self.tenant {
            Some(tenant) => write!(out, "/{tenant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listened_to_prints_as_it_is_parsed() {
        for text in ["codegen/generate/0", "codegen/generate/*", "a/b/7/acme", "a/b/*/acme"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_route_is_refused() {
        for text in ["codegen", "codegen/generate", "codegen/*/0", "a/b/*/", "a/b/*/x/y", "*"] {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }
}
