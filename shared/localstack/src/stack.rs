use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use db::{Db, DbSettings};
use model::Secret;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, timeout};

use crate::binaries::Binaries;
use crate::cluster::quoted;
use crate::home::make_home;
use crate::keys::write_privately;
use crate::lock::{Lock, Running, holder};
use crate::port::check_port;
use crate::recover::recover;
use crate::server::Server;
use crate::watched::{Farewell, SHELL, Watched, fresh_log};
use crate::{Keys, PostgresError, StackError, StackSettings};

/// The lasting local stack: a Postgres of its own in a data folder, with keys and a place for
/// artifacts. Runs until [`Stack::stop`], or until this process ends, however that comes about.
#[derive(Debug)]
pub struct Stack {
    folder: PathBuf,
    server: Server,
    watched: Watched,
    keys: Keys,
    running: Running,
    // Given back last: whoever comes next may take the folder only when the server is told to stop.
    lock: Lock,
}

/// The database in it.
pub const DATABASE: &str = "cogo";

/// Recovering after a crash reads the log since the last checkpoint.
const STARTING: Duration = Duration::from_secs(120);
/// A fast stop writes everything that is only in memory.
const STOPPING: Duration = Duration::from_secs(30);

impl Stack {
    /// Starts it in `folder`, which is made if it is not there. `tell` hears what takes a moment.
    pub async fn start(
        settings: &StackSettings,
        folder: PathBuf,
        tell: impl Fn(&str),
    ) -> Result<Self, StackError> {
        make_home(&folder)?;
        let port = settings.pg_port();
        let running = Running { pid: std::process::id(), pg_port: port, ..Running::default() };
        let lock = Lock::take(&folder, &running)?;
        let keys = Keys::of(&folder)?;
        let server = Server::new(settings.binaries()?, folder.join("postgres"), port);
        reach(server.binaries(), &folder)?;
        recover(&server).await?;
        check_port(port, "--pg-port")?;
        if !server.home().exists() {
            tell("making a database (once)");
        }
        let server = made(server, settings.pg_bin.is_some(), keys.password.clone()).await?;
        tell(&format!("starting Postgres {}", server.binaries().version()));
        let watched = launch(&server).await?;
        let failed = |source| StackError::Folder { folder: folder.clone(), source };
        fs::create_dir_all(Self::artifacts_of(&folder)).map_err(failed)?;
        let url = Self::url_of(&keys, port);
        let text = format!("# Written by each start, for `cogo --settings`.\nDATABASE_URL={url}\n");
        write_privately(&folder.join(SETTINGS), &text).map_err(failed)?;
        Ok(Self { folder, server, watched, keys, running, lock })
    }

    /// What runs in this folder now, in whatever process.
    pub fn running(folder: &Path) -> Option<Running> {
        holder(folder)
    }

    /// The keys of a folder that something runs in.
    pub fn keys_of(folder: &Path) -> Result<Keys, StackError> {
        Keys::of(folder)
    }

    /// Where artifacts of a folder are kept.
    pub fn artifacts_of(folder: &Path) -> PathBuf {
        folder.join(ARTIFACTS)
    }

    /// The address of a folder's database, for programs on this machine. It holds the password.
    pub fn url_of(keys: &Keys, pg_port: u16) -> String {
        let password = keys.password.expose();
        format!("postgres://postgres:{password}@127.0.0.1:{pg_port}/{DATABASE}")
    }

    pub fn url(&self) -> String {
        Self::url_of(&self.keys, self.server.port())
    }

    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn artifacts(&self) -> PathBuf {
        Self::artifacts_of(&self.folder)
    }

    /// For `cogo --settings`, so that other commands find the database.
    pub fn settings_file(&self) -> PathBuf {
        self.folder.join(SETTINGS)
    }

    pub fn postgres_version(&self) -> &str {
        self.server.binaries().version()
    }

    /// Where its Postgres listens, on 127.0.0.1.
    pub fn pg_port(&self) -> u16 {
        self.server.port()
    }

    /// Its first process.
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// For `psql`, without a password: only who may enter the folder gets there.
    pub fn psql(&self) -> String {
        let home = self.server.home().display();
        format!("psql -h {home} -p {} -U postgres {DATABASE}", self.server.port())
    }

    /// Lets other processes find the HTTP API.
    pub fn announce(&mut self, api: &str) -> Result<(), StackError> {
        self.running.api = Some(api.to_owned());
        self.tell()
    }

    /// Lets other processes find what stands in for Supabase.
    pub fn announce_gateway(&mut self, gateway: &str) -> Result<(), StackError> {
        self.running.gateway = Some(gateway.to_owned());
        self.tell()
    }

    fn tell(&self) -> Result<(), StackError> {
        let failed = |source| StackError::Folder { folder: self.folder.clone(), source };
        self.lock.tell(&self.running).map_err(failed)
    }

