//! kubectl finds its way around.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::bed::{Bed, on_each};

/// What it said, and whether it was content.
async fn kubectl(bed: &Bed, arguments: &[&str], stdin: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("kubeconfig");
    std::fs::write(&config, bed.kubeconfig()).unwrap();
    let mut child = Command::new("kubectl")
        .env("PATH", testkit::tools_path())
        .arg("--kubeconfig")
        .arg(&config)
        .args(["--cache-dir", folder.path().to_str().unwrap(), "--namespace", &bed.namespace])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("`make setup` installs kubectl");
    let mut input = child.stdin.take().unwrap();
    input.write_all(stdin.as_bytes()).await.unwrap();
    drop(input);
    let ended = child.wait_with_output().await.unwrap();
    let said = [ended.stdout, ended.stderr].concat();
    (ended.status.success(), String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn kubectl_applies_shows_patches_and_scales() {
    on_each(async |bed| {
        let deployment = bed.deployment("web", "registry.test/worker:v1.0.0").to_string();
        let apply = ["apply", "--server-side", "--field-manager", "people", "-f", "-"];
        let (well, said) = kubectl(bed, &apply, &deployment).await;
        assert!(well, "{said}");
        assert!(said.contains("deployment.apps/web serverside-applied"), "{said}");
        let (well, said) =
            kubectl(bed, &["rollout", "status", "deployment/web", "--timeout=60s"], "").await;
        assert!(well && said.contains("successfully rolled out"), "{said}");
        let (well, said) = kubectl(bed, &["get", "deploy,rs,po"], "").await;
        assert!(well, "{said}");
        assert!(said.contains("deployment.apps/web") && said.contains("2/2"), "{said}");
        assert!(said.contains("Running"), "{said}");
        let (well, said) = kubectl(bed, &["scale", "deployment/web", "--replicas=1"], "").await;
        assert!(well && said.contains("scaled"), "{said}");
        let patch =
            r#"{"spec":{"template":{"spec":{"containers":[{"name":"worker","image":"x:v2"}]}}}}"#;
        let (well, said) = kubectl(bed, &["patch", "deployment", "web", "-p", patch], "").await;
        assert!(well && said.contains("patched"), "{said}");
        let (well, said) = kubectl(bed, &["get", "deployment", "web", "-o", "json"], "").await;
        let seen: Value = serde_json::from_str(&said).unwrap();
        assert!(well);
        assert_eq!(seen["spec"]["replicas"], 1);
        assert_eq!(seen["spec"]["template"]["spec"]["containers"][0]["image"], "x:v2");
        let (well, said) = kubectl(bed, &["get", "deployment", "nothing"], "").await;
        assert!(!well && said.contains("deployments.apps \"nothing\" not found"), "{said}");
        let wrong = deployment.replace("\"minReadySeconds\"", "\"minReadySecondz\"");
        let (well, said) = kubectl(bed, &apply, &wrong).await;
        assert!(!well && said.contains("minReadySecondz"), "{said}");
        let (well, said) = kubectl(bed, &["delete", "deployment", "web"], "").await;
        assert!(well && said.contains("deleted"), "{said}");
    })
    .await;
}
