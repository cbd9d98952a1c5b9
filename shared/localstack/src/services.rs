use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use db::DbSettings;
use miette::Diagnostic;

use crate::behind::Behind;
use crate::doorkeeper::Doorkeeper;
use crate::functions::{self, DENO, functions};
use crate::gateway::Gateway;
use crate::kept::{Health, Kept, Program, Tell};
use crate::postgrest::{At, POSTGREST, postgrest, tell_of_changes};
use crate::tool::ToolMissing;
use crate::{DATABASE, GatewaySettings, Part, PostgresError, Stack, StackError, check_port};

/// What stands in for Supabase on top of a [`Stack`]: one gateway, with PostgREST, Realtime and
/// edge functions behind it. Runs until [`Services::stop`], or until this process ends, however
/// that comes about.
#[derive(Debug)]
pub struct Services {
    gateway: Gateway,
    kept: Vec<Kept>,
    behind: [Behind; 3],
}

/// What is to run, and what that takes.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub parts: BTreeSet<Part>,
    pub settings: GatewaySettings,
    /// Where edge functions are looked for, here and further up.
    pub here: PathBuf,
    /// Where Realtime is served, if it is.
    pub realtime: Option<SocketAddr>,
}

/// The first start reads the whole schema, or compiles every function, on a busy machine.
const STARTING: Duration = Duration::from_secs(30);

impl Wanted {
    /// Before anything begins: whether the gateway's port is free and the functions are there.
    pub fn check(&self) -> Result<(), StackError> {
        check_port(self.settings.port(), "--gateway-port")?;
        self.functions().map(drop)
    }

    fn functions(&self) -> Result<Option<PathBuf>, StackError> {
        if !self.parts.contains(&Part::Functions) {
            return Ok(None);
        }
        functions::folder(self.settings.functions.as_deref(), &self.here)
    }
}

impl Services {
    /// On a stack whose database has its roles and tables; `db` is a superuser's way to it. A part
    /// that cannot run is told of and left out, and the others go on.
    pub async fn start(
        stack: &Stack,
        db: &DbSettings,
        wanted: &Wanted,
        tell: Tell,
    ) -> Result<Self, StackError> {
        let failed = |source| StackError::Folder { folder: stack.folder().to_owned(), source };
        let port = wanted.settings.port();
        let listener = match Gateway::bind(port).await {
            Ok(listener) => listener,
            // Somebody came in between; or else the system says why.
            Err(error) => {
                return Err(check_port(port, "--gateway-port")
                    .map_or_else(StackError::Port, |()| failed(error)));
            }
        };
        let url = format!("http://{}", listener.local_addr().map_err(failed)?);
        tell_of_changes(db).await.map_err(PostgresError::Database)?;

        let mut starter = Starter { wanted, tell, kept: Vec::new() };
        let rest = starter.start(Part::Rest, || {
            let program = POSTGREST.find().map_err(CannotRun::from)?;
            let (folder, url) = (stack.folder().join("rest"), format!("{url}/rest/v1"));
            let at = At { port: stack.pg_port(), database: DATABASE };
            Ok(postgrest(program, &folder, stack.keys(), at, &url)?)
        });
        let realtime = starter.realtime();
        let code = wanted.functions()?;
        let functions = starter.start(Part::Functions, || {
            let code = code.ok_or(CannotRun::NoFunctions)?;
            if !functions::can_be_told_to_deno(&code) {
                return Err(CannotRun::Comma(code));
            }
            let program = DENO.find().map_err(CannotRun::from)?;
            Ok(functions(program, &stack.folder().join("functions"), &code, stack.keys(), &url)?)
        });
        let behind = [rest, realtime, functions];
        let keeper = Doorkeeper::new(stack.keys());
        let gateway = Gateway::start(listener, keeper, behind.clone()).map_err(failed)?;
        let Starter { kept, tell, .. } = starter;
        for one in &kept {
            if one.settled(STARTING).await == Health::Starting {
                let program = one.program();
                let log = program.log();
                tell(&format!("{} is slow to start; its log is {}", program.name, log.display()));
            }
        }
        Ok(Self { gateway, kept, behind })
    }

    /// Where it is, as clients write it: the `SUPABASE_URL`.
    pub fn url(&self) -> String {
        self.gateway.url()
    }

    /// What is reached through it, and why something is not.
    pub fn parts(&self) -> impl Iterator<Item = (Part, Option<&str>)> {
        self.behind.iter().map(|behind| (behind.part, behind.why_off()))
    }

    /// Waits until the gateway is gone, which it should never be. May be dropped and called again.
    pub async fn died(&mut self) -> StackError {
        self.gateway.died().await;
        StackError::GatewayDied
    }

    /// Stops all of it; the database still runs.
    pub async fn stop(self) {
        self.gateway.stop().await;
        for kept in self.kept {
            kept.stop().await;
        }
    }
}

struct Starter<'a> {
    wanted: &'a Wanted,
    tell: Tell,
    kept: Vec<Kept>,
}

/// Why a part is left out.
#[derive(Debug, thiserror::Error, Diagnostic)]
enum CannotRun {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Missing(#[from] ToolMissing),
    #[error("there is no folder of edge functions here or further up")]
    #[diagnostic(help("name one with `--functions FOLDER`"))]
    NoFunctions,
    #[error("Deno cannot be told of {}, because of the comma", .0.display())]
    #[diagnostic(help("give that folder another name"))]
    Comma(PathBuf),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Starter<'_> {
    fn start(
        &mut self,
        part: Part,
        program: impl FnOnce() -> Result<Program, CannotRun>,
    ) -> Behind {
        if !self.wanted.parts.contains(&part) {
            return not_chosen(part);
        }
        let started = program().and_then(|it| Ok(Kept::start(it, self.tell.clone())?));
        match started {
            Ok(kept) => {
                let behind = Behind::kept(part, &kept);
                self.kept.push(kept);
                behind
            }
            Err(why) => {
                let help = why.help().map_or_else(String::new, |help| format!("; {help}"));
                let why = format!("{why}{help}");
                (self.tell)(&format!("without {part}: {why}"));
                Behind::off(part, &why)
            }
        }
    }

    fn realtime(&self) -> Behind {
        let part = Part::Realtime;
        match self.wanted.realtime {
            _ if !self.wanted.parts.contains(&part) => not_chosen(part),
            Some(address) => Behind::at(part, address),
            None => Behind::off(part, "nobody serves it"),
        }
    }
}

fn not_chosen(part: Part) -> Behind {
    Behind::off(part, "it was not chosen with `--only`")
}
