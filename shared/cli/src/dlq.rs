use bus::{Bus, DeadLetter, LetterFilter};
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use model::{MessageId, Stage, Tenant};
use tokio_util::sync::CancellationToken;

use crate::connection::Connection;
use crate::ended::{Ended, NotFound};
use crate::human::{count, cut, date, route};
use crate::out::aside;
use crate::replay::Replayed;
use crate::table::{Sheet, or_dash};

/// See and repeat dead letters: messages that failed for good.
#[derive(Args)]
pub(crate) struct Dlq {
    #[command(subcommand)]
    command: Commands,
}

#[derive(Subcommand)]
enum Commands {
    /// List dead letters, the latest first.
    List(List),
    /// Show a dead letter with its error and its payload.
    Show {
        /// The message's number.
        id: MessageId,
    },
    Replay(ReplayLetters),
}

#[derive(Args)]
struct List {
    #[command(flatten)]
    filter: Filter,

    /// Also those that were replayed.
    #[arg(long)]
    all: bool,
}

/// Publish dead letters again, each as a new message under its old trace.
///
/// A letter that was replayed before is only repeated when its number is given.
#[derive(Args)]
#[command(after_help = "\
Examples:
  cogo bus dlq replay 17 18
  cogo bus dlq replay --matching --stage codegen/generate --reason attempts_exhausted")]
struct ReplayLetters {
    /// The messages' numbers.
    #[arg(required_unless_present = "matching")]
    ids: Vec<MessageId>,

    /// Those that fit the filters below, instead of named ones.
    #[arg(long, conflicts_with = "ids")]
    matching: bool,

    #[command(flatten)]
    filter: Filter,
}

#[derive(Args)]
struct Filter {
    /// Only of this stage, as in codegen/generate.
    #[arg(long)]
    stage: Option<Stage>,

    /// Only with this reason, as in attempts_exhausted, lease_lost or expired.
    #[arg(long)]
    reason: Option<String>,

    /// Only of this tenant.
    #[arg(long)]
    tenant: Option<Tenant>,

    /// How many at most.
    #[arg(long, default_value = "50", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
}

impl Filter {
    fn letters(self, open_only: bool) -> LetterFilter {
        let Self { stage, reason, tenant, limit } = self;
        LetterFilter { stage, reason, tenant, open_only, limit }
    }
}

impl Dlq {
    pub(crate) async fn run(
        self,
        to: &Connection,
        stop: CancellationToken,
    ) -> miette::Result<Ended> {
        let bus = to.bus()?;
        match self.command {
            Commands::List(list) => {
                let letters = bus.dead_letters(&list.filter.letters(!list.all)).await?;
                to.out().answer(&letters, |letters| table(letters))?;
                Ok(Ended::Well)
            }
            Commands::Show { id } => show(&bus, id, to).await,
            Commands::Replay(replay) => replay.run(&bus, to, &stop).await,
        }
    }
}

async fn show(bus: &Bus, id: MessageId, to: &Connection) -> miette::Result<Ended> {
    let Some(letter) = bus.dead_letter(id).await? else {
        return Err(NotFound {
            what: format!("message {id} is not among the dead letters"),
            help: "`cogo bus dlq list --all` lists them; `cogo trace` shows any message".to_owned(),
        }
        .into());
    };
    to.out().answer(&letter, page)?;
    Ok(Ended::Well)
}

impl ReplayLetters {
    async fn run(
        self,
        bus: &Bus,
        to: &Connection,
        stop: &CancellationToken,
    ) -> miette::Result<Ended> {
        let ids = if self.matching {
            let letters = bus.dead_letters(&self.filter.letters(true)).await?;
            // The oldest first, as they were sent.
            letters.iter().rev().map(|letter| letter.message_id).collect()
        } else {
            self.ids
        };
        let progress = ProgressBar::new(ids.len().try_into().unwrap_or(u64::MAX));
        let mut replayed = Vec::new();
        for id in &ids {
            if stop.is_cancelled() {
                break;
            }
            match bus.replay(*id).await {
                Ok(new) => replayed.push(Replayed { id: new, replay_of: *id }),
                Err(error) => {
                    progress.abandon();
                    tell_how_far(&replayed, ids.len());
                    return Err(error.into());
                }
            }
            progress.inc(1);
        }
        progress.finish_and_clear();
        if replayed.len() < ids.len() {
            tell_how_far(&replayed, ids.len());
        }
        to.out().answer(&replayed, |replayed| {
            if replayed.is_empty() {
                return "no dead letter fits".to_owned();
            }
            let lines: Vec<String> = replayed.iter().map(Replayed::text).collect();
            lines.join("\n")
        })?;
        Ok(if replayed.len() == ids.len() { Ended::Well } else { Ended::Badly })
    }
}

fn tell_how_far(replayed: &[Replayed], wanted: usize) {
    aside(&format!("replayed {} of {}", replayed.len(), count(wanted, "message")));
}

fn table(letters: &[DeadLetter]) -> String {
    if letters.is_empty() {
        return "no dead letters".to_owned();
    }
    let mut sheet =
        Sheet::new(&["#message", "route", "reason", "#attempts", "died", "replayed as", "error"]);
    for letter in letters {
        sheet.row([
            letter.message_id.to_string(),
            route(&letter.route),
            letter.reason.clone(),
            letter.attempts.to_string(),
            date(letter.died_at),
            or_dash(letter.replayed_as),
            cut(letter.error.as_deref().unwrap_or("–"), 60),
        ]);
    }
    sheet.text()
}

fn page(letter: &DeadLetter) -> String {
    let payload = letter.payload.as_ref().map_or("", |payload| payload.get());
    let pretty = serde_json::from_str::<serde_json::Value>(payload)
        .and_then(|value| serde_json::to_string_pretty(&value))
        .unwrap_or_else(|_| payload.to_owned());
    let replayed = letter.replayed_as.map_or_else(
        || format!("not yet; `cogo bus dlq replay {}` does it", letter.message_id),
        |id| format!("message {id}"),
    );
    format!(
        "message   {}\nroute     {}\ntrace     {}\ndied      {} after {}\nreason    {}\nerror     {}\nreplayed  {replayed}\npayload   {}",
        letter.message_id,
        route(&letter.route),
        letter.trace_id,
        date(letter.died_at),
        count(usize::try_from(letter.attempts).unwrap_or_default(), "attempt"),
        letter.reason,
        letter.error.as_deref().unwrap_or("–"),
        pretty.replace('\n', "\n          "),
    )
}
