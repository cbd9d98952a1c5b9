//! `make chaos SEEDS=n MESSAGES=n VIA=direct|supabase|poll`.

use std::num::NonZeroUsize;
use std::process::ExitCode;

use clap::Parser;
use miette::miette;
use stories::{ChaosArgs, Cli, Verdict};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Some(member) = cli.member {
        return member.live();
    }
    let threads = NonZeroUsize::new(2).expect("two is not zero");
    match boot::block_on_with_stop("chaos", threads, |stop| work(cli.chaos, stop)).flatten() {
        Ok(verdict) if verdict.is_innocent() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(report) => {
            eprintln!("{report:?}");
            ExitCode::FAILURE
        }
    }
}

async fn work(args: ChaosArgs, stop: CancellationToken) -> miette::Result<Verdict> {
    tokio::select! {
        verdict = stories::run(&args) => verdict,
        () = stop.cancelled() => Err(miette!("interrupted")),
    }
}
