use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::test_db::connect;
use crate::{Program, TestDb};

/// A real PostgREST over one database, as Supabase runs it: role `authenticator`, schema `public`,
/// answers of a thousand rows at most, tokens signed with a secret of its own. It ends when dropped.
///
/// ```no_run
/// # async fn test() {
/// let test = testkit::database().await;
/// let rest = testkit::Rest::start(&test).await;
/// let token = rest.token(&serde_json::json!({ "role": "authenticated", "tenant": "acme" }));
/// # }
/// ```
#[derive(Debug)]
pub struct Rest {
    url: String,
    port: u16,
    secret: String,
    program: Program,
}

/// Long enough for a machine that does much else; it takes a fraction of a second.
const PATIENCE: Duration = Duration::from_secs(60);

impl Rest {
    /// Answers when it serves.
    ///
    /// # Panics
    /// When it does not start, with what it said.
    pub async fn start(test: &TestDb) -> Self {
        Self::over(&test.url()).await
    }

    /// The same over any database, at its URL for a superuser on a Unix socket, where nobody needs a
    /// password.
    ///
    /// # Panics
    /// When it does not start, with what it said.
    pub async fn over(url: &str) -> Self {
        connect(url).await.batch_execute(AUTHENTICATOR).await.expect("roles can be made");
        let secret = hex::encode(rand::random::<[u8; 32]>());
        let deadline = Instant::now() + PATIENCE;
        loop {
            let port = localstack::free_port().expect("there are free ports");
            let program = launch(url, port, &secret);
            let mut rest = Self { url: url.to_owned(), port, secret: secret.clone(), program };
            // Another may have taken the port meanwhile; then this one ends, and the next is tried.
            if rest.serves(deadline).await {
                return rest;
            }
        }
    }

    /// Killed, and started again at the same address. Answers when it serves.
    ///
    /// # Panics
    /// When it does not start, with what it said.
    pub async fn restart(&mut self) {
        self.program.kill();
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.program = launch(&self.url, self.port, &self.secret);
            if self.serves(deadline).await {
                return;
            }
        }
    }

    /// Where tables and `rpc/` are; hosted Supabase has `/rest/v1` before it.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn address(&self) -> std::net::SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// What tokens are signed with (HS256).
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// A signed token that says this; good for an hour unless it says otherwise.
    pub fn token(&self, claims: &Value) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let hence = now.expect("1970 is over").as_secs() + 3600;
        let mut claims = claims.clone();
        claims.as_object_mut().expect("claims are an object").entry("exp").or_insert(json!(hence));
        let key = EncodingKey::from_secret(self.secret.as_bytes());
        jsonwebtoken::encode(&Header::default(), &claims, &key).expect("claims can be signed")
    }

    /// All it has said.
    pub fn log(&self) -> String {
        self.program.log()
    }

    async fn serves(&mut self, deadline: Instant) -> bool {
        while self.program.ended().is_none() {
            if answers_200(self.port).await.unwrap_or(false) {
                return true;
            }
            assert!(Instant::now() < deadline, "PostgREST does not serve:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let log = self.log();
        assert!(
            log.contains("in use") && Instant::now() < deadline,
            "PostgREST did not start:\n{log}"
        );
        false
    }
}

/// The lock keeps tests apart that start at one time: roles belong to all databases.
const AUTHENTICATOR: &str = "
    begin;
    lock table pg_catalog.pg_authid in share row exclusive mode;
    do $$
    declare
        v_role text;
    begin
        if not exists (select from pg_roles where rolname = 'authenticator') then
            create role authenticator login noinherit;
        end if;
        foreach v_role in array array['anon', 'authenticated', 'service_role'] loop
            if not pg_has_role('authenticator', v_role, 'member') then
                execute format('grant %I to authenticator', v_role);
            end if;
        end loop;
    end
    $$;
    commit";

fn launch(url: &str, port: u16, secret: &str) -> Program {
    let database = url.replacen("postgres://postgres@", "postgres://authenticator@", 1);
    let started = Program::start(|folder| {
        let path = folder.join("postgrest.conf");
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let port = port.to_string();
        let listens = [("server-host", "127.0.0.1"), ("server-port", port.as_str())];
        file.write_all(localstack::postgrest_config(&database, secret, &listens).as_bytes())?;
        let postgrest = localstack::POSTGREST.find();
        let mut command = Command::new(postgrest.map_err(io::Error::other)?);
        command.arg(path);
        Ok(command)
    });
    started.expect("PostgREST can be started")
}

/// Not before it knows the schema; until then it answers 503.
async fn answers_200(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"HEAD / HTTP/1.1\r\nHost: rest\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 200"))
}
