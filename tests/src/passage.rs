use clap::ValueEnum;
use db::{Db, DbSettings};
use miette::IntoDiagnostic;
use testkit::{Awkward, Cluster, Supabase};

use crate::proxy::Proxy;

/// How the fleet goes to its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Via {
    /// Over connections.
    Direct,
    /// Knowing nothing but the two variables of Supabase.
    Supabase,
    /// The same, without a doorbell.
    Poll,
}

/// What the fleet goes through: the proxy, and what is behind it.
pub(crate) struct Passage {
    /// For the processes of the fleet.
    pub environment: Vec<(&'static str, String)>,
    /// For its workers.
    pub arguments: &'static [&'static str],
    /// For whoever publishes beside it.
    pub settings: DbSettings,
    /// For those who write plain SQL.
    pub sql: Db,
    pub proxy: Proxy,
    pub supabase: Option<Supabase>,
}

impl Passage {
    pub(crate) async fn open(via: Via, cluster: &Cluster, database: &str) -> miette::Result<Self> {
        if via == Via::Direct {
            let proxy = Proxy::start(cluster.port()).await.into_diagnostic()?;
            let (password, port) = (cluster.password(), proxy.port());
            let url = format!("postgres://postgres:{password}@127.0.0.1:{port}/{database}");
            let settings = DbSettings::at(&url);
            let (environment, sql) = (vec![("DATABASE_URL", url)], Db::connect(&settings)?);
            return Ok(Self { environment, arguments: &[], settings, sql, proxy, supabase: None });
        }
        let supabase = Supabase::over(&cluster.socket_url(database), Awkward::default()).await;
        let proxy = Proxy::start(supabase.address().port()).await.into_diagnostic()?;
        let (url, key) = (format!("http://127.0.0.1:{}", proxy.port()), supabase.secret_key());
        Ok(Self {
            settings: DbSettings::at_supabase(&url, key),
            environment: vec![
                ("SUPABASE_SECRET_KEY", key.expose().to_owned()),
                ("SUPABASE_URL", url),
            ],
            arguments: if via == Via::Poll { &["--bus-doorbell", "poll"] } else { &[] },
            sql: Db::connect(&DbSettings::at(&cluster.url(database)))?,
            proxy,
            supabase: Some(supabase),
        })
    }
}
