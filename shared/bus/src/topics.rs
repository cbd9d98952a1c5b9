use db::Topic;
use serde::Deserialize;

use crate::Listen;

/// What a worker is rung on: a private topic of each route, and one of its own for calls.
pub(crate) fn rings(listens: &[Listen], worker: &str) -> Vec<Topic> {
    with_calls(listens.iter().map(route), worker)
}

/// The same where nobody rings: the rows that are inserted.
pub(crate) fn inserts(listens: &[Listen], worker: &str) -> Vec<Topic> {
    with_calls(listens.iter().map(rows), worker)
}

/// As `cogo.call_worker` addresses it.
pub(crate) fn worker_topic(worker: &str) -> String {
    format!("worker:{worker}")
}

/// Whether a ring is meant for us: it names us, or nobody.
pub(crate) fn wakes(payload: &str, us: &str) -> bool {
    #[derive(Deserialize)]
    struct Ring {
        worker: Option<String>,
    }
    let ring: Result<Ring, _> = serde_json::from_str(payload);
    ring.is_ok_and(|ring| ring.worker.is_none_or(|worker| worker == us)) || payload.is_empty()
}

/// No topic has room for the longest names: whoever has one hears of cancellations with its next
/// renewal.
const LONGEST_NAME: usize = 200;

fn with_calls(routes: impl Iterator<Item = Topic>, worker: &str) -> Vec<Topic> {
    let mut topics: Vec<Topic> = routes.collect();
    topics.sort_unstable();
    topics.dedup();
    if worker.len() <= LONGEST_NAME {
        topics.push(Topic::Broadcasts(worker_topic(worker)));
    }
    topics
}

/// As `cogo.ring` addresses it.
fn route(listen: &Listen) -> Topic {
    let tenant = listen.tenant.as_ref().map(|tenant| format!("/{tenant}")).unwrap_or_default();
    Topic::Broadcasts(format!("route:{}{tenant}", listen.stage))
}

/// The filter knows one column, so other services with the role ring, too.
fn rows(listen: &Listen) -> Topic {
    let filter = format!("role=eq.{}", listen.stage.role());
    Topic::Inserts { schema: "cogo", table: "agent_messages", filter }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_listens_once_to_each_of_its_routes_and_to_calls() {
        let listens = ["a/b/0", "a/b/7", "a/b/*/acme", "a/c/*"].map(|text| text.parse().unwrap());
        let names = |topics: Vec<Topic>| topics.iter().map(Topic::name).collect::<Vec<_>>();
        assert_eq!(
            names(rings(&listens, "w")),
            ["route:a/b", "route:a/b/acme", "route:a/c", "worker:w"]
        );
        assert_eq!(
            names(inserts(&listens, "w")),
            ["cogo.agent_messages:role=eq.b", "cogo.agent_messages:role=eq.c", "worker:w"]
        );
        assert_eq!(names(rings(&listens[..1], &"w".repeat(201))), ["route:a/b"]);
    }

    #[test]
    fn a_ring_wakes_whom_it_names_or_everybody() {
        for (payload, wakes_us) in [
            (r#"{"route": "a/b/0", "worker": "us", "id": "x"}"#, true),
            (r#"{"route": "a/b/0", "worker": null}"#, true),
            (r#"{"route": "a/b/0"}"#, true),
            ("", true),
            (r#"{"worker": "others"}"#, false),
            ("[]", false),
            ("nonsense", false),
        ] {
            assert_eq!(wakes(payload, "us"), wakes_us, "{payload}");
        }
    }
}
