use serde_json::{Value, json};

use crate::hall::{Hall, nap, running};

#[tokio::test]
async fn a_command_gets_its_prompt_its_context_and_its_variables_and_nothing_else_of_ours() {
    let hall = Hall::new().await;
    let script = "cat > prompt; env | sort > env; cat given/a.txt > copied; echo $0 $1 > arguments; \
                  mkdir .git; touch .git/HEAD";
    let mut working = hall.start_with(&json!({
        "command": ["sh", "-c", script, "--model={model}", "two words; $(touch injected)"],
        "env": {
            // Cargo sets the first for every test.
            "copy": ["CARGO_PKG_NAME", "COGO_NOBODY_SETS_THIS"],
            "set": { "MODEL": "the {model}" },
        },
    }));
    let id = hall
        .ask(json!({
            "executor": "agent", "prompt": "make it\nnice: $HOME `id`",
            "context": { "given/a.txt": "context" },
            "__assignment": { "model": "vendor/small" },
        }))
        .await;
    let made = hall.made(id).await;
    let names: Vec<&str> = made.keys().map(String::as_str).collect();
    assert_eq!(names, ["arguments", "copied", "env", "given/a.txt", "prompt"]);
    assert_eq!(made["prompt"], "make it\nnice: $HOME `id`");
    assert_eq!(made["copied"], "context");
    assert_eq!(made["arguments"], "--model=vendor/small two words; $(touch injected)\n");
    let env = &made["env"];
    assert!(
        env.contains("CARGO_PKG_NAME=codegen-worker\n") && env.contains("MODEL=the vendor/small\n"),
        "{env}"
    );
    for ours in ["CARGO_MANIFEST_DIR", "CARGO_PKG_VERSION", "COGO_NOBODY_SETS_THIS", "DATABASE_URL"]
    {
        assert!(!env.contains(&format!("{ours}=")), "{env}");
    }
    working.stops().await;
    hall.assert_swept();
}

#[tokio::test]
async fn a_prompt_may_be_a_file_or_an_argument_and_is_no_part_of_what_is_made() {
    let hall = Hall::new().await;
    let yaml = r#"
executors:
  by-file: { command: [sh, -c, 'cat "$0" > heard', "{prompt_file}"], prompt: file }
  by-argument: { command: [sh, -c, 'printf "%s" "$0" > heard', "{prompt}"], prompt: argument }
"#;
    let mut working = hall.start(&[hall.executors(yaml)]);
    for executor in ["by-file", "by-argument"] {
        let id = hall.ask(json!({ "executor": executor, "prompt": "--help 'x'" })).await;
        let made = hall.made(id).await;
        assert_eq!(
            made.into_iter().collect::<Vec<_>>(),
            [("heard".to_owned(), "--help 'x'".to_owned())]
        );
    }
    let long = "x".repeat(200_000);
    let id = hall.ask(json!({ "executor": "by-argument", "prompt": long })).await;
    let said = hall.letter(id).await;
    assert_eq!(said, "payload_invalid, 1, this executor takes no prompt above 100000 bytes");
    working.stops().await;
}

#[tokio::test]
async fn what_a_command_cannot_do_with_is_refused_at_once() {
    let hall = Hall::new().await;
    let mut working = hall.start_with(&json!({ "command": ["sh", "-c", "touch x", "{model}"] }));
    let with = |more: Value| {
        let mut payload =
            json!({ "executor": "agent", "prompt": "go", "__assignment": { "model": "m" } });
        payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        payload
    };
    for (payload, said) in [
        (json!({ "executor": "agent" }), "a command needs a `prompt`"),
        (
            json!({ "executor": "agent", "prompt": "x" }),
            "this executor needs a model, and the assignment names none",
        ),
        (
            with(json!({ "__assignment": { "model": "--yolo" } })),
            "`--yolo` is not the name of a model",
        ),
        (
            with(json!({ "context": { "../x": "" } })),
            "context: `../x` leads out of the tree with `..`",
        ),
        (with(json!({ "context": { "/etc/x": "" } })), "context: `/etc/x` is an absolute path"),
        (
            with(json!({ "context": { "a": "", "a/b": "" } })),
            "context: `a/b` is in the way of another file",
        ),
        (
            with(json!({ "context": { "a/b": "", "./a//b": "" } })),
            "context: `a/b` is in the way of another file",
        ),
        (
            with(json!({ "params": { "a": 1 } })),
            "`template` and `params` are for the executor `template`",
        ),
        (
            with(json!({ "executor": "agnet" })),
            "there is no executor `agnet` here (there are template, agent); did you mean `agent`?",
        ),
    ] {
        let id = hall.ask(payload).await;
        assert_eq!(hall.letter(id).await, format!("payload_invalid, 1, {said}"));
    }
    working.stops().await;
    hall.assert_swept();
}

