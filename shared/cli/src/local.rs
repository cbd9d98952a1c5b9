use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bus::{Bus, BusSettings};
use db::{Db, DbSettings, Statement, migrate};
use localstack::{Part, Services, Stack, StackError, StackSettings, Wanted, check_port};
use standin::{ApiKeys, Standin, StandinSettings};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::crew::{Crew, Members};
use crate::human::count;
use crate::intent_api::IntentApi;
use crate::out::aside;

/// A local stack with workers in this process.
pub(crate) struct Local {
    pub(crate) stack: Stack,
    pub(crate) db: DbSettings,
    pub(crate) bus: Bus,
    /// Of the worker that serves HTTP, if it is among them.
    pub(crate) api: Option<IntentApi>,
    pub(crate) workers: Vec<&'static str>,
    /// What stands in for Supabase, if anything does.
    pub(crate) services: Option<Services>,
    realtime: Option<Standin>,
    members: Members,
    stop_members: CancellationToken,
}

/// What is to run, and where.
pub(crate) struct Plan {
    pub(crate) crew: Crew,
    pub(crate) stack: StackSettings,
    pub(crate) folder: PathBuf,
    /// Of the worker that serves HTTP.
    pub(crate) port: u16,
    pub(crate) services: Option<Wanted>,
    /// What workers are told beside that, by the names of their settings.
    pub(crate) more: Vec<(&'static str, String)>,
}

/// Longer than any worker's own grace.
const DRAINING: Duration = Duration::from_secs(60);

impl Local {
    /// Starts everything in the plan's folder, and returns when it is ready; with nothing if it was
    /// told to stop before that.
    pub(crate) async fn start(
        plan: Plan,
        stop: &CancellationToken,
    ) -> miette::Result<Option<Self>> {
        let Plan { crew, stack: settings, folder, port, services: wanted, more } = plan;
        let serves_http = crew.has("PORT");
        // Of our own folder's holder, who probably has the ports, the stack has more to say.
        if Stack::running(&folder).is_none() {
            if serves_http {
                check_port(port, "--port")?;
            }
            if let Some(wanted) = &wanted {
                wanted.check()?;
            }
        }
        let starting = async {
            let mut stack = Stack::start(&settings, folder, aside).await?;
            let db = DbSettings::at(&stack.url()).named("cogo");
            if wanted.is_some() {
                standin::provide(&db, Some(&stack.keys().authenticator_password)).await?;
            }
            let applied = migrate::apply(&db).await?;
            if !applied.is_empty() {
                aside(&format!("applied {}", count(applied.len(), "migration")));
            }
            let (mut services, mut realtime) = (None, None);
            if let Some(mut wanted) = wanted {
                if wanted.parts.contains(&Part::Realtime) {
                    let standin = serve_realtime(&stack, &db).await?;
                    wanted.realtime = Some(standin.address());
                    realtime = Some(standin);
                }
                let started = Services::start(&stack, &db, &wanted, Arc::new(aside)).await?;
                stack.announce_gateway(&started.url())?;
                services = Some(started);
            }
            Ok::<_, miette::Report>((stack, db, services, realtime))
        };
        let (mut stack, db, services, realtime) = tokio::select! {
            started = Box::pin(starting) => started?,
            // Servers stop by themselves when nobody holds them.
            () = stop.cancelled() => return Ok(None),
        };
        let bus = Bus::connect(&db, &BusSettings::default())?;
        let api = format!("http://127.0.0.1:{port}");
        let api = if serves_http {
            stack.announce(&api)?;
            Some(IntentApi::new(api, stack.keys().secret_key.clone())?)
        } else {
            None
        };
        let workers = crew.names();
        let stop_members = CancellationToken::new();
        let mut given = given(&stack, &db, port);
        given.extend(more);
        let members = match crew.start(&given, &stop_members) {
            Ok(members) => members,
            Err(report) => {
                end_services(services, realtime).await;
                stack.stop().await?;
                return Err(report);
            }
        };
        let mut local =
            Self { stack, db, bus, api, workers, services, realtime, members, stop_members };
        let ready = async |api: Option<IntentApi>| {
            if let Some(api) = api {
                api.ready().await;
            }
        };
        let api = local.api.clone();
        let ended = tokio::select! {
            () = ready(api) => None,
            report = local.members.ended_early() => Some(Err(report)),
            died = local.stack.died() => Some(Err(died.into())),
            died = died(&mut local.services) => Some(Err(died.into())),
            () = stop.cancelled() => Some(Ok(None)),
        };
        match ended {
            None => Ok(Some(local)),
            Some(ended) => local.end(ended).await,
        }
    }

