//! What kubectl makes of `k8s/`.
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;

use crate::tools;

pub(crate) const K8S: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../k8s");

/// One overlay, perhaps with more components than it has.
pub(crate) struct Rendered {
    pub(crate) name: String,
    objects: Vec<Object>,
}

pub(crate) struct Object(Value);

/// The overlays as they are.
pub(crate) fn overlays() -> &'static [Rendered] {
    static ALL: OnceLock<Vec<Rendered>> = OnceLock::new();
    ALL.get_or_init(|| ["dev", "prod"].map(|name| render(name, &overlay(name))).into())
}

/// Each part of each overlay with a component, for components that no overlay has.
pub(crate) fn with_component(component: &str, parts: &[&str]) -> Vec<Rendered> {
    let mut all = Vec::new();
    for name in ["dev", "prod"] {
        for part in parts {
            let component = Path::new(K8S).join("components").join(component);
            // Some have a folder for each part.
            let own = component.join(part);
            let component = if own.exists() { own } else { component };
            all.push(render_with(&format!("{name}/{part}"), &component));
        }
    }
    all
}

/// Everything that can be rendered here: the overlays, and what components they do not have.
pub(crate) fn everything() -> &'static [Rendered] {
    static ALL: OnceLock<Vec<Rendered>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut all: Vec<Rendered> =
            ["dev", "prod"].map(|name| render(name, &overlay(name))).into();
        for component in ["autoscale-hpa", "autoscale-keda", "keep-images"] {
            all.extend(with_component(component, &["agents", "sandbox"]));
        }
        all
    })
}

fn overlay(name: &str) -> PathBuf {
    Path::new(K8S).join("overlays").join(name)
}

/// As if the part named the component itself. kustomize wants paths that are relative, so they climb
/// up from the scratch folder, wherever that is.
fn render_with(part: &str, component: &Path) -> Rendered {
    let folder = tempfile::tempdir().unwrap();
    let scratch = folder.path().canonicalize().unwrap();
    let up = "../".repeat(scratch.components().count() - 1);
    let path = |path: &Path| {
        let path = path.canonicalize().unwrap();
        format!("{up}{}", path.to_str().unwrap().trim_start_matches('/'))
    };
    let text = format!(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n{}\nresources:\n  - {}\n\
         components:\n  - {}\n",
        namespace_of(part),
        path(&overlay(part)),
        path(component)
    );
    std::fs::write(scratch.join("kustomization.yaml"), text).unwrap();
    let name = component.strip_prefix(Path::new(K8S).join("components")).unwrap_or(component);
    render(&format!("{part} with {}", name.display()), &scratch)
}

fn namespace_of(part: &str) -> String {
    let text = std::fs::read_to_string(overlay(part).join("kustomization.yaml")).unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("namespace: "));
    lines.next().expect("a part of an overlay has a namespace").to_owned()
}

fn render(name: &str, folder: &Path) -> Rendered {
    let output = tools::run("kubectl", |kubectl| _ = kubectl.arg("kustomize").arg(folder));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{name}: {said}");
    // It warns of what it no longer understands the way that it is written.
    assert_eq!(said, "", "{name}");
    let text = String::from_utf8(output.stdout).unwrap();
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    assert!(!objects.is_empty(), "{name}");
    Rendered { name: name.to_owned(), objects: objects.into_iter().map(Object).collect() }
}

impl Rendered {
    pub(crate) fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.iter()
    }

    pub(crate) fn of(&self, kind: &str) -> impl Iterator<Item = &Object> {
        self.objects.iter().filter(move |object| object.kind() == kind)
    }

    pub(crate) fn find(&self, kind: &str, name: &str, namespace: &str) -> Option<&Object> {
        self.of(kind).find(|object| object.name() == name && object.namespace() == namespace)
    }

    /// The namespace of a Deployment.
    pub(crate) fn home(&self, name: &str) -> &str {
        let mut found = self.of("Deployment").filter(|object| object.name() == name);
        found.next().unwrap_or_else(|| panic!("{}: no {name}", self.name)).namespace()
    }
}

impl Object {
    pub(crate) fn kind(&self) -> &str {
        self.text("/kind")
    }

    pub(crate) fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    pub(crate) fn namespace(&self) -> &str {
        self.at("/metadata/namespace").and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn at(&self, pointer: &str) -> Option<&Value> {
        self.0.pointer(pointer)
    }

    pub(crate) fn text(&self, pointer: &str) -> &str {
        let found = self.at(pointer).and_then(Value::as_str);
        found.unwrap_or_else(|| panic!("no text at {pointer} of {}", self.0))
    }

    pub(crate) fn list(&self, pointer: &str) -> &[Value] {
        self.at(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    pub(crate) fn json(&self) -> String {
        self.0.to_string()
    }

    pub(crate) fn whole(&self) -> &Value {
        &self.0
    }
}
