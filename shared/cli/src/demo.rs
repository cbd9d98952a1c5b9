use std::path::Path;

use bus::{Bus, BusSettings, TraceHistory};
use clap::{Args, Command, ValueEnum};
use db::DbSettings;
use localstack::{Running, Stack, StackSettings, check_port, free_port};
use messages::{BuildReport, CodegenDone, EventType};
use miette::IntoDiagnostic;
use serde::Deserialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::chosen::Chosen;
use crate::crew::Crew;
use crate::dev::{FOLDER, PORT, alias, ready, show_events};
use crate::ended::Ended;
use crate::human::{count, duration};
use crate::intent_api::IntentApi;
use crate::journey::follow;
use crate::local::{Local, Plan};
use crate::out::{aside, say};
use crate::rollout_demo::show_rollouts;
use crate::table::width;
use crate::waterfall::waterfall;

/// See it work: send an intent and watch it become tested code.
///
/// Starts a stack of its own as `cogo dev` does, unless that runs already, sends an intent through
/// the HTTP API, and shows what happens. It makes a small program from templates, so that it needs
/// no model and no key. Exits with 0 if the program was made and its tests passed.
#[derive(Args)]
pub(crate) struct Demo {
    /// What is made; unless set, a program in a language that this machine can build.
    #[arg(long, value_enum)]
    template: Option<Template>,

    /// Show instead how a tag becomes what runs, and how a bad one is taken back.
    ///
    /// On a cluster that is simulated, with a real registry of images.
    #[arg(long, conflicts_with_all = ["template", "stay"])]
    rollouts: bool,

    /// Leave everything running afterwards, as `cogo dev` does.
    #[arg(long)]
    stay: bool,

    /// Where the HTTP API listens; unless set, 3000 if that is free.
    #[arg(long, env = "PORT", value_name = "PORT")]
    port: Option<u16>,

    #[command(flatten)]
    stack: StackSettings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Template {
    Rust,
    Python,
    Typescript,
    /// A shell script, which needs nothing but make.
    Hello,
}

/// So that one can look at what it leaves and throw it away, without a thought for one's own data.
const DEMO_FOLDER: &str = "cogo-demo";
const ROLLOUTS_FOLDER: &str = "cogo-demo-rollouts";

pub(crate) fn command() -> Command {
    let command = Demo::augment_args(Command::new("demo").display_order(0));
    command.after_help(
        "Examples:\n  \
         cogo demo\n  \
         cogo demo --template python --stay\n  \
         cogo demo --rollouts                     a tag becomes what runs, a bad one goes back",
    )
}

impl Demo {
    /// Which workers it needs.
    pub(crate) fn chosen(&self) -> Chosen {
        if self.rollouts { Chosen::only("image-controller") } else { Chosen::default() }
    }

    pub(crate) async fn run(self, crew: Crew, stop: CancellationToken) -> miette::Result<Ended> {
        if self.rollouts {
            let folder = self.stack.folder(ROLLOUTS_FOLDER)?;
            let (stack, _) = self.free_ports()?;
            return Box::pin(show_rollouts(crew, stack, &folder, stop)).await;
        }
        let theirs = self.stack.folder(FOLDER)?;
        if let Some(running) = Stack::running(&theirs) {
            return self.attach(&theirs, running, &stop).await;
        }
        let folder = self.stack.folder(DEMO_FOLDER)?;
        let (stack, port) = self.free_ports()?;
        let plan = Plan { crew, stack, folder, port, services: None, more: Vec::new() };
        let started = Local::start(plan, &stop).await?;
        let Some(local) = started else { return Ok(Ended::Badly) };
        let (bus, db, api) = (local.bus.clone(), local.db.clone(), local.api.clone());
        let api = api.ok_or_else(|| miette::miette!("no worker of this program serves HTTP"))?;
        let settings_file = local.stack.settings_file();
        let stays = ready(&local);
        let until = stop.clone();
        let show = async {
            let ended = self.show(&bus, &api).await?;
            if self.stay {
                show_events(db, stays, until).await?;
            } else {
                aside(&how_to_go_on(&settings_file));
            }
            Ok(ended)
        };
        let ended = local.run(show, &stop).await?;
        Ok(ended.unwrap_or(Ended::Badly))
    }

