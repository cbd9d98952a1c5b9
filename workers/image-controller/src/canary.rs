use registry::Outcomes;

use crate::judge::{Bad, Code};
use crate::settings::CanarySettings;

/// What the bus says of a canary, beside what it says of the release before: whether its messages
/// fail more often, or take longer. `None` says nothing against it.
pub(crate) fn compare(
    canary: Option<&Outcomes>,
    before: Option<&Outcomes>,
    settings: &CanarySettings,
) -> Option<Bad> {
    let canary = canary.filter(|one| had(one) >= i64::from(settings.canary_messages))?;
    let before = before.filter(|one| had(one) >= i64::from(settings.canary_messages));
    let usual = before.map_or(0.0, failing);
    let percent = f64::from(settings.canary_failures);
    if failing(canary) > usual + percent {
        let (failed, had) = (canary.failed, had(canary));
        let detail =
            format!("{failed} of its {had} messages failed, where {usual:.0} % usually do");
        return Some(Bad { code: Code::CanaryFailures, detail });
    }
    let (took, usual) = (canary.work_p90_ms?, before?.work_p90_ms?);
    if took > usual * settings.canary_slower + SLACK_MS {
        let detail =
            format!("nine of ten messages took {took:.0} ms, where {usual:.0} ms are usual");
        return Some(Bad { code: Code::CanarySlow, detail });
    }
    None
}

/// So that what takes next to no time is not slow when it takes a little.
const SLACK_MS: f64 = 100.0;

fn had(outcomes: &Outcomes) -> i64 {
    outcomes.done + outcomes.failed
}

fn failing(outcomes: &Outcomes) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a share of some thousands")]
    let share = outcomes.failed as f64 / had(outcomes) as f64;
    share * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(done: i64, failed: i64, p90: f64) -> Outcomes {
        let (work_p50_ms, work_p90_ms) = (Some(p90 / 2.0), Some(p90));
        Outcomes { release_id: String::new(), done, failed, work_p50_ms, work_p90_ms }
    }

    #[test]
    fn a_canary_may_fail_and_be_slow_a_little_more_than_what_is_usual() {
        let settings = CanarySettings {
            canary_serves: std::time::Duration::from_secs(30),
            canary_messages: 5,
            canary_failures: 10,
            canary_slower: 2.0,
        };
        let (failures, slow) = (Some(Code::CanaryFailures), Some(Code::CanarySlow));
        let usual = outcomes(95, 5, 1000.0);
        for (canary, before, expected) in [
            (None, Some(&usual), None),
            (Some(outcomes(0, 4, 10.0)), Some(&usual), None),
            (Some(outcomes(0, 5, 10.0)), Some(&usual), failures),
            (Some(outcomes(0, 5, 10.0)), None, failures),
            (Some(outcomes(9, 1, 10.0)), Some(&usual), None),
            (Some(outcomes(8, 2, 10.0)), Some(&usual), failures),
            (Some(outcomes(10, 0, 2000.0)), Some(&usual), None),
            (Some(outcomes(10, 0, 2101.0)), Some(&usual), slow),
            (Some(outcomes(10, 0, 9000.0)), None, None),
            // Three messages of before say nothing about what is usual.
            (Some(outcomes(10, 0, 9000.0)), Some(&outcomes(3, 0, 1.0)), None),
            (Some(outcomes(10, 0, 90.0)), Some(&outcomes(10, 0, 1.0)), None),
        ] {
            let found = compare(canary.as_ref(), before, &settings).map(|bad| bad.code);
            assert_eq!(found, expected, "{canary:?} {before:?}");
        }
    }
}
