//! What operators are told about a mistake in the executors file, before anything is worked on.

use std::fs;
use std::path::Path;

use codegen_worker::Executors;
use miette::{GraphicalReportHandler, GraphicalTheme};

/// As a terminal without colours shows it.
fn said(yaml: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("executors.yaml");
    fs::write(&file, yaml).unwrap();
    let error = Executors::read(&file).expect_err("it was accepted");
    let mut out = String::new();
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor());
    handler.render_report(&mut out, &error).unwrap();
    let out = out.replace(folder.path().to_str().unwrap(), "");
    let lines: Vec<&str> = out.lines().map(str::trim_end).collect();
    lines.join("\n").trim().to_owned()
}

#[test]
fn an_unknown_key_is_pointed_at_with_the_nearest_known() {
    insta::assert_snapshot!(said("executors:\n  claude:\n    comand: [claude]\n    network: true\n"), @r#"
    × there is no key `comand` here
       ╭─[/executors.yaml:3:5]
     2 │   claude:
     3 │     comand: [claude]
       ·     ───┬──
       ·        ╰── here
     4 │     network: true
       ╰────
      help: did you mean `command`?
    "#);
}

#[test]
fn a_missing_key_is_named() {
    insta::assert_snapshot!(said("executors:\n  claude:\n    network: true\n"), @r#"
    × the key `command` is missing here
       ╭─[/executors.yaml:3:5]
     2 │   claude:
     3 │     network: true
       ·     ───┬───
       ·        ╰── here
       ╰────
    "#);
}

#[test]
fn a_value_of_the_wrong_kind_is_pointed_at() {
    insta::assert_snapshot!(said("executors:\n  claude:\n    command: claude -p\n"), @r#"
    × a list is expected here, as in [a, b]
       ╭─[/executors.yaml:3:14]
     2 │   claude:
     3 │     command: claude -p
       ·              ───┬──
       ·                 ╰── here
       ╰────
    "#);
    insta::assert_snapshot!(said("executors:\n  claude:\n    command: [claude]\n    prompt: stdni\n"), @r#"
    × `stdni` is none of what can be here
       ╭─[/executors.yaml:4:13]
     3 │     command: [claude]
     4 │     prompt: stdni
       ·             ──┬──
       ·               ╰── here
       ╰────
      help: did you mean `stdin`?
    "#);
    insta::assert_snapshot!(said("executors:\n  claude:\n    command: [claude]\n    timeout: 10\n"), @r#"
    × `10` is not a length of time; write numbers with units, as in `500ms`, `30s` or `1h 30m`
       ╭─[/executors.yaml:4:14]
     3 │     command: [claude]
     4 │     timeout: 10
       ·              ─┬
       ·               ╰── here
       ╰────
    "#);
}

#[test]
fn a_secret_in_the_file_is_refused_and_not_shown() {
    let shown = said(
        "executors:\n  claude:\n    command: [claude]\n    env:\n      secrets:\n        API_KEY: sk-hunter2\n        OTHER_TOKEN: hunter2\n",
    );
    assert!(!shown.contains("hunter2"), "{shown}");
    insta::assert_snapshot!(shown, @r#"
    × a secret is given by reference, as in env:ANTHROPIC_API_KEY, and never itself
       ╭─[/executors.yaml:6:18]
     5 │       secrets:
     6 │         API_KEY: **********
       ·                  ─────┬────
       ·                       ╰── here
     7 │         OTHER_TOKEN: *******
       ╰────
    "#);
}

#[test]
fn what_does_not_go_together_is_said() {
    insta::assert_snapshot!(said("executors:\n  a:\n    command: [a, '{prompt_file}']\n"), @r#"
    × `prompt: file` and {prompt_file} in `command` go together
       ╭─[/executors.yaml:3:5]
     2 │   a:
     3 │     command: [a, '{prompt_file}']
       ·     ───┬───
       ·        ╰── here
       ╰────
    "#);
    insta::assert_snapshot!(said("executors:\n  template:\n    command: [a]\n"), @r#"
    × `template` is the name of the built-in executor
       ╭─[/executors.yaml:2:3]
     1 │ executors:
     2 │   template:
       ·   ────┬───
       ·       ╰── here
     3 │     command: [a]
       ╰────
    "#);
    insta::assert_snapshot!(said("executors:\n  a:\n    command: [a, '{modle}']\n"), @r#"
    × there is no placeholder {modle}; there are {model}, {prompt} and {prompt_file}
       ╭─[/executors.yaml:3:18]
     2 │   a:
     3 │     command: [a, '{modle}']
       ·                  ───┬───
       ·                     ╰── here
       ╰────
    "#);
}

#[test]
fn what_is_no_yaml_is_pointed_at() {
    insta::assert_snapshot!(said("executors:\n  a: [\n"), @r#"
    × keys and their values are expected here
       ╭─[/executors.yaml:2:6]
     1 │ executors:
     2 │   a: [
       ·      ┬
       ·      ╰── here
       ╰────
    "#);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Executors::read(Path::new("/nowhere/executors.yaml")).expect_err("it was read");
    assert_eq!(error.to_string(), "could not read /nowhere/executors.yaml");
}
