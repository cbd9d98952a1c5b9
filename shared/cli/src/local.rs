use std::path::PathBuf;
use std::time::Duration;

use bus::{Bus, BusSettings};
use db::{DbSettings, migrate};
use localstack::{Stack, StackSettings, check_port};
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
    members: Members,
    stop_members: CancellationToken,
}

/// Longer than any worker's own grace.
const DRAINING: Duration = Duration::from_secs(60);

impl Local {
    /// Starts everything in `folder`, and returns when it is ready; with nothing if it was told to
    /// stop before that.
    pub(crate) async fn start(
        crew: Crew,
        settings: &StackSettings,
        folder: PathBuf,
        port: u16,
        stop: &CancellationToken,
    ) -> miette::Result<Option<Self>> {
        let serves_http = crew.has("PORT");
        // Of our own folder's holder, who probably has the port, the stack has more to say.
        if serves_http && Stack::running(&folder).is_none() {
            check_port(port, "--port")?;
        }
        let starting = async {
            let stack = Stack::start(settings, folder, aside).await?;
            let db = DbSettings::at(&stack.url()).named("cogo");
            let applied = migrate::apply(&db).await?;
            if !applied.is_empty() {
                aside(&format!("applied {}", count(applied.len(), "migration")));
            }
            Ok::<_, miette::Report>((stack, db))
        };
        let (mut stack, db) = tokio::select! {
            started = Box::pin(starting) => started?,
            // The server stops by itself when nobody holds it.
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
        let members = match crew.start(&given(&stack, &db, port), &stop_members) {
            Ok(members) => members,
            Err(report) => {
                stack.stop().await?;
                return Err(report);
            }
        };
        let mut local = Self { stack, db, bus, api, workers, members, stop_members };
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
            () = stop.cancelled() => Some(Ok(None)),
        };
        match ended {
            None => Ok(Some(local)),
            Some(ended) => local.end(ended).await,
        }
    }

    /// Runs `work` beside the workers until it is done, somebody dies, or `stop`; with nothing if
    /// it was not done. Then stops all of it in order: workers first, which may still finish what
    /// they hold, the database last.
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
        let stopped = self.stack.stop().await;
        let done = ended?;
        stopped?;
        failed.map_or(Ok(done), Err)
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
