use std::time::Duration;

use bus::{Activity, MessageState, RouteActivity, Status, WorkerSeen};
use registry::{Phase, Release};
use time::OffsetDateTime;

use crate::human::{between, cut, duration, route};

/// How a line is meant, whatever colours say that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    /// Nothing happens there.
    Quiet,
    /// Somebody stopped it, or it is on its way.
    Notice,
    Bad,
}

/// A line of a table: its cells, and how it is meant.
pub(super) type Line = (Vec<String>, Tone);

/// A heading that starts with `#` is of numbers.
pub(super) const ROUTES: [&str; 9] =
    ["route", "#ready", "#later", "#claimed", "#oldest", "#in/s", "#out/s", "#failed", "#dead"];
pub(super) const WORKERS: [&str; 6] = ["worker", "serves", "state", "#busy", "#seen", "version"];
pub(super) const ROLLOUTS: [&str; 5] = ["agent", "tag", "phase", "#took", "why"];
pub(super) const MESSAGES: [&str; 5] = ["#message", "state", "#tries", "#age", "what"];

pub(super) fn of_route(one: &RouteActivity, activity: &Activity) -> Line {
    let at_least = if one.at_least { "+" } else { "" };
    // What waits for its turn waits, too; `cogo bus stats` tells the two apart.
    let later = one.later + one.behind;
    let state = if one.paused { " paused" } else { "" };
    let oldest = one.oldest_s.map_or_else(|| "–".to_owned(), short_seconds);
    let cells = vec![
        format!("{}{state}", route(&one.route())),
        format!("{}{at_least}", compact(one.ready)),
        compact(later),
        compact(one.claimed),
        oldest,
        rate(one.published, activity.published_s),
        rate(one.done + one.failed, activity.ended_s),
        compact(one.failed),
        compact(one.letters),
    ];
    let busy = one.ready + later + one.claimed + one.published + one.done + one.failed > 0;
    let tone = match one {
        _ if one.failed > 0 => Tone::Bad,
        _ if one.paused => Tone::Notice,
        _ if busy => Tone::Plain,
        _ => Tone::Quiet,
    };
    (cells, tone)
}

/// A worker beats every ten seconds.
const SILENT: Duration = Duration::from_secs(25);

pub(super) fn of_worker(one: &WorkerSeen) -> Line {
    let serves = match (&one.service, &one.role) {
        (Some(service), Some(role)) => format!("{service}/{role}"),
        _ => "several".to_owned(),
    };
    let silent = one.silent.unwrap_or_default();
    let leaves = one.drain_requested && one.state == "ready";
    let state = if leaves { "leaving".to_owned() } else { cut(&one.state, 10) };
    let tone = match one {
        _ if silent > SILENT => Tone::Bad,
        _ if leaves || one.state != "ready" => Tone::Notice,
        _ => Tone::Plain,
    };
    let seen = short_seconds(silent.as_secs_f64());
    let version = cut(one.version.as_deref().unwrap_or("–"), 12);
    (
        vec![cut(&one.id, 60), serves, state, format!("{}/{}", one.busy, one.slots), seen, version],
        tone,
    )
}

pub(super) fn of_release(one: &Release) -> Line {
    let why = one.failure_code.as_deref().map_or_else(String::new, |code| cut(code, 40));
    let tone = match one.phase {
        Phase::Active => Tone::Plain,
        Phase::Recorded | Phase::Resolved if !one.wanted => Tone::Quiet,
        Phase::Retired | Phase::Superseded => Tone::Quiet,
        Phase::Recorded
        | Phase::Resolved
        | Phase::Queued
        | Phase::CanaryDeploying
        | Phase::CanaryVerifying
        | Phase::Deploying
        | Phase::Verifying => Tone::Notice,
        Phase::Rejected
        | Phase::Failed
        | Phase::RollingBack
        | Phase::RolledBack
        | Phase::RollbackFailed
        | Phase::ScaledDown => Tone::Bad,
    };
    let took =
        short_seconds(Duration::from_millis(one.took_ms.try_into().unwrap_or(0)).as_secs_f64());
    (vec![one.agent_name.to_string(), one.tag.to_string(), one.phase.to_string(), took, why], tone)
}

