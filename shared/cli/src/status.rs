use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use localstack::{Stack, StackSettings};
use miette::IntoDiagnostic;
use model::Secret;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::dev::FOLDER;
use crate::ended::{Ended, NotFound};
use crate::out::say;

/// Show the local stack that runs on this machine, and how to reach it.
///
/// The table hides the keys; `-o env` and `-o json` print them.
#[derive(Args)]
pub(crate) struct Status {
    /// How it is written: a table for people, NAME="value" lines, or one JSON document.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Form,

    /// The folder of its data, as `cogo dev` was told.
    #[arg(long, env = "COGO_HOME", value_name = "FOLDER")]
    data: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Table,
    Env,
    Json,
}

/// What is known of a stack that runs.
struct Found {
    data: PathBuf,
    pid: u32,
    pg_port: u16,
    api: Option<String>,
    gateway: Option<String>,
    parts: BTreeMap<String, State>,
    /// What clients need, by the names they know it by.
    settings: Vec<(&'static str, Secret)>,
}

/// As the gateway tells it.
#[derive(Debug, Deserialize, Serialize)]
struct State {
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Health {
    parts: BTreeMap<String, State>,
}

/// It only says what it knows.
const ANSWERING: Duration = Duration::from_secs(5);

impl Status {
    pub(crate) async fn run(self) -> miette::Result<Ended> {
        let settings = StackSettings { data: self.data, ..StackSettings::default() };
        let found = find(settings.folder(FOLDER)?).await?;
        say(&match self.output {
            Form::Table => table(&found),
            Form::Env => env(&found),
            Form::Json => json(&found)?,
        })?;
        Ok(Ended::Well)
    }
}

async fn find(data: PathBuf) -> miette::Result<Found> {
    let Some(running) = Stack::running(&data) else {
        let what = format!("no local stack runs in {}", data.display());
        let help = "start one with `cogo dev`, or name the folder of another: `--data FOLDER`";
        return Err(NotFound { what, help: help.to_owned() }.into());
    };
    let keys = Stack::keys_of(&data)?;
    let mut settings: Vec<(&'static str, Secret)> = Vec::new();
    if let Some(url) = &running.gateway {
        settings.push(("SUPABASE_URL", url.clone().into()));
        settings.extend(keys.named().map(|(name, key)| (name, key.clone())));
    }
    settings.push(("DATABASE_URL", Stack::url_of(&keys, running.pg_port).into()));
    if let Some(api) = &running.api {
        settings.push(("COGO_API_URL", api.clone().into()));
        if running.gateway.is_none() {
            settings.push(("SUPABASE_SECRET_KEY", keys.secret_key.clone()));
        }
    }
    let parts = match &running.gateway {
        Some(gateway) => parts(gateway).await?,
        None => BTreeMap::new(),
    };
    let (pid, pg_port) = (running.pid, running.pg_port);
    Ok(Found { data, pid, pg_port, api: running.api, gateway: running.gateway, parts, settings })
}

/// Nothing if the gateway does not answer just now.
async fn parts(gateway: &str) -> miette::Result<BTreeMap<String, State>> {
    // The first of this process wins, and all of them are this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().timeout(ANSWERING).build();
    let asked = client.into_diagnostic()?.get(format!("{gateway}/health")).send().await;
    let Ok(answer) = asked else { return Ok(BTreeMap::new()) };
    Ok(answer.json().await.map_or_else(|_| BTreeMap::new(), |health: Health| health.parts))
}

fn table(found: &Found) -> String {
    let mut page = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(page, "{name:<10} {value}");
    };
    line("data", &found.data.display().to_string());
    line("process", &found.pid.to_string());
    line("postgres", &format!("127.0.0.1:{}", found.pg_port));
    for (name, url) in [("api", &found.api), ("supabase", &found.gateway)] {
        line(name, url.as_deref().unwrap_or("–"));
    }
    for (part, State { state, why, log }) in &found.parts {
        let why = why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
        let log = log.as_ref().map_or_else(String::new, |log| format!(" (log {})", log.display()));
        line(part, &format!("{state}{why}{log}"));
    }
    let names: Vec<&str> = found.settings.iter().map(|(name, _)| *name).collect();
    let _ = write!(
        page,
        "\nNot shown here: {}\nTo have them all in this shell: set -a; eval \"$(cogo status -o env)\"; set +a",
        names.join(", ")
    );
    page
}

/// As a shell and files of settings read it. No value has a character that means something there:
/// keys are letters, digits, `_`, `-` and `.`, and URLs are of this machine.
fn env(found: &Found) -> String {
    let lines = found.settings.iter().map(|(name, value)| format!("{name}=\"{}\"", value.expose()));
    lines.collect::<Vec<_>>().join("\n")
}

fn json(found: &Found) -> miette::Result<String> {
    let settings: BTreeMap<&str, &str> =
        found.settings.iter().map(|(name, value)| (*name, value.expose())).collect();
    let document = json!({
        "data": found.data,
        "pid": found.pid,
        "pg_port": found.pg_port,
        "api": found.api,
        "gateway": found.gateway,
        "parts": found.parts,
        "env": settings,
    });
    serde_json::to_string_pretty(&document).into_diagnostic()
}
