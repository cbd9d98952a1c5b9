//! Programs that build and do not, pass and do not.

use crate::yard::{Yard, asking};

const CARGO: &str = "[package]\nname = \"p\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";

#[tokio::test]
async fn rust_that_passes_is_done_with_its_figures() {
    let yard = Yard::new().await;
    let lib = "/// ```\n/// assert_eq!(p::two(), 2);\n/// ```\npub fn two() -> i32 { 2 }\n\
               #[test] fn good() { assert_eq!(two(), 2) }\n#[test] #[ignore] fn later() {}\n";
    let built = yard.build(&[("Cargo.toml", CARGO), ("src/lib.rs", lib)]).await;
    assert_eq!(built.figures(), (true, 2, 0), "{:#}", built.whole);
    assert_eq!(built.status, "done");
    assert_eq!(built.whole["skipped"], 1);
    assert_eq!(built.whole["commands"][0]["command"][0], "cargo");

    let (_, _, started) = built.event("buildtest_started");
    assert!(["bubblewrap", "namespaces"].contains(&started["sandbox"].as_str().unwrap()));
    let (_, _, done) = built.event("buildtest_done");
    assert_eq!((&done["tests"], &done["passed"]), (&2.into(), &true.into()));
    assert!(built.event("buildtest_progress").2["text"].as_str().unwrap().contains("cargo test"));
    assert_eq!(built.events.last().unwrap().0, "buildtest_done", "{:?}", built.events);
    assert_eq!(yard.workspaces(), 0);
}

#[tokio::test]
async fn rust_that_fails_is_done_too_and_names_what_failed() {
    let yard = Yard::new().await;
    let lib = "#[test] fn good() {}\n#[test] fn bad() { assert_eq!(1, 2, \"not two\") }\n";
    let built = yard.build(&[("Cargo.toml", CARGO), ("src/lib.rs", lib)]).await;
    assert_eq!(built.figures(), (false, 2, 1), "{:#}", built.whole);
    assert_eq!(built.status, "done", "red tests are a result");
    let attempts =
        format!("select attempts = 1 from public.agent_messages where id = {}", built.id);
    yard.until(&attempts).await;
    assert_eq!(built.event("buildtest_failed").1, "tests_failed");
    let cases = built.whole["commands"][0]["cases"].as_array().unwrap();
    let bad = cases.iter().find(|case| case["outcome"] == "failed").unwrap();
    assert_eq!(bad["name"], "bad");
    assert!(bad["excerpt"].as_str().unwrap().contains("not two"), "{bad}");
}

#[tokio::test]
async fn rust_that_does_not_compile_is_one_failure_that_says_why() {
    let yard = Yard::new().await;
    let lib = "pub fn two() -> i32 { \"2\" }\n";
    let built = yard.build(&[("Cargo.toml", CARGO), ("src/lib.rs", lib)]).await;
    assert_eq!(built.figures(), (false, 0, 1), "{:#}", built.whole);
    let case = &built.whole["commands"][0]["cases"][0];
    assert!(case["excerpt"].as_str().unwrap().contains("mismatched types"), "{case}");
}

#[tokio::test]
async fn a_crate_that_was_downloaded_before_is_found_without_network() {
    let yard = Yard::new().await;
    // What this very workspace is built with is in the folder of downloads.
    let manifest = format!("{CARGO}[dependencies]\nhex = \"=0.4.3\"\n");
    let lib = "#[test] fn good() { assert_eq!(hex::encode([10u8]), \"0a\") }\n";
    let built = yard.build(&[("Cargo.toml", &manifest), ("src/lib.rs", lib)]).await;
    assert_eq!(built.figures(), (true, 1, 0), "{:#}", built.whole);
}

#[tokio::test]
async fn node_is_counted() {
    let yard = Yard::new().await;
    let test = "const { test } = require('node:test');\n\
                test('good', () => {});\ntest('bad', () => { throw new Error('boom') });\n";
    let built = yard.build(&[("package.json", "{}"), ("a.test.js", test)]).await;
    assert_eq!(built.figures(), (false, 2, 1), "{:#}", built.whole);
    let script = r#"{"scripts": {"test": "node --test ./*.test.js"}}"#;
    let good = "require('node:test').test('good', () => {});\n";
    let built = yard.build(&[("package.json", script), ("a.test.js", good)]).await;
    assert_eq!(built.figures(), (true, 1, 0), "{:#}", built.whole);
}

#[tokio::test]
async fn python_is_counted() {
    let yard = Yard::new().await;
    let test = "import unittest\nimport code_of_ours\n\
                class T(unittest.TestCase):\n    def test_good(self): self.assertEqual(code_of_ours.two(), 2)\n\
                \x20   def test_bad(self): self.fail('boom')\n";
    let code = "def two(): return 2\n";
    for (tests, module) in
        [("tests/test_a.py", "code_of_ours.py"), ("test_a.py", "src/code_of_ours.py")]
    {
        let built = yard.build(&[(tests, test), (module, code)]).await;
        assert_eq!(built.figures(), (false, 2, 1), "{:#}", built.whole);
    }
}

#[tokio::test]
async fn make_passes_and_fails_by_its_exit_code() {
    let yard = Yard::new().await;
    let built = yard.build(&[("Makefile", "test:\n\t@echo fine\n")]).await;
    assert_eq!(built.figures(), (true, 0, 0), "{:#}", built.whole);
    let built = yard.build(&[("Makefile", "test:\n\t@echo wrong >&2; exit 1\n")]).await;
    assert_eq!(built.figures(), (false, 0, 1), "{:#}", built.whole);
    let excerpt = built.whole["commands"][0]["cases"][0]["excerpt"].as_str().unwrap();
    assert!(excerpt.contains("exited 2") && excerpt.contains("wrong"), "{excerpt}");
}

#[tokio::test]
async fn a_junit_file_that_a_command_makes_is_read_and_one_that_came_along_is_not() {
    let yard = Yard::new().await;
    let report = r#"<testsuite><testcase name="a"/><testcase name="b"><failure message="boom"/></testcase></testsuite>"#;
    let makefile = "test:\n\tmkdir -p out && cp report out/junit.xml; exit 1\n";
    let files = [("Makefile", makefile), ("report", report), ("old/junit.xml", report)];
    let built = yard.build(&files).await;
    assert_eq!(built.figures(), (false, 2, 1), "{:#}", built.whole);
    let built = yard.build(&[("Makefile", "test:\n\ttrue\n"), ("old/junit.xml", report)]).await;
    assert_eq!(built.figures(), (true, 0, 0), "{:#}", built.whole);
}

#[tokio::test]
async fn commands_that_are_given_end_with_the_first_that_fails() {
    let yard = Yard::new().await;
    let mut asked = asking(yard.artifact(&[("file", "text")]).await);
    let command = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    asked.build.commands =
        vec![command(&["cat", "file"]), command(&["false"]), command(&["touch", "never"])];
    let built = yard.ask(&asked).await;
    assert_eq!(built.figures(), (false, 0, 1), "{:#}", built.whole);
    let commands = built.whole["commands"].as_array().unwrap();
    assert_eq!(commands.len(), 2);
    assert_eq!(commands[0]["stdout"], "text");
}
