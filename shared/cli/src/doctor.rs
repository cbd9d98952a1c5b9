use std::time::Duration;

use bus::{Bus, BusError, BusSettings, Doorbell, Server};
use clap::Args;
use db::migrate::{self, MigrateError, State};
use db::{DbError, SessionMode};
use miette::Diagnostic;
use telemetry::Chain;

use crate::check::{Check, Report, Verdict, advice, failed, fine, page, wrong};
use crate::connection::Connection;
use crate::ended::Ended;
use crate::human::duration;

/// Check whether the bus works here, and say how to mend what does not.
///
/// ✓ is fine, ! is advice, ✗ is wrong. Exits with 1 if anything is wrong. Changes nothing.
#[derive(Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    connection: Connection,

    #[command(flatten)]
    bus: BusSettings,
}

/// Leases do not depend on it, but people who compare logs do.
const CLOCKS_AGREE: f64 = 1.0;
/// It sweeps every second, and another takes over after five.
const KEEPER_IS_LATE: Duration = Duration::from_secs(15);
/// Beyond this, what vacuum cannot remove begins to slow the bus down.
const SNAPSHOT_IS_OLD: Duration = Duration::from_secs(300);
const RING_IS_SLOW: Duration = Duration::from_millis(250);
/// A request to make it ring, and Realtime's way back.
const RING_OVER_REALTIME_IS_SLOW: Duration = Duration::from_secs(1);
const OLDEST_POSTGRES: i32 = 150_000;

impl Doctor {
    pub(crate) async fn run(self) -> miette::Result<Ended> {
        let checks = self.examine().await;
        let healthy = checks.iter().all(|check| check.verdict != Verdict::Wrong);
        self.connection.out().answer(&Report { healthy, checks }, page)?;
        Ok(if healthy { Ended::Well } else { Ended::Badly })
    }

    async fn examine(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        let bus = match Bus::connect(&self.connection.db, &self.bus) {
            Ok(bus) => bus,
            Err(error) => return vec![failed("connection", &error)],
        };
        let server = match bus.server().await {
            Ok(server) => server,
            Err(error) if has_no_functions(&error) => {
                let found = "the database has none of our functions".to_owned();
                return vec![wrong("migrations", found, MIGRATE)];
            }
            Err(error) => return vec![failed("connection", &error)],
        };
        checks.push(connection(&bus, &server));
        checks.push(version(&server));
        checks.push(clocks(&server));
        let migrated = match bus.db().mode() {
            SessionMode::Supabase => newest_migration(&bus).await,
            SessionMode::Session | SessionMode::Transaction => self.migrations(&bus).await,
        };
        let has_tables = migrated.verdict != Verdict::Wrong;
        checks.push(migrated);
        checks.push(mode(&bus));
        match bus.db().mode() {
            SessionMode::Session => checks.push(doorbell(&bus).await),
            SessionMode::Supabase if has_tables => {
                checks.push(realtime(&bus).await);
                checks.push(doorbell(&bus).await);
            }
            SessionMode::Supabase | SessionMode::Transaction => {}
        }
        checks.push(roles(&bus).await);
        if has_tables {
            checks.push(row_level_security(&bus).await);
            checks.push(functions(&bus).await);
            checks.push(keeper(&bus).await);
            checks.push(workers(&bus).await);
            checks.push(sleepers(&bus).await);
        }
        checks.push(autovacuum(&server));
        checks.push(snapshots(&bus).await);
        checks
    }

