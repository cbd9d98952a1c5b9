use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::info;

use crate::server::Server;
use crate::{PostgresError, StackError};

/// How long processes of an earlier server may take to leave.
const LEAVING: Duration = Duration::from_secs(20);

/// Makes a data folder startable after whatever happened to the last who used it. We hold its lock,
/// so a server that still runs there is one that nobody wants any more.
pub(crate) async fn recover(server: &Server) -> Result<(), StackError> {
    if !cfg!(target_os = "linux") {
        // Only Linux tells who works where; elsewhere Postgres itself decides, more cautiously.
        return Ok(());
    }
    let data = server.data();
    let began = Instant::now();
    let mut told = false;
    loop {
        let inside = inside(&data);
        if inside.is_empty() {
            break;
        }
        if !told && server.pid().is_some_and(|pid| inside.contains(&pid)) {
            info!("stopping the Postgres that an earlier run left behind");
            // It may be leaving already, and then there is nothing to be told.
            let _ = server.tell_to_stop();
            told = true;
        }
        if began.elapsed() > LEAVING {
            return Err(StackError::StillInUse { folder: data, pids: inside });
        }
        sleep(Duration::from_millis(50)).await;
    }
    // Nobody is in there. Postgres would still believe this file if its number had passed on to
    // another process of the same user.
    let stale = data.join("postmaster.pid");
    match fs::remove_file(&stale) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(PostgresError::io(&stale, error).into())
        }
        _ => Ok(()),
    }
}

/// Whose working directory it is: every process of a Postgres works in its data folder, and each
/// other program in a folder of its own.
pub(crate) fn inside(data: &Path) -> Vec<u32> {
    let Ok(data) = data.canonicalize() else { return Vec::new() };
    let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    processes
        .map(|entry| entry.path())
        .filter(|process| fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd == data))
        .filter_map(|process| process.file_name()?.to_str()?.parse().ok())
        .collect()
}
