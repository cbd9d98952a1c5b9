use std::fs;
use std::path::Path;

use attempt::Trouble;
use messages::BuildPlan;

/// The commands that build and test a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) commands: Vec<Vec<String>>,
    /// Whether one that fails is the last: those that were given build on each other, while those
    /// that were found test different things.
    pub(crate) stops_at_failure: bool,
}

/// A file that says how things are built is no larger.
const LARGEST: u64 = 1 << 20;

impl Plan {
    /// As the message says, or as the files do. `has` knows which programs there are.
    pub(crate) fn of(
        asked: &BuildPlan,
        work: &Path,
        has: &dyn Fn(&str) -> bool,
    ) -> Result<Self, Trouble> {
        if !asked.commands.is_empty() {
            if asked.commands.iter().any(Vec::is_empty) {
                let what = "`build.commands`: a command needs a program at least";
                return Err(Trouble::invalid(what));
            }
            return Ok(Self { commands: asked.commands.clone(), stops_at_failure: true });
        }
        let tree = Tree { work, network: asked.network, has };
        let mut commands = Vec::new();
        commands.extend(tree.cargo());
        commands.extend(tree.node());
        commands.extend(tree.python()?);
        commands.extend(tree.go());
        if commands.is_empty() {
            commands.extend(tree.make());
        }
        if commands.is_empty() {
            let what = "nothing says how this is tested: it has no Cargo.toml, package.json, \
                        pyproject.toml, Python tests, go.mod or Makefile with a `test` target; put \
                        one at its top, or set `build.commands`";
            return Err(Trouble::fail("no_commands", what));
        }
        let commands =
            commands.into_iter().map(|words| words.split(' ').map(str::to_owned).collect());
        Ok(Self { commands: commands.collect(), stops_at_failure: false })
    }
}

struct Tree<'a> {
    work: &'a Path,
    network: bool,
    has: &'a dyn Fn(&str) -> bool,
}

