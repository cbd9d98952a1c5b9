use std::time::Duration;

use bus::{Explained, MessageFacts, Place, ServingWorker};

use super::story::Story;
use crate::human::{between, count, cut, date, duration};

/// A worker beats every ten seconds.
const SILENT: f64 = 25.0;
/// It sweeps every second, and another takes over after five.
const KEEPER_IS_LATE: f64 = 15.0;
/// A worker that sleeps looks by itself this often, unless it was told otherwise.
const SLOW_POLL: Duration = Duration::from_secs(15);

/// What a message that is queued waits for now: every reason there is, the weightiest first.
pub(super) fn waiting(of: &Explained, story: &mut Story) {
    let facts = &of.facts;
    match facts.place {
        Place::Ready => ready(of, story),
        Place::Later => later(of, story),
        Place::Behind => behind(of, story),
        Place::Claimed | Place::Ended => return,
    }
    if let Some(expires) = of.message.expires_at {
        let left = between(facts.read_at, expires);
        story.say(format!("Unless it is claimed within {}, it expires.", duration(left)));
    }
}

fn ready(of: &Explained, story: &mut Story) {
    let before = story.says.len();
    paused(of, story);
    limits(of, story);
    hands(of, story);
    if let Some(ahead) = of.facts.ahead.filter(|ahead| *ahead > 0) {
        let (at_least, are) = (if ahead >= MOST { "at least " } else { "" }, are(ahead));
        story.say(format!(
            "{at_least}{} of its route, tenant and priority {are} before it.",
            count(usize::try_from(ahead).unwrap_or_default(), "message")
        ));
    }
    if story.says.len() == before {
        story.say("Nothing holds it back: a worker takes it as soon as it looks.");
        let (message, facts) = (&of.message, &of.facts);
        let since = message.retry_at.map_or(message.created_at, |at| at.max(message.created_at));
        if between(since, facts.read_at) > SLOW_POLL {
            story.say(format!(
                "That it has been ready for longer than {} means that nobody looks.",
                duration(SLOW_POLL)
            ));
            story.next("cogo doctor", "checks the doorbell, the keeper and the workers");
            story.next("cogo workers list", "shows who has been silent");
        }
    }
}

/// As far as the database counts.
const MOST: i64 = 10_000;

fn are(number: i64) -> &'static str {
    if number == 1 { "is" } else { "are" }
}

fn paused(of: &Explained, story: &mut Story) {
    if !of.facts.settings.paused {
        return;
    }
    let stage = of.message.route.stage();
    let since = of.facts.paused_since.map_or_else(String::new, |since| {
        let long = duration(between(since, of.facts.read_at));
        format!(" since {} UTC ({long})", date(since))
    });
    story.say(format!("{stage} is paused{since}: nobody claims there."));
    story.next(format!("cogo bus resume {stage}"), "hands its messages out again");
}

fn limits(of: &Explained, story: &mut Story) {
    let (facts, stage) = (&of.facts, of.message.route.stage());
    let settings = &facts.settings;
    let reached = |limit: Option<i64>, now: Option<i64>| {
        Some((limit?, now?)).filter(|(limit, now)| now >= limit)
    };
    let mut held = false;
    if let Some((limit, now)) = reached(settings.max_in_flight, facts.in_flight) {
        story.say(format!(
            "{stage} may have {limit} in flight over the whole fleet, and {now} {} claimed.",
            are(now)
        ));
        held = true;
    }
    if let Some((limit, now)) = reached(settings.max_in_flight_per_tenant, facts.in_flight_tenant) {
        story.say(format!(
            "A tenant may have {limit} in flight at {stage}, and {now} of {} {} claimed.",
            tenant(of),
            are(now)
        ));
        held = true;
    }
    let used_up = |tokens: Option<f64>| tokens.is_some_and(|tokens| tokens < 1.0);
    if let Some(rate) = settings.rate.filter(|_| used_up(facts.tokens)) {
        story.say(format!("{stage} is limited to {rate} claims a second, which are used up now."));
        held = true;
    }
    if let Some(rate) = settings.rate_per_tenant.filter(|_| used_up(facts.tokens_tenant)) {
        story.say(format!(
            "A tenant is limited to {rate} claims a second at {stage}, and those of {} are used up now.",
            tenant(of)
        ));
        held = true;
    }
    if held {
        story
            .next(format!("cogo bus stats {stage}"), "shows what stands there and what is claimed");
        let (service, role) = (stage.service(), stage.role());
        story.next(
            format!(
                "select * from public.bus_routes where service = '{service}' and role = '{role}'"
            ),
            "in psql: the limits are columns there, and an update counts at once",
        );
    }
}

fn tenant(of: &Explained) -> String {
    of.message.route.tenant().map_or_else(String::new, |tenant| format!("`{tenant}`"))
}

