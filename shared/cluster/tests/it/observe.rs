use std::time::Duration;

use cluster::facts::{Facts, State};
use cluster::{Cluster, ObserveError, Trouble};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::server::{
    Answer, DEPLOYMENT, DEPLOYMENTS, EVENTS, PODS, REPLICA_SETS, Server, deployment, failure, list,
    pod, replica_set, target,
};

const NEW: &str = "ghcr.io/acme/codegen:v2@sha256:22";
const OLD: &str = "ghcr.io/acme/codegen:v1@sha256:11";

fn running(restarts: i32) -> Value {
    json!({ "name": "worker", "image": "x", "imageID": NEW, "ready": true,
        "restartCount": restarts, "state": { "running": {} } })
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({ "name": "worker", "image": "x", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "waiting": { "reason": reason, "message": message } } })
}

fn event(owner: &str, reason: &str) -> Value {
    json!({ "metadata": { "name": format!("e-{owner}-{reason}"), "namespace": "agents" },
        "involvedObject": { "kind": "ReplicaSet", "uid": owner }, "reason": reason, "count": 3,
        "message": "pods \"a\" is forbidden: exceeded quota" })
}

async fn a_rollout() -> (Server, Cluster) {
    let server = Server::start().await;
    server.list(DEPLOYMENTS, &[deployment(1, 4)]);
    server.list(REPLICA_SETS, &[replica_set("1", "r1", OLD), replica_set("2", "r2", NEW)]);
    let pods = [pod("old", "rs1", &running(5)), pod("new", "rs2", &running(0))];
    server.list(PODS, &pods);
    server.list(
        EVENTS,
        &[event("rs2", "FailedCreate"), event("rs1", "FailedCreate"), event("rs2", "Other")],
    );
    let cluster = server.cluster().await;
    (server, cluster)
}

/// Looks until it is as it should be.
async fn until(cluster: &Cluster, what: &str, is_so: impl Fn(&Facts) -> bool) -> Facts {
    let mut changes = cluster.changes();
    let looked = async {
        loop {
            if let Ok(facts) = cluster.observe(&target()).await
                && is_so(&facts)
            {
                return facts;
            }
            let _ = timeout(Duration::from_millis(50), changes.changed()).await;
        }
    };
    timeout(Duration::from_secs(20), looked).await.unwrap_or_else(|_| panic!("never: {what}"))
}

async fn watched(server: &Server, path: &str) {
    let watched = async {
        while !server.is_watched(path) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), watched).await.unwrap_or_else(|_| panic!("{path}"));
}

#[tokio::test]
async fn the_current_replica_set_its_pods_and_its_refusals_are_told_apart_from_older_ones() {
    let (server, cluster) = a_rollout().await;
    for facts in [cluster.observe(&target()).await.unwrap(), {
        server.on(&format!("GET {DEPLOYMENT}"), [Answer::Json(200, deployment(1, 4))]);
        cluster.inspect(&target()).await.unwrap()
    }] {
        assert_eq!(facts.deployment.generation, 4);
        let current = facts.current.unwrap();
        assert_eq!((current.hash.as_str(), current.available), ("2", 1));
        let names = |pods: &[cluster::facts::Pod]| -> Vec<String> {
            pods.iter().map(|pod| pod.name.clone()).collect()
        };
        assert_eq!(
            (names(&facts.pods), names(&facts.older)),
            (vec!["new".into()], vec!["old".into()])
        );
        assert_eq!(facts.pods[0].containers[0].image_id, NEW);
        assert_eq!(facts.older[0].containers[0].restarts, 5);
        assert!(facts.pods[0].ready.is_some());
        let refused: Vec<i32> = facts.refusals.iter().map(|one| one.times).collect();
        assert_eq!(refused, [3], "of the current replica set, and only what it could not make");
    }
    let inspected = server.asked().into_iter().filter(|one| one.query.contains("labelSelector"));
    assert!(inspected.count() == 2, "only what belongs to the Deployment is asked for again");
}

#[tokio::test]
async fn changes_are_seen_as_they_are_told_and_what_was_so_before_is_remembered() {
    let (server, cluster) = a_rollout().await;
    let first = cluster.observe(&target()).await.unwrap();
    watched(&server, PODS).await;
    let tell = |kind: &str, object: &Value| {
        server.tell(PODS, Some(&json!({ "type": kind, "object": object })));
    };
    let mut busy = pod("new", "rs2", &running(0));
    busy["metadata"]["labels"]["seen"] = json!("yes");
    tell("MODIFIED", &busy);
    tell("ADDED", &pod("more", "rs2", &waiting("ErrImagePull", "manifest unknown")));
    let facts = until(&cluster, "a second pod", |facts| facts.pods.len() == 2).await;
    let ready = |facts: &Facts| facts.pods.iter().find(|pod| pod.name == "new").unwrap().ready;
    assert_eq!(ready(&facts), ready(&first), "it was ready all the time");

    let mut flapped = busy.clone();
    flapped["status"]["conditions"][0]["lastTransitionTime"] = json!("2030-01-01T00:00:09Z");
    tell("MODIFIED", &flapped);
    until(&cluster, "another readiness", |facts| ready(facts) > ready(&first)).await;

    tell("MODIFIED", &pod("more", "rs2", &waiting("ImagePullBackOff", "Back-off pulling image")));
    let backed_off = |facts: &Facts| {
        facts.pods.iter().flat_map(|pod| &pod.containers).find_map(|one| one.pull.clone())
    };
    let facts = until(&cluster, "a second failure", |facts| {
        backed_off(facts).is_some_and(|pull| pull.times == 2)
    });
    assert_eq!(backed_off(&facts.await).unwrap().message, "manifest unknown");

    tell("DELETED", &pod("more", "rs2", &waiting("ImagePullBackOff", "")));
    until(&cluster, "one pod less", |facts| facts.pods.len() == 1).await;
}

