use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use model::duration;

/// How registries of images are reached.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Image registries")]
pub struct OciSettings {
    /// How long one answer of a registry is waited for.
    #[arg(long, env, default_value = "10s", value_name = "TIME", value_parser = duration)]
    pub registry_timeout: Duration,

    /// A file of certificates (PEM) that registries may be signed by, besides the system's.
    #[arg(long, env, value_name = "FILE")]
    pub registry_cacert: Option<PathBuf>,

    /// Hosts that may be sent an account's password in exchange for a token, where a registry names
    /// one that is neither on its own host, nor its parent domain, nor known to be its provider's.
    #[arg(long, env, value_delimiter = ',', value_name = "HOSTS")]
    pub registry_token_hosts: Vec<String>,

    /// Where tokens of ECR are asked for, if not at the public address of the registry's region: a
    /// VPC endpoint, for example.
    #[arg(long, env = "AWS_ENDPOINT_URL_ECR", value_name = "URL")]
    pub ecr_endpoint: Option<String>,
}

impl Default for OciSettings {
    /// As if nothing were set.
    fn default() -> Self {
        Self {
            registry_timeout: Duration::from_secs(10),
            registry_cacert: None,
            registry_token_hosts: Vec::new(),
            ecr_endpoint: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, FromArgMatches};

    #[test]
    fn the_defaults_are_what_the_help_says() {
        let found = OciSettings::augment_args(Command::new("a"))
            .mut_args(|arg| arg.env(None::<&str>))
            .get_matches_from(["a"]);
        let parsed = OciSettings::from_arg_matches(&found).unwrap();
        assert_eq!(format!("{parsed:?}"), format!("{:?}", OciSettings::default()));
    }
}
