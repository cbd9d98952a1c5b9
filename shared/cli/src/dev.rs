use clap::{Args, Command};
use db::DbSettings;
use localstack::{GatewaySettings, Part, StackSettings, Wanted};
use miette::IntoDiagnostic;
use tokio_util::sync::CancellationToken;

use crate::chosen::Chosen;
use crate::connection::Connection;
use crate::crew::Crew;
use crate::ended::Ended;
use crate::local::{Local, Plan};
use crate::out::aside;
use crate::tail::Tail;

/// Run everything on this machine: a Postgres of its own, what stands in for Supabase, every worker.
///
/// Needs no database and no settings. The data stays in its folder and is found again by the next
/// start; Ctrl-C stops all of it, Postgres included. Shows events as they happen. One port stands in
/// for Supabase, with /rest/v1, /realtime/v1 and /functions/v1; `cogo status` tells how to reach it.
#[derive(Args)]
pub(crate) struct Dev {
    /// Where the HTTP API listens, on this machine only; 3000 unless set.
    #[arg(long, env = "PORT", value_name = "PORT")]
    port: Option<u16>,

    #[command(flatten)]
    chosen: Chosen,

    #[command(flatten)]
    stack: StackSettings,

    #[command(flatten)]
    gateway: GatewaySettings,
}

pub(crate) const PORT: u16 = 3000;
/// What the data folder is called unless somebody says another.
pub(crate) const FOLDER: &str = "cogo";

pub(crate) fn command() -> Command {
    // clap shows a command's own order; these two come first.
    let command = Dev::augment_args(Command::new("dev").display_order(1));
    command.after_help(
        "Examples:\n  \
         cogo dev                                 everything, on ports 3000, 54321 and 54322\n  \
         cogo dev --only rest,realtime            what stands in for Supabase, without workers\n  \
         cogo dev --except probe --port 3100\n  \
         cogo dev --data /tmp/try --pg-port 5500  another one beside it, with --gateway-port too",
    )
}

impl Dev {
    pub(crate) fn chosen(&self) -> &Chosen {
        &self.chosen
    }

    pub(crate) async fn run(self, crew: Crew, stop: CancellationToken) -> miette::Result<Ended> {
        let folder = self.stack.folder(FOLDER)?;
        let port = self.port.unwrap_or(PORT);
        let (parts, added) = self.chosen.parts();
        if !added.is_empty() {
            aside(&format!("also {}, which that needs", listed(added)));
        }
        let behind_gateway = parts.iter().any(|part| part.behind_gateway());
        let here = std::env::current_dir().into_diagnostic()?;
        let wanted = Wanted { parts, settings: self.gateway, here, realtime: None };
        let services = behind_gateway.then_some(wanted);
        let plan = Plan { crew, stack: self.stack, folder, port, services, more: Vec::new() };
        let started = Local::start(plan, &stop).await?;
        let Some(local) = started else { return Ok(Ended::Well) };
        let showing = show_events(local.db.clone(), ready(&local), stop.clone());
        local.run(showing, &stop).await?;
        aside("stopped; the data stays for the next time");
        Ok(Ended::Well)
    }
}

/// Says `ready`, and then what happens, until `stop`.
pub(crate) async fn show_events(
    db: DbSettings,
    ready: String,
    stop: CancellationToken,
) -> miette::Result<Ended> {
    Tail::from_now().watch(&Connection::to(db), stop, || aside(&ready)).await
}

/// What there is now, and how to use it.
pub(crate) fn ready(local: &Local) -> String {
    let stack = &local.stack;
    let settings = stack.settings_file();
    let mut lines = vec![
        String::new(),
        format!("Cogo runs here: {}", what(local)),
        String::new(),
        format!("  data      {}", stack.folder().display()),
        format!("  postgres  {}, {}", stack.postgres_version(), stack.psql()),
    ];
    if let Some(api) = &local.api {
        let keys = stack.keys().file.display();
        lines.extend([
            format!("  api       {}", api.base()),
            format!("  key       SUPABASE_SECRET_KEY in {keys}"),
        ]);
    }
    if let Some(services) = &local.services {
        let (up, off): (Vec<_>, Vec<_>) = services.parts().partition(|(_, why)| why.is_none());
        let up: Vec<String> = up.iter().map(|(part, _)| format!("/{part}/v1")).collect();
        lines.push(format!("  supabase  {} {}", services.url(), up.join(" ")));
        for (part, why) in off {
            lines.push(format!("            without {part}: {}", why.unwrap_or_default()));
        }
        let names: Vec<&str> = stack.keys().named().iter().map(|(name, _)| *name).collect();
        lines.push(format!("  keys      {} in {}", names.join(", "), stack.keys().file.display()));
        lines.push("            `cogo status -o env` prints them".to_owned());
    }
    if let Some(api) = &local.api {
        let keys = stack.keys().file.display();
        lines.extend([
            String::new(),
            "Send an intent:".to_owned(),
            format!("  . {keys}"),
            format!(
                "  curl {}/v1/intents -H \"Authorization: Bearer $SUPABASE_SECRET_KEY\" \\",
                api.base()
            ),
            format!("    -H 'Content-Type: application/json' -d '{EXAMPLE}'"),
        ]);
    }
    lines.extend([
        String::new(),
        "Use the other commands, in another terminal:".to_owned(),
        format!("  {}export COGO_SETTINGS={}", alias(), settings.display()),
        "  cogo bus stats; cogo workers list; cogo trace <id>".to_owned(),
        String::new(),
        "Ctrl-C stops all of it. Events as they happen:".to_owned(),
    ]);
    lines.join("\n")
}

/// The workers; or, where none run, the parts.
fn what(local: &Local) -> String {
    if !local.workers.is_empty() {
        return local.workers.join(", ");
    }
    let services = local.services.iter().flat_map(|services| services.parts());
    let up = services.filter(|(_, why)| why.is_none()).map(|(part, _)| part);
    listed([Part::Postgres].into_iter().chain(up))
}

fn listed(parts: impl IntoIterator<Item = Part>) -> String {
    parts.into_iter().map(Part::name).collect::<Vec<_>>().join(", ")
}

/// Makes `cogo` mean this program for whoever started it by its path, as `make` does.
pub(crate) fn alias() -> String {
    let program = std::env::args().next().unwrap_or_default();
    if program.contains('/') { format!("alias cogo={program}; ") } else { String::new() }
}

const EXAMPLE: &str = r#"{"intent": "hello", "payload": {"template": "rust"}}"#;
