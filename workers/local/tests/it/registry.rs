use crate::running::Cogo;

const AGENT: &str = "cogo-codegen-worker";

#[tokio::test]
async fn an_agent_and_its_images_are_kept_from_the_command_line() {
    let db = testkit::database().await;
    let cogo = Cogo::at(&db);
    let account =
        ["accounts", "add", "ghcr", "ghcr.io/acme", "--credential", "vault:secret/ghcr#token"];
    assert_eq!(cogo.run(&account).code, Some(0));
    let add =
        ["agents", "add", AGENT, "ghcr.io/acme/cogo-codegen-worker", "--route", "codegen/generate"];
    let add = [&add[..], &["--account", "ghcr.io/acme", "--namespace", "cogo-sandbox"]].concat();
    let said = cogo.run(&add);
    assert_eq!(said.code, Some(0), "{}", said.err);
    let link = ["accounts", "link", "ghcr.io/acme", "cogo-sandbox/ghcr-pull"];
    assert_eq!(cogo.run(&link).code, Some(0));
    let accounts = cogo.json(&["accounts", "list"]);
    assert_eq!(accounts[0]["credential_ref"], "vault:secret/ghcr#token");
    assert_eq!((&accounts[0]["agents"], &accounts[0]["pull_secrets"]), (&1.into(), &1.into()));

    let first = cogo.json(&["images", "record", AGENT, "v1.0.0", "--built-by", "ci"]);
    assert_eq!((&first["phase"], &first["attached"]), (&"recorded".into(), &false.into()));
    let again = cogo.json(&["images", "record", AGENT, "v1.0.0"]);
    assert_eq!((&again["id"], &again["attached"]), (&first["id"], &true.into()));
    let said = cogo.run(&["images", "promote", AGENT, "v1.0.0"]);
    assert!(said.out.contains("cogo images status cogo-codegen-worker --watch"), "{}", said.out);
    let shown = cogo.json(&["agents", "show", AGENT]);
    assert_eq!(
        (&shown["pinned_tag"], &shown["account"]),
        (&"v1.0.0".into(), &"ghcr.io/acme".into())
    );
    assert_eq!(shown["releases"][0]["wanted"], true);

    assert_eq!(cogo.run(&["agents", "pause", AGENT, "--reason", "on holiday"]).code, Some(0));
    let said = cogo.run(&["agents", "list"]);
    assert!(said.out.contains("paused: on holiday"), "{}", said.out);
    assert!(cogo.run(&["agents", "resume", AGENT]).out.contains("goes on"));
    assert!(cogo.run(&["agents", "resume", AGENT]).out.contains("was not paused"));
    let said = cogo.run(&["images", "list", AGENT]);
    assert!(said.out.contains("v1.0.0") && said.out.contains("staged"), "{}", said.out);
}

#[tokio::test]
async fn what_is_wrong_is_said_with_its_remedy() {
    // Not a token, but as long as one.
    const VALUE: &str = "planted-credential-0123456789";
    let db = testkit::database().await;
    let cogo = Cogo::at(&db);
    for (line, code, says) in [
        ("images record cogo-codegen-worker latest", 2, "latest"),
        ("images record cogo-codegen-worker v1.0", 2, "three numbers"),
        ("images record cogo-codegen-woker v1.0.0", 1, "did you mean cogo-codegen-worker?"),
        ("images promote cogo-codegen-worker v9.0.0", 1, "has no tag `v9.0.0`"),
        ("images rollback cogo-codegen-worker", 1, "no earlier release"),
        ("images status cogo-codegen-worker", 1, "no tag of cogo-codegen-worker is recorded"),
        ("images list cogo-nobody-here", 1, "there is no agent cogo-nobody-here"),
        ("agents add worker ghcr.io/a/b", 2, "cogo-"),
        ("agents add cogo-a-b a/b", 2, "a/b"),
        (
            "agents add cogo-a-b ghcr.io/a/b --account ghcr.io/x",
            1,
            "there is no account `ghcr.io/x`",
        ),
        ("accounts add quay quay.io/x", 2, "oci"),
        ("accounts add ghcr ghcr.io", 2, "ghcr.io/my-org"),
        ("accounts add ghcr ghcr.io/x --credential planted-credential-0123456789", 2, "Vault"),
        ("accounts link ghcr.io/x cogo/pull", 1, "there is no account `ghcr.io/x`"),
    ] {
        let said = cogo.run(&line.split(' ').collect::<Vec<_>>());
        assert_eq!(said.code, Some(code), "{line}: {}{}", said.out, said.err);
        let told = said.err.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains(says), "{line}: {}", said.err);
        assert!(!said.err.contains(VALUE), "{line} repeats what may be a secret: {}", said.err);
    }
}

#[tokio::test]
async fn who_watches_a_tag_that_nobody_wants_is_told_so_and_not_kept_waiting() {
    let db = testkit::database().await;
    let cogo = Cogo::at(&db);
    cogo.json(&["images", "record", AGENT, "v1.0.0"]);
    let client = db.client().await;
    let resolved = "update public.image_tag_history set phase = 'resolved', digest = 'sha256:' || repeat('0', 64)";
    client.batch_execute(resolved).await.unwrap();
    let said = cogo.run(&["images", "status", AGENT, "--watch"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.out.contains("is staged; `cogo images promote"), "{}", said.out);
    let failed =
        "update public.image_tag_history set phase = 'rejected', failure_code = 'image_missing',
        failure_detail = 'in words', finished_at = now()";
    client.batch_execute(failed).await.unwrap();
    let said = cogo.run(&["images", "status", AGENT]);
    assert_eq!(said.code, Some(1), "what does not run is no success");
    assert!(said.out.contains("in words"), "{}", said.out);
}
