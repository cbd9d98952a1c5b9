//! What the sets make is a program whose tests run, and pass, and can fail.

use std::fs;
use std::process::Command;

use artifacts::Bounds;
use serde_json::json;

use crate::hall::Hall;

async fn tested(set: &str, test: &[&str], spoil: (&str, &str, &str)) {
    let hall = Hall::new().await;
    let mut working = hall.start(&[]);
    // Everything that could break a string, a comment or a file of settings.
    let description = r#"It's "odd" \ <b> {{ name }} #{x} */ """ ''' ü"#;
    let params = match set {
        "hello" => json!({ "name": "every one" }),
        _ => json!({ "name": "odd_name", "description": description, "top": 3 }),
    };
    let id = hall.ask(json!({ "executor": "template", "template": set, "params": params })).await;
    let digest = hall.digest(id).await;
    let out = hall.path("out");
    hall.store.unpack(&digest, &out, &Bounds::default()).await.unwrap();
    let run = || {
        let mut command = Command::new(test[0]);
        command.args(&test[1..]).current_dir(&out).env_remove("CARGO_TARGET_DIR");
        let ran = command.env_remove("NODE_TEST_CONTEXT").output().unwrap();
        let said = [ran.stdout, ran.stderr].concat();
        (ran.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    let (passed, said) = run();
    assert!(passed, "{set}: {said}");
    let (file, from, to) = spoil;
    let text = fs::read_to_string(out.join(file)).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(out.join(file), text.replace(from, to)).unwrap();
    let (passed, said) = run();
    assert!(!passed, "{set}: its tests cannot fail: {said}");
    working.stops().await;
}

#[tokio::test]
async fn hello_is_a_program_with_tests() {
    tested("hello", &["make", "test"], ("hello.sh", "hello, %s", "bye, %s")).await;
}

#[tokio::test]
async fn rust_is_a_program_with_tests() {
    let test = ["cargo", "test", "--offline", "--locked", "--quiet"];
    tested("rust", &test, ("src/lib.rs", "to_lowercase", "to_uppercase")).await;
}

#[tokio::test]
async fn python_is_a_program_with_tests() {
    let test = ["python3", "-m", "unittest", "discover"];
    tested("python", &test, ("odd_name.py", "word.lower()", "word.upper()")).await;
}

#[tokio::test]
async fn typescript_is_a_program_with_tests() {
    tested("typescript", &["npm", "test"], ("src/odd_name.mjs", "toLowerCase", "toUpperCase"))
        .await;
}

#[tokio::test]
async fn a_folder_of_own_sets_is_read_and_one_may_replace_ours() {
    let hall = Hall::new().await;
    let sets = hall.path("sets");
    for (set, text) in [("mine", "{{ who }}"), ("hello", "replaced")] {
        fs::create_dir_all(sets.join(set).join("files/{{ who }}")).unwrap();
        fs::write(sets.join(set).join("files/{{ who }}/x.txt.j2"), text).unwrap();
        let schema = r#"{"properties": {"who": {"default": "us"}}}"#;
        fs::write(sets.join(set).join("params.schema.json"), schema).unwrap();
    }
    let mut working = hall.start(&[format!("--codegen-templates={}", sets.display())]);
    let ask =
        |set: &str, params| json!({ "executor": "template", "template": set, "params": params });
    let mine = hall.ask(ask("mine", json!({ "who": "you" }))).await;
    assert_eq!(hall.made(mine).await["you/x.txt"], "you");
    let ours = hall.ask(ask("hello", json!({}))).await;
    assert_eq!(hall.made(ours).await["us/x.txt"], "replaced");
    // The schema of this one allows what its author did not think of.
    let out = hall.ask(ask("mine", json!({ "who": "../../../out" }))).await;
    let said = hall.letter(out).await;
    assert_eq!(
        said,
        "template_invalid, 1, the template `{{ who }}/x.txt.j2`: `../../../out/x.txt` leads out of the tree with `..`"
    );
    working.stops().await;
}
