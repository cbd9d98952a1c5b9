use std::path::{Path, PathBuf};

use bus::{Bus, Disk};
use nix::sys::statvfs::statvfs;

use super::check::{Check, advice, failed, fine, wrong};

const DATABASE: &str = "database size";
/// Beyond this, a slot that nobody reads from is on its way to fill the disk.
const MUCH_LOG: u64 = 4 << 30;
const GIB: u64 = 1 << 30;

/// What the database takes, and whether there is room where it and artifacts lie, as far as that is
/// on this machine.
pub(super) async fn examine(bus: &Bus, artifacts: Option<&str>, wanted_gib: u64) -> Vec<Check> {
    let mut checks = Vec::new();
    match bus.disk().await {
        Ok(disk) => {
            checks.push(size(&disk));
            let folder = disk.data_folder.filter(|_| is_here(bus.db().server()));
            checks.extend(
                folder.and_then(|folder| room("database disk", Path::new(&folder), wanted_gib)),
            );
        }
        Err(error) => checks.push(failed(DATABASE, &error)),
    }
    let folder = artifacts.and_then(folder);
    checks.extend(folder.and_then(|folder| room("artifacts disk", &folder, wanted_gib)));
    checks
}

fn size(disk: &Disk) -> Check {
    let biggest: Vec<String> =
        disk.biggest.iter().map(|table| format!("{} {}", table.name, bytes(table.bytes))).collect();
    let slots: Vec<String> = disk
        .slots
        .iter()
        .filter(|slot| !slot.active && slot.kept_bytes > MUCH_LOG)
        .map(|slot| format!("`{}` {}", slot.name, bytes(slot.kept_bytes)))
        .collect();
    if !slots.is_empty() {
        return wrong(
            DATABASE,
            format!("log is kept for replication slots that nobody reads: {}", slots.join(", ")),
            "start who reads them, or select pg_drop_replication_slot('…')",
        );
    }
    let (all, biggest) = (bytes(disk.database_bytes), biggest.join(", "));
    fine(DATABASE, format!("{all}, most of it in {biggest}"))
}

/// A socket, or an address that never leaves this machine.
fn is_here(server: &str) -> bool {
    ["/", "localhost:", "127.", "[::1]:", "::1:"].iter().any(|start| server.starts_with(start))
}

/// Of `s3://…` nobody knows how much room there is.
fn folder(base: &str) -> Option<PathBuf> {
    match base.split_once("://") {
        Some(("file", path)) => Some(path.into()),
        Some(_) => None,
        None => Some(base.into()),
    }
}

/// `None` where we may not know, as behind a container's wall.
fn room(check: &'static str, folder: &Path, wanted_gib: u64) -> Option<Check> {
    let found = statvfs(folder).ok()?;
    let (block, total, left) = (found.fragment_size(), found.blocks(), found.blocks_available());
    let (total, left) = (total.saturating_mul(block), left.saturating_mul(block));
    let told = format!("{} of {} are free at {}", bytes(left), bytes(total), folder.display());
    Some(if left < wanted_gib.saturating_mul(GIB) / 4 {
        wrong(check, told, MAKE_ROOM)
    } else if left < wanted_gib.saturating_mul(GIB) {
        advice(check, told, MAKE_ROOM)
    } else {
        fine(check, told)
    })
}

const MAKE_ROOM: &str =
    "make room, or shorten what the bus-keeper keeps: --keep-messages, --keep-events";

fn bytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits of it are shown")]
    let value = bytes as f64;
    match bytes {
        0..1_048_576 => format!("{:.0} KiB", value / 1024.0),
        1_048_576..GIB => format!("{:.1} MiB", value / 1_048_576.0),
        _ => format!("{:.1} GiB", value / 1_073_741_824.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Verdict;
    use bus::{Slot, TableSize};

    #[test]
    fn only_what_is_on_this_machine_is_looked_at_here() {
        for (server, here) in [
            ("/var/run/postgresql/cogo", true),
            ("127.0.0.1:5432/cogo", true),
            ("localhost:5432/cogo", true),
            ("[::1]:5432/cogo", true),
            ("db.internal:5432/cogo", false),
            ("128.0.0.1/cogo", false),
            ("localhost.example:5432/cogo", false),
        ] {
            assert_eq!(is_here(server), here, "{server}");
        }
        for (base, found) in [
            ("/var/lib/a", Some("/var/lib/a")),
            ("file:///var/lib/a", Some("/var/lib/a")),
            ("s3://bucket/a", None),
        ] {
            assert_eq!(folder(base), found.map(PathBuf::from), "{base}");
        }
    }

    #[test]
    fn a_disk_is_wrong_before_it_is_full() {
        let here = Path::new("/");
        let verdict = |gib| room("disk", here, gib).unwrap().verdict;
        assert_eq!(verdict(0), Verdict::Fine);
        assert_eq!(verdict(u64::MAX), Verdict::Wrong);
        let free = statvfs(here).unwrap();
        let free = free.blocks_available() * free.fragment_size() / GIB;
        assert_eq!(verdict(free * 2 + 2), Verdict::Advice);
        assert!(room("disk", Path::new("/nowhere/at/all"), 1).is_none());
    }

    #[test]
    fn log_that_is_kept_for_nobody_is_named() {
        let slot = |active, kept_bytes| Slot { name: "old".to_owned(), active, kept_bytes };
        let disk = |slot| Disk {
            database_bytes: 5 << 20,
            data_folder: None,
            biggest: vec![TableSize { name: "public.bus_events".to_owned(), bytes: 3 << 30 }],
            slots: vec![slot],
        };
        assert_eq!(size(&disk(slot(true, 8 << 30))).verdict, Verdict::Fine);
        assert_eq!(size(&disk(slot(false, 1 << 20))).verdict, Verdict::Fine);
        let found = size(&disk(slot(false, 8 << 30)));
        assert_eq!(found.verdict, Verdict::Wrong);
        assert!(found.found.ends_with("`old` 8.0 GiB"), "{}", found.found);
        let told = size(&disk(slot(true, 0))).found;
        assert_eq!(told, "5.0 MiB, most of it in public.bus_events 3.0 GiB");
    }
}
