use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header, encode, get_current_timestamp};
use model::Secret;
use serde_json::{Value, json};
use standin::{ApiKeys, Awkward, Counts, Standin, StandinSettings, provide};
use testkit::TestDb;
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;

use crate::raw::Raw;

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const SECRET_KEY: &str = "sb_secret_for_tests";
pub(crate) const PUBLISHABLE_KEY: &str = "sb_publishable_for_tests";
const JWT_SECRET: &str = "only tests are signed with this";

/// A database with what Supabase brings along, a table whose changes are published, and a stand-in.
pub(crate) struct Fixture {
    pub(crate) standin: Standin,
    pub(crate) client: Client,
    // Dropped last: its database goes with it.
    pub(crate) test: TestDb,
}

/// Everybody of tenant `a` may read and write the channel `room`, and everybody else only read
/// `hall`; of `notes`, one sees those of one's tenant, and not the secret.
const SCHEMA: &str = "
    create policy reading on realtime.messages for select to authenticated
        using (realtime.topic() = 'hall' or realtime.topic() = 'room' and auth.jwt() ->> 'tenant' = 'a');
    create policy writing on realtime.messages for insert to authenticated
        with check (realtime.topic() = 'room' and auth.jwt() ->> 'tenant' = 'a');
    create table public.notes (
        id bigint primary key, tenant text not null default 'a', kind text, n int, at timestamptz,
        tags text[], data jsonb, secret text default 'hush');
    alter table public.notes enable row level security;
    create policy own on public.notes for select to authenticated
        using (tenant = auth.jwt() ->> 'tenant');
    grant all on public.notes to service_role;
    grant select (id, tenant, kind, n, at, tags, data) on public.notes to authenticated;
    alter publication supabase_realtime add table public.notes;
";

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut StandinSettings)) -> Self {
        let test = testkit::database().await;
        provide(&test.settings(), None).await.unwrap();
        let client = test.client().await;
        client.batch_execute(SCHEMA).await.unwrap();
        let mut settings = settings(test.settings());
        change(&mut settings);
        let standin = Standin::start(settings).await.unwrap();
        Self { standin, client, test }
    }

    pub(crate) async fn awkward(change: impl FnOnce(&mut Awkward)) -> Self {
        Self::with(|settings| change(&mut settings.awkward)).await
    }

    pub(crate) async fn run(&self, sql: &str) {
        self.client.batch_execute(sql).await.unwrap();
    }

    /// In version 2.0.0, as a server.
    pub(crate) async fn server(&self) -> Raw {
        Raw::connect(self.standin.address(), SECRET_KEY, "2.0.0").await
    }

    /// In version 2.0.0, as somebody whose token is told at the join.
    pub(crate) async fn anybody(&self) -> Raw {
        Raw::connect(self.standin.address(), PUBLISHABLE_KEY, "2.0.0").await
    }

    pub(crate) fn http(&self, path: &str) -> String {
        format!("http://{}{path}", self.standin.address())
    }

    pub(crate) async fn until(&self, condition: impl Fn(Counts) -> bool) {
        eventually(async || condition(self.standin.counts())).await;
    }
}

pub(crate) async fn eventually(condition: impl AsyncFn() -> bool) {
    let waiting = async {
        while !condition().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("what was waited for happens");
}

pub(crate) fn settings(db: db::DbSettings) -> StandinSettings {
    let keys = ApiKeys {
        secret: Secret::new(SECRET_KEY.to_owned()),
        publishable: Secret::new(PUBLISHABLE_KEY.to_owned()),
    };
    let mut settings = StandinSettings::new(db, Secret::new(JWT_SECRET.to_owned()), keys);
    settings.awkward.refused_join = Duration::ZERO;
    settings
}

pub(crate) fn token(claims: &Value, lifetime: i64) -> String {
    let mut claims = claims.clone();
    claims["exp"] = (get_current_timestamp().cast_signed() + lifetime).into();
    let key = EncodingKey::from_secret(JWT_SECRET.as_bytes());
    encode(&Header::default(), &claims, &key).unwrap()
}

/// For somebody who has signed in.
pub(crate) fn tenant(tenant: &str) -> String {
    token(&json!({ "role": "authenticated", "sub": "me", "tenant": tenant }), 600)
}

pub(crate) fn http_client() -> reqwest::Client {
    // The workspace's reqwest has no crypto provider of its own.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}