pub(super) fn of_message(one: &MessageState, now: OffsetDateTime) -> Line {
    let waits = one.retry_at.filter(|at| *at > now && one.status == Status::Queued);
    let worker = one.claimed_by.as_deref().map_or_else(String::new, |it| cut(it, 40));
    let error = one.error.as_deref().map_or_else(String::new, |it| cut(it, 120));
    let (what, tone) = match (one.status, waits, &one.ordering_key) {
        (Status::Claimed, _, _) => (worker, Tone::Plain),
        (Status::Failed, _, _) => (error, Tone::Bad),
        (_, Some(at), _) => {
            let in_ = duration(between(now, at));
            let why = if error.is_empty() { String::new() } else { format!(", after: {error}") };
            (format!("in {in_}{why}"), Tone::Notice)
        }
        (_, None, Some(key)) => (format!("key {}", cut(key, 40)), Tone::Quiet),
        (_, None, None) => (whose(one, error), Tone::Quiet),
    };
    let age = short_seconds(between(one.created_at, now).as_secs_f64());
    let cells =
        vec![one.id.to_string(), one.status.to_string(), one.attempts.to_string(), age, what];
    (cells, tone)
}

fn whose(one: &MessageState, error: String) -> String {
    match one.route.tenant().filter(|tenant| tenant.as_str() != "default") {
        Some(tenant) if error.is_empty() => format!("of {tenant}"),
        _ => error,
    }
}

/// In as few characters as tell it: `940`, `1.2k`, `35k`, `4.1M`.
pub(super) fn compact(number: i64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits of it are shown")]
    let value = number as f64;
    match number {
        ..1_000 => number.to_string(),
        1_000..10_000 => format!("{:.1}k", (value / 100.0).floor() / 10.0),
        10_000..1_000_000 => format!("{}k", number / 1_000),
        1_000_000..10_000_000 => format!("{:.1}M", (value / 100_000.0).floor() / 10.0),
        _ => format!("{}M", number / 1_000_000),
    }
}

/// How many a second.
pub(super) fn rate(number: i64, over_s: f64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "no more than ten thousand are counted")]
    let rate = number as f64 / over_s;
    match rate {
        0.0 => "0".to_owned(),
        ..9.95 => format!("{rate:.1}"),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "no more than ten thousand in a millisecond"
        )]
        _ => compact(rate.round() as i64),
    }
}

/// A length of time in at most six characters: `0.2s`, `45s`, `3m04s`, `2h05m`, `3d04h`.
pub(super) fn short_seconds(seconds: f64) -> String {
    let duration = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
    let whole = duration.as_secs();
    match whole {
        0..10 => format!("{:.1}s", duration.as_secs_f64()),
        10..60 => format!("{whole}s"),
        60..3_600 => format!("{}m{:02}s", whole / 60, whole % 60),
        3_600..86_400 => format!("{}h{:02}m", whole / 3_600, whole / 60 % 60),
        86_400..8_640_000 => format!("{}d{:02}h", whole / 86_400, whole / 3_600 % 24),
        _ => format!("{}d", (whole / 86_400).min(99_999)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_take_few_characters_and_never_more_than_they_are() {
        for (number, told) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1.0k"),
            (1_999, "1.9k"),
            (9_999, "9.9k"),
            (10_000, "10k"),
            (999_999, "999k"),
            (1_000_000, "1.0M"),
            (10_000_000, "10M"),
        ] {
            assert_eq!(compact(number), told);
        }
        for (number, over, told) in [
            (0, 10.0, "0"),
            (5, 10.0, "0.5"),
            (99, 10.0, "9.9"),
            (100, 10.0, "10"),
            (10_000, 0.5, "20k"),
        ] {
            assert_eq!(rate(number, over), told);
        }
        for (seconds, told) in [
            (-1.0, "0.0s"),
            (0.25, "0.2s"),
            (59.9, "59s"),
            (184.0, "3m04s"),
            (7_500.0, "2h05m"),
            (273_600.0, "3d04h"),
        ] {
            assert_eq!(short_seconds(seconds), told);
        }
    }

    proptest! {
        #[test]
        fn every_number_fits_its_column(number in 0..10_000_000_000_i64, seconds in 0.0..1e12_f64) {
            prop_assert!(compact(number).len() <= 5);
            prop_assert!(short_seconds(seconds).len() <= 6, "{}", short_seconds(seconds));
        }
    }
}
