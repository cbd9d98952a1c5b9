//! Reads every crate's manifest and holds the arrows: workers → machinery → doors → words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::process::Command;

use serde::Deserialize;

/// Where each crate under `shared/` belongs. A new crate is added here, by what it is:
///
/// - a word is a pure idea: data, parsing, decisions, without a runtime or a client of anything;
/// - a door hides one outside system, and knows no other door but `db`; `db` itself knows
///   `realtime`, because Supabase is the second way to the database;
/// - machinery runs things: loops, processes, commands, tests.
const LAYERS: &[(Layer, &[&str])] = &[
    (Layer::Words, &["flows", "images", "messages", "model", "resources"]),
    (
        Layer::Doors,
        &[
            "artifacts",
            "bus",
            "cluster",
            "containers",
            "db",
            "llm",
            "oci",
            "realtime",
            "registry",
            "secrets",
        ],
    ),
    (
        Layer::Machinery,
        &[
            "attempt",
            "bench",
            "boot",
            "child",
            "cli",
            "executors",
            "localstack",
            "sessions",
            "simcluster",
            "standin",
            "telemetry",
            "testkit",
            "worker",
        ],
    ),
];

/// The one worker that knows the others: all of them in one process.
const KNOWS_ALL_WORKERS: &str = "workers/local";

/// What every client of anything stands on.
const RUNTIMES: &[&str] = &["async-std", "mio", "rustls", "smol", "socket2", "tokio", "ureq"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    Words,
    Doors,
    Machinery,
    Workers,
    /// Stories about the whole fleet may use all of it.
    Tests,
}

#[test]
fn every_crate_is_in_a_layer() {
    for package in ours() {
        assert!(
            package.layer().is_some(),
            "{package} is in no layer: add `{}` to LAYERS in tests/architecture.rs",
            package.name
        );
    }
}

#[test]
fn arrows_point_one_way() {
    let packages = ours();
    let wrong: Vec<String> = arrows(&packages)
        .filter(|(from, to)| !may_know(from, to))
        .map(|(from, to)| format!("{from} must not depend on {to}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn words_know_no_runtime_and_no_client() {
    for package in ours().iter().filter(|one| one.layer() == Some(Layer::Words)) {
        let tree = cargo(&["tree", "--edges=normal,build", "--prefix=none", "-p", &package.name]);
        let tree = String::from_utf8(tree).expect("names of crates");
        let names: BTreeSet<&str> =
            tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert!(names.contains(package.name.as_str()), "{tree}");
        let wrong: Vec<_> = RUNTIMES.iter().filter(|name| names.contains(**name)).collect();
        assert!(wrong.is_empty(), "{package} must not need {wrong:?}");
    }
}

#[test]
fn a_crate_is_called_what_its_folder_is_called() {
    // The test package is the folder of the stories; the program that runs every worker has the
    // name that people type.
    let named = ["tests", KNOWS_ALL_WORKERS];
    for package in ours() {
        let folder = package.folder();
        let last = folder.rsplit('/').next().unwrap_or_default();
        assert!(named.contains(&folder) || last == package.name, "{package}");
    }
}

#[test]
fn the_rule_itself_tells_right_from_wrong() {
    let package = |folder: &str| Package {
        name: folder.rsplit('/').next().unwrap_or_default().to_owned(),
        manifest_path: format!("{}/{folder}/Cargo.toml", root()),
        dependencies: Vec::new(),
    };
    for (from, to, right) in [
        ("workers/bus-keeper", "shared/worker", true),
        ("workers/bus-keeper", "shared/model", true),
        ("workers/local", "workers/bus-keeper", true),
        ("workers/bus-keeper", "workers/local", false),
        ("workers/agent-core", "workers/bus-keeper", false),
        ("shared/cli", "workers/bus-keeper", false),
        ("shared/worker", "shared/telemetry", true),
        ("shared/worker", "shared/bus", true),
        ("shared/bus", "shared/db", true),
        ("shared/bus", "shared/messages", true),
        ("shared/db", "shared/bus", false),
        ("shared/db", "shared/realtime", true),
        ("shared/bus", "shared/realtime", false),
        ("shared/secrets", "shared/cluster", false),
        ("shared/bus", "shared/worker", false),
        ("shared/messages", "shared/model", true),
        ("shared/model", "shared/db", false),
        ("shared/model", "shared/telemetry", false),
        ("tests", "workers/bus-keeper", true),
        ("shared/worker", "tests", false),
        ("shared/unheard-of", "shared/model", false),
    ] {
        assert_eq!(may_know(&package(from), &package(to)), right, "{from} → {to}");
    }
}

fn may_know(from: &Package, to: &Package) -> bool {
    let (Some(upper), Some(lower)) = (from.layer(), to.layer()) else { return false };
    match (upper, lower) {
        (Layer::Workers, Layer::Workers) => from.folder() == KNOWS_ALL_WORKERS,
        (Layer::Doors, Layer::Doors) => {
            to.name == "db" || (from.name == "db" && to.name == "realtime")
        }
        (Layer::Words, Layer::Words) | (Layer::Machinery, Layer::Machinery) => true,
        _ => upper > lower,
    }
}

/// Between our own crates, leaving out what only their tests need.
fn arrows(packages: &[Package]) -> impl Iterator<Item = (&Package, &Package)> {
    let named: BTreeMap<&str, &Package> =
        packages.iter().map(|package| (package.name.as_str(), package)).collect();
    packages.iter().flat_map(move |from| {
        let needed = from.dependencies.iter().filter(|one| one.kind.as_deref() != Some("dev"));
        let ours: Vec<&Package> =
            needed.filter_map(|one| named.get(one.name.as_str()).copied()).collect();
        ours.into_iter().map(move |to| (from, to))
    })
}

fn ours() -> Vec<Package> {
    let told = cargo(&["metadata", "--format-version=1", "--no-deps"]);
    let metadata: Metadata = serde_json::from_slice(&told).expect("cargo writes what it documents");
    assert!(metadata.packages.len() > 10, "cargo knows all members of the workspace");
    metadata.packages
}

const HERE: &str = env!("CARGO_MANIFEST_DIR");

fn root() -> &'static str {
    HERE.strip_suffix("/tests").expect("this package lies in tests/")
}

fn cargo(arguments: &[&str]) -> Vec<u8> {
    let mut cargo = Command::new(env!("CARGO"));
    let output = cargo.args(arguments).arg("--offline").current_dir(HERE).output();
    let output = output.expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

impl Package {
    /// From the root of the workspace: `shared/bus`.
    fn folder(&self) -> &str {
        let path = self.manifest_path.strip_suffix("/Cargo.toml").unwrap_or(&self.manifest_path);
        path.strip_prefix(root()).unwrap_or(path).trim_start_matches('/')
    }

    fn layer(&self) -> Option<Layer> {
        match self.folder().split_once('/') {
            Some(("workers", _)) => Some(Layer::Workers),
            Some(("shared", _)) => {
                let found = LAYERS.iter().find(|(_, names)| names.contains(&self.name.as_str()));
                found.map(|(layer, _)| *layer)
            }
            _ if self.folder() == "tests" => Some(Layer::Tests),
            _ => None,
        }
    }
}

impl fmt::Display for Package {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({:?})", self.folder(), self.layer())
    }
}
