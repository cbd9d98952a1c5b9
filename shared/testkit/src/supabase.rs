use std::net::SocketAddr;

use db::DbSettings;
use localstack::{Gateway, Keys};
use model::Secret;
use standin::{ApiKeys, Awkward, Standin, StandinSettings};

use crate::test_db::connect;
use crate::{Rest, TestDb};

/// All that a worker needs who knows nothing but `SUPABASE_URL` and `SUPABASE_SECRET_KEY`, over one
/// database: the real PostgREST and our Realtime, behind the gateway of `cogo dev`. Ends when
/// dropped. `postgres_changes` work only where the server has `wal_level = logical`.
pub struct Supabase {
    pub realtime: Standin,
    pub rest: Rest,
    gateway: Gateway,
    keys: Keys,
}

impl Supabase {
    /// # Panics
    /// When something does not start.
    pub async fn start(test: &TestDb) -> Self {
        Self::with(test, Awkward::default()).await
    }

    /// # Panics
    /// When something does not start.
    pub async fn with(test: &TestDb, awkward: Awkward) -> Self {
        Self::over(&test.url(), awkward).await
    }

    /// The same over any migrated database, at its URL for a superuser on a Unix socket.
    ///
    /// # Panics
    /// When something does not start.
    pub async fn over(url: &str, awkward: Awkward) -> Self {
        let (rest, keys) = without_realtime(url).await;
        let api_keys =
            ApiKeys { secret: keys.secret_key.clone(), publishable: keys.publishable_key.clone() };
        let settings = StandinSettings {
            awkward,
            ..StandinSettings::new(DbSettings::at(url), keys.jwt_secret.clone(), api_keys)
        };
        let realtime = Standin::start(settings).await.expect("the stand-in starts");
        let gateway = Gateway::open(&keys, rest.address(), realtime.address()).await;
        Self { gateway: gateway.expect("the gateway starts"), realtime, rest, keys }
    }

    /// The `SUPABASE_URL`.
    pub fn url(&self) -> String {
        self.gateway.url()
    }

    pub fn address(&self) -> SocketAddr {
        self.gateway.address()
    }

    pub fn secret_key(&self) -> &Secret {
        &self.keys.secret_key
    }

    pub fn publishable_key(&self) -> &Secret {
        &self.keys.publishable_key
    }

    /// The older kind of the same.
    pub fn anon_key(&self) -> &Secret {
        &self.keys.anon_key
    }

    /// The way to the database that a worker has.
    pub fn settings(&self) -> DbSettings {
        DbSettings::at_supabase(&self.url(), self.secret_key())
    }
}

/// What Realtime needs in the database is there, so that rings are sent, whether anybody listens or
/// not.
pub(crate) async fn without_realtime(url: &str) -> (Rest, Keys) {
    let provided = standin::provide(&DbSettings::at(url), None).await;
    provided.expect("what Supabase brings along can be made");
    let attach = "select cogo.attach_realtime()";
    connect(url).await.batch_execute(attach).await.expect("Realtime can be attached");
    let rest = Rest::over(url).await;
    let keys = Keys::throwaway(Secret::new(rest.secret().to_owned()));
    (rest, keys)
}
