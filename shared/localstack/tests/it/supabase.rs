use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use db::DbSettings;
use jsonwebtoken::{EncodingKey, Header, encode};
use localstack::{GatewaySettings, Keys, Part, Services, Stack, Wanted, free_port};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use crate::holder::{Holder, Place, connect};

/// A stack with everything that stands in for Supabase, and some tables to try it on.
pub(crate) struct Supabase {
    pub(crate) place: Place,
    pub(crate) stack: Stack,
    pub(crate) services: Services,
    pub(crate) client: Client,
    /// What was told to people.
    pub(crate) told: Arc<Mutex<Vec<String>>>,
}

/// What the roles and tables are that a database needs before PostgREST can serve it.
const ROLES: &str = "
do $$
begin
    create role anon nologin noinherit;
    create role authenticated nologin noinherit;
    create role service_role nologin noinherit bypassrls;
exception when duplicate_object then null;
end
$$;
";

const TABLES: &str = "
grant usage on schema public to anon, authenticated, service_role;
create table things (
    id bigint generated always as identity primary key,
    k text unique not null,
    n int constraint not_negative check (n >= 0),
    note text default 'none',
    parent bigint constraint has_parent references things,
    big text
);
grant all on things to service_role;
grant select (k, n) on things to anon;
create function add_up(a int, b int) returns int language sql as 'select a + b';
create function things_from(low int) returns setof things stable language sql
    as 'select * from things where n >= low order by n';
create function nothing() returns void language sql as '';
create function refuse() returns void language plpgsql as $$
begin
    raise exception 'no' using errcode = 'PT409', detail = 'because', hint = 'try another';
end $$;
create function fall() returns void language plpgsql as $$ begin raise exception 'oh'; end $$;
create function who_am_i() returns json stable language sql as $$
    select json_build_object('role', current_user,
        'sub', current_setting('request.jwt.claims', true)::json ->> 'sub',
        'said', current_setting('request.headers', true)::json ->> 'x-said')
$$;
";

impl Supabase {
    pub(crate) async fn start_with(
        parts: impl IntoIterator<Item = Part>,
        realtime: Option<SocketAddr>,
    ) -> Self {
        let place = Place::new();
        let stack = place.start().await.unwrap();
        make_tables(&stack).await;
        let functions = Some(echo_function(&place));
        let wanted = Wanted {
            parts: parts.into_iter().collect(),
            settings: GatewaySettings { gateway_port: Some(free_port().unwrap()), functions },
            here: place.data(),
            realtime,
        };
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = told.clone();
        let tell = Arc::new(move |line: &str| heard.lock().unwrap().push(line.to_owned()));
        let db = DbSettings::at(&stack.url());
        let services = Services::start(&stack, &db, &wanted, tell).await.unwrap();
        Self { place, stack, services, client: client(), told }
    }

    pub(crate) fn keys(&self) -> &Keys {
        self.stack.keys()
    }

    /// Without any key.
    pub(crate) fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.services.url()))
    }

    /// With the secret key.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.bare(method, path).header("apikey", self.keys().secret_key.expose())
    }

    /// A token of this stack, as its clients would have it from somewhere.
    pub(crate) fn token(&self, role: &str, lasts: i64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let claims = json!({ "role": role, "sub": "user-1", "exp": now.cast_signed() + lasts });
        let key = EncodingKey::from_secret(self.keys().jwt_secret.expose().as_bytes());
        encode(&Header::default(), &claims, &key).unwrap()
    }

    pub(crate) fn was_told(&self, part: &str) -> bool {
        self.told.lock().unwrap().iter().any(|line| line.contains(part))
    }

    pub(crate) async fn stop(self) {
        self.services.stop().await;
        self.stack.stop().await.unwrap();
    }
}

pub(crate) async fn make_tables(stack: &Stack) {
    let client = connect(&stack.url()).await;
    let password = stack.keys().authenticator_password.expose();
    let authenticator = format!(
        "create role authenticator login noinherit password '{password}';
         grant anon, authenticated, service_role to authenticator"
    );
    client.batch_execute(&format!("{ROLES}{authenticator};{TABLES}")).await.unwrap();
}

/// The smallest folder of edge functions there can be: its router answers every name itself.
pub(crate) fn echo_function(place: &Place) -> PathBuf {
    let folder = place.data().with_file_name("my functions");
    fs::create_dir_all(folder.join("_local")).unwrap();
    fs::write(folder.join(".env"), "MINE=yes\nSUPABASE_URL=http://elsewhere\n").unwrap();
    fs::write(folder.join("greeting.txt"), "hello from a file").unwrap();
    fs::write(folder.join("_local/serve.ts"), ROUTER).unwrap();
    folder
}

const ROUTER: &str = r#"
const env = (name: string) => Deno.env.get(name) ?? "";
async function answer(request: Request): Promise<Response> {
  const path = new URL(request.url).pathname;
  if (path === "/crash") Deno.exit(7);
  if (path === "/env") return Response.json(Deno.env.toObject());
  if (path === "/file") return new Response(await Deno.readTextFile(Deno.args[0] + "/greeting.txt"));
  if (path === "/passwd") return new Response(await Deno.readTextFile("/etc/passwd"));
  if (path === "/rest") {
    return await fetch(env("SUPABASE_URL") + "/rest/v1/rpc/who_am_i", {
      headers: { apikey: env("SUPABASE_SECRET_KEY") },
    });
  }
  const headers = Object.fromEntries(request.headers);
  return Response.json({ path, method: request.method, headers, body: await request.text() });
}
Deno.serve({ hostname: env("HOST"), port: Number(env("PORT")) }, async (request) => {
  try {
    return await answer(request);
  } catch (error) {
    return Response.json({ error: String(error) }, { status: 500 });
  }
});
"#;

impl Place {
    /// All of it in another process, which can be killed.
    pub(crate) async fn start_all_elsewhere(&self) -> (Holder, u16) {
        let stack = self.start().await.unwrap();
        make_tables(&stack).await;
        stack.stop().await.unwrap();
        let port = free_port().unwrap();
        let functions = echo_function(self).display().to_string();
        (self.start_elsewhere_with(&[port.to_string(), functions]), port)
    }
}

pub(crate) fn client() -> Client {
    // The first of this process wins.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().build().unwrap()
}

/// The body, as JSON if it is.
pub(crate) fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}