    /// Uses what runs already, and leaves it running.
    async fn attach(
        self,
        folder: &Path,
        running: Running,
        stop: &CancellationToken,
    ) -> miette::Result<Ended> {
        let Some(base) = running.api else {
            return Err(miette::miette!(
                help = "start it with agent-core, or give the demo a folder of its own: `--data FOLDER`",
                "the stack in {} has no HTTP API",
                folder.display()
            ));
        };
        aside(&format!("using the stack that runs in {}", folder.display()));
        let keys = Stack::keys_of(folder)?;
        let db = DbSettings::at(&Stack::url_of(&keys, running.pg_port)).named("cogo");
        let bus = Bus::connect(&db, &BusSettings::default())?;
        let api = IntentApi::new(base, keys.secret_key)?;
        tokio::select! {
            ended = self.show(&bus, &api) => ended,
            () = stop.cancelled() => Ok(Ended::Badly),
        }
    }

    /// The demo itself.
    async fn show(&self, bus: &Bus, api: &IntentApi) -> miette::Result<Ended> {
        let template = self.template.unwrap_or_else(Template::of_this_machine);
        let intent = json!({ "intent": "hello", "payload": { "template": template.name() } });
        say(&format!("\nPOST {}/v1/intents  {intent}", api.base()))?;
        say("")?;
        let trace = api.send(&intent).await?;
        let history = follow(bus, trace, |line| {
            let _ = say(line);
        })
        .await?;
        say("")?;
        say(&waterfall(&history, width().unwrap_or(120).into()))?;
        let (ended, summary) = summary(&history);
        say(&summary)?;
        Ok(ended)
    }

    /// The usual ports, or others if somebody has them: a demo should not fail for that. What was
    /// said is kept to.
    fn free_ports(&self) -> miette::Result<(StackSettings, u16)> {
        let mut settings = self.stack.clone();
        if settings.pg_port.is_none() && check_port(settings.pg_port(), "--pg-port").is_err() {
            settings.pg_port = Some(free_port().into_diagnostic()?);
        }
        let port = match self.port {
            Some(port) => port,
            None if check_port(PORT, "--port").is_ok() => PORT,
            None => free_port().into_diagnostic()?,
        };
        Ok((settings, port))
    }
}

impl Template {
    /// What built this program is probably still here.
    #[expect(clippy::disallowed_methods, reason = "where programs are is not a setting of ours")]
    fn of_this_machine() -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let has = |program: &str| std::env::split_paths(&path).any(|at| at.join(program).is_file());
        if has("cargo") { Self::Rust } else { Self::Python }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Python => "python",
            Self::Typescript => "typescript",
            Self::Hello => "hello",
        }
    }
}

/// What came of it, and whether that is good.
fn summary(history: &TraceHistory) -> (Ended, String) {
    let find = |wanted: EventType| {
        history.events.iter().rev().find(|event| event.event_type == wanted.as_str())
    };
    let tested = find(EventType::BUILDTEST_DONE).or_else(|| find(EventType::BUILDTEST_FAILED));
    let report = tested.and_then(|event| BuildReport::deserialize(&event.payload).ok());
    let Some(report) = report else {
        return (Ended::Badly, "nothing was tested; the reasons are above".to_owned());
    };
    let BuildReport { passed, tests, failures, duration_ms, report_url } = report;
    let took = duration(std::time::Duration::from_millis(duration_ms));
    let verdict = if passed { "passed" } else { "failed" };
    let tests = count(usize::try_from(tests).unwrap_or(usize::MAX), "test");
    let mut text = format!("\n{verdict}: {tests}, {failures} failed, built and tested in {took}\n");
    let made = find(EventType::CODEGEN_DONE);
    if let Some(made) = made.and_then(|event| CodegenDone::deserialize(&event.payload).ok()) {
        text += &format!("\nartifact  {}", path(&made.url));
    }
    text += &format!("\nreport    {}", path(&report_url));
    (if passed { Ended::Well } else { Ended::Badly }, text)
}

/// A file of this machine as one gives it to other programs.
fn path(url: &str) -> &str {
    url.strip_prefix("file://").unwrap_or(url)
}

fn how_to_go_on(settings: &Path) -> String {
    format!(
        "\nGo on:\n  \
         make dev, or cogo dev                  a stack to stay; it says how to send an intent\n  \
         cogo demo --stay                       this one again, to look around; while it runs:\n\n  \
         {}export COGO_SETTINGS={}\n  \
         cogo bus tail --messages               follow everything\n  \
         cogo trace <message or trace>          one trace\n  \
         cogo bus send cogo/probe/0 '{{\"text\": \"hello\"}}' --wait\n  \
         psql \"$(sed -n s/^DATABASE_URL=//p $COGO_SETTINGS)\" -c 'table agent_messages'",
        alias(),
        settings.display()
    )
}
