//! Whatever a controller tries in whatever order, a release only takes the arrows there are, at most
//! one is active and at most one under way.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use registry::{Facts, Phase, Release};

use crate::fixture::{Fixture, because, deadline, digest, name, tag};

#[derive(Clone, Debug)]
enum Move {
    Record(u8),
    Promote(u8),
    Rollback,
    Take,
    /// Of the release with this place among all.
    Advance(usize, Phase),
    /// Along one of the arrows there are.
    Along(usize, prop::sample::Index),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        2 => (0..6u8).prop_map(Move::Record),
        2 => (0..6u8).prop_map(Move::Promote),
        1 => Just(Move::Rollback),
        1 => Just(Move::Take),
        8 => (0..4usize, any::<prop::sample::Index>()).prop_map(|(at, arrow)| Move::Along(at, arrow)),
        3 => (0..6usize, prop::sample::select(Phase::ALL.to_vec())).prop_map(|(at, to)| Move::Advance(at, to)),
    ];
    prop::collection::vec(one, 60..90)
}

/// The arrows, drawn a second time: what SQL allows must be what is meant.
fn is_arrow(from: Phase, to: Phase) -> bool {
    use Phase::{
        Active, CanaryDeploying, CanaryVerifying, Deploying, Failed, Queued, Recorded, Rejected,
        Resolved, RollbackFailed, RolledBack, RollingBack, ScaledDown, Verifying,
    };
    match from {
        Recorded => matches!(to, Resolved | Rejected),
        Resolved => to == Rejected,
        Queued => matches!(to, Rejected | CanaryDeploying | Deploying),
        CanaryDeploying => matches!(to, CanaryVerifying | Failed),
        CanaryVerifying => matches!(to, Deploying | Failed),
        Deploying => matches!(to, Verifying | Failed),
        Verifying => matches!(to, Active | Failed),
        Failed => matches!(to, RollingBack | ScaledDown | RollbackFailed),
        RollingBack => matches!(to, RolledBack | RollbackFailed),
        Active
        | Phase::Retired
        | Phase::Superseded
        | Rejected
        | RolledBack
        | RollbackFailed
        | ScaledDown => false,
    }
}

#[tokio::test]
async fn no_order_of_steps_leaves_the_arrows() {
    let mut runner = TestRunner::deterministic();
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..8 {
        let on = Fixture::new().await;
        let history = moves().new_tree(&mut runner).unwrap().current();
        for step in &history {
            let releases = on.registry.releases(Some(&name()), 100).await.unwrap();
            match step {
                Move::Record(n) => drop(on.record(&format!("v1.0.{n}")).await),
                Move::Promote(n) => {
                    let _ =
                        on.registry.promote(&name(), &tag(&format!("v1.0.{n}")), false, None).await;
                }
                Move::Rollback => drop(on.registry.rollback(&name(), None).await),
                Move::Take => drop(on.take("me").await),
                Move::Advance(..) | Move::Along(..) => {
                    let Some((release, to)) = chosen(step, &releases) else { continue };
                    let facts = match to {
                        Phase::Resolved => {
                            Facts { digest: Some(digest(release.tag.as_str())), ..Facts::default() }
                        }
                        Phase::Failed | Phase::Rejected => because("crash"),
                        _ => deadline(),
                    };
                    let fence = on.fence().await;
                    let said = on.registry.advance(release.id, fence, to, &facts).await.unwrap();
                    let paused = said.why.as_deref() == Some("the agent is paused");
                    let waits = release.phase == Phase::Queued
                        && releases
                            .iter()
                            .any(|it| matches!(it.phase, Phase::Failed | Phase::RollingBack));
                    let stays = release.phase == to;
                    let may =
                        stays || (is_arrow(release.phase, to) && !(waits && to != Phase::Rejected));
                    assert!(said.accepted == may || paused, "{} to {to}: {said:?}", release.phase);
                    if said.accepted {
                        accepted += 1;
                    } else {
                        refused += 1;
                        let now = on.release(release.id).await;
                        assert_eq!(now.phase, release.phase, "what is refused changes nothing");
                    }
                    if paused {
                        on.registry.resume(&name()).await.unwrap();
                    }
                }
            }
            is_whole(&on).await;
        }
    }
    assert!(
        accepted > 50 && refused > 50,
        "{accepted} accepted, {refused} refused: too few to tell"
    );
}

fn chosen<'a>(step: &Move, releases: &'a [Release]) -> Option<(&'a Release, Phase)> {
    match step {
        Move::Advance(at, to) => Some((releases.get(*at)?, *to)),
        Move::Along(at, arrow) => {
            let release = releases.get(*at)?;
            let arrows: Vec<Phase> =
                Phase::ALL.into_iter().filter(|to| is_arrow(release.phase, *to)).collect();
            (!arrows.is_empty()).then(|| (release, *arrow.get(&arrows)))
        }
        _ => None,
    }
}

async fn is_whole(on: &Fixture) {
    let releases = on.registry.releases(Some(&name()), 100).await.unwrap();
    let agent = on.registry.agent(&name()).await.unwrap().unwrap();
    let active: Vec<_> = releases.iter().filter(|it| it.phase == Phase::Active).collect();
    assert!(active.len() <= 1);
    assert_eq!(agent.active_tag.as_deref(), active.first().map(|it| it.tag.as_str()));
    for release in &releases {
        // What is staged is not over either, but nobody is at it.
        assert_eq!(release.finished_at.is_some(), release.phase.is_over(), "{release:?}");
        let told = format!(
            "select count(*)::text from public.bus_events where payload ->> 'release_id' = '{}'
                and event_type = 'rollout_{}'",
            release.id, release.phase
        );
        let silent = matches!(release.phase, Phase::Retired);
        assert!(silent || on.text(&told).await.as_deref() == Some("1"), "{release:?}");
    }
}
