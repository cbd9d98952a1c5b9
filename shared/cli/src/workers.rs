use bus::{Bus, WorkerSeen};
use clap::{Args, Subcommand};
use model::{Shard, nearest, quote};
use serde::Serialize;

use crate::connection::Connection;
use crate::ended::{Ended, NotFound};
use crate::human::duration;
use crate::table::{Sheet, or_dash};

/// See the fleet, and take workers out of it.
#[derive(Args)]
pub(crate) struct Workers {
    #[command(subcommand)]
    command: Commands,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Subcommand)]
enum Commands {
    /// List the workers and when each was last heard of.
    List {
        /// Also those that are gone.
        #[arg(long)]
        all: bool,
    },
    /// Ask a worker to finish what it holds and leave.
    ///
    /// Returns at once; `cogo workers list` shows it draining.
    Drain {
        /// The worker's id, as `cogo workers list` shows it.
        id: String,
    },
}

#[derive(Serialize)]
struct Drained {
    id: String,
}

impl Workers {
    pub(crate) async fn run(self) -> miette::Result<Ended> {
        let bus = self.connection.bus()?;
        match &self.command {
            Commands::List { all } => {
                let mut fleet = bus.fleet().await?;
                fleet.retain(|worker| *all || worker.state != "gone");
                self.connection.out().answer(&fleet, |fleet| table(fleet))?;
                Ok(Ended::Well)
            }
            Commands::Drain { id } => drain(&bus, id, &self.connection).await,
        }
    }
}

async fn drain(bus: &Bus, id: &str, to: &Connection) -> miette::Result<Ended> {
    if !bus.drain(id).await? {
        let fleet = bus.fleet().await?;
        let living = fleet.iter().filter(|seen| seen.state != "gone").map(|seen| seen.id.as_str());
        let help = match nearest(id, living) {
            Some(near) => format!("did you mean {near}?"),
            None => "`cogo workers list` lists those that are alive".to_owned(),
        };
        let what = format!("there is no worker {} that is alive", quote(id));
        return Err(NotFound { what, help }.into());
    }
    to.out().answer(&Drained { id: id.to_owned() }, |drained| {
        format!("{} was asked to finish what it holds and leave", drained.id)
    })?;
    Ok(Ended::Well)
}

fn table(fleet: &[WorkerSeen]) -> String {
    if fleet.is_empty() {
        return "no worker is alive; `cogo run --help` lists what can be run".to_owned();
    }
    let mut sheet = Sheet::new(&[
        "worker", "id", "stage", "shards", "tenant", "state", "#busy", "#seen", "version",
    ]);
    for worker in fleet {
        let state = if worker.drain_requested && worker.state == "ready" {
            "ready, asked to drain"
        } else {
            &worker.state
        };
        sheet.row([
            worker.agent_name.clone(),
            worker.id.clone(),
            stage(worker),
            shards(worker.shards.as_deref()),
            worker.tenant.as_ref().map_or_else(|| "every".to_owned(), ToString::to_string),
            state.to_owned(),
            format!("{}/{}", worker.busy, worker.slots),
            worker.silent.map_or_else(String::new, |silent| format!("{} ago", duration(silent))),
            or_dash(worker.version.as_ref()),
        ]);
    }
    sheet.text()
}

fn stage(worker: &WorkerSeen) -> String {
    match (&worker.service, &worker.role) {
        (Some(service), Some(role)) => format!("{service}/{role}"),
        _ => "several".to_owned(),
    }
}

fn shards(shards: Option<&[Shard]>) -> String {
    let Some(shards) = shards else { return "every".to_owned() };
    let shards: Vec<String> = shards.iter().map(ToString::to_string).collect();
    shards.join(",")
}
