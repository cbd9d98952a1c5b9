use std::time::Duration;

use clap::Args;
use model::duration;

/// Which cluster is spoken to, and how patiently. KUBECONFIG is a setting of secrets, which need it
/// too.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Kubernetes")]
pub struct ClusterSettings {
    /// The context of KUBECONFIG that is meant; its current one unless set.
    #[arg(long, env, value_name = "CONTEXT")]
    pub kube_context: Option<String>,

    /// Talks to a cluster whose kubeconfig says `insecure-skip-tls-verify`.
    ///
    /// Whoever is in between can then read and change everything; never outside of a test.
    #[arg(long, env)]
    pub kube_insecure: bool,

    /// How long one answer of Kubernetes is waited for.
    #[arg(long, env, default_value = "5s", value_name = "TIME", value_parser = duration)]
    pub kube_timeout: Duration,

    /// Time between two full looks at a namespace in which a rollout is watched.
    ///
    /// Changes are told by watches within milliseconds; this finds what a watch has lost.
    #[arg(long, env, default_value = "10s", value_name = "TIME", value_parser = duration)]
    pub kube_list_every: Duration,
}

impl Default for ClusterSettings {
    /// As if nothing were set.
    fn default() -> Self {
        Self {
            kube_context: None,
            kube_insecure: false,
            kube_timeout: Duration::from_secs(5),
            kube_list_every: Duration::from_secs(10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, FromArgMatches};

    #[test]
    fn the_defaults_are_what_the_help_says() {
        let found = ClusterSettings::augment_args(Command::new("a"))
            .mut_args(|arg| arg.env(None::<&str>))
            .get_matches_from(["a"]);
        let parsed = ClusterSettings::from_arg_matches(&found).unwrap();
        assert_eq!(format!("{parsed:?}"), format!("{:?}", ClusterSettings::default()));
    }
}