    /// Waits until Postgres is gone, which it should never be. May be dropped and called again.
    pub async fn died(&mut self) -> StackError {
        self.watched.ended().await;
        StackError::Died { log: self.server.last_words(), path: self.server.log() }
    }

    /// Stops Postgres, whose clients should be gone by now; whoever is not is cut off.
    pub async fn stop(mut self) -> Result<(), StackError> {
        self.watched.release();
        if timeout(STOPPING, self.watched.ended()).await.is_ok() {
            return Ok(());
        }
        self.server.stop("immediate")?;
        Err(StackError::StoppedHard { seconds: STOPPING.as_secs() })
    }
}

const ARTIFACTS: &str = "artifacts";
const SETTINGS: &str = "cogo.env";

/// Whether whoever Postgres runs as gets as far as the folder.
fn reach(binaries: &Binaries, folder: &Path) -> Result<(), StackError> {
    let mut program = binaries.command("postgres");
    let tried = program.arg("--version").current_dir(folder).output();
    match tried {
        Ok(output) if output.status.success() => Ok(()),
        _ => Err(StackError::OutOfReach { folder: folder.to_owned() }),
    }
}

/// The server with its data folder, and with the programs of the version that made it.
async fn made(server: Server, bin_was_said: bool, password: Secret) -> Result<Server, StackError> {
    let home = server.home().to_owned();
    if !home.exists() {
        // It takes seconds, in which one may want to stop.
        let making = spawn_blocking(move || make(server, &password));
        return Ok(making.await.expect("it does not panic and is not aborted")?);
    }
    let path = server.data().join("PG_VERSION");
    let Ok(made) = fs::read_to_string(&path) else {
        return Err(StackError::Damaged { path });
    };
    let (made, here) = (made.trim().to_owned(), server.binaries().version().to_owned());
    if made == here {
        return Ok(server);
    }
    let other = if bin_was_said { None } else { Binaries::of_version(&made) };
    match other {
        Some(binaries) => Ok(Server::new(binaries, home, server.port())),
        None => Err(StackError::OtherVersion { folder: home, made, here }),
    }
}

/// Renamed when it is whole: whoever is killed half-way leaves nothing that looks ready.
fn make(server: Server, password: &Secret) -> Result<Server, PostgresError> {
    let home = server.home();
    let draft = home.with_extension("draft");
    if draft.exists() {
        fs::remove_dir_all(&draft).map_err(|error| PostgresError::io(&draft, error))?;
    }
    let unfinished = Server::new(server.binaries().clone(), draft.clone(), server.port());
    unfinished.init(Some(password.expose()))?;
    unfinished.sync()?;
    fs::rename(&draft, home).map_err(|error| PostgresError::io(home, error))?;
    Ok(server)
}

/// Returns when the database is there.
async fn launch(server: &Server) -> Result<Watched, StackError> {
    let port = server.port().to_string();
    let sockets = server.home().display().to_string();
    let mut watched = watch(
        server,
        &[
            // Not in its configuration, because both may be others the next time.
            ("port", &port),
            ("unix_socket_directories", &sockets),
            ("listen_addresses", "127.0.0.1"),
            ("max_connections", "200"),
            // As Supabase has it: whoever follows changes needs it.
            ("wal_level", "logical"),
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
        ],
    )?;
    let began = Instant::now();
    while let Err(error) = create_database(server).await {
        if watched.has_ended() || began.elapsed() > STARTING {
            watched.release();
            let mut log = server.last_words();
            if !watched.has_ended() {
                log.push_str(&format!("\n{error}"));
            }
            return Err(StackError::DoesNotStart { log, path: server.log() });
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(watched)
}

fn watch(server: &Server, settings: &[(&str, &str)]) -> Result<Watched, PostgresError> {
    let log = server.log();
    let failed = |error| PostgresError::io(&log, error);
    let file = fresh_log(&log).map_err(failed)?;
    server.give(&log)?;
    let postgres = server.binaries().command("postgres");
    let mut program = vec![postgres.get_program().to_owned(), "-D".into(), server.data().into()];
    for (name, value) in settings {
        program.extend(["-c".into(), format!("{name}={value}").into()]);
    }
    let shell = server.binaries().as_owner(Path::new(SHELL));
    Watched::spawn(shell, &program, file, Farewell::Interrupt)
        .map_err(|error| PostgresError::io(Path::new(SHELL), error))
}

async fn create_database(server: &Server) -> Result<(), db::DbError> {
    let db = Db::connect(&DbSettings::at(&server.socket_url("postgres")))?;
    let client = db.client().await?;
    if client.query_opt(&EXISTS, &[&DATABASE]).await?.is_none() {
        let sql = format!("create database {}", quoted(DATABASE));
        client.batch("localstack.create_database", &sql).await?;
    }
    Ok(())
}

static EXISTS: db::Statement = db::Statement {
    name: "localstack.exists",
    sql: "select from pg_database where datname = $1",
    types: &[db::Type::TEXT],
};
