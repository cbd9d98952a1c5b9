use std::time::Duration;

use miette::Diagnostic;
use secrets::{Secrets, SecretsSettings, Trouble};
use serde_json::json;
use tempfile::TempDir;

use crate::logs;
use crate::server::{resolve, trouble, value, variable};

struct World {
    kubernetes: testkit::Kubernetes,
    settings: SecretsSettings,
    secrets: Secrets,
    folder: TempDir,
}

async fn world() -> World {
    let kubernetes = testkit::Kubernetes::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kubeconfig");
    kubernetes.write_kubeconfig(&file, testkit::Kubernetes::TOKEN);
    let settings = SecretsSettings {
        secrets_allow: vec!["k8s:cogo-dev".to_owned()],
        secrets_timeout: Duration::from_secs(10),
        kubeconfig: Some(file),
        ..SecretsSettings::default()
    };
    let secrets = Secrets::new(&settings).unwrap();
    World { kubernetes, settings, secrets, folder }
}

#[tokio::test]
async fn one_named_secret_is_read_and_nothing_else_is_asked_for() {
    let World { kubernetes, secrets, folder: _folder, .. } = world().await;
    // {"auths":{}}, hunter2
    let data = json!({ ".dockerconfigjson": "eyJhdXRocyI6e319", "password": "aHVudGVyMg==" });
    kubernetes.put("cogo-dev", "ghcr", &data);
    let resolved = resolve(&secrets, "k8s:cogo-dev/ghcr#.dockerconfigjson").await.unwrap();
    assert_eq!(resolved.value.expose(), r#"{"auths":{}}"#);
    assert_eq!(resolved.version.as_deref(), Some("4711"));
    assert_eq!(resolved.through.keeper, "Kubernetes");
    assert_eq!(value(&secrets, "k8s://cogo-dev/ghcr#password").await, "hunter2");
    assert_eq!(kubernetes.asked(), ["GET /api/v1/namespaces/cogo-dev/secrets/ghcr"]);

    let which = trouble(&secrets, "k8s:cogo-dev/ghcr").await;
    let has = "`.dockerconfigjson`, `password`".to_owned();
    assert_eq!(which, Trouble::WhichField { has: has.clone() });
    assert_eq!(trouble(&secrets, "k8s:cogo-dev/ghcr#token").await, Trouble::NoField { has });
    kubernetes.put("cogo-dev", "one", &json!({ "key": "YQ==" }));
    assert_eq!(value(&secrets, "k8s:cogo-dev/one").await, "a");
    kubernetes.put("cogo-dev", "bytes", &json!({ "key": "//79" }));
    assert_eq!(trouble(&secrets, "k8s:cogo-dev/bytes").await, Trouble::NotText);
}

#[tokio::test]
async fn each_refusal_has_a_name() {
    let World { kubernetes, secrets, settings, folder } = world().await;
    let keeper = "Kubernetes";
    kubernetes.refuse("cogo-dev", "forbidden", 403, "Forbidden");
    kubernetes.refuse("cogo-dev", "busy", 429, "TooManyRequests");
    kubernetes.refuse("cogo-dev", "broken", 500, "InternalError");
    kubernetes.answer_with("cogo-dev", "gateway", 503, "<html>no backend</html>");
    kubernetes.answer_with("cogo-dev", "page", 200, "<html>hunter2</html>");
    for (name, expected) in [
        ("none", Trouble::NoSecret),
        ("forbidden", Trouble::Denied),
        ("busy", Trouble::TooOften { keeper }),
        ("broken", Trouble::Broken { keeper, status: 500 }),
        ("gateway", Trouble::Broken { keeper, status: 503 }),
        ("page", Trouble::Unreadable { keeper }),
    ] {
        let error = trouble(&secrets, &format!("k8s:cogo-dev/{name}")).await;
        assert_eq!(error, expected, "{name}");
        assert!(error.help().is_some());
    }

    let file = folder.path().join("stranger");
    kubernetes.write_kubeconfig(&file, "somebody-else");
    let stranger = SecretsSettings { kubeconfig: Some(file.clone()), ..settings.clone() };
    let stranger = Secrets::new(&stranger).unwrap();
    assert_eq!(trouble(&stranger, "k8s:cogo-dev/none").await, Trouble::Unknown);

    std::fs::write(&file, "users: [{token: hunter2").unwrap();
    let broken = SecretsSettings { kubeconfig: Some(file), ..settings.clone() };
    let error = trouble(&Secrets::new(&broken).unwrap(), "k8s:cogo-dev/none").await;
    assert!(matches!(error, Trouble::NoLogin { .. }), "{error:?}");
    assert!(!format!("{error:?}").contains("hunter2"));

    let file = settings.kubeconfig.as_ref().unwrap();
    let config = std::fs::read_to_string(file).unwrap();
    drop(kubernetes);
    let at = config.find("http://127.0.0.1:").unwrap();
    let end = at + config[at..].find('"').unwrap();
    std::fs::write(file, format!("{}http://127.0.0.1:1{}", &config[..at], &config[end..])).unwrap();
    let error = trouble(&Secrets::new(&settings).unwrap(), "k8s:cogo-dev/none").await;
    let refused = "could not reach Kubernetes: Connection refused (os error 111)";
    assert_eq!(error.to_string(), refused);
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_reaches_no_log() {
    logs::collect();
    let World { kubernetes, secrets, folder: _folder, .. } = world().await;
    // The library logs a whole answer that it cannot read, this one with a secret in it.
    kubernetes.put("cogo-dev", "garbage", &json!({ "good": "aHVudGVyMg==", "bad": "hunter2-%%%" }));
    let error = secrets.resolve(&"k8s:cogo-dev/garbage#good".parse().unwrap()).await.unwrap_err();
    assert_eq!(error.trouble, Trouble::Unreadable { keeper: "Kubernetes" });
    let told = format!("{error} {error:?} {}", testkit::kept_logs());
    assert!(!told.contains("hunter2-%%%") && !told.contains("aHVudGVyMg=="));
}

/// With KUBECONFIG of a real cluster, and COGO_TEST_K8S_SECRET=<namespace>/<secret> there.
#[tokio::test]
async fn a_real_cluster_answers_alike_where_there_is_one() {
    let (Some(file), Some(place)) = (variable("KUBECONFIG"), variable("COGO_TEST_K8S_SECRET"))
    else {
        return;
    };
    let settings = SecretsSettings {
        secrets_allow: vec!["k8s:*".to_owned()],
        kubeconfig: Some(file.into()),
        ..SecretsSettings::default()
    };
    let secrets = Secrets::new(&settings).unwrap();
    match resolve(&secrets, &format!("k8s:{place}")).await {
        Ok(resolved) => assert!(resolved.version.is_some()),
        Err(Trouble::WhichField { .. }) => {}
        Err(error) => panic!("{place}: {error}"),
    }
    let none = trouble(&secrets, &format!("k8s:{place}-that-is-not-there")).await;
    assert!(matches!(none, Trouble::NoSecret | Trouble::Denied), "{none:?}");
}
