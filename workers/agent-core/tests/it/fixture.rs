//! A database, agent-core on a real socket, and everybody who may call it.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use agent_core::{AuthSettings, HttpSettings, Server, Settings};
use bus::BusSettings;
use jsonwebtoken::{EncodingKey, Header, encode};
use model::Secret;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use testkit::TestDb;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use worker::{Shards, WorkerSettings};

/// Longer than anything here takes; a test that waits this long has failed.
pub(crate) const TOO_LONG: Duration = Duration::from_secs(60);
pub(crate) const JWT_SECRET: &str = "the-secret-of-these-tests-is-long-enough";
pub(crate) const SECRET_KEY: &str = "sb_secret_of_these_tests_0001";
pub(crate) const OTHER_KEY: &str = "sb_secret_of_these_tests_0002";

pub(crate) struct Hall {
    pub(crate) test: TestDb,
    pub(crate) sql: tokio_postgres::Client,
    pub(crate) core: Core,
}

/// A running agent-core. Aborted on drop.
pub(crate) struct Core {
    pub(crate) address: SocketAddr,
    pub(crate) http: Client,
    pub(crate) stop: CancellationToken,
    running: JoinSet<miette::Result<()>>,
}

pub(crate) fn settings(test: &TestDb) -> Settings {
    let secret = |text: &str| Secret::new(text.to_owned());
    Settings {
        db: test.settings(),
        bus: BusSettings::default(),
        worker: WorkerSettings {
            agent_service: None,
            agent_role: None,
            agent_shard: Shards::Every,
            agent_tenant: None,
            holder_id: None,
            worker_slots: NonZeroUsize::new(4).unwrap(),
            worker_grace: Duration::from_secs(5),
            worker_beat: Duration::from_secs(3600),
            pod_uid: None,
            cogo_image: None,
            cogo_image_digest: None,
            cogo_release_id: None,
        },
        http: HttpSettings {
            port: 0,
            bind: [127, 0, 0, 1].into(),
            metrics_port: None,
            http_max_body: 65_536,
            http_timeout: Duration::from_secs(30),
            http_grace: Duration::from_secs(5),
            rate_per_caller: NonZeroU32::new(100_000).unwrap(),
            burst_per_caller: NonZeroU32::new(100_000).unwrap(),
            max_undecided_intents: 500,
            max_event_streams: NonZeroUsize::new(100).unwrap(),
            events_poll: Duration::from_millis(20),
        },
        auth: AuthSettings {
            supabase_jwt_secret: Some(secret(JWT_SECRET)),
            supabase_secret_key: Some(secret(SECRET_KEY)),
            agent_core_secret_keys: vec![secret(OTHER_KEY)],
            ..AuthSettings::default()
        },
    }
}

impl Hall {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let test = testkit::database().await;
        let mut settings = settings(&test);
        change(&mut settings);
        let core = Core::start(settings).await;
        Self { sql: test.client().await, test, core }
    }

    /// Nobody decides intents: they stay where they are.
    pub(crate) async fn undecided(change: impl FnOnce(&mut Settings)) -> Self {
        Self::with(|settings| {
            settings.worker.agent_shard = Shards::These(vec![7.try_into().unwrap()]);
            change(settings);
        })
        .await
    }

    /// Another agent-core at the same database, which decides nothing.
    pub(crate) async fn replica(&self, change: impl FnOnce(&mut Settings)) -> Core {
        let mut settings = settings(&self.test);
        settings.worker.agent_shard = Shards::These(vec![7.try_into().unwrap()]);
        change(&mut settings);
        Core::start(settings).await
    }

    pub(crate) async fn run(&self, sql: &str) {
        self.sql.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.sql.query_one(&format!("select ({sql})::bigint"), &[]).await.unwrap().get(0)
    }

    pub(crate) async fn until(&self, condition: &str) {
        let waiting = async {
            let sql = format!("select coalesce(({condition}), false)");
            while !self.sql.query_one(&sql, &[]).await.unwrap().get::<_, bool>(0) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(TOO_LONG, waiting).await.unwrap_or_else(|_| panic!("never: {condition}"));
    }

    /// A message of a tenant on a stage that is open to users.
    pub(crate) async fn message(&self, tenant: &str) -> (i64, String) {
        self.run(
            "insert into public.bus_routes (service, role, open_to) values ('open', 'stage', '{authenticated}')
            on conflict do nothing",
        )
        .await;
        let sql = "insert into public.agent_messages (service, role, tenant, payload)
            values ('open', 'stage', $1, '{\"of\": \"them\"}') returning id, trace_id";
        let row = self.sql.query_one(sql, &[&tenant]).await.unwrap();
        (row.get(0), row.get(1))
    }
}

impl Core {
    pub(crate) async fn start(settings: Settings) -> Self {
        let stop = CancellationToken::new();
        let server = Box::pin(Server::bind(settings, &stop)).await.unwrap();
        let address = server.address().unwrap();
        let mut running = JoinSet::new();
        running.spawn(async move { Box::pin(server.run()).await });
        let http = Client::builder().timeout(TOO_LONG).build().unwrap();
        Self { address, http, stop, running }
    }

    pub(crate) async fn ends(&mut self) {
        let ended = timeout(TOO_LONG, self.running.join_next()).await;
        ended.expect("it does not stop").unwrap().unwrap().unwrap();
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Response {
        let mut request = self.http.request(method, self.url(path));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send().await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> (u16, Value) {
        told(self.send(Method::GET, path, Some(token), None).await).await
    }

    pub(crate) async fn post(&self, path: &str, token: &str, body: &Value) -> (u16, Value) {
        told(self.send(Method::POST, path, Some(token), Some(body)).await).await
    }

    pub(crate) async fn intent(&self, intent: &str, payload: Value) -> Value {
        let body = json!({ "intent": intent, "payload": payload });
        let (status, accepted) = self.post("/v1/intents", SECRET_KEY, &body).await;
        assert_eq!(status, 202, "{accepted}");
        accepted
    }
}

pub(crate) async fn told(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    (status, body)
}

/// Every error has the same shape, and says something in each part.
pub(crate) fn is_error(body: &Value) -> bool {
    let said = |part: &str| body["error"][part].as_str().is_some_and(|text| !text.is_empty());
    body.as_object().is_some_and(|object| object.len() == 1)
        && said("code")
        && said("message")
        && said("help")
}

pub(crate) fn in_seconds(seconds: i64) -> i64 {
    jsonwebtoken::get_current_timestamp().cast_signed() + seconds
}

pub(crate) fn signed(claims: &Value) -> String {
    signed_with(JWT_SECRET, claims)
}

pub(crate) fn signed_with(secret: &str, claims: &Value) -> String {
    encode(&Header::default(), claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

/// What Supabase issues to a user.
pub(crate) fn claims(tenant: &str) -> Value {
    json!({
        "role": "authenticated", "aud": "authenticated", "sub": "5e1f",
        "exp": in_seconds(600), "app_metadata": { "tenant": tenant },
    })
}

pub(crate) fn user(tenant: &str) -> String {
    signed(&claims(tenant))
}

pub(crate) fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

pub(crate) fn without(mut claims: Value, name: &str) -> Value {
    claims.as_object_mut().unwrap().remove(name);
    claims
}
