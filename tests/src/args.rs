use std::path::PathBuf;

use clap::{Args, Parser};

use crate::{Member, Via};

/// Torments a fleet of workers and judges what came of it.
///
/// The last line says how many messages or effects were lost, stuck or doubled, over all seeds; the
/// exit code is 0 only when all three are zero.
#[derive(Debug, Parser)]
#[command(name = "chaos", args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(flatten)]
    pub chaos: ChaosArgs,
    #[command(subcommand)]
    pub member: Option<Member>,
}

#[derive(Args, Clone, Debug)]
pub struct ChaosArgs {
    /// How many runs, each from a seed of its own.
    #[arg(long, default_value = "5", value_name = "N")]
    pub seeds: usize,

    /// How many messages each run publishes, besides those that follow from them.
    #[arg(long, default_value = "2000", value_name = "N")]
    pub messages: usize,

    /// Repeats the run of this seed, instead of choosing new ones.
    ///
    /// What is sent and which torment comes when is the same; what the scheduler makes of it is not.
    #[arg(long, value_name = "SEED")]
    pub seed: Option<u32>,

    /// How the fleet goes to its database: over connections, over Supabase's APIs, or over those with
    /// no doorbell but the poll.
    #[arg(long, default_value = "direct", value_enum)]
    pub via: Via,

    /// Where the logs of the fleet and of Postgres go; a temporary folder unless set, which is kept
    /// when something was found.
    #[arg(long, value_name = "FOLDER")]
    pub logs: Option<PathBuf>,

    /// Lets the database accept stale leases, to show that the judge would notice.
    #[arg(long)]
    pub break_fence: bool,
}
