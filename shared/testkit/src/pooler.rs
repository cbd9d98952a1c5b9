use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::time::{Duration, Instant};

use db::DbSettings;
use nix::unistd::{Uid, User};
use tokio_postgres::config::Host;
use tokio_postgres::{Config, NoTls};

use crate::Program;
use crate::test_db::connect;

/// A real PgBouncer on loopback, before one database. It ends when dropped.
///
/// ```no_run
/// # async fn test() {
/// let test = testkit::database().await;
/// let pooler = testkit::Pooler::before(&test.url(), testkit::Pooling::Transaction).await;
/// let db = db::Db::connect(&pooler.settings()).unwrap();
/// # }
/// ```
pub struct Pooler {
    port: u16,
    database: String,
    pooling: Pooling,
    program: Program,
}

/// For how long a client has a connection of the server to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    Session,
    Transaction,
}

/// Where Debian puts it, which is not on everybody's PATH.
const DEBIAN: &str = "/usr/sbin/pgbouncer";
const PATIENCE: Duration = Duration::from_secs(60);

/// So few that clients have to share them.
const SHARED: usize = 3;
/// More than any test opens: whoever has one keeps it.
const OWNED: usize = 50;

impl Pooler {
    /// Before a database at its URL for a superuser on a Unix socket. Answers when it serves.
    ///
    /// # Panics
    /// When it does not start, with what it said.
    pub async fn before(url: &str, pooling: Pooling) -> Self {
        let (folder, server, database) = place(url);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let port = localstack::free_port().expect("there are free ports");
            let entry =
                format!("{database} = host={} port={server} user=postgres", folder.display());
            let program = launch(&config(&entry, port, pooling, &owner(&folder)));
            let mut pooler = Self { port, database: database.clone(), pooling, program };
            // Another may have taken the port meanwhile; then this one ends, and the next is tried.
            if pooler.serves(deadline).await {
                if let Pooling::Transaction = pooling {
                    pooler.fill().await;
                }
                return pooler;
            }
        }
    }

    /// As an operator writes it: with what tells of a pooler in transaction mode.
    pub fn url(&self) -> String {
        let told = match self.pooling {
            Pooling::Session => "",
            Pooling::Transaction => "?pgbouncer=true",
        };
        self.plain_url() + told
    }

    pub fn settings(&self) -> DbSettings {
        DbSettings::at(&self.url())
    }

    /// All it has said.
    pub fn log(&self) -> String {
        self.program.log()
    }

    fn plain_url(&self) -> String {
        format!("postgres://cogo@127.0.0.1:{}/{}", self.port, self.database)
    }

    /// Makes it open all its connections to the server: with one alone it has nothing to hand round.
    async fn fill(&self) {
        let mut clients = Vec::new();
        for _ in 0..SHARED {
            let client = connect(&self.plain_url()).await;
            client.batch_execute("begin").await.expect("one is free");
            clients.push(client);
        }
        for client in clients {
            // Who leaves within a transaction takes the connection along.
            client.batch_execute("rollback").await.expect("it is ours");
        }
    }

    async fn serves(&mut self, deadline: Instant) -> bool {
        let url = self.plain_url();
        while self.program.ended().is_none() {
            let answer = tokio_postgres::connect(&url, NoTls).await;
            if answer.is_ok() {
                return true;
            }
            assert!(Instant::now() < deadline, "the pooler does not serve:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let log = self.log();
        assert!(
            log.contains("in use") && Instant::now() < deadline,
            "the pooler did not start; `make setup` installs pgbouncer:\n{log}"
        );
        false
    }
}

/// The folder of the socket, the port in its name, and the database.
fn place(url: &str) -> (PathBuf, u16, String) {
    let config = Config::from_str(url).expect("our own URLs are right");
    let [Host::Unix(folder)] = config.get_hosts() else { panic!("it is not on a Unix socket") };
    let port = config.get_ports().first().expect("our own URLs name a port");
    let database = config.get_dbname().expect("our own URLs name a database");
    (folder.clone(), *port, database.to_owned())
}

/// Whoever the server runs as, since nobody else gets to its socket. Nobody's name where that is
/// ourselves.
fn owner(folder: &Path) -> String {
    let owner = Uid::from_raw(folder.metadata().expect("the server runs").uid());
    if owner == Uid::effective() {
        return String::new();
    }
    let user = User::from_uid(owner).expect("the system knows its users");
    user.expect("the server runs as somebody").name
}

fn config(entry: &str, port: u16, pooling: Pooling, user: &str) -> String {
    let (mode, size) = match pooling {
        Pooling::Session => ("session", OWNED),
        Pooling::Transaction => ("transaction", SHARED),
    };
    // As root it would refuse to run.
    let user = if user.is_empty() { String::new() } else { format!("user = {user}\n") };
    // Round robin: the next transaction of a client reaches another server process. A server that restarts is tried again at once, and not after a quarter of a minute.
    format!(
        "[databases]\n{entry}\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
         auth_type = any\npool_mode = {mode}\ndefault_pool_size = {size}\n\
         server_round_robin = 1\nserver_login_retry = 0.1\n{user}"
    )
}

fn launch(config: &str) -> Program {
    let started = Program::start(|folder| -> io::Result<Command> {
        let path = folder.join("pgbouncer.ini");
        fs::write(&path, config)?;
        let debian = Path::new(DEBIAN);
        let mut command = Command::new(if debian.exists() { DEBIAN } else { "pgbouncer" });
        command.arg(path);
        Ok(command)
    });
    started.expect("a shell can be started")
}