    /// Runs `work` beside the workers until it is done, somebody dies, or `stop`; with nothing if
    /// it was not done. Then stops all of it in order: workers first, which may still finish what
    /// they hold, then what stands in for Supabase, the database last.
    pub(crate) async fn run<T>(
        mut self,
        work: impl Future<Output = miette::Result<T>>,
        stop: &CancellationToken,
    ) -> miette::Result<Option<T>> {
        let ended = tokio::select! {
            // Whatever else ends because of it, this is why.
            biased;
            () = stop.cancelled() => {
                aside("stopping: what runs may still finish; Ctrl-C again exits at once");
                Ok(None)
            }
            died = self.stack.died() => Err(died.into()),
            died = died(&mut self.services) => Err(died.into()),
            report = self.members.ended_early() => Err(report),
            done = work => done.map(Some),
        };
        self.end(ended).await
    }

    async fn end<T>(mut self, ended: miette::Result<T>) -> miette::Result<T> {
        self.stop_members.cancel();
        let mut failed = None;
        let drained = timeout(DRAINING, async {
            while let Some((name, ended)) = self.members.next().await {
                if let Err(report) = ended {
                    failed = Some(report.wrap_err(format!("{name} did not stop cleanly")));
                }
            }
        });
        if drained.await.is_err() {
            aside("some workers did not stop in time; their messages come back");
        }
        // Whoever still runs ends here, before the database does.
        drop(self.members);
        end_services(self.services, self.realtime).await;
        let stopped = self.stack.stop().await;
        let done = ended?;
        stopped?;
        failed.map_or(Ok(done), Err)
    }
}

/// Realtime, on a database that may have been made before it had any.
async fn serve_realtime(stack: &Stack, db: &DbSettings) -> miette::Result<Standin> {
    Db::connect(db)?.query(&ATTACH, &[]).await?;
    let keys = stack.keys();
    let api_keys =
        ApiKeys { secret: keys.secret_key.clone(), publishable: keys.publishable_key.clone() };
    let settings = StandinSettings::new(db.clone(), keys.jwt_secret.clone(), api_keys);
    Ok(Standin::start(settings).await?)
}

static ATTACH: Statement =
    Statement { name: "cli.attach_realtime", sql: "select cogo.attach_realtime()", types: &[] };

async fn end_services(services: Option<Services>, realtime: Option<Standin>) {
    if let Some(services) = services {
        services.stop().await;
    }
    if let Some(realtime) = realtime {
        realtime.stop().await;
    }
}

async fn died(services: &mut Option<Services>) -> StackError {
    match services {
        Some(services) => services.died().await,
        None => pending().await,
    }
}

/// What workers are told in the local stack, by the names of their settings.
fn given(stack: &Stack, db: &DbSettings, port: u16) -> Vec<(&'static str, String)> {
    let url = db.database_url.as_ref().expect("set when it was made");
    let keys = stack.keys();
    vec![
        ("DATABASE_URL", url.expose().to_owned()),
        ("ARTIFACTS_BASE", stack.artifacts().display().to_string()),
        ("PORT", port.to_string()),
        ("HTTP_BIND", "127.0.0.1".to_owned()),
        ("SUPABASE_JWT_SECRET", keys.jwt_secret.expose().to_owned()),
        ("SUPABASE_SECRET_KEY", keys.secret_key.expose().to_owned()),
    ]
}
