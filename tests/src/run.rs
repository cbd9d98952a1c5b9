use std::fmt;
use std::path::{Path, PathBuf};

use miette::{Context, IntoDiagnostic};
use tempfile::TempDir;

use crate::ChaosArgs;
use crate::judge::{Finding, Kind};
use crate::seed::{Outcome, run_seed};

/// What was found over all seeds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Verdict {
    lost: usize,
    stuck: usize,
    doubled: usize,
}

impl Verdict {
    pub fn is_innocent(&self) -> bool {
        self.lost + self.stuck + self.doubled == 0
    }

    fn count(&mut self, findings: &[Finding]) {
        for finding in findings {
            match finding.kind {
                Kind::Lost => self.lost += 1,
                Kind::Stuck => self.stuck += 1,
                Kind::Doubled => self.doubled += 1,
            }
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lost, stuck, doubled } = self;
        write!(out, "lost {lost}, stuck {stuck}, doubled {doubled}")
    }
}

/// So many findings of a seed are told; they tend to have one cause.
const TOLD: usize = 20;

/// Runs every seed, one line for each; the verdict is the last line.
pub async fn run(args: &ChaosArgs) -> miette::Result<Verdict> {
    let seeds: Vec<u32> = match args.seed {
        Some(seed) => vec![seed],
        None => (0..args.seeds).map(|_| rand::random()).collect(),
    };
    let mut verdict = Verdict::default();
    for seed in seeds {
        let logs = Logs::of(seed, args.logs.as_deref())?;
        let outcome = run_seed(seed, args, logs.folder()).await;
        if outcome.as_ref().map_or(true, |outcome| !outcome.findings.is_empty()) {
            // Somebody will want to read what the fleet said.
            println!("the logs of seed {seed} are in {}", logs.keep().display());
        }
        let outcome = outcome.wrap_err_with(|| {
            let ChaosArgs { messages, via, .. } = args;
            let via = format!("{via:?}").to_lowercase();
            let again = format!("--seed {seed} --messages {messages} --via {via}");
            format!("could not finish this run; repeat it with {again}")
        })?;
        tell(seed, &outcome);
        verdict.count(&outcome.findings);
    }
    println!("{verdict}");
    Ok(verdict)
}

fn tell(seed: u32, outcome: &Outcome) {
    let Outcome { messages, done, failed, cancelled, reclaimed, tally, time, findings } = outcome;
    println!(
        "seed {seed}: {messages} messages, {done} done, {failed} failed, {cancelled} cancelled, \
         {reclaimed} reclaimed; {} kills, {} stops, {} drains, {} terminations, {} cuts, \
         {} restarts of Postgres, {} of PostgREST, {} of Realtime; {:.1} s",
        tally.kills,
        tally.stops,
        tally.drains,
        tally.terminations,
        tally.cuts,
        tally.restarts,
        tally.rest_restarts,
        tally.realtime_restarts,
        time.as_secs_f64()
    );
    for finding in findings.iter().take(TOLD) {
        println!("  {finding}");
    }
    if findings.len() > TOLD {
        println!("  and {} more", findings.len() - TOLD);
    }
}

/// Where the processes of one run write their logs.
enum Logs {
    Chosen(PathBuf),
    /// Removed when dropped.
    Temporary(TempDir),
}

impl Logs {
    fn of(seed: u32, parent: Option<&Path>) -> miette::Result<Self> {
        if let Some(parent) = parent {
            let folder = parent.join(seed.to_string());
            std::fs::create_dir_all(&folder).into_diagnostic()?;
            return Ok(Self::Chosen(folder));
        }
        let prefix = format!("cogo-chaos-{seed}-");
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir().into_diagnostic()?;
        Ok(Self::Temporary(folder))
    }

    fn folder(&self) -> &Path {
        match self {
            Self::Chosen(folder) => folder,
            Self::Temporary(folder) => folder.path(),
        }
    }

    fn keep(self) -> PathBuf {
        match self {
            Self::Chosen(folder) => folder,
            Self::Temporary(folder) => folder.keep(),
        }
    }
}
