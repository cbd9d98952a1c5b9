use std::time::Duration;

use cluster::facts::{Exit, Phase, Pod, Pull, State};
use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::scene::{DIGEST, Scene, pod};
use super::{Question, Verdict};

/// Any scene: most of it well, any of it not.
fn scenes() -> impl Strategy<Value = Scene> {
    let odd = (1_i64..9, 0_i64..9, 0_i32..4, 0_i32..4, 0_i32..4, 0_i32..4);
    let counts = prop_oneof![3 => Just((7, 7, 2, 2, 2, 2)), 1 => odd];
    let pods = prop::collection::vec(any_pod(), 1..4);
    let older = prop::collection::vec(any_pod(), 0..4);
    let some = prop::collection::vec((0_usize..5, prop::bool::weighted(0.8), 0_u64..60), 0..6);
    let all: Vec<(usize, bool, u64)> = (0..4).map(|number| (number, true, 3)).collect();
    let beats = prop_oneof![Just(all), some];
    let clock = (0_u64..120, 0_u64..35, any::<bool>(), prop::option::of(0_u64..90));
    let often = || prop::bool::weighted(0.9);
    let flags = (any::<bool>(), often(), prop::option::weighted(0.9, Just(())));
    (counts, pods, older, beats, clock, flags).prop_map(
        |(counts, pods, older, beats, (now, seen, out, held), (is_good, ours, current))| {
            let mut scene = Scene::well();
            let deployment = &mut scene.facts.deployment;
            let (generation, observed, wanted, replicas, updated, available) = counts;
            (deployment.generation, deployment.observed_generation) = (generation, observed);
            (deployment.wanted, deployment.replicas) = (wanted, replicas);
            (deployment.updated, deployment.available) = (updated, available);
            if !ours {
                deployment.template.release = Some("other".to_owned());
            }
            match (&mut scene.facts.current, current) {
                (Some(current), Some(_)) => {
                    (current.replicas, current.available) = (replicas, available);
                }
                (current, _) => *current = None,
            }
            let made = |given: Vec<(Pod, u64)>, name: &str, scene: &Scene| -> Vec<Pod> {
                let made = given.into_iter().enumerate().map(|(number, (mut pod, ready))| {
                    pod.name = format!("{name}{number}");
                    pod.uid = format!("uid-{}", pod.name);
                    pod.ready = pod.ready.map(|_| scene.at(ready));
                    pod
                });
                made.collect()
            };
            scene.facts.pods = made(pods, "p", &scene);
            scene.facts.older = made(older, "old", &scene);
            scene.heartbeats.clear();
            for (number, ready, second) in beats {
                scene.beat(&format!("p{number}"), second);
                if !ready && let Some(last) = scene.heartbeats.last_mut() {
                    last.ready = None;
                }
            }
            scene.now(now);
            scene.facts.seen = scene.at(now.saturating_sub(seen));
            scene.clock.bus_is_out = out;
            scene.clock.held = held.map(|second| scene.at(second.min(now)));
            scene.release.question = if is_good { Question::IsGood } else { Question::IsBack };
            scene
        },
    )
}

fn any_pod() -> impl Strategy<Value = (Pod, u64)> {
    let states = prop_oneof![
        24 => Just(State::Running),
        1 => Just(State::Unknown),
        1 => (0_i32..3).prop_map(|code| State::Exited(Exit { code, reason: String::new() })),
        2 => prop::sample::select(vec!["ContainerCreating", "CrashLoopBackOff", "ErrImagePull", "RunContainerError"])
            .prop_map(|reason| State::Waiting { reason: reason.to_owned(), message: "not found".to_owned() }),
    ];
    let phases = prop_oneof![18 => Just(Phase::Running), 1 => Just(Phase::Pending), 1 => Just(Phase::Failed)];
    let restarts = prop_oneof![12 => Just(0_i32), 1 => 1_i32..4];
    let flags = (prop::bool::weighted(0.1), prop::bool::weighted(0.85), prop::bool::weighted(0.9));
    (states, phases, restarts, flags, 0_u64..60).prop_map(
        |(state, phase, restarts, (going, ready, right_image), second)| {
            let now = std::time::Instant::now();
            let mut pod = pod("p", now);
            (pod.phase, pod.going) = (phase, going);
            pod.ready = ready.then_some(now);
            let container = &mut pod.containers[0];
            if let State::Waiting { reason, message } = &state
                && reason == "ErrImagePull"
            {
                container.pull = Some(Pull { message: message.clone(), since: now, times: 2 });
            }
            (container.state, container.restarts) = (state, restarts);
            if !right_image {
                container.image_id = "ghcr.io/acme/codegen@sha256:11".to_owned();
            }
            (pod, second)
        },
    )
}

