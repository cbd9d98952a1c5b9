use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bus::Bus;

use super::check::{Check, advice, failed, fine, wrong};
use crate::human::{count, cut, duration};

/// It sweeps every second, and another takes over after five.
const KEEPER_IS_LATE: Duration = Duration::from_secs(15);

pub(super) async fn roles(bus: &Bus) -> Check {
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

/// Nobody who came as a client may pass by what is closed to clients.
pub(super) async fn loose_roles(bus: &Bus) -> Check {
    let check = "client roles";
    match bus.loose_roles().await {
        Ok(loose) if loose.is_empty() => {
            fine(check, "anon and authenticated may do no more than clients".to_owned())
        }
        Ok(loose) => {
            let told: Vec<String> =
                loose.iter().map(|(role, why)| format!("{role}: {why}")).collect();
            let fix =
                "alter role … nosuperuser nobypassrls; revoke service_role, cogo_worker from …";
            wrong(check, told.join("; "), fix)
        }
        Err(error) => failed(check, &error),
    }
}

pub(super) async fn row_level_security(bus: &Bus) -> Check {
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

pub(super) async fn functions(bus: &Bus) -> Check {
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

pub(super) async fn keeper(bus: &Bus) -> Check {
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

pub(super) async fn workers(bus: &Bus) -> Check {
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

/// Old and new workers get along while a release goes out, and not for ever.
pub(super) async fn versions(bus: &Bus) -> Check {
    let check = "versions";
    let ours = env!("CARGO_PKG_VERSION");
    let fleet = match bus.fleet().await {
        Ok(fleet) => fleet,
        Err(error) => return failed(check, &error),
    };
    let mut others: BTreeMap<&str, usize> = BTreeMap::new();
    for version in
        fleet.iter().filter(|seen| seen.state != "gone").filter_map(|seen| seen.version.as_deref())
    {
        *others.entry(version).or_default() += 1;
    }
    let same = others.remove(ours).unwrap_or_default();
    if others.is_empty() {
        return fine(check, format!("this program is {ours}, and so are all workers ({same})"));
    }
    let told: Vec<String> = others
        .iter()
        .map(|(version, number)| format!("{} {}", count(*number, "worker"), cut(version, 40)))
        .collect();
    advice(
        check,
        format!("this program is {ours}, and {}", told.join(", ")),
        "bring all to one version: `cogo workers list` shows which, `cogo images promote` rolls out",
    )
}

/// Somebody may have forgotten it.
pub(super) async fn paused(bus: &Bus) -> Check {
    let check = "routes";
    let activity = match bus.activity(Duration::from_secs(10)).await {
        Ok(activity) => activity,
        Err(error) => return failed(check, &error),
    };
    let paused: BTreeSet<String> = activity
        .routes
        .iter()
        .filter(|route| route.paused)
        .map(|route| route.stage().to_string())
        .collect();
    if paused.is_empty() {
        return fine(check, "none is paused".to_owned());
    }
    let paused: Vec<String> = paused.into_iter().collect();
    let fix = "`cogo bus resume <stage>` hands out its messages again";
    advice(check, format!("paused: {}", paused.join(", ")), fix)
}

pub(super) async fn sleepers(bus: &Bus) -> Check {
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
