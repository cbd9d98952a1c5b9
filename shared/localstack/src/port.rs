use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use miette::Diagnostic;

/// Somebody else listens where we want to.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("port {port} on 127.0.0.1 {}", self.why())]
#[diagnostic(help("{}choose another port with `{flag} PORT`", self.way_out()))]
pub struct PortInUse {
    port: u16,
    flag: &'static str,
    by: Option<Listener>,
    source: io::Error,
}

#[derive(Clone, Debug)]
struct Listener {
    pid: u32,
    name: String,
}

/// Whether we may listen there. `flag` is what chooses another port.
pub fn check_port(port: u16, flag: &'static str) -> Result<(), PortInUse> {
    let Err(source) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) else { return Ok(()) };
    Err(PortInUse { port, flag, by: listener(port), source })
}

/// One that nobody listens on now.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

impl PortInUse {
    fn why(&self) -> String {
        match &self.by {
            Some(Listener { pid, name }) => format!("is used by {name} (process {pid})"),
            None if self.source.kind() == io::ErrorKind::AddrInUse => "is in use".to_owned(),
            None => "cannot be listened on".to_owned(),
        }
    }

    fn way_out(&self) -> String {
        self.by
            .as_ref()
            .map_or_else(String::new, |by| format!("stop it with `kill {}`, or ", by.pid))
    }
}

/// Whoever listens on the port, as far as Linux tells us: of other users' processes it does not.
fn listener(port: u16) -> Option<Listener> {
    let inodes: Vec<String> =
        ["/proc/net/tcp", "/proc/net/tcp6"].iter().flat_map(|table| sockets(table, port)).collect();
    let processes = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
    processes.map(|entry| entry.path()).find_map(|process| {
        let pid = process.file_name()?.to_str()?.parse().ok()?;
        let holds = fs::read_dir(process.join("fd"))
            .ok()?
            .filter_map(Result::ok)
            .any(|fd| fs::read_link(fd.path()).is_ok_and(|target| is_one_of(&target, &inodes)));
        let name = fs::read_to_string(process.join("comm")).ok()?;
        holds.then(|| Listener { pid, name: name.trim().to_owned() })
    })
}

fn is_one_of(target: &Path, inodes: &[String]) -> bool {
    let target = target.to_string_lossy();
    let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
    inode.is_some_and(|inode| inodes.iter().any(|one| one == inode))
}

/// The inodes of sockets that listen on the port, in a table like `/proc/net/tcp`.
fn sockets(table: &str, port: u16) -> Vec<String> {
    const LISTENS: &str = "0A";
    let text = fs::read_to_string(table).unwrap_or_default();
    let ours = format!(":{port:04X}");
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let (local, state, inode) = (columns.get(1)?, columns.get(3)?, columns.get(9)?);
            (local.ends_with(&ours) && *state == LISTENS).then(|| (*inode).to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_uses_a_port_is_named_and_the_way_out_as_well() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = check_port(port, "--pg-port").unwrap_err();
        let pid = std::process::id();
        let told = error.to_string();
        assert!(told.starts_with(&format!("port {port} on 127.0.0.1 ")), "{told}");
        if cfg!(target_os = "linux") {
            assert!(told.ends_with(&format!("(process {pid})")), "{told}");
        }
        assert!(error.help().unwrap().to_string().ends_with("with `--pg-port PORT`"));
        drop(taken);
        assert!(check_port(port, "--pg-port").is_ok());
    }
}
