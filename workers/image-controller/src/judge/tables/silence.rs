//! What is not heard or not seen.

use cluster::Trouble;

use super::{check, soaking_from};
use crate::judge::scene::Scene;

#[test]
fn a_green_deployment_whose_workers_are_silent_is_bad_and_a_bus_outage_is_nothing() {
    check(&[
        ("no heartbeat yet", |s| s.heartbeats.clear(), "wait"),
        (
            "none for long",
            |s| {
                s.heartbeats.clear();
                s.now(24);
            },
            "silent",
        ),
        (
            "too few",
            |s| {
                s.heartbeats.pop();
                s.now(24);
            },
            "silent",
        ),
        (
            "of another release",
            |s| {
                s.heartbeats[0].release_id = "r1".to_owned();
                s.now(24);
            },
            "silent",
        ),
        (
            "of another pod",
            |s| {
                s.heartbeats[0].pod_uid = "uid-old".to_owned();
                s.now(24);
            },
            "silent",
        ),
        (
            "not ready to claim",
            |s| {
                s.heartbeats[0].ready = None;
                s.now(24);
            },
            "silent",
        ),
        (
            "not heard of any more",
            |s| {
                s.now(30);
                s.heartbeats[0].heard = s.at(4);
            },
            "silent",
        ),
        (
            "the bus is out",
            |s| {
                s.heartbeats.clear();
                s.now(24).clock.bus_is_out = true;
            },
            "hold",
        ),
        (
            "the bus is out beyond the deadline",
            |s| {
                s.heartbeats.clear();
                s.now(400).clock.bus_is_out = true;
            },
            "hold",
        ),
        (
            "the bus was out until now",
            |s| {
                s.heartbeats.clear();
                s.now(60).clock.held = Some(s.at(59));
            },
            "wait",
        ),
        (
            "it is back, and they stay silent",
            |s| {
                s.heartbeats.clear();
                s.now(75).clock.held = Some(s.at(59));
            },
            "silent",
        ),
        (
            "the bus is out, and it crashed",
            |s| {
                s.container().restarts = 1;
                s.clock.bus_is_out = true;
            },
            "crashed",
        ),
        (
            "workers came late: the soak is theirs",
            |s| {
                s.heartbeats.iter_mut().for_each(|one| {
                    one.ready = Some(s.started + std::time::Duration::from_secs(9));
                });
            },
            "wait",
        ),
    ]);
}

#[test]
fn what_cannot_be_looked_at_is_neither_good_nor_bad() {
    let blind = |second: u64| {
        let mut scene = Scene::well();
        scene.facts.seen = scene.at(10);
        scene.facts.trouble = Some(Trouble::Broken { status: 500 });
        scene.clock.now = scene.at(second);
        scene
    };
    assert_eq!(blind(36).told(), "hold");
    assert_eq!(blind(4000).told(), "hold");
    let mut crashed = blind(36);
    crashed.container().restarts = 1;
    assert_eq!(crashed.told(), "crashed", "what was seen was so");

    // It can be looked at again, long after the deadline.
    let mut back = Scene::well();
    back.none_available().now(100).facts.watched_since = back.at(99);
    assert_eq!(back.told(), "wait", "who comes late looks first");
    back.now(104);
    assert_eq!(back.told(), "not_ready");
    let mut well = Scene::well();
    soaking_from(&mut well, 101);
    well.now(102).facts.watched_since = well.at(99);
    assert_eq!(well.told(), "wait");
    well.now(106);
    assert_eq!(well.told(), "good");
}