#[tokio::test]
async fn a_watch_that_is_cut_goes_on_where_it_was() {
    let (server, cluster) = a_rollout().await;
    cluster.observe(&target()).await.unwrap();
    watched(&server, PODS).await;
    let mut moved = pod("new", "rs2", &running(0));
    moved["metadata"]["resourceVersion"] = json!("99");
    server.tell(PODS, Some(&json!({ "type": "MODIFIED", "object": moved })));
    server.tell(PODS, None);
    let again = async {
        let from = |asked: &crate::server::Asked| {
            asked.what == format!("WATCH {PODS}") && asked.query.contains("resourceVersion=99")
        };
        while !server.asked().iter().any(from) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), again).await.expect("it watches again from there");
}

#[tokio::test]
async fn what_a_watch_has_lost_is_found_by_reading_all_of_it_again() {
    let (server, cluster) = a_rollout().await;
    cluster.observe(&target()).await.unwrap();
    watched(&server, PODS).await;
    // The watch is open, and silent.
    server.list(PODS, &[pod("new", "rs2", &running(1))]);
    let restarted = |facts: &Facts| facts.pods.iter().all(|pod| pod.containers[0].restarts == 1);
    until(&cluster, "the restart nobody told", restarted).await;
}

#[tokio::test]
async fn a_list_that_is_too_old_to_be_followed_is_read_again() {
    for expired in [
        Answer::Json(410, failure(410, "Expired", "too old resource version")),
        Answer::Text(
            200,
            json!({ "type": "ERROR", "object": failure(410, "Expired", "too old") }).to_string(),
        ),
    ] {
        let (server, cluster) = a_rollout().await;
        server.on(&format!("WATCH {PODS}"), [expired]);
        cluster.observe(&target()).await.unwrap();
        server.list(PODS, &[]);
        let facts = until(&cluster, "no pods", |facts| facts.pods.is_empty()).await;
        assert_eq!(facts.trouble, None);
    }
}

#[tokio::test]
async fn a_long_list_is_read_page_by_page() {
    let (server, cluster) = a_rollout().await;
    let page = |name: &str, next: Option<&str>| {
        Answer::Json(200, list("10", next, &[pod(name, "rs2", &running(0))]))
    };
    server.on(&format!("GET {PODS}"), [page("a", Some("next")), page("b", None)]);
    let facts = cluster.observe(&target()).await.unwrap();
    assert_eq!(facts.pods.len(), 2);
    let queries: Vec<String> = server
        .asked()
        .into_iter()
        .filter(|one| one.what == format!("GET {PODS}"))
        .map(|one| one.query)
        .collect();
    assert!(
        queries[0].contains("limit=500") && queries[1].contains("continue=next"),
        "{queries:?}"
    );
}

#[tokio::test]
async fn when_it_cannot_be_looked_at_that_is_told_and_nothing_is_invented() {
    let (server, cluster) = a_rollout().await;
    server.refuse(&format!("GET {EVENTS}"), 403, "Forbidden", "hunter2");
    let error = cluster.observe(&target()).await.unwrap_err();
    assert_eq!(error, ObserveError::Trouble { target: target(), trouble: Trouble::Denied });

    // Once it was seen, what was seen is told, with when that was and why not since.
    server.list(EVENTS, &[]);
    let seen = until(&cluster, "a first look", |facts| facts.trouble.is_none()).await.seen;
    watched(&server, PODS).await;
    server.refuse(&format!("GET {PODS}"), 504, "Timeout", "Too large resource version");
    server.on(&format!("WATCH {PODS}"), [Answer::Json(500, failure(500, "InternalError", "x"))]);
    server.tell(PODS, None);
    let facts = until(&cluster, "trouble", |facts| facts.trouble.is_some()).await;
    assert!(matches!(facts.trouble, Some(Trouble::Broken { .. })), "{:?}", facts.trouble);
    assert!(facts.seen >= seen && facts.pods.len() == 1);
    server.refuse(&format!("GET {DEPLOYMENT}"), 500, "InternalError", "x");
    let error = cluster.inspect(&target()).await.unwrap_err();
    assert!(matches!(error, ObserveError::Trouble { trouble: Trouble::Broken { .. }, .. }));
}

#[tokio::test]
async fn a_deployment_that_is_not_there_is_told_apart_from_one_that_cannot_be_seen() {
    let server = Server::start().await;
    server.empty();
    let error = server.cluster().await.observe(&target()).await.unwrap_err();
    assert_eq!(error, ObserveError::NoDeployment { target: target() });
}

#[tokio::test]
async fn the_last_words_of_a_program_are_not_taken_over() {
    let (server, cluster) = a_rollout().await;
    let died =
        json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled", "message": "hunter2" } });
    let status = json!({ "name": "worker", "image": "x", "imageID": NEW, "ready": false,
        "restartCount": 1, "state": died, "lastState": died });
    server.list(PODS, &[pod("new", "rs2", &status)]);
    let facts = cluster.observe(&target()).await.unwrap();
    assert!(!format!("{facts:?}").contains("hunter2"));
    let container = &facts.pods[0].containers[0];
    assert!(matches!(&container.state, State::Exited(exit) if exit.reason == "OOMKilled"));
    assert_eq!(container.last_exit.as_ref().map(|exit| exit.code), Some(137));
}