impl Tree<'_> {
    fn cargo(&self) -> Option<&'static str> {
        self.is_file("Cargo.toml").then_some(match self.network {
            true => "cargo test --no-fail-fast",
            false => "cargo test --no-fail-fast --offline",
        })
    }

    fn node(&self) -> Vec<&'static str> {
        let Some(text) = self.text("package.json") else { return Vec::new() };
        let package: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let named = |section: &str| {
            package[section].as_object().is_some_and(|packages| !packages.is_empty())
        };
        let mut commands = Vec::new();
        if self.network && (named("dependencies") || named("devDependencies")) {
            commands.push(match self.is_file("package-lock.json") {
                true => "npm ci",
                false => "npm install",
            });
        }
        let script = package["scripts"]["test"].as_str();
        // What `npm init` writes is no test.
        commands.push(match script.filter(|script| !script.contains("no test specified")) {
            // The same without npm's own second.
            Some("node --test") | None => "node --test",
            Some(_) => "npm test",
        });
        commands
    }

    fn python(&self) -> Result<Option<&'static str>, Trouble> {
        let tests = self.python_tests();
        let project = ["pyproject.toml", "setup.py", "setup.cfg", "pytest.ini", "tox.ini"];
        if tests.is_empty() && !project.iter().any(|name| self.is_file(name)) {
            return Ok(None);
        }
        if (self.has)("pytest") {
            return Ok(Some("pytest -rA"));
        }
        if self.is_file("pytest.ini") || tests.iter().any(|test| test.contains("import pytest")) {
            let what = "there is no program `pytest`, which these tests are written for; install \
                        it, or add its folder to SANDBOX_PATH";
            return Err(Trouble::fail("tool_missing", what));
        }
        // Below a folder that is no package, it is looked for from there.
        let apart = self.work.join("tests").is_dir() && !self.is_file("tests/__init__.py");
        Ok(Some(match apart {
            true => "python3 -m unittest discover -v -s tests",
            false => "python3 -m unittest discover -v",
        }))
    }

    /// What is in the Python tests at the top and in `tests`.
    fn python_tests(&self) -> Vec<String> {
        let mut tests = Vec::new();
        for folder in ["", "tests", "test"] {
            for entry in fs::read_dir(self.work.join(folder)).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                let is_test = name.starts_with("test_") || name.ends_with("_test.py");
                if is_test && Path::new(&*name).extension().is_some_and(|kind| kind == "py") {
                    tests.extend(self.text(&format!("{folder}/{name}")));
                }
            }
        }
        tests
    }

    fn go(&self) -> Option<&'static str> {
        self.is_file("go.mod").then_some("go test -json ./...")
    }

    fn make(&self) -> Option<&'static str> {
        let names = ["GNUmakefile", "makefile", "Makefile"];
        let text = names.iter().find_map(|name| self.text(name))?;
        let is_target = |line: &str| {
            let names = line.split_once(':').filter(|(_, rest)| !rest.starts_with('='));
            names
                .is_some_and(|(names, _)| names.split_ascii_whitespace().any(|name| name == "test"))
        };
        text.lines().any(|line| !line.starts_with('\t') && is_target(line)).then_some("make test")
    }

    fn is_file(&self, name: &str) -> bool {
        // A link could lead anywhere, and we may be more than the child is.
        fs::symlink_metadata(self.path(name)).is_ok_and(|found| found.is_file())
    }

    fn text(&self, name: &str) -> Option<String> {
        let found = fs::symlink_metadata(self.path(name)).ok()?;
        if !found.is_file() || found.len() > LARGEST {
            return None;
        }
        fs::read_to_string(self.path(name)).ok()
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.work.join(name.trim_start_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(files: &[(&str, &str)], asked: &BuildPlan, programs: &[&str]) -> Result<Plan, Trouble> {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Plan::of(asked, folder.path(), &|name| programs.contains(&name))
    }

    #[test]
    fn the_files_say_how_they_are_tested() {
        let script = r#"{"scripts": {"test": "jest"}, "dependencies": {"jest": "1"}}"#;
        let dull = r#"{"scripts": {"test": "echo \"Error: no test specified\" && exit 1"}}"#;
        for (files, commands) in [
            (&[("Cargo.toml", "")][..], &["cargo test --no-fail-fast --offline"][..]),
            (&[("package.json", script)], &["npm test"]),
            (&[("package.json", dull)], &["node --test"]),
            (&[("package.json", "not json")], &["node --test"]),
            (&[("pyproject.toml", "")], &["python3 -m unittest discover -v"]),
            (&[("test_a.py", "")], &["python3 -m unittest discover -v"]),
            (&[("tests/test_a.py", "")], &["python3 -m unittest discover -v -s tests"]),
            (
                &[("tests/test_a.py", ""), ("tests/__init__.py", "")],
                &["python3 -m unittest discover -v"],
            ),
            (&[("go.mod", "")], &["go test -json ./..."]),
            (&[("Makefile", "all: x\n\ntest: all\n\t./x\n")], &["make test"]),
            (&[("Makefile", ".PHONY: all test\nall test: x\n")], &["make test"]),
            // Make is asked only where nothing else is known.
            (&[("go.mod", ""), ("Makefile", "test:\n")], &["go test -json ./..."]),
            (
                &[("Cargo.toml", ""), ("package.json", "{}")],
                &["cargo test --no-fail-fast --offline", "node --test"],
            ),
        ] {
            let plan = plan(files, &BuildPlan::default(), &[]).unwrap();
            let found: Vec<String> = plan.commands.iter().map(|words| words.join(" ")).collect();
            assert_eq!(found, commands, "{files:?}");
            assert!(!plan.stops_at_failure);
        }
    }

    #[test]
    fn with_the_network_what_is_missing_is_fetched() {
        let asked = BuildPlan { network: true, ..BuildPlan::default() };
        let package = r#"{"scripts": {"test": "jest"}, "devDependencies": {"jest": "1"}}"#;
        let files = [("package.json", package), ("package-lock.json", "{}"), ("Cargo.toml", "")];
        let plan = plan(&files, &asked, &[]).unwrap();
        let found: Vec<String> = plan.commands.iter().map(|words| words.join(" ")).collect();
        assert_eq!(found, ["cargo test --no-fail-fast", "npm ci", "npm test"]);
    }

    #[test]
    fn pytest_is_used_where_it_is_and_missed_where_it_must_be() {
        let files = [("tests/test_a.py", "import pytest\n")];
        let found = plan(&files, &BuildPlan::default(), &["pytest"]).unwrap();
        assert_eq!(found.commands, [["pytest", "-rA"]]);
        let missed = plan(&files, &BuildPlan::default(), &[]).unwrap_err();
        assert_eq!(missed.reason, "tool_missing");
        assert!(missed.what.contains("`pytest`"), "{}", missed.what);
    }

    #[test]
    fn what_the_message_says_wins_and_nothing_is_told_as_such() {
        let given = vec![vec!["make".to_owned(), "check".to_owned()]];
        let asked = BuildPlan { commands: given.clone(), ..BuildPlan::default() };
        let told = plan(&[("Cargo.toml", "")], &asked, &[]).unwrap();
        assert_eq!(told, Plan { commands: given, stops_at_failure: true });

        let asked = BuildPlan { commands: vec![Vec::new()], ..BuildPlan::default() };
        assert_eq!(plan(&[], &asked, &[]).unwrap_err().reason, "payload_invalid");
        let nothing = plan(&[("Makefile", "test := x\n\ttest:\n")], &BuildPlan::default(), &[]);
        let nothing = nothing.unwrap_err();
        assert_eq!(nothing.reason, "no_commands");
        assert!(nothing.what.contains("Cargo.toml"), "{}", nothing.what);
    }
}
