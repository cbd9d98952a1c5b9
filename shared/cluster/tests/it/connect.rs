use cluster::{Cluster, ClusterSettings, ConnectError, Disposition};
use serde_json::json;

use crate::server::{Server, TOKEN};

fn context(name: &str) -> ClusterSettings {
    ClusterSettings { kube_context: Some(name.to_owned()), ..ClusterSettings::default() }
}

#[tokio::test]
async fn a_cluster_that_could_be_anybody_is_refused_unless_that_is_wanted() {
    let server = Server::start().await;
    let file = server.kubeconfig(&json!({ "insecure-skip-tls-verify": true }));
    let settings = ClusterSettings::default();
    let refused = Cluster::connect(&settings, Some(&file)).await.err();
    assert_eq!(refused, Some(ConnectError::Insecure));
    let settings = ClusterSettings { kube_insecure: true, ..settings };
    assert!(Cluster::connect(&settings, Some(&file)).await.is_ok());
}

#[tokio::test]
async fn what_is_wrong_with_a_kubeconfig_is_told_without_its_content() {
    let server = Server::start().await;
    let file = server.kubeconfig(&json!({}));
    let cluster = Cluster::connect(&context("test"), Some(&file)).await.unwrap();
    assert_eq!(format!("http://{}", cluster.server()), server.url);
    for name in ["missing", "half"] {
        let error = Cluster::connect(&context(name), Some(&file)).await.err().unwrap();
        assert!(
            matches!(&error, ConnectError::Incomplete { context, .. } if context.contains(name))
        );
        assert_eq!(error.disposition(), Disposition::GiveUp);
    }
    std::fs::write(&file, format!("users: [{{ name: a, user: {{ token: {TOKEN} }}")).unwrap();
    let error = Cluster::connect(&ClusterSettings::default(), Some(&file)).await.err().unwrap();
    assert!(!format!("{error} {error:?}").contains(TOKEN));
    let nowhere = file.with_file_name("nowhere");
    let error = Cluster::connect(&ClusterSettings::default(), Some(&nowhere)).await.err().unwrap();
    assert!(matches!(error, ConnectError::Unreadable { .. }), "{error}");
}

#[tokio::test]
async fn without_a_kubeconfig_and_outside_of_a_pod_there_is_no_cluster() {
    let error = Cluster::connect(&ClusterSettings::default(), None).await.err();
    assert_eq!(error, Some(ConnectError::NoCluster));
}
