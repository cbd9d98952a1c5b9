use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Args;
use cluster::ClusterSettings;
use db::DbSettings;
use model::duration;
use oci::OciSettings;
use secrets::SecretsSettings;

use crate::judge::Limits;

/// Brings releases onto Kubernetes, and takes bad ones back.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    #[command(flatten)]
    pub db: DbSettings,
    #[command(flatten)]
    pub cluster: ClusterSettings,
    #[command(flatten)]
    pub secrets: SecretsSettings,
    #[command(flatten)]
    pub registries: OciSettings,
    #[command(flatten)]
    pub rollouts: RolloutSettings,
    #[command(flatten)]
    pub canaries: CanarySettings,

    /// The name under which agents are held, unique among living controllers; made up unless set.
    #[arg(long, env, help_heading = "Rollouts")]
    pub holder_id: Option<String>,

    /// Serves /healthz, /readyz and /metrics here, without a key.
    #[arg(long, env, value_name = "PORT", help_heading = "Operations")]
    pub metrics_port: Option<u16>,

    /// The address they are served at.
    #[arg(long, env, default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED), help_heading = "Operations")]
    pub metrics_bind: IpAddr,
}

/// How fast, and how strictly. The defaults add up to the promise of a minute: a verdict after 40 s
/// at the latest, and what ran before serves again some seconds later.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Rollouts")]
pub struct RolloutSettings {
    /// Time between two looks for releases: the longest that a new one waits to be noticed.
    #[arg(long, env, default_value = "1s", value_parser = duration)]
    pub rollout_every: Duration,

    /// How long an agent stays ours after we were last heard of: the time that is lost when a
    /// controller dies.
    #[arg(long, env, default_value = "3s", value_parser = duration)]
    pub rollout_hold: Duration,

    /// Agents that are rolled out at the same time; the others wait.
    #[arg(long, env, default_value = "200")]
    pub rollout_at_once: NonZeroUsize,

    /// When a release that is not good is called bad.
    #[arg(long, env, default_value = "40s", value_parser = duration)]
    pub rollout_deadline: Duration,

    /// How long the release before may take to serve again.
    #[arg(long, env, default_value = "20s", value_parser = duration)]
    pub rollout_restore: Duration,

    /// How long a release has to be well before it is called good.
    #[arg(long, env, default_value = "5s", value_parser = duration)]
    pub rollout_soak: Duration,

    /// How long pods that are well may stay silent on the bus.
    #[arg(long, env, default_value = "20s", value_parser = duration)]
    pub rollout_silent: Duration,

    /// How old the last heartbeat of a worker may be: more than two of WORKER_BEAT.
    #[arg(long, env, default_value = "25s", value_parser = duration)]
    pub rollout_beat: Duration,
}

/// How the release is judged that serves one route before the rest follows.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Canaries")]
pub struct CanarySettings {
    /// How long a canary serves its route, once it is well, before the rest follows.
    #[arg(long, env, default_value = "30s", value_parser = duration)]
    pub canary_serves: Duration,

    /// Messages that a canary must have had before their outcomes say anything.
    #[arg(long, env, default_value = "5")]
    pub canary_messages: u32,

    /// How much more often its messages may fail than those of the release before, in percent of
    /// all.
    #[arg(long, env, default_value = "10", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub canary_failures: u8,

    /// How many times as long its messages may take, nine of ten of them.
    #[arg(long, env, default_value = "2")]
    pub canary_slower: f64,
}

impl RolloutSettings {
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            soak: self.rollout_soak,
            silent: self.rollout_silent,
            beat: self.rollout_beat,
            ..Limits::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, FromArgMatches};

    #[test]
    fn the_settings_go_together_and_their_defaults_are_the_limits_of_the_judge() {
        let command =
            Settings::augment_args(Command::new("a")).mut_args(|arg| arg.env(None::<&str>));
        let settings = Settings::from_arg_matches(&command.get_matches_from(["a"])).unwrap();
        assert_eq!(settings.rollouts.limits(), Limits::default());
        let promised = settings.rollouts.rollout_deadline + settings.rollouts.rollout_restore;
        assert!(promised <= Duration::from_secs(60));
    }
}
