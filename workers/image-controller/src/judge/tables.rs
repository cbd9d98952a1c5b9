use super::scene::Scene;

mod reasons;
mod silence;
mod time;

type Case = (&'static str, fn(&mut Scene), &'static str);

/// Each case is a scene that is well, but for one thing.
fn check(cases: &[Case]) {
    for (what, change, expected) in cases {
        let mut scene = Scene::well();
        change(&mut scene);
        assert_eq!(scene.told(), *expected, "{what}: {:?}", scene.judge());
    }
}

/// Pods are available two seconds after they are ready.
fn soaking_from(scene: &mut Scene, second: u64) {
    let ready = scene.at(second - 2);
    scene.facts.pods.iter_mut().for_each(|pod| pod.ready = Some(ready));
}
