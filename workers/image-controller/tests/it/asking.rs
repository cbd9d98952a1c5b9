//! In which order the API server is asked.

use registry::Phase;
use simcluster::Request;

use crate::bed::Bed;
use crate::pull_secrets::{controller, linked};

#[tokio::test]
async fn pods_are_not_started_before_their_pull_secret_is_there() {
    let bed = Bed::new().await;
    let _controller = controller(&bed);
    let agent = bed.agent("patient").await;
    linked(&bed).await;
    let release = bed.record(&agent, "v1.0.0").await;
    bed.until_phase(release, Phase::Active).await;
    let asked = bed.server.sim().asked();
    let first = |verb: &str, path: &str| {
        let is = |it: &Request| it.verb == verb && it.path.ends_with(path);
        let ours = |it: &Request| it.user.ends_with(":cogo-image-controller") && is(it);
        asked.iter().position(ours).unwrap_or_else(|| panic!("{verb} {path}: {asked:#?}"))
    };
    assert!(
        first("create", "/secrets") < first("patch", "/deployments/cogo-test-patient"),
        "{asked:#?}"
    );
}
