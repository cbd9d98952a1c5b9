use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf, absolute};

use clap::Args;
use nix::unistd::Uid;

use crate::binaries::Binaries;
use crate::{PostgresError, StackError};

/// Where the local stack keeps its data, and the Postgres it starts.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Local stack")]
pub struct StackSettings {
    /// The folder of its data: database, artifacts and keys; made when it is not there.
    ///
    /// Unless set it is ~/.local/share/cogo ($`XDG_DATA_HOME`/cogo), and /var/lib/cogo for root.
    #[arg(long, env = "COGO_HOME", value_name = "FOLDER")]
    pub data: Option<PathBuf>,

    /// The port its Postgres listens on, on this machine only; 54322 unless set.
    #[arg(long, env = "COGO_PG_PORT", value_name = "PORT")]
    pub pg_port: Option<u16>,

    /// The folder of the Postgres programs it uses; the newest that is installed unless set.
    #[arg(long, env = "COGO_PG_BIN", value_name = "FOLDER")]
    pub pg_bin: Option<PathBuf>,
}

/// What stands in for Supabase in the local stack.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Local stack")]
pub struct GatewaySettings {
    /// The port of what stands in for Supabase, on this machine only; 54321 unless set.
    #[arg(long, env = "COGO_GATEWAY_PORT", value_name = "PORT")]
    pub gateway_port: Option<u16>,

    /// The folder of the edge functions; unless set, `edge-functions` here or further up.
    #[arg(long, env = "COGO_FUNCTIONS", value_name = "FOLDER")]
    pub functions: Option<PathBuf>,
}

impl GatewaySettings {
    /// Where Supabase's own local stack has it.
    const PORT: u16 = 54321;

    pub fn port(&self) -> u16 {
        self.gateway_port.unwrap_or(Self::PORT)
    }
}

impl StackSettings {
    /// Where Supabase's own local stack has it.
    const PG_PORT: u16 = 54322;

    pub fn pg_port(&self) -> u16 {
        self.pg_port.unwrap_or(Self::PG_PORT)
    }

    /// The data folder, absolute. `name` is what it is called when nobody says where it is.
    pub fn folder(&self, name: &str) -> Result<PathBuf, StackError> {
        let said = self.data.clone();
        let folder = said.or_else(|| shares().map(|shares| shares.join(name)));
        let folder = folder.ok_or(StackError::NoHome)?;
        absolute(&folder).map_err(|source| StackError::Folder { folder, source })
    }

    pub(crate) fn binaries(&self) -> Result<Binaries, PostgresError> {
        match &self.pg_bin {
            Some(bin) => Binaries::at(bin),
            None => Binaries::find(),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "where a user's data lies is not a setting of ours")]
fn shares() -> Option<PathBuf> {
    if Uid::effective().is_root() {
        // Its home is closed to the user that Postgres has to run as.
        return Some(PathBuf::from("/var/lib"));
    }
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).or_else(home).filter(|it| it.is_absolute())
}

/// The path of a Unix socket has 107 bytes at most, and the server's is some 30 longer than this
/// folder's.
const LONGEST: usize = 75;

/// Makes the data folder, ours alone but for a way through to what belongs to Postgres.
pub(crate) fn make_home(folder: &Path) -> Result<(), StackError> {
    if folder.as_os_str().len() > LONGEST {
        return Err(StackError::LongPath { folder: folder.to_owned(), longest: LONGEST });
    }
    let failed = |source| StackError::Folder { folder: folder.to_owned(), source };
    if let Some(parent) = folder.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(failed)?;
    }
    let mode = if Uid::effective().is_root() { 0o711 } else { 0o700 };
    match DirBuilder::new().mode(mode).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(failed)?,
    }
    let owner = fs::metadata(folder).map_err(failed)?.uid();
    if owner != Uid::effective().as_raw() {
        return Err(StackError::NotOurs { folder: folder.to_owned() });
    }
    Ok(())
}
