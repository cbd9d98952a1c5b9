use crate::running::Cogo;

/// Everything a newcomer may ask about.
const COMMANDS: &[&[&str]] = &[
    &[],
    &["demo"],
    &["dev"],
    &["status"],
    &["doctor"],
    &["db"],
    &["db", "migrate"],
    &["db", "status"],
    &["bus"],
    &["bus", "send"],
    &["bus", "tail"],
    &["bus", "stats"],
    &["bus", "peek"],
    &["bus", "cancel"],
    &["bus", "pause"],
    &["bus", "resume"],
    &["bus", "replay"],
    &["bus", "dlq"],
    &["bus", "dlq", "list"],
    &["bus", "dlq", "show"],
    &["bus", "dlq", "replay"],
    &["trace"],
    &["explain"],
    &["top"],
    &["workers"],
    &["workers", "list"],
    &["workers", "drain"],
    &["secrets"],
    &["secrets", "check"],
    &["bench"],
    &["bench", "bus"],
    &["bench", "pipeline"],
    &["bench", "publish"],
    &["bench", "work"],
    &["run"],
];

#[test]
fn every_command_explains_itself() {
    for command in COMMANDS {
        // The long form says more of each setting, which its own crate tests.
        let said = Cogo::nowhere().run(&[*command, &["-h"]].concat());
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{command:?}");
        let name = [&["cogo"], *command].concat().join("-");
        insta::assert_snapshot!(name, ours(&said.out));
        let long = Cogo::nowhere().run(&[*command, &["--help"]].concat());
        assert!(long.code == Some(0) && long.out.len() >= said.out.len(), "{command:?}");
    }
}

/// Without what every command has, and other crates describe.
fn ours(help: &str) -> String {
    let parts = help.split("\n\n");
    let theirs =
        ["Database:", "Bus:", "Process:", "Log:", "Secrets:", "Kubernetes:", "Image registries:"];
    let ours = parts.filter(|part| !theirs.iter().any(|heading| part.starts_with(heading)));
    ours.collect::<Vec<_>>().join("\n\n")
}

#[test]
fn help_shows_no_value_of_the_environment() {
    let cogo = Cogo::at_url("postgres://cogo:hunter2@db.internal/cogo");
    for command in COMMANDS.iter().chain(&[&["run", "probe"][..]]) {
        let said = cogo.run(&[*command, &["--help"]].concat());
        assert!(!said.out.contains("hunter2"), "{command:?}");
    }
}

#[test]
fn a_worker_has_the_settings_of_its_own_program() {
    let said = Cogo::nowhere().run(&["run", "bus-keeper", "--help"]);
    for flag in ["--keeper-every", "--keep-messages", "--database-url", "--threads"] {
        assert!(said.out.contains(flag), "{flag}");
    }
    assert!(said.out.contains("[default: info]"), "a worker says what it does");
    assert!(!said.out.contains("--output"), "it answers nothing");
}
