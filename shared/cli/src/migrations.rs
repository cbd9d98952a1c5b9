use clap::{Args, Subcommand};
use db::migrate::{self, State, Status};
use serde::Serialize;

use crate::connection::Connection;
use crate::ended::Ended;
use crate::human::count;
use crate::table::Sheet;

/// Make the tables, and see whether they are up to date.
#[derive(Args)]
pub(crate) struct Migrations {
    #[command(subcommand)]
    command: Commands,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Subcommand)]
enum Commands {
    /// Apply the migrations that this program was built with and that are still pending.
    ///
    /// Safe to repeat, and to run from several processes at once. Keeps Supabase's own table
    /// (supabase_migrations.schema_migrations), so that `supabase db push` agrees.
    Migrate,
    /// List the migrations; exits with 1 if any is pending or was changed after it was applied.
    Status,
}

#[derive(Serialize)]
struct Line {
    version: String,
    name: String,
    state: String,
}

impl Migrations {
    pub(crate) async fn run(&self) -> miette::Result<Ended> {
        match self.command {
            Commands::Migrate => self.migrate().await,
            Commands::Status => self.status().await,
        }
    }

    async fn migrate(&self) -> miette::Result<Ended> {
        let applied = migrate::apply(&self.connection.db).await?;
        self.connection.out().answer(&applied, |applied| {
            if applied.is_empty() {
                return format!(
                    "nothing to do: all {} are applied",
                    count(migrate::EMBEDDED.len(), "migration")
                );
            }
            let lines: Vec<String> = applied.iter().map(|file| format!("applied {file}")).collect();
            lines.join("\n")
        })?;
        Ok(Ended::Well)
    }

    async fn status(&self) -> miette::Result<Ended> {
        let status = migrate::status(&self.connection.db).await?;
        let lines: Vec<Line> = status.iter().map(line).collect();
        self.connection.out().answer(&lines, |lines| {
            let mut sheet = Sheet::new(&["version", "migration", "state"]);
            for Line { version, name, state } in lines {
                sheet.row([version.clone(), name.clone(), state.clone()]);
            }
            sheet.text()
        })?;
        let behind = status.iter().any(|line| match line.state {
            State::Pending | State::Changed => true,
            State::Applied | State::Unknown => false,
        });
        Ok(if behind { Ended::Badly } else { Ended::Well })
    }
}

fn line(status: &Status) -> Line {
    Line {
        version: status.version.clone(),
        name: status.name.clone(),
        state: status.state.to_string(),
    }
}