    async fn migrations(&self, bus: &Bus) -> Check {
        let check = "migrations";
        let status = match migrate::status(&self.connection.db).await {
            Ok(status) => status,
            Err(MigrateError::Database(DbError::NeedsSession)) => {
                let server = bus.db().server();
                let found = format!("not compared: {server} is a pooler in transaction mode");
                return advice(check, found, "run `cogo db status` over a direct connection");
            }
            Err(error) => {
                let fix = error.help().map(|help| help.to_string());
                let found = Chain(&error).to_string();
                return Check { check, verdict: Verdict::Wrong, found, fix };
            }
        };
        let named = |state| {
            let lines = status.iter().filter(|line| line.state == state);
            lines.map(|line| format!("{}_{}", line.version, line.name)).collect::<Vec<_>>()
        };
        let (pending, changed) = (named(State::Pending), named(State::Changed));
        if !changed.is_empty() {
            let found = format!("changed after they were applied: {}", changed.join(", "));
            return wrong(check, found, "put the applied text back; a change is a new migration");
        }
        if !pending.is_empty() {
            return wrong(
                check,
                format!("{} of {} pending", pending.len(), status.len()),
                "run `cogo db migrate`",
            );
        }
        let unknown = named(State::Unknown);
        if !unknown.is_empty() {
            let found =
                format!("all applied, and {} that this program does not know", unknown.len());
            return fine(check, found);
        }
        fine(check, format!("all {} applied, none changed", status.len()))
    }
}

const MIGRATE: &str = "run `cogo db migrate` with DATABASE_URL set, or `supabase db push`";

/// Postgres says that there is no such function, PostgREST that it knows none.
fn has_no_functions(error: &BusError) -> bool {
    let BusError::Db(error) = error else { return false };
    error.code().is_some_and(|code| ["42883", "PGRST202"].contains(&code.code()))
}

/// All that can be asked over REST.
async fn newest_migration(bus: &Bus) -> Check {
    let check = "migrations";
    let ours = migrate::newest();
    match bus.schema().await {
        Ok(Some(applied)) if applied.as_str() >= ours => {
            fine(check, format!("applied up to {applied}; to compare each takes a connection"))
        }
        Ok(Some(applied)) => wrong(
            check,
            format!("applied up to {applied}, and this program was made for {ours}"),
            MIGRATE,
        ),
        Ok(None) => advice(check, "nobody recorded which are applied".to_owned(), MIGRATE),
        Err(error) => failed(check, &error),
    }
}

fn connection(bus: &Bus, server: &Server) -> Check {
    let place = bus.db().server();
    let took = duration(server.round_trip);
    if server.is_standby {
        let found = format!("{place} is a standby, which cannot be written to");
        return wrong("connection", found, "point DATABASE_URL at the primary");
    }
    fine("connection", format!("{place} answers {} in {took}", server.user))
}

fn version(server: &Server) -> Check {
    let found = format!("Postgres {}", server.version);
    if server.version_number < OLDEST_POSTGRES {
        return wrong("version", found, "upgrade to Postgres 15 or later");
    }
    fine("version", found)
}

