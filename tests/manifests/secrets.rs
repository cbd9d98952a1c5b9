//! `k8s/secrets` brings values to the cluster, and to nowhere else.
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::rendered::K8S;

const URL: &str = "https://abcdefgh.supabase.co";
const KEY: &str = "sb_secret_canary-b1f0c2";

/// Stands before the real kubectl: notes how it is called and what it would send to the cluster.
const KUBECTL: &str = r#"#!/bin/sh
echo "$*" >>"$NOTES/called"
case "$*" in
*kustomize*|*--dry-run*) PATH=$TOOLS exec kubectl "$@" ;;
*" apply "*|apply*) cat >>"$NOTES/applied" ;;
*"get secret"*) test -e "$NOTES/there" ;;
*"get namespace"*) exit 1 ;;
esac
"#;

fn secrets(notes: &Path, arguments: &[&str], said: &str) -> Output {
    let kubectl = notes.join("kubectl");
    if !kubectl.exists() {
        fs::write(&kubectl, KUBECTL).unwrap();
        fs::set_permissions(&kubectl, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new(format!("{K8S}/secrets"));
    command.args(arguments).env("NOTES", notes);
    command.env("PATH", format!("{}:/usr/bin:/bin", notes.display()));
    command.env("TOOLS", testkit::tools_path());
    let mut running = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have refused already.
    let _ = running.stdin.take().unwrap().write_all(said.as_bytes());
    running.wait_with_output().unwrap()
}

#[test]
fn values_reach_every_namespace_and_are_on_no_command_line() {
    let notes = tempfile::tempdir().unwrap();
    let output = secrets(notes.path(), &["prod"], &format!("{URL}\n{KEY}\n"));
    assert!(output.status.success(), "{output:?}");
    let applied = fs::read_to_string(notes.path().join("applied")).unwrap();
    for namespace in ["cogo", "cogo-sandbox", "cogo-control"] {
        let line = format!("namespace: {namespace}\n");
        assert_eq!(applied.matches(&line).count(), 1, "{namespace}");
    }
    let encoded = "c2Jfc2VjcmV0X2NhbmFyeS1iMWYwYzI=";
    assert_eq!(applied.matches(encoded).count(), 3, "{applied}");
    let called = fs::read_to_string(notes.path().join("called")).unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = called + &String::from_utf8_lossy(&said);
    for canary in [KEY, "canary", encoded, URL] {
        assert!(!said.contains(canary), "{said}");
    }
}

#[test]
fn a_secret_that_is_there_stays_unless_it_is_to_be_replaced() {
    let notes = tempfile::tempdir().unwrap();
    fs::write(notes.path().join("there"), "").unwrap();
    assert!(secrets(notes.path(), &["dev"], "").status.success());
    assert!(!notes.path().join("applied").exists());
    let output = secrets(notes.path(), &["dev", "--replace"], &format!("{URL}\n{KEY}"));
    assert!(output.status.success(), "{output:?}");
    assert!(notes.path().join("applied").exists());
}

#[test]
fn what_cannot_be_right_is_refused_before_anything_is_made() {
    for (arguments, said) in [
        (&["staging"][..], ""),
        (&[], ""),
        (&["dev", "--force"], ""),
        (&["../base"], ""),
        (&["dev"], ""),
        (&["dev"], "https://abcdefgh.supabase.co\n"),
        (&["dev"], "sb_secret_canary-b1f0c2\nhttps://abcdefgh.supabase.co\n"),
        (&["dev"], "https://abcdefgh.supabase.co\ntwo words\n"),
    ] {
        let notes = tempfile::tempdir().unwrap();
        let output = secrets(notes.path(), arguments, said);
        assert_eq!(output.status.code(), Some(1), "{arguments:?} {said:?}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.starts_with("secrets: ") && !error.contains("canary"), "{error}");
        assert!(!notes.path().join("applied").exists(), "{arguments:?} {said:?}");
    }
}
