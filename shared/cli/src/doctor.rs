mod check;
mod cluster;
mod disk;
mod migrations;
mod on_the_bus;
mod realtime;
mod releases;
mod secrets;
mod server;
mod supabase;

use ::cluster::ClusterSettings;
use ::secrets::SecretsSettings;
use anstyle::{AnsiColor, Style};
use bus::{Bus, BusSettings};
use clap::Args;
use db::{Db, SessionMode};
use oci::OciSettings;
use registry::Registry;
use serde::Serialize;

use self::check::{Check, Verdict, failed};
use crate::connection::Connection;
use crate::ended::Ended;

/// Check whether everything is set up as it must be, and say how to mend what is not.
///
/// Looks at the database and its schema, roles and doorbells, at the keeper and the workers, at disks,
/// and, with the settings of an image-controller, at Vault, the accounts' registries and the cluster.
/// ✓ is fine, ! is advice, ✗ is wrong. Exits with 1 if anything is wrong. Changes nothing, and shows
/// no secret.
#[derive(Args)]
#[command(after_help = "\
Examples:
  cogo doctor
  cogo doctor --settings /etc/cogo/image-controller.env     as that process sees the world")]
pub(crate) struct Doctor {
    #[command(flatten)]
    connection: Connection,

    /// Free space, in GiB, below which a disk is worth a warning; below a quarter of it, it is wrong.
    #[arg(long, env, value_name = "GIB", default_value = "2", help_heading = "Disks")]
    free_disk: u64,

    /// Where workers keep artifacts. Of a folder, its disk is looked at.
    #[arg(long, env, value_name = "FOLDER OR URL", help_heading = "Disks")]
    artifacts_base: Option<String>,

    #[command(flatten)]
    bus: BusSettings,

    #[command(flatten)]
    secrets: SecretsSettings,

    #[command(flatten)]
    registries: OciSettings,

    #[command(flatten)]
    cluster: ClusterSettings,
}

#[derive(Serialize)]
struct Report {
    healthy: bool,
    checks: Vec<Check>,
}

impl Doctor {
    pub(crate) async fn run(self) -> miette::Result<Ended> {
        let checks = self.examine().await;
        let healthy = checks.iter().all(|check| check.verdict != Verdict::Wrong);
        self.connection.out().answer(&Report { healthy, checks }, text)?;
        Ok(if healthy { Ended::Well } else { Ended::Badly })
    }

    async fn examine(&self) -> Vec<Check> {
        let settings = &self.connection.db;
        let bus = match Bus::connect(settings, &self.bus) {
            Ok(bus) => bus,
            Err(error) => return vec![supabase::unusable(settings, &error)],
        };
        let over_rest = bus.db().mode() == SessionMode::Supabase;
        let server = match bus.server().await {
            Ok(server) => server,
            Err(error) if !over_rest && migrations::are_lacking(&error) => {
                return vec![migrations::lacking()];
            }
            Err(error) if over_rest => return vec![supabase::no_answer(&error)],
            Err(error) if server::is_not_allowed(&error) => return vec![server::stranger(&error)],
            Err(error) => return vec![failed("connection", &error)],
        };
        let mut checks = vec![server::connection(&bus, &server)];
        if over_rest {
            checks.push(supabase::keys());
        }
        checks.push(server::version(&server));
        checks.push(server::clocks(&server));
        let migrated = migrations::migrations(&bus, settings).await;
        let has_tables = migrated.verdict != Verdict::Wrong;
        checks.push(migrated);
        checks.push(server::mode(&bus));
        if bus.db().mode() == SessionMode::Session {
            checks.push(server::doorbell(&bus).await);
        }
        checks.push(on_the_bus::roles(&bus).await);
        if has_tables {
            checks.push(on_the_bus::loose_roles(&bus).await);
            checks.push(on_the_bus::row_level_security(&bus).await);
            checks.push(on_the_bus::functions(&bus).await);
            checks.push(on_the_bus::keeper(&bus).await);
            checks.push(on_the_bus::workers(&bus).await);
            checks.push(on_the_bus::versions(&bus).await);
            checks.push(on_the_bus::sleepers(&bus).await);
            checks.push(on_the_bus::paused(&bus).await);
        }
        checks.push(server::autovacuum(&server));
        checks.push(server::snapshots(&bus).await);
        if has_tables {
            checks
                .extend(disk::examine(&bus, self.artifacts_base.as_deref(), self.free_disk).await);
        }
        if settings.supabase.supabase_url.is_some() {
            match settings.supabase.endpoint() {
                Ok(endpoint) => {
                    checks.push(supabase::schemas(settings, &endpoint).await);
                    if has_tables {
                        checks.extend(realtime::examine(&bus, &endpoint).await);
                    }
                }
                Err(error) => checks.push(supabase::wrong_endpoint(&error)),
            }
        }
        if has_tables {
            checks.extend(self.rollouts().await);
        }
        checks
    }

    /// What rollouts need beside the database.
    async fn rollouts(&self) -> Vec<Check> {
        let registry = match Db::connect(&self.connection.db) {
            Ok(db) => Registry::new(db),
            Err(error) => return vec![check::broken("connection", &error)],
        };
        let mut checks = secrets::examine(&registry, &self.secrets, &self.registries).await;
        let kubeconfig = self.secrets.kubeconfig.as_deref();
        checks.extend(cluster::examine(&registry, &self.cluster, kubeconfig).await);
        checks.push(releases::pull_secrets(&registry).await);
        checks.push(releases::paused(&registry).await);
        checks
    }
}

fn text(report: &Report) -> String {
    let widest = report.checks.iter().map(|check| check.check.len()).max().unwrap_or_default();
    let mut page = String::new();
    for Check { check, verdict, found, fix } in &report.checks {
        let (mark, colour) = match verdict {
            Verdict::Fine => ("✓", AnsiColor::Green),
            Verdict::Advice => ("!", AnsiColor::Yellow),
            Verdict::Wrong => ("✗", AnsiColor::Red),
        };
        let colour = Style::new().fg_color(Some(colour.into()));
        page.push_str(&format!("{colour}{mark}{colour:#} {check:<widest$}  {found}\n"));
        if let Some(fix) = fix {
            page.push_str(&format!("  {:<widest$}  → {fix}\n", ""));
        }
    }
    let wrong = report.checks.iter().filter(|check| check.verdict == Verdict::Wrong).count();
    page.push_str(&match wrong {
        0 => "\nall is well".to_owned(),
        1 => "\none thing is wrong".to_owned(),
        wrong => format!("\n{wrong} things are wrong"),
    });
    page
}
