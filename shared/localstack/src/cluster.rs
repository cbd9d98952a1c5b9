use std::fs::{self, File};
use std::path::{Path, PathBuf};

use db::DbSettings;
use db::migrate;

use crate::PostgresError;
use crate::binaries::Binaries;
use crate::folder::{make, throwaway_folder};
use crate::port::free_port;
use crate::server::Server;

/// A Postgres of one's own, for tests that stop it and for measurements. Stopped and removed on
/// drop, or by the next [`Cluster::start`] if this process is killed.
///
/// Its methods block for as long as Postgres takes, which is up to some seconds.
#[derive(Debug)]
pub struct Cluster {
    server: Server,
    password: String,
    /// Locked while this process lives.
    lock: PathBuf,
    _alive: File,
}

#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// Whether a commit waits for the disk, as it does in earnest.
    pub fsync: bool,
    /// Lines of postgresql.conf.
    pub settings: Vec<(String, String)>,
    /// Put into the data folder, for settings to refer to: names and texts.
    pub files: Vec<(String, String)>,
}

impl Default for ClusterOptions {
    /// As Postgres comes, but for more connections.
    fn default() -> Self {
        Self { fsync: true, settings: Vec::new(), files: Vec::new() }
    }
}

impl Cluster {
    pub fn start(options: &ClusterOptions) -> Result<Self, PostgresError> {
        let binaries = Binaries::find()?;
        let all = throwaway_folder()?.join("own");
        make(&all)?;
        let name = format!("{:08x}", rand::random::<u32>());
        let lock = all.join(format!("{name}.lock"));
        let alive = {
            let _one_at_a_time = locked(&all.join("lock"))?;
            remove_orphans(&all, &binaries);
            locked(&lock)?
        };
        let port = free_port().map_err(|error| PostgresError::io(Path::new("127.0.0.1"), error))?;
        let server = Server::new(binaries, all.join(&name), port);
        let password = format!("{:016x}", rand::random::<u64>());
        let cluster = Self { server, password, lock, _alive: alive };

        let mut settings = vec![("max_connections".to_owned(), "300".to_owned())];
        if !options.fsync {
            settings.extend(no_durability());
        }
        settings.extend(options.settings.iter().cloned());
        cluster.server.init(Some(&cluster.password))?;
        cluster.server.configure(&settings, true)?;
        for (name, text) in &options.files {
            cluster.server.add(name, text)?;
        }
        cluster.server.launch()?;
        Ok(cluster)
    }

    /// After [`Cluster::stop_immediate`]. Recovers what was committed.
    pub fn start_again(&self) -> Result<(), PostgresError> {
        self.server.launch()
    }

    /// As if the power failed, but for what the system had already been given to write.
    pub fn stop_immediate(&self) -> Result<(), PostgresError> {
        self.server.stop("immediate")
    }

    pub fn restart_immediate(&self) -> Result<(), PostgresError> {
        self.stop_immediate()?;
        self.start_again()
    }

    /// Over TCP, as a superuser, with a password.
    pub fn url(&self, database: &str) -> String {
        let Self { server, password, .. } = self;
        format!("postgres://postgres:{password}@127.0.0.1:{}/{database}", server.port())
    }

    /// Over the Unix socket, as a superuser.
    pub fn socket_url(&self, database: &str) -> String {
        self.server.socket_url(database)
    }

    pub fn port(&self) -> u16 {
        self.server.port()
    }

    pub fn password(&self) -> &str {
        &self.password
    }

    /// Its first process.
    pub fn pid(&self) -> Result<u32, PostgresError> {
        self.server.pid().ok_or(PostgresError::NotRunning)
    }

    /// What the server says, for a look at it when a test fails.
    pub fn log(&self) -> String {
        fs::read_to_string(self.server.home().join("log")).unwrap_or_default()
    }

    /// Returns its URL.
    pub async fn create_database(&self, name: &str) -> Result<String, PostgresError> {
        let db = db::Db::connect(&DbSettings::at(&self.socket_url("postgres")))?;
        let sql = format!("create database {}", quoted(name));
        db.client().await?.batch("localstack.create_database", &sql).await?;
        Ok(self.url(name))
    }

    /// Returns its URL.
    pub async fn create_migrated_database(&self, name: &str) -> Result<String, PostgresError> {
        let url = self.create_database(name).await?;
        migrate::apply(&DbSettings::at(&url)).await?;
        Ok(url)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        remove(&self.server, &self.lock);
    }
}

/// Settings with which a commit need not wait for the disk: what is lost by them is lost only when
/// the machine stops.
pub fn no_durability() -> impl Iterator<Item = (String, String)> {
    let names = ["fsync", "synchronous_commit", "full_page_writes"];
    names.into_iter().map(|name| (name.to_owned(), "off".to_owned()))
}

/// Servers whose process is gone: the system let go of its lock.
fn remove_orphans(all: &Path, binaries: &Binaries) {
    let entries = fs::read_dir(all).into_iter().flatten().filter_map(Result::ok);
    for lock in entries.map(|entry| entry.path()) {
        let Some(name) = lock.file_name().and_then(|name| name.to_str()) else { continue };
        let Some(name) = name.strip_suffix(".lock") else { continue };
        let orphan = File::open(&lock).is_ok_and(|file| file.try_lock().is_ok());
        if orphan {
            let server = Server::new(binaries.clone(), all.join(name), 0);
            remove(&server, &lock);
        }
    }
}

/// As far as it goes: what remains is tried again by the next.
fn remove(server: &Server, lock: &Path) {
    if server.pid().is_some() && server.stop("immediate").is_err() && server.pid().is_some() {
        return;
    }
    if fs::remove_dir_all(server.home()).is_ok() || !server.home().exists() {
        let _ = fs::remove_file(lock);
    }
}

/// Waits until nobody else has this file locked. The lock ends with the value.
pub fn locked(path: &Path) -> Result<File, PostgresError> {
    let failed = |error| PostgresError::io(path, error);
    let file = File::create(path).map_err(failed)?;
    file.lock().map_err(failed)?;
    Ok(file)
}

pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