#[tokio::test]
async fn what_a_command_says_is_told_while_it_runs_and_its_last_words_before_the_end() {
    let hall = Hall::new().await;
    let script = r#"echo '{"say":"step one","t":5}'; echo warning >&2; sleep 0.5; echo noise;
                    echo '{"say":"step two","t":7}'; touch made"#;
    let mut working = hall.start_with(&json!({
        "command": ["sh", "-c", script],
        "output": { "format": "lines", "tokens": [{ "add": "/t" }], "text": ["/say"] },
    }));
    let id = hall.ask_agent(json!({})).await;
    hall.until_status(id, "done").await;
    let events = hall.events(id).await;
    let kinds: Vec<&str> = events.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!((kinds[0], kinds[1]), ("codegen_started", "codegen_progress"));
    let told: Vec<&str> =
        events.iter().filter_map(|(_, payload)| payload["text"].as_str()).collect();
    let all = told.join("\n");
    let mut lines: Vec<&str> = all.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["step one", "step two", "warning"]);
    assert!(told.len() >= 2, "nothing was told while it ran: {told:?}");
    let (_, done) = events.iter().find(|(kind, _)| kind == "codegen_done").unwrap();
    assert_eq!(done["usage"]["tokens"], 12);
    working.stops().await;
}

#[tokio::test]
async fn a_command_that_fails_is_tried_again_and_its_last_words_are_kept() {
    let hall = Hall::new().await;
    let script =
        "echo half > half; echo out of luck >&2; printf 'colour \\033[31mred\\000\\n' >&2; exit 7";
    let mut working = hall.start_with(&json!({ "command": ["sh", "-c", script] }));
    let id = hall.ask_agent(json!({})).await;
    let said = hall.letter(id).await;
    assert_eq!(
        said,
        "attempts_exhausted, 3, command_failed: the command ended with 7: out of luck\ncolour red"
    );
    let events = hall.events(id).await;
    let retried: Vec<&Value> = events
        .iter()
        .filter(|(kind, _)| kind == "codegen_failed")
        .map(|(_, payload)| &payload["retried"])
        .collect();
    assert_eq!(retried, [true, true, false]);
    working.stops().await;
    hall.assert_swept();
}

#[tokio::test]
async fn a_command_that_makes_nothing_or_what_cannot_be_kept_has_not_succeeded() {
    let hall = Hall::new().await;
    let yaml = r"
executors:
  idle: { command: ['true'] }
  linker: { command: [ln, -s, /etc/passwd, stolen] }
  absent: { command: [cogo-no-such-program] }
";
    let mut working = hall.start(&[hall.executors(yaml)]);
    for (executor, said) in [
        ("idle", "nothing_made: it ended well and made no files"),
        (
            "linker",
            "artifact_refused: the artifact was refused: `stolen` is a link to something outside the tree, or to a folder",
        ),
        ("absent", "executor_unavailable: there is no program `cogo-no-such-program`"),
    ] {
        let id = hall.ask(json!({ "executor": executor, "prompt": "x" })).await;
        assert_eq!(hall.letter(id).await, format!("attempts_exhausted, 3, {said}"));
    }
    assert_eq!(
        hall.text("select count(*) from public.agent_messages where service = 'code'")
            .await
            .unwrap(),
        "0"
    );
    working.stops().await;
}

#[tokio::test]
async fn a_gigabyte_of_output_is_read_and_not_kept() {
    let hall = Hall::new().await;
    let script = "head -c 1000000000 /dev/zero | tr '\\000' x; echo; echo the end; touch made";
    let mut working = hall.start_with(&json!({ "command": ["sh", "-c", script], "timeout": "5m" }));
    let id = hall.ask_agent(json!({ "ttl_ms": 600_000 })).await;
    hall.until_status(id, "done").await;
    let events = hall.events(id).await;
    assert!(events.len() < 400, "{}", events.len());
    assert!(events.iter().all(|(_, payload)| payload.to_string().len() < 4_000));
    let last = events.iter().rev().find(|(kind, _)| kind == "codegen_progress").unwrap();
    assert!(last.1["text"].as_str().unwrap().ends_with("the end"), "{last:?}");
    let peak = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = peak.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 600_000, "{peak} kB of memory were used at most");
    working.stops().await;
    hall.assert_swept();
}

#[tokio::test]
async fn processes_left_behind_by_a_command_that_succeeded_are_ended() {
    let hall = Hall::new().await;
    let nap = nap();
    let script = format!("touch made; setsid sleep {nap} > /dev/null 2>&1 & sleep 0.1");
    let mut working = hall.start_with(&json!({ "command": ["sh", "-c", script] }));
    let id = hall.ask_agent(json!({})).await;
    hall.until_status(id, "done").await;
    assert_eq!(running(&nap), Vec::<String>::new());
    working.stops().await;
}
