use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use db::DbSettings;
use db::migrate;

use crate::ClusterError;
use crate::binaries::Binaries;
use crate::folder::{folder, make};
use crate::server::Server;
use crate::test_db::quoted;

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
    pub fn start(options: &ClusterOptions) -> Result<Self, ClusterError> {
        let binaries = Binaries::find()?;
        let all = folder()?.join("own");
        make(&all)?;
        let name = format!("{:08x}", rand::random::<u32>());
        let lock = all.join(format!("{name}.lock"));
        let alive = {
            let _one_at_a_time = locked(&all.join("lock"))?;
            remove_orphans(&all, &binaries);
            locked(&lock)?
        };
        let port = free_port()?;
        let server = Server { binaries, home: all.join(&name), port };
        let password = format!("{:016x}", rand::random::<u64>());
        let cluster = Self { server, password, lock, _alive: alive };

        let mut settings = vec![("max_connections".to_owned(), "300".to_owned())];
        if !options.fsync {
            settings.extend(no_durability());
        }
        settings.extend(options.settings.iter().cloned());
        cluster.server.init(&settings, Some(&cluster.password))?;
        for (name, text) in &options.files {
            cluster.server.add(name, text)?;
        }
        cluster.server.launch()?;
        Ok(cluster)
    }

    /// After [`Cluster::stop_immediate`]. Recovers what was committed.
    pub fn start_again(&self) -> Result<(), ClusterError> {
        self.server.launch()
    }

    /// As if the power failed, but for what the system had already been given to write.
    pub fn stop_immediate(&self) -> Result<(), ClusterError> {
        self.server.stop("immediate")
    }

    pub fn restart_immediate(&self) -> Result<(), ClusterError> {
        self.stop_immediate()?;
        self.start_again()
    }

    /// Over TCP, as a superuser, with a password.
    pub fn url(&self, database: &str) -> String {
        let Self { server, password, .. } = self;
        format!("postgres://postgres:{password}@127.0.0.1:{}/{database}", server.port)
    }

    /// Over the Unix socket, as a superuser.
    pub fn socket_url(&self, database: &str) -> String {
        self.server.socket_url(database)
    }

    pub fn port(&self) -> u16 {
        self.server.port
    }

    pub fn password(&self) -> &str {
        &self.password
    }

    /// Its first process.
    pub fn pid(&self) -> Result<u32, ClusterError> {
        self.server.pid().ok_or(ClusterError::NotRunning)
    }

    /// What the server says, for a look at it when a test fails.
    pub fn log(&self) -> String {
        fs::read_to_string(self.server.home.join("log")).unwrap_or_default()
    }

    /// Returns its URL.
    pub async fn create_database(&self, name: &str) -> Result<String, ClusterError> {
        let db = db::Db::connect(&DbSettings::at(&self.socket_url("postgres")))?;
        let sql = format!("create database {}", quoted(name));
        db.client().await?.batch("testkit.create_database", &sql).await?;
        Ok(self.url(name))
    }

    /// Returns its URL.
    pub async fn create_migrated_database(&self, name: &str) -> Result<String, ClusterError> {
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

/// What is lost by these is lost only when the machine stops.
pub(crate) fn no_durability() -> impl Iterator<Item = (String, String)> {
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
            let server = Server { binaries: binaries.clone(), home: all.join(name), port: 0 };
            remove(&server, &lock);
        }
    }
}

/// As far as it goes: what remains is tried again by the next.
fn remove(server: &Server, lock: &Path) {
    if server.pid().is_some() && server.stop("immediate").is_err() && server.pid().is_some() {
        return;
    }
    if fs::remove_dir_all(&server.home).is_ok() || !server.home.exists() {
        let _ = fs::remove_file(lock);
    }
}

pub(crate) fn locked(path: &Path) -> Result<File, ClusterError> {
    let failed = |error| ClusterError::io(path, error);
    let file = File::create(path).map_err(failed)?;
    file.lock().map_err(failed)?;
    Ok(file)
}

fn free_port() -> Result<u16, ClusterError> {
    let failed = |error| ClusterError::io(Path::new("127.0.0.1"), error);
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(failed)?;
    Ok(listener.local_addr().map_err(failed)?.port())
}
