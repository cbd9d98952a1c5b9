use std::sync::Arc;

use db::{DbSettings, migrate};
use localstack::{Cluster, ClusterOptions, Gateway, Keys, Rest};
use miette::IntoDiagnostic;
use model::Secret;
use standin::{ApiKeys, Standin, StandinSettings};
use tempfile::TempDir;

/// A Postgres, and what stands in for Supabase on top of it.
pub(crate) struct Servers {
    pub db: DbSettings,
    /// The same database as a worker knows it that has no connection.
    pub supabase: DbSettings,
    gateway: Gateway,
    realtime: Standin,
    rest: Rest,
    cluster: Cluster,
    _folder: TempDir,
}

const DATABASE: &str = "bench";

impl Servers {
    pub(crate) async fn start() -> miette::Result<Self> {
        let logical = [("wal_level".to_owned(), "logical".to_owned())];
        let options = ClusterOptions { settings: logical.into(), ..ClusterOptions::default() };
        let cluster = tokio::task::spawn_blocking(move || Cluster::start(&options));
        let cluster = cluster.await.into_diagnostic()?.into_diagnostic()?;
        let url = cluster.create_database(DATABASE).await.into_diagnostic()?;
        let db = DbSettings::at(&url);
        let keys = Keys::throwaway(Secret::new(format!("{:032x}", rand::random::<u128>())));
        standin::provide(&db, Some(&keys.authenticator_password)).await?;
        migrate::apply(&db).await?;

        let api_keys =
            ApiKeys { secret: keys.secret_key.clone(), publishable: keys.publishable_key.clone() };
        let settings = StandinSettings::new(db.clone(), keys.jwt_secret.clone(), api_keys);
        let realtime = Standin::start(settings).await?;
        let folder = TempDir::new().into_diagnostic()?;
        // It restarts PostgREST if that ends, and then the figures show it.
        let tell = Arc::new(|line: &str| eprintln!("{line}"));
        let rest = Rest::start(folder.path(), &keys, cluster.port(), DATABASE, tell).await?;
        let gateway = Gateway::open_with(&keys, &rest, realtime.address()).await;
        let gateway = gateway.into_diagnostic()?;
        let supabase = DbSettings::at_supabase(&gateway.url(), &keys.secret_key);
        Ok(Self { db, supabase, gateway, realtime, rest, cluster, _folder: folder })
    }

    pub(crate) async fn stop(self) -> miette::Result<()> {
        let Self { gateway, realtime, rest, cluster, .. } = self;
        drop(gateway);
        realtime.stop().await;
        rest.stop().await;
        tokio::task::spawn_blocking(move || drop(cluster)).await.into_diagnostic()
    }
}
