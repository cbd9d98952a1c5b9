use std::time::Duration;

use bus::{Bus, BusError, Doorbell, Server};
use db::SessionMode;

use super::check::{Check, POOLER, advice, failed, fine, wrong};
use crate::human::duration;

/// Leases do not depend on it, but people who compare logs do.
const CLOCKS_AGREE: f64 = 1.0;
/// Beyond this, what vacuum cannot remove begins to slow the bus down.
const SNAPSHOT_IS_OLD: Duration = Duration::from_secs(300);
const RING_IS_SLOW: Duration = Duration::from_millis(250);
const OLDEST_POSTGRES: i32 = 150_000;

/// The database knows who we are, and does not let us call what workers call.
pub(super) fn is_not_allowed(error: &BusError) -> bool {
    matches!(error, BusError::Refused { code, .. } if code == "42501")
}

pub(super) fn stranger(error: &BusError) -> Check {
    let fix = "grant cogo_worker to this login, or name another in DATABASE_URL";
    wrong("login", error.to_string(), fix)
}

pub(super) fn connection(bus: &Bus, server: &Server) -> Check {
    let place = bus.db().server();
    let took = duration(server.round_trip);
    if server.is_standby {
        let found = format!("{place} is a standby, which cannot be written to");
        return wrong("connection", found, "point DATABASE_URL at the primary");
    }
    fine("connection", format!("{place} answers {} in {took}", server.user))
}

pub(super) fn version(server: &Server) -> Check {
    let found = format!("Postgres {}", server.version);
    if server.version_number < OLDEST_POSTGRES {
        return wrong("version", found, "upgrade to Postgres 15 or later");
    }
    fine("version", found)
}

pub(super) fn clocks(server: &Server) -> Check {
    let ahead = Duration::from_secs_f64(server.ahead.abs());
    if ahead.as_secs_f64() < CLOCKS_AGREE {
        // No difference below the time that asking took can be seen.
        let within = duration(ahead.max(server.round_trip));
        return fine("clocks", format!("the server's and ours agree within {within}"));
    }
    let which = if server.ahead > 0.0 { "ahead of" } else { "behind" };
    advice(
        "clocks",
        format!("the server's is {} {which} ours", duration(ahead)),
        "set both by NTP; leases are safe (only the server's counts), times in logs are not",
    )
}

pub(super) fn mode(bus: &Bus) -> Check {
    let check = "session mode";
    match (bus.db().mode(), bus.doorbell()) {
        (SessionMode::Session, Doorbell::Listen) => {
            fine(check, "connections stay ours; workers are rung (LISTEN/NOTIFY)".to_owned())
        }
        (SessionMode::Session, _) => advice(
            check,
            "connections stay ours, but workers only poll".to_owned(),
            "unset BUS_DOORBELL to be rung",
        ),
        (SessionMode::Transaction, _) => advice(
            check,
            "a pooler in transaction mode; workers poll, up to a second late".to_owned(),
            "use a direct connection or the pooler's session port (5432) to be rung",
        ),
        (SessionMode::Supabase, Doorbell::Realtime) => fine(
            check,
            "requests to Supabase's REST API; workers are rung over Realtime".to_owned(),
        ),
        (SessionMode::Supabase, _) => advice(
            check,
            "Supabase's REST API; workers poll, up to a second late".to_owned(),
            "unset BUS_DOORBELL to be rung over Realtime",
        ),
    }
}

pub(super) async fn doorbell(bus: &Bus) -> Check {
    let check = "doorbell";
    match bus.ring_ourselves().await {
        Ok(Some(took)) if took > RING_IS_SLOW => advice(
            check,
            format!("a ring takes {}", duration(took)),
            "somebody listens and does not read, or the server is far away or overloaded",
        ),
        Ok(Some(took)) => fine(check, format!("a ring comes back in {}", duration(took))),
        Ok(None) => wrong(check, "we rang ourselves and heard nothing for 5 s".to_owned(), POOLER),
        Err(error) => failed(check, &error),
    }
}

pub(super) fn autovacuum(server: &Server) -> Check {
    if server.autovacuum {
        return fine("autovacuum", "on".to_owned());
    }
    wrong("autovacuum", "off".to_owned(), "set autovacuum = on: without it the bus gets slower")
}

pub(super) async fn snapshots(bus: &Bus) -> Check {
    let check = "snapshots";
    match bus.snapshot_holders(SNAPSHOT_IS_OLD).await {
        Ok(holders) if holders.is_empty() => {
            fine(check, "nobody keeps vacuum from removing dead rows".to_owned())
        }
        Ok(holders) => {
            let told: Vec<String> = holders
                .iter()
                .map(|holder| match holder.held_for {
                    Some(held) => format!("{} for {}", holder.who, duration(held)),
                    None => holder.who.clone(),
                })
                .collect();
            advice(
                check,
                format!("vacuum is held back by {}", told.join("; ")),
                "end it: commit, pg_terminate_backend(pid), rollback prepared or drop the slot",
            )
        }
        Err(error) => failed(check, &error),
    }
}
