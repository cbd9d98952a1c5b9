use std::time::Duration;

use model::{Route, Tenant};
use time::OffsetDateTime;
use time::macros::format_description;

/// A length of time as people say it: `340 ms`, `1.2 s`, `3 min 4 s`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let whole = duration.as_secs();
    match seconds {
        ..0.01 => format!("{:.1} ms", seconds * 1000.0),
        ..0.9995 => format!("{:.0} ms", seconds * 1000.0),
        ..59.95 => format!("{seconds:.1} s"),
        ..3600.0 => format!("{} min {} s", whole / 60, whole % 60),
        ..86400.0 => format!("{} h {} min", whole / 3600, whole / 60 % 60),
        _ => format!("{} d {} h", whole / 86400, whole / 3600 % 24),
    }
}

/// From one moment to a later one; clocks that disagree make it zero.
pub(crate) fn between(from: OffsetDateTime, to: OffsetDateTime) -> Duration {
    (to - from).try_into().unwrap_or_default()
}

/// `12:49:22.123`, in UTC: the same wherever one reads it.
pub(crate) fn clock(moment: OffsetDateTime) -> String {
    let format = format_description!("[hour]:[minute]:[second].[subsecond digits:3]");
    moment.to_utc().format(format).unwrap_or_default()
}

/// `2026-11-20 12:49:22`, in UTC.
pub(crate) fn date(moment: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    moment.to_utc().format(format).unwrap_or_default()
}

/// `1 message`, `2 messages`.
pub(crate) fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// A route, whose tenant is only worth a word if it is not the one of everybody without a tenant.
pub(crate) fn route(route: &Route) -> String {
    let (stage, shard) = (route.stage(), route.shard());
    match route.tenant().filter(|tenant| **tenant != Tenant::default()) {
        Some(tenant) => format!("{stage}/{shard}/{tenant}"),
        None => format!("{stage}/{shard}"),
    }
}

/// On one line and not longer than this, for a column or a line of its own.
pub(crate) fn cut(text: &str, longest: usize) -> String {
    let line: String =
        text.chars().map(|mark| if mark.is_control() { ' ' } else { mark }).collect();
    match line.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", line[..end].trim_end()),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_said_as_people_say_them() {
        for (millis, said) in [
            (0.0, "0.0 ms"),
            (0.4, "0.4 ms"),
            (12.3, "12 ms"),
            (999.4, "999 ms"),
            (999.6, "1.0 s"),
            (1_234.0, "1.2 s"),
            (59_940.0, "59.9 s"),
            (59_960.0, "0 min 59 s"),
            (184_000.0, "3 min 4 s"),
            (7_500_000.0, "2 h 5 min"),
            (273_600_000.0, "3 d 4 h"),
        ] {
            assert_eq!(duration(Duration::from_secs_f64(millis / 1000.0)), said);
        }
    }

    #[test]
    fn a_text_for_a_line_has_no_line_breaks_and_no_more_than_its_length() {
        assert_eq!(cut("two\nlines", 20), "two lines");
        assert_eq!(cut("grün und blau", 4), "grün…");
    }
}