fn clocks(server: &Server) -> Check {
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

fn mode(bus: &Bus) -> Check {
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

async fn realtime(bus: &Bus) -> Check {
    let check = "realtime";
    match bus.realtime_lacks().await {
        Ok(lacking) if lacking.is_empty() => {
            fine(check, "rings, tells who watches, and shows cogo.agent_messages".to_owned())
        }
        Ok(lacking) => wrong(
            check,
            format!("the database lacks: {}", lacking.join(", ")),
            "as its owner, in the SQL editor: select cogo.attach_realtime()",
        ),
        Err(error) => failed(check, &error),
    }
}

async fn doorbell(bus: &Bus) -> Check {
    let check = "doorbell";
    let (slow, why_slow, why_silent) = match bus.db().mode() {
        SessionMode::Supabase => (
            RING_OVER_REALTIME_IS_SLOW,
            "the project is far away, or asks too much of Realtime; workers are as late as that",
            "is Realtime enabled in the project's settings? Its log there says what it refused or \
             dropped; until it rings, workers look once a second",
        ),
        SessionMode::Session | SessionMode::Transaction => (
            RING_IS_SLOW,
            "somebody listens and does not read, or the server is far away or overloaded",
            "a pooler in transaction mode may stand between: set DB_SESSION=transaction",
        ),
    };
    match bus.ring_ourselves().await {
        Ok(Some(took)) if took > slow => {
            advice(check, format!("a ring takes {}", duration(took)), why_slow)
        }
        Ok(Some(took)) => fine(check, format!("a ring comes back in {}", duration(took))),
        Ok(None) => {
            wrong(check, "we rang ourselves and heard nothing of it".to_owned(), why_silent)
        }
        Err(error) => failed(check, &error),
    }
}

async fn roles(bus: &Bus) -> Check {
    let check = "roles";
    match bus.missing_roles().await {
        Ok(missing) if missing.is_empty() => {
            fine(check, "anon, authenticated, service_role and cogo_worker exist".to_owned())
        }
        Ok(missing) => {
            wrong(check, format!("missing: {}", missing.join(", ")), "run `cogo db migrate`")
        }
        Err(error) => failed(check, &error),
    }
}

async fn row_level_security(bus: &Bus) -> Check {
    let check = "row security";
    match bus.unprotected_tables().await {
        Ok(open) if open.is_empty() => fine(check, "on and forced on every table".to_owned()),
        Ok(open) => wrong(
            check,
            format!("not forced on {}", open.join(", ")),
            "alter table … enable row level security; alter table … force row level security",
        ),
        Err(error) => failed(check, &error),
    }
}

async fn functions(bus: &Bus) -> Check {
    let check = "functions";
    match bus.unsafe_functions().await {
        Ok(found) if found.is_empty() => {
            fine(check, "every security definer is closed to the public".to_owned())
        }
        Ok(found) => {
            let told: Vec<String> =
                found.iter().map(|(function, why)| format!("{function}: {why}")).collect();
            wrong(
                check,
                told.join("; "),
                "revoke execute from public and set search_path, as the migrations do",
            )
        }
        Err(error) => failed(check, &error),
    }
}

async fn keeper(bus: &Bus) -> Check {
    let check = "keeper";
    let fix = "run `cogo run bus-keeper`, as one process or several: without it, what a dead \
               worker held is never given back";
    match bus.keeper().await {
        Ok(keeper) => match keeper.silent {
            None => wrong(check, "no bus-keeper has ever run".to_owned(), fix),
            Some(silent) if silent > KEEPER_IS_LATE => {
                let found = format!("{} last swept {} ago", keeper.worker, duration(silent));
                wrong(check, found, fix)
            }
            Some(silent) => {
                fine(check, format!("{} swept {} ago", keeper.worker, duration(silent)))
            }
        },
        Err(error) => failed(check, &error),
    }
}

async fn workers(bus: &Bus) -> Check {
    let check = "workers";
    let fleet = match bus.fleet().await {
        Ok(fleet) => fleet,
        Err(error) => return failed(check, &error),
    };
    let alive: Vec<_> = fleet.iter().filter(|seen| seen.state != "gone").collect();
    if alive.is_empty() {
        let found = "none is alive".to_owned();
        return advice(check, found, "start one, as in `cogo run probe`");
    }
    let late: Vec<&str> = alive
        .iter()
        .filter(|seen| seen.silent.is_some_and(|silent| silent > Duration::from_secs(60)))
        .map(|seen| seen.id.as_str())
        .collect();
    if !late.is_empty() {
        let found = format!("not heard of for a minute: {}", late.join(", "));
        return advice(check, found, "look at their logs; the keeper will count them as gone");
    }
    fine(check, format!("{} alive", alive.len()))
}

async fn sleepers(bus: &Bus) -> Check {
    let check = "sleepers";
    match bus.dead_sleepers().await {
        Ok(dead) if dead.is_empty() => fine(check, "nobody who died is still rung".to_owned()),
        Ok(dead) => advice(
            check,
            format!("noted as asleep, but dead: {}", dead.join(", ")),
            "the keeper removes them; is one running?",
        ),
        Err(error) => failed(check, &error),
    }
}

fn autovacuum(server: &Server) -> Check {
    if server.autovacuum {
        return fine("autovacuum", "on".to_owned());
    }
    wrong("autovacuum", "off".to_owned(), "set autovacuum = on: without it the bus gets slower")
}

async fn snapshots(bus: &Bus) -> Check {
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