/// Otherwise what is said of good ones would be said of none.
#[test]
fn many_scenes_are_good_and_many_are_not() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut count = |is: fn(&Verdict) -> bool| {
        let drawn = (0..1000).map(|_| scenes().new_tree(&mut runner).unwrap().current().judge());
        drawn.filter(is).count()
    };
    assert!(count(|one| *one == Verdict::Good) > 50);
    assert!(count(|one| matches!(one, Verdict::Wait { .. })) > 50);
    assert!(count(|one| matches!(one, Verdict::Bad(_))) > 50);
    assert!(count(|one| matches!(one, Verdict::Hold { .. })) > 50);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn good_always_has_all_of_its_reasons(scene in scenes()) {
        if scene.judge() != Verdict::Good {
            return Ok(());
        }
        let (facts, deployment) = (&scene.facts, &scene.facts.deployment);
        prop_assert!(deployment.observed_generation >= deployment.generation.max(scene.release.generation));
        prop_assert_eq!(deployment.template.release.as_deref(), Some(scene.release.id.as_str()));
        prop_assert!(scene.clock.now - facts.seen <= scene.limits.stale);
        if deployment.wanted == 0 {
            prop_assert_eq!(scene.release.question, Question::IsBack);
            return Ok(());
        }
        let counts = [deployment.replicas, deployment.updated, deployment.available];
        prop_assert_eq!(counts, [deployment.wanted; 3]);
        let staying = || facts.pods.iter().filter(|pod| !pod.going && pod.phase == Phase::Running);
        for pod in staying() {
            prop_assert!(pod.containers[0].image_id.contains(DIGEST));
            if scene.release.question == Question::IsGood {
                prop_assert_eq!(pod.containers[0].restarts, 0);
            }
        }
        let vouched = staying().filter(|pod| scene.heartbeats.iter().any(|one| {
            one.pod_uid == pod.uid && one.ready.is_some() && one.release_id == scene.release.id
        }));
        prop_assert!(vouched.count() >= usize::try_from(deployment.wanted).unwrap());
    }

    #[test]
    fn what_is_bad_stays_bad_as_time_goes_on(scene in scenes(), later in 0_u64..10) {
        // Until one cannot see any more.
        let Verdict::Bad(bad) = scene.judge() else { return Ok(()) };
        let mut after = scene.clone();
        after.clock.now += Duration::from_secs(later);
        let told = after.judge();
        if !bad.code.is_by_absence() && !matches!(told, Verdict::Hold { .. }) {
            prop_assert!(matches!(told, Verdict::Bad(_)), "{bad:?} became {told:?}");
        }
    }

    #[test]
    fn no_verdict_depends_on_pods_of_before(scene in scenes(), other in scenes()) {
        let mut without = scene.clone();
        without.facts.older = other.facts.older;
        prop_assert_eq!(scene.judge(), without.judge());
    }

    #[test]
    fn no_verdict_depends_on_the_order_in_which_things_are_seen(scene in scenes()) {
        let mut turned = scene.clone();
        turned.heartbeats.reverse();
        let code = |verdict: Verdict| match verdict {
            Verdict::Bad(bad) if bad.code.is_by_absence() => Verdict::bad(super::Code::Silent, ""),
            Verdict::Bad(bad) => Verdict::bad(bad.code, ""),
            other => other,
        };
        turned.facts.pods.reverse();
        prop_assert_eq!(code(scene.judge()), code(turned.judge()));
    }

    #[test]
    fn whoever_waits_is_told_until_when_and_it_ends(scene in scenes()) {
        let mut scene = scene;
        scene.clock.bus_is_out = false;
        if let Verdict::Wait { until } = scene.judge() {
            prop_assert!(until > scene.clock.now);
            // Nothing changes any more, and it is looked at until then.
            for _ in 0..4 {
                scene.facts.seen = scene.clock.now;
                scene.heartbeats.iter_mut().for_each(|one| one.heard = scene.clock.now);
                match scene.judge() {
                    Verdict::Wait { until } => scene.clock.now = until,
                    _ => return Ok(()),
                }
            }
            prop_assert!(false, "it waits for ever");
        }
    }
}
