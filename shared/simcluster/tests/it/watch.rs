use std::pin::pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{
    DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use serde_json::json;
use tokio::time::timeout;

use crate::bed::{Bed, on_each, typed, until};

/// What a watch says next: what happened, and to whom.
async fn next(
    events: &mut (impl Stream<Item = Result<WatchEvent<ConfigMap>, kube::Error>> + Unpin),
) -> (&'static str, String) {
    let name = |map: &ConfigMap| map.metadata.name.clone().unwrap();
    let next =
        timeout(Duration::from_secs(30), events.try_next()).await.expect("the watch goes on");
    match next.unwrap() {
        Some(WatchEvent::Added(map)) => ("added", name(&map)),
        Some(WatchEvent::Modified(map)) => ("modified", name(&map)),
        Some(WatchEvent::Deleted(map)) => ("deleted", name(&map)),
        Some(WatchEvent::Bookmark(_)) => ("bookmark", String::new()),
        Some(WatchEvent::Error(status)) => ("error", status.code.to_string()),
        None => ("end", String::new()),
    }
}

async fn put(bed: &Bed, name: &str, shown: &str) {
    let map = typed(&json!({ "metadata": { "name": name, "labels": { "shown": shown } } }));
    bed.api::<ConfigMap>().create(&PostParams::default(), &map).await.unwrap();
}

async fn relabel(bed: &Bed, name: &str, shown: &str) {
    let patch = json!({ "metadata": { "labels": { "shown": shown } } });
    let maps = bed.api::<ConfigMap>();
    maps.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
}

async fn version(bed: &Bed) -> String {
    let listed = bed.api::<ConfigMap>().list(&ListParams::default()).await.unwrap();
    listed.metadata.resource_version.unwrap()
}

fn said(what: &'static str, name: &str) -> (&'static str, String) {
    (what, name.to_owned())
}

#[tokio::test]
async fn a_watch_tells_what_happens_after_a_list() {
    on_each(async |bed| {
        put(bed, "before", "yes").await;
        let since = version(bed).await;
        let maps = bed.api::<ConfigMap>();
        let ours = WatchParams::default().labels("shown=yes");
        let mut events = pin!(maps.watch(&ours, &since).await.unwrap());
        put(bed, "a", "yes").await;
        put(bed, "hidden", "no").await;
        relabel(bed, "a", "no").await;
        relabel(bed, "hidden", "yes").await;
        maps.delete("hidden", &DeleteParams::default()).await.unwrap();
        // Whoever loses the label is as good as gone for those who watch by it.
        for expected in [
            said("added", "a"),
            said("deleted", "a"),
            said("added", "hidden"),
            said("deleted", "hidden"),
        ] {
            assert_eq!(next(&mut events).await, expected);
        }
    })
    .await;
}

#[tokio::test]
async fn a_watch_goes_on_where_another_left_off() {
    on_each(async |bed| {
        put(bed, "a", "yes").await;
        let since = version(bed).await;
        put(bed, "b", "yes").await;
        relabel(bed, "b", "no").await;
        let maps = bed.api::<ConfigMap>();
        let mut events = pin!(maps.watch(&WatchParams::default(), &since).await.unwrap());
        assert_eq!(next(&mut events).await, said("added", "b"));
        assert_eq!(next(&mut events).await, said("modified", "b"));
    })
    .await;
}

#[tokio::test]
async fn a_watch_without_a_beginning_tells_first_what_is_there() {
    on_each(async |bed| {
        put(bed, "a", "yes").await;
        let maps = bed.api::<ConfigMap>();
        let ours = WatchParams::default().labels("shown");
        let mut events = pin!(maps.watch(&ours, "0").await.unwrap());
        assert_eq!(next(&mut events).await, said("added", "a"));
        put(bed, "b", "yes").await;
        assert_eq!(next(&mut events).await, said("added", "b"));
    })
    .await;
}

#[tokio::test]
async fn a_watch_ends_when_its_time_is_over() {
    on_each(async |bed| {
        let maps = bed.api::<ConfigMap>();
        let short = WatchParams::default().timeout(1).disable_bookmarks();
        let mut events = pin!(maps.watch(&short, &version(bed).await).await.unwrap());
        assert_eq!(next(&mut events).await.0, "end");
    })
    .await;
}

#[tokio::test]
async fn whoever_is_too_far_behind_is_told_to_list_anew() {
    on_each(async |bed| {
        let maps = bed.api::<ConfigMap>();
        // Version 1 is long forgotten on a server that has just begun to remember, too.
        let answer = maps.watch(&WatchParams::default(), "1").await;
        let mut events = pin!(answer.unwrap());
        assert_eq!(next(&mut events).await, said("error", "410"));
    })
    .await;
}

#[tokio::test]
async fn what_was_compacted_is_gone_for_those_who_watch() {
    let bed = Bed::simulated(simcluster::Settings::default()).await;
    let since = version(&bed).await;
    put(&bed, "a", "yes").await;
    let sim = bed.sim.as_ref().unwrap();
    sim.compact();
    let maps = bed.api::<ConfigMap>();
    let mut events = pin!(maps.watch(&WatchParams::default(), &since).await.unwrap());
    assert_eq!(next(&mut events).await, said("error", "410"));
    assert_eq!(next(&mut events).await.0, "end");
}

#[tokio::test]
async fn a_watch_that_was_cut_misses_nothing_when_it_is_taken_up_again() {
    let bed = Bed::simulated(simcluster::Settings::default()).await;
    let sim = bed.sim.as_ref().unwrap();
    let maps = bed.api::<ConfigMap>();
    let since = version(&bed).await;
    let mut events = pin!(maps.watch(&WatchParams::default(), &since).await.unwrap());
    put(&bed, "a", "yes").await;
    assert_eq!(next(&mut events).await, said("added", "a"));
    let seen = version(&bed).await;
    sim.faults().cut_watches();
    let rest: Vec<_> = timeout(Duration::from_secs(30), events.collect()).await.unwrap();
    assert!(rest.iter().all(Result::is_err), "a cut is no end: {rest:?}");
    put(&bed, "b", "yes").await;
    let mut events = pin!(maps.watch(&WatchParams::default(), &seen).await.unwrap());
    assert_eq!(next(&mut events).await, said("added", "b"));
}

#[tokio::test]
async fn bookmarks_come_to_those_who_ask_for_them() {
    let settings = simcluster::Settings { pace: 600.0, ..Default::default() };
    let bed = Bed::simulated(settings).await;
    let maps = bed.api::<ConfigMap>();
    let since = version(&bed).await;
    let mut events = pin!(maps.watch(&WatchParams::default(), &since).await.unwrap());
    until("a bookmark", async || (next(&mut events).await.0 == "bookmark").then_some(())).await;
}
