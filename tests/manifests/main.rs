//! What `k8s/` comes to: every overlay and component is rendered by kubectl, checked against the
//! schemas of Kubernetes, and against what must be true of all of it. Nothing here has met a cluster.
#![expect(clippy::unwrap_used, reason = "clippy allows it in tests, but not in what they share")]

mod access;
mod pods;
mod references;
mod rendered;
mod scaling;
mod secrets;
mod tools;

use std::collections::BTreeSet;
use std::path::Path;

use rendered::{Object, Rendered, everything, overlays};

/// The oldest that the sandbox works on, and the newest that there are schemas for.
const VERSIONS: [&str; 2] = ["1.33.0", "1.37.0"];

/// Kinds that are not Kubernetes' own, so there is no schema here to check them against.
const FOREIGN: [&str; 2] = ["ScaledObject", "TriggerAuthentication"];

#[test]
fn all_of_it_is_what_the_schemas_of_kubernetes_say() {
    // Most are in several, and each is looked at for a while.
    let ours: BTreeSet<String> = everything()
        .iter()
        .flat_map(Rendered::objects)
        .filter(|object| !FOREIGN.contains(&object.kind()))
        .map(|object| object.json())
        .collect();
    let ours: Vec<String> = ours.into_iter().collect();
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(file.path(), ours.join("\n---\n")).unwrap();
    for version in VERSIONS {
        let said = validate(version, file.path());
        assert!(said.is_ok(), "not as Kubernetes {version} has it:\n{}", said.unwrap_err());
    }
}

#[test]
fn the_schemas_are_strict() {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    let pod = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
        "spec": {"containers": [{"name": "a", "imagePolicy": "Always"}]}}"#;
    std::fs::write(file.path(), pod).unwrap();
    assert!(validate(VERSIONS[0], file.path()).unwrap_err().contains("imagePolicy"));
}

fn validate(version: &str, file: &Path) -> Result<(), String> {
    let output = tools::run("kubernetes-validate", |it| {
        it.args(["--strict", "--quiet", "--kubernetes-version", version]).arg(file);
    });
    let said = [output.stdout, output.stderr].concat();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said).into_owned()) }
}

#[test]
fn an_overlay_brings_every_worker_and_has_namespaces_of_its_own() {
    let mut taken = BTreeSet::new();
    for overlay in overlays() {
        let mut workers: Vec<&str> = overlay.of("Deployment").map(Object::name).collect();
        workers.sort_unstable();
        let expected = [
            "cogo-agent-core",
            "cogo-buildtest-worker",
            "cogo-bus-keeper",
            "cogo-codegen-worker",
            "cogo-executor-dispatcher",
            "cogo-image-controller",
        ];
        assert_eq!(workers, expected, "{}", overlay.name);
        for namespace in overlay.of("Namespace") {
            assert!(taken.insert(namespace.name().to_owned()), "{}", namespace.name());
        }
        // What looks after agents is not where agents are.
        let control: Vec<&str> =
            ["cogo-bus-keeper", "cogo-image-controller"].map(|it| overlay.home(it)).to_vec();
        assert_eq!(control[0], control[1]);
        for agent in ["cogo-agent-core", "cogo-codegen-worker"] {
            assert_ne!(overlay.home(agent), control[0]);
        }
    }
}

#[test]
fn every_image_is_one_of_ours_with_a_tag_of_the_policy() {
    for overlay in overlays() {
        for deployment in overlay.of("Deployment") {
            let image = deployment.text("/spec/template/spec/containers/0/image");
            let (repo, tag) = image.rsplit_once(':').expect("an image has a tag");
            assert_eq!(repo.rsplit('/').next(), Some(deployment.name()), "{image}");
            assert!(repo.contains('/'), "{image} is still the placeholder of the base");
            assert!(is_tag(tag), "{image}");
        }
    }
}

#[test]
fn what_is_applied_again_leaves_images_to_the_controller() {
    for overlay in rendered::with_component("keep-images", &["agents", "sandbox"]) {
        assert!(overlay.of("Deployment").count() > 0);
        for deployment in overlay.of("Deployment") {
            assert!(deployment.at("/spec/template/spec/containers/0/image").is_none());
        }
    }
}

/// `dev-` and fourteen digits, or `vX.Y.Z` and perhaps a commit.
fn is_tag(tag: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(time) = tag.strip_prefix("dev-") {
        return time.len() == 14 && digits(time);
    }
    let Some(version) = tag.strip_prefix('v') else { return false };
    let (version, commit) = version.split_once('-').unwrap_or((version, "abcdef0"));
    version.split('.').count() == 3
        && version.split('.').all(digits)
        && commit.bytes().all(|byte| byte.is_ascii_hexdigit())
}