/// Whether anybody could take it.
fn hands(of: &Explained, story: &mut Story) {
    let route = &of.message.route;
    let alive = |worker: &&ServingWorker| {
        worker.state == "ready" && !worker.drain_requested && worker.silent_s < SILENT
    };
    let all = &of.facts.workers;
    let sure: Vec<_> = all.iter().filter(|worker| !worker.several).filter(alive).collect();
    let several = all.iter().filter(|worker| worker.several).filter(alive).count();
    if !sure.is_empty() {
        let slots: i32 = sure.iter().map(|worker| worker.slots).sum();
        let busy: i32 = sure.iter().map(|worker| worker.busy).sum();
        if busy >= slots {
            let workers = count(sure.len(), "worker");
            story.say(format!(
                "{workers} {} this route, and all {slots} slots are taken.",
                if sure.len() == 1 { "serves" } else { "serve" }
            ));
            story.next("cogo workers list", "shows who is busy");
        }
        return;
    }
    let place = format!("{}/{}", route.stage(), route.shard());
    if several > 0 {
        story.say(format!(
            "No worker serves {place} alone; {} that {} several stages may, without saying which.",
            count(several, "worker"),
            if several == 1 { "serves" } else { "serve" }
        ));
        return;
    }
    story.say(match all.iter().find(|worker| !worker.several) {
        Some(worker) if worker.drain_requested || worker.state == "draining" => {
            format!("No worker takes anything at {place}: {} is leaving.", cut(&worker.id, 80))
        }
        Some(worker) if worker.state == "starting" => {
            format!("No worker is ready at {place} yet: {} is starting.", cut(&worker.id, 80))
        }
        Some(worker) => format!(
            "No worker is alive at {place}: {} has been silent for {}.",
            cut(&worker.id, 80),
            seconds(worker.silent_s)
        ),
        None => format!("No worker serves {place}{}.", for_whom(of)),
    });
    story.next("cogo workers list", "shows who serves what");
    story.next("cogo run --help", "lists the workers that can be started");
}

fn for_whom(of: &Explained) -> String {
    match of.message.route.tenant() {
        Some(tenant) if tenant.as_str() != "default" => format!(" for the tenant {tenant}"),
        _ => String::new(),
    }
}

fn later(of: &Explained, story: &mut Story) {
    let facts = &of.facts;
    let Some(due) = facts.due_at else { return };
    let why = match of.message.attempts {
        0 => "as its producer asked".to_owned(),
        _ if retried(facts) => format!("because attempt {} failed", of.message.attempts),
        _ => "as whoever gave it back asked".to_owned(),
    };
    if due > facts.read_at {
        let left = duration(between(facts.read_at, due));
        story.say(format!("It is not claimed before {} UTC, in {left}, {why}.", date(due)));
    } else {
        let late = duration(between(due, facts.read_at));
        story.say(format!(
            "It was to wait until {} UTC, {why}, and has been due for {late}.",
            date(due)
        ));
        story.say("Whoever claims next, on any route, makes it ready; so does the keeper.");
        keeper(facts, story);
    }
    paused(of, story);
    if of.message.attempts > 0 {
        hands(of, story);
    }
    story.next(
        format!("cogo bus cancel {}", of.message.id),
        "ends it, if it is not worth waiting for",
    );
}

fn retried(facts: &MessageFacts) -> bool {
    facts.events.iter().any(|event| event.event_type == "retried")
}

fn behind(of: &Explained, story: &mut Story) {
    let key = of.message.ordering_key.as_deref().map_or("", |key| key);
    let key = cut(key, 80);
    let ahead = of.facts.ahead.unwrap_or_default();
    match &of.facts.first {
        Some(first) => {
            story.say(format!(
                "It waits for its turn: of the ordering key `{key}`, message {} ({}) comes first.",
                first.id, first.status
            ));
            if ahead > 1 {
                let ahead = count(usize::try_from(ahead).unwrap_or_default(), "message");
                story.say(format!("In all, {ahead} are before it."));
            }
            story.next(format!("cogo explain {}", first.id), "tells what that one waits for");
        }
        None => {
            story.say(format!("It waits for its turn behind others of the ordering key `{key}`."));
            keeper(&of.facts, story);
        }
    }
    paused(of, story);
}

pub(super) fn keeper(facts: &MessageFacts, story: &mut Story) {
    match facts.keeper_silent_s {
        None => story.say("No bus-keeper has ever run."),
        Some(silent) if silent > KEEPER_IS_LATE => {
            story.say(format!("The bus-keeper last swept {} ago.", seconds(silent)));
        }
        Some(_) => return,
    }
    story.next("cogo run bus-keeper", "gives back what dead workers held, and readies what is due");
}

pub(super) fn seconds(seconds: f64) -> String {
    duration(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default())
}
