use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use testkit::{Program, Rest, TestDb};
use tokio::task::JoinSet;

pub(crate) const WEBHOOK_SECRET: &str = "the secret that webhooks sign with";
pub(crate) const TRACE: &str = "0123456789abcdef0123456789abcdef";

/// Long enough for a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

/// All that a project of Supabase has, as far as the functions know it.
pub(crate) struct Project {
    pub(crate) test: TestDb,
    pub(crate) sql: tokio_postgres::Client,
    pub(crate) http: Client,
    /// `None` when it is down.
    pub(crate) rest: Option<Rest>,
    pub(crate) functions: String,
    /// Where `/rest/v1` is.
    pub(crate) url: String,
    program: Program,
    _gateway: JoinSet<()>,
    key: String,
}

impl Project {
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With further settings; an empty one is as good as none.
    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let test = testkit::database().await;
        let sql = test.client().await;
        let rest = Rest::start(&test).await;
        let http = Client::new();
        let mut gateway = JoinSet::new();
        let url = serve_gateway(&mut gateway, rest.url(), http.clone()).await;
        let key = rest.token(&json!({ "role": "service_role" }));
        let program = Program::start(|_| {
            let mut deno = deno(&["--allow-env", "--allow-net", "--allow-read"]);
            deno.arg(root().join("edge-functions/_local/serve.ts"));
            deno.env("PORT", "0").env("SUPABASE_URL", &url).env("SUPABASE_SERVICE_ROLE_KEY", &key);
            deno.env("SUPABASE_ANON_KEY", rest.token(&json!({ "role": "anon" })));
            deno.env("SUPABASE_JWT_SECRET", rest.secret());
            deno.env("COGO_INTENTS_SECRET", WEBHOOK_SECRET);
            deno.envs(settings.iter().copied());
            Ok(deno)
        });
        let mut program = program.expect("deno can be started");
        let functions = format!("{}/functions/v1", address(&mut program).await);
        let rest = Some(rest);
        Self { test, sql, http, rest, functions, url, program, _gateway: gateway, key }
    }

    pub(crate) async fn run(&self, sql: &str) {
        self.sql.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    pub(crate) async fn value(&self, sql: &str) -> Value {
        let row = self.sql.query_one(&format!("select to_jsonb(({sql}))"), &[]).await;
        row.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
    }

    /// A stage that clients may use, and one they may not.
    pub(crate) async fn open_a_stage(&self) {
        self.run(
            "insert into public.bus_routes (service, role, max_attempts, open_to) values
                ('example', 'echo', 1, '{authenticated}'), ('closed', 'stage', 1, '{}')",
        )
        .await;
    }

    /// Publishes a message and lets its only attempt fail; answers its id.
    pub(crate) async fn dead_letter(&self, service: &str, role: &str, tenant: &str) -> Value {
        let message =
            json!({ "service": service, "role": role, "tenant": tenant, "trace_id": TRACE });
        let sql = format!("select id from public.bus_publish('{message}')");
        let id: i64 = self.sql.query_one(&sql, &[]).await.unwrap().get(0);
        self.end(&format!("{service}/{role}/0/{tenant}"), "fail").await;
        json!(id)
    }

    /// Claims the next message of a route, as a worker, and settles it.
    pub(crate) async fn end(&self, route: &str, outcome: &str) {
        let sql = format!(
            "select settled.accepted
            from public.bus_claim('w', array['{route}'], 1) as claimed,
                public.bus_settle('w', jsonb_build_array(jsonb_build_object('id', claimed.id,
                    'lease', claimed.lease, 'outcome', '{outcome}', 'events', jsonb_build_array(
                        jsonb_build_object('event_type', 'echo_{outcome}'))))) as settled"
        );
        let settled = self.sql.query(&sql, &[]).await.unwrap();
        assert!(settled.len() == 1 && settled[0].get::<_, bool>(0), "{route}");
    }

    pub(crate) fn user(&self, tenant: &str) -> String {
        self.token(&json!({ "role": "authenticated", "tenant": tenant }))
    }

    pub(crate) fn server(&self) -> String {
        self.key.clone()
    }

    pub(crate) fn token(&self, claims: &Value) -> String {
        self.rest.as_ref().unwrap().token(claims)
    }

    pub(crate) fn get(&self, path: &str, token: &str) -> RequestBuilder {
        self.http.get(format!("{}/{path}", self.functions)).bearer_auth(token)
    }

    pub(crate) fn post(&self, path: &str, token: &str, body: &Value) -> RequestBuilder {
        self.http.post(format!("{}/{path}", self.functions)).bearer_auth(token).json(body)
    }

    pub(crate) fn log(&self) -> String {
        self.program.log()
    }
}

/// Its status and what it says.
pub(crate) async fn told(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}: {text}")))
}

/// As [`told`], for what must be refused.
pub(crate) async fn refused(request: RequestBuilder) -> (u16, String) {
    let (status, told) = told(request).await;
    for field in ["message", "hint"] {
        assert!(!told[field].as_str().unwrap().is_empty(), "{told}");
    }
    (status, told["code"].as_str().unwrap().to_owned())
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Offline: what it needs was cached by `make setup`.
pub(crate) fn deno(may: &[&str]) -> Command {
    let mut deno = Command::new(testkit::DENO.find().unwrap());
    deno.args(["run", "--cached-only", "--no-prompt", "--config"]);
    deno.arg(root().join("edge-functions/deno.json")).args(may);
    let cache = std::env::home_dir().unwrap().join(".cache/cogo/deno");
    deno.env("DENO_DIR", cache).env("DENO_NO_UPDATE_CHECK", "1").env("NO_COLOR", "1");
    deno
}

/// Where it says that it listens.
async fn address(program: &mut Program) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let log = program.log();
        let line = log.lines().find_map(|line| line.strip_prefix("functions on "));
        if let Some(address) = line {
            return address.to_owned();
        }
        assert!(
            program.ended().is_none() && Instant::now() < deadline,
            "it does not serve:\n{log}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Puts PostgREST under `/rest/v1`, as Supabase's gateway does.
async fn serve_gateway(tasks: &mut JoinSet<()>, rest: String, http: Client) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(forward).with_state((rest, http));
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

async fn forward(
    State((rest, http)): State<(String, Client)>,
    method: Method,
    uri: Uri,
    mut headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path_and_query().unwrap().as_str();
    let Some(path) = path.strip_prefix("/rest/v1") else {
        return StatusCode::NOT_FOUND.into_response();
    };
    assert!(headers.contains_key("apikey"), "the gateway would not let this through");
    headers.remove("host");
    let request = http.request(method, format!("{rest}{path}")).headers(headers).body(body);
    let Ok(answer) = request.send().await else { return StatusCode::BAD_GATEWAY.into_response() };
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    headers.remove("transfer-encoding");
    (status, headers, answer.bytes().await.unwrap()).into_response()
}
