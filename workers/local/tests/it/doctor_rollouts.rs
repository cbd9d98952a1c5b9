//! What rollouts need beside the bus, each thing broken by itself.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use simcluster::{Settings, SimCluster};
use testkit::{Cluster, ClusterOptions, ImageRegistry, TestDb, Vault};

use crate::running::{Cogo, Said};

const VALUE: &str = "hunter2-hunter2-hunter2";

/// The line of a check, with what to do about it.
fn line(said: &Said, check: &str) -> String {
    let mut lines = said.out.lines().skip_while(|line| {
        !line.chars().skip(2).collect::<String>().starts_with(&format!("{check}  "))
    });
    let first = lines.next().unwrap_or_else(|| panic!("no {check} in\n{}{}", said.out, said.err));
    let fix = lines.next().filter(|line| line.starts_with(' ')).map_or("", str::trim);
    format!("{first} {fix}")
}

#[track_caller]
fn told(said: &Said, mark: char, check: &str, words: &[&str]) {
    let line = line(said, check);
    assert!(line.starts_with(mark) && words.iter().all(|words| line.contains(words)), "{line}");
    assert_eq!(said.code == Some(1), said.out.contains('✗'), "{}", said.out);
}

async fn run(db: &TestDb, sql: &str) {
    db.client().await.batch_execute(sql).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_to_vault_is_tried_and_one_that_works_once_is_not() {
    let db = testkit::database().await;
    let vault = Vault::start().await;
    let cogo =
        |token: &str| Cogo::at(&db).with("VAULT_ADDR", vault.addr()).with("VAULT_TOKEN", token);
    told(&cogo(Vault::ROOT).run(&["doctor"]), '✓', "vault", &["login by token works"]);
    let said = cogo(VALUE).run(&["doctor"]);
    told(&said, '✗', "vault", &["refused our login by token", "→ compare VAULT_AUTH"]);
    assert!(!said.out.contains(VALUE) && !said.err.contains(VALUE), "{}", said.out);
    vault.seal(true);
    told(&cogo(Vault::ROOT).run(&["doctor"]), '✗', "vault", &["Vault is sealed", "unseal"]);

    let asked = vault.asked("PUT sys/wrapping/unwrap") + vault.asked("POST sys/wrapping/unwrap");
    let once = Cogo::at(&db).with("VAULT_ADDR", vault.addr()).with("VAULT_ROLE_ID", VALUE);
    let said = once.with("VAULT_SECRET_ID_FILE", "/dev/null").run(&["doctor"]);
    told(&said, '!', "vault", &["not tried", "only once"]);
    let after = vault.asked("PUT sys/wrapping/unwrap") + vault.asked("POST sys/wrapping/unwrap");
    assert_eq!((asked, after), (0, 0));
    let said = Cogo::at(&db).with("SECRETS_ALLOW", VALUE).run(&["doctor"]);
    told(&said, '✗', "secrets", &["entry 1 of SECRETS_ALLOW", "→ write vault:<mount>"]);
    assert!(!said.out.contains(VALUE), "{}", said.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_accounts_login_is_shown_to_its_registry() {
    let db = testkit::database().await;
    let images = ImageRegistry::start().await;
    let place = format!("http://{}/acme", images.host());
    let bare = Cogo::at(&db);
    let add = |more: &[&str]| {
        let said = bare.run(&[&["accounts", "add", "oci", &place], more].concat());
        assert_eq!(said.code, Some(0), "{}", said.err);
    };
    add(&[]);
    told(&bare.run(&["doctor"]), '!', "registry login", &["it answers", "only what is public"]);

    add(&["--credential", "env:REGISTRY_LOGIN"]);
    let said = bare.run(&["doctor"]);
    told(&said, '!', "registry login", &["env:REGISTRY_LOGIN is not tried", "SECRETS_ALLOW"]);
    let with = |login: &str| {
        let allowed = Cogo::at(&db).with("SECRETS_ALLOW", "env:REGISTRY_LOGIN");
        allowed.with("SECRETS_ENV", "true").with("REGISTRY_LOGIN", login)
    };
    let credential = images.credential();
    let said = with(credential.expose()).run(&["doctor"]);
    told(&said, '✓', "registry login", &["env:REGISTRY_LOGIN is accepted"]);
    for (login, says) in [
        (format!("{}:{VALUE}", images.user()), "refused the account's login"),
        (VALUE.to_owned(), "is no login for"),
    ] {
        let said = with(&login).run(&["doctor"]);
        told(&said, '✗', "registry login", &[says, "→"]);
        assert!(!said.out.contains(VALUE) && !said.err.contains(VALUE), "{}", said.out);
    }
    let said =
        Cogo::at(&db).with("SECRETS_ALLOW", "env:REGISTRY_LOGIN").with("SECRETS_ENV", "true");
    told(
        &said.run(&["doctor"]),
        '✗',
        "registry login",
        &["could not resolve", "env:REGISTRY_LOGIN"],
    );
    drop(images);
    let said = with(credential.expose()).run(&["doctor"]);
    told(&said, '✗', "registry login", &["could not reach"]);
    assert!(!said.out.contains(credential.expose()), "{}", said.out);
}

/// Rules for every namespace that agents are in, without what is left out.
fn roles(left_out: &str) -> String {
    let verbs = |all: &[&str]| {
        let verbs: Vec<&str> = all.iter().copied().filter(|verb| *verb != left_out).collect();
        serde_json::to_string(&verbs).unwrap()
    };
    let (rolls, looks) =
        (verbs(&["get", "list", "watch", "create", "patch"]), verbs(&["get", "list", "watch"]));
    ["cogo", "cogo-sandbox"]
        .map(|namespace| {
            format!(
                "apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{ name: controller, namespace: {namespace} }}
rules:
  - {{ apiGroups: [apps], resources: [deployments], verbs: {rolls} }}
  - {{ apiGroups: [apps], resources: [replicasets], verbs: {looks} }}
  - {{ apiGroups: [''], resources: [pods, events], verbs: {looks} }}
  - {{ apiGroups: [''], resources: [secrets], resourceNames: [pull], verbs: [get, patch] }}
  - {{ apiGroups: [''], resources: [secrets], verbs: [create] }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{ name: controller, namespace: {namespace} }}
roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: Role, name: controller }}
subjects: [{{ kind: ServiceAccount, name: controller, namespace: cogo }}]
"
            )
        })
        .join("---\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_controller_may_not_do_in_the_cluster_is_named() {
    let db = testkit::database().await;
    let namespaces = vec!["cogo".to_owned(), "cogo-sandbox".to_owned()];
    let cluster = SimCluster::start(Settings { namespaces, ..Settings::default() }).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kubeconfig");
    std::fs::write(&file, cluster.kubeconfig_of_service_account("cogo", "controller")).unwrap();
    let ask =
        |file: &Path| Cogo::at(&db).with("KUBECONFIG", file.to_str().unwrap()).run(&["doctor"]);

    let said = Cogo::at(&db).run(&["doctor"]);
    assert!(!said.out.contains("cluster  "), "without a cluster there is nothing to ask");
    cluster.load(&roles("")).unwrap();
    told(&ask(&file), '✓', "cluster", &["rollouts may be made in cogo, cogo-sandbox"]);
    cluster.load(&roles("patch")).unwrap();
    let said = ask(&file);
    told(
        &said,
        '✗',
        "cluster",
        &["in cogo: patch deployments; in cogo-sandbox: patch deployments"],
    );
    told(&said, '✗', "cluster", &["→ bind the role of k8s/components/controller-access"]);
    cluster.load(&roles("")).unwrap();

    // A pull secret that the controller keeps takes more.
    let link = |secret: &str| {
        let cogo = Cogo::at(&db);
        cogo.run(&["accounts", "add", "oci", "http://127.0.0.1:1/acme"]);
        assert_eq!(
            cogo.run(&["accounts", "link", "http://127.0.0.1:1/acme", secret]).code,
            Some(0)
        );
    };
    link("cogo/pull");
    told(&ask(&file), '✓', "cluster", &["may be made"]);
    link("cogo/other");
    told(&ask(&file), '✗', "cluster", &["in cogo: get secrets/other, patch secrets/other"]);

    std::fs::write(&file, "no kubeconfig").unwrap();
    told(&ask(&file), '✗', "cluster", &["is no kubeconfig", "→"]);
    std::fs::write(&file, cluster.kubeconfig_of_service_account("cogo", "stranger")).unwrap();
    let said = ask(&file);
    told(&said, '✗', "cluster", &["get deployments, list deployments"]);
}

#[tokio::test]
async fn pull_secrets_agents_routes_and_versions_that_want_a_look_are_named() {
    let db = testkit::database().await;
    let cogo = Cogo::at(&db);
    let said = cogo.run(&["doctor"]);
    told(&said, '✓', "pull secrets", &["0 linked"]);
    told(&said, '✓', "rollouts", &["no agent is paused"]);
    told(&said, '✓', "routes", &["none is paused"]);
    told(&said, '✓', "versions", &["so are all workers (0)"]);

    cogo.run(&["accounts", "add", "oci", "http://127.0.0.1:1/acme"]);
    cogo.run(&["accounts", "link", "http://127.0.0.1:1/acme", "cogo/pull"]);
    run(&db, "update public.k8s_pull_secret_links set failure_code = 'no_credential', failure_detail = 'in words'").await;
    told(
        &cogo.run(&["doctor"]),
        '✗',
        "pull secrets",
        &["cogo/pull of http://127.0.0.1:1/acme: in words", "→ mend"],
    );
    cogo.run(&["agents", "pause", "cogo-codegen-worker", "--reason", "on holiday"]);
    let said = cogo.run(&["doctor"]);
    told(&said, '!', "rollouts", &["cogo-codegen-worker (on holiday)", "cogo agents resume"]);
    cogo.run(&["bus", "send", "a/b/0"]);
    cogo.run(&["bus", "pause", "a/b"]);
    told(&cogo.run(&["doctor"]), '!', "routes", &["paused: a/b", "cogo bus resume"]);
    let worker =
        json!({ "id": "w1", "agent_name": "tester", "state": "ready", "version": "9.9.9" });
    run(&db, &format!("select public.bus_beat('{worker}')")).await;
    told(&cogo.run(&["doctor"]), '!', "versions", &["1 worker 9.9.9", "cogo workers list"]);
}

#[tokio::test]
async fn what_is_open_that_should_be_closed_is_named() {
    let db = testkit::database().await;
    let cogo = Cogo::at(&db);
    for (sql, check, says) in [
        (
            "alter table public.registry_accounts disable row level security",
            "row security",
            "not forced on public.registry_accounts",
        ),
        ("alter table public.registry_accounts enable row level security", "", ""),
        (
            "create table cogo.own (); alter table cogo.own enable row level security",
            "row security",
            "cogo.own",
        ),
        ("drop table cogo.own", "", ""),
        (
            "alter function public.registry_agents(text) set search_path = public",
            "functions",
            "registry_agents(text): its search_path is not empty",
        ),
        (
            "alter function public.registry_agents(text) reset search_path",
            "functions",
            "registry_agents(text): its search_path is not fixed",
        ),
        ("alter function public.registry_agents(text) set search_path = ''", "", ""),
        (
            "grant execute on function public.rollout_take(text, int) to public",
            "functions",
            "rollout_take(text,integer): anybody may execute it",
        ),
        ("revoke execute on function public.rollout_take(text, int) from public", "", ""),
    ] {
        run(&db, sql).await;
        let said = cogo.run(&["doctor"]);
        if check.is_empty() {
            for check in ["row security", "functions"] {
                told(&said, '✓', check, &[]);
            }
        } else {
            told(&said, '✗', check, &[says, "→"]);
        }
    }
}

/// Roles are the whole server's, so this takes one of its own.
#[test]
fn roles_of_clients_that_may_more_than_clients_are_named() {
    let server = Cluster::start(&ClusterOptions { fsync: false, ..Default::default() }).unwrap();
    let url = server.url("postgres");
    let cogo = Cogo::at_url(&url);
    assert_eq!(cogo.run(&["db", "migrate"]).code, Some(0));
    told(&cogo.run(&["doctor"]), '✓', "client roles", &[]);
    let sql = |sql: &str| {
        let done = Command::new("psql").args([&url, "-qc", sql]).status().unwrap();
        assert!(done.success(), "{sql}");
    };
    for (broken, says, mended) in [
        ("alter role anon superuser", "anon: it is a superuser", "alter role anon nosuperuser"),
        (
            "alter role authenticated bypassrls",
            "authenticated: it passes by row security",
            "alter role authenticated nobypassrls",
        ),
        (
            "grant cogo_worker to anon",
            "anon: it may do what workers do",
            "revoke cogo_worker from anon",
        ),
    ] {
        sql(broken);
        told(&cogo.run(&["doctor"]), '✗', "client roles", &[says, "→ alter role"]);
        sql(mended);
        told(&cogo.run(&["doctor"]), '✓', "client roles", &[]);
    }
}

#[tokio::test]
async fn a_login_that_is_no_workers_is_told_what_it_lacks() {
    let db = testkit::database().await;
    let name = format!("nobody_{}", std::process::id());
    run(&db, &format!("create role {name} login")).await;
    let url = db.url().replacen("postgres@", &format!("{name}@"), 1);
    let said = Cogo::at_url(&url).run(&["doctor"]);
    run(&db, &format!("drop role {name}")).await;
    told(&said, '✗', "login", &["permission denied", "→ grant cogo_worker to"]);
}

#[tokio::test]
async fn disks_are_measured_against_what_is_wanted() {
    let db = testkit::database().await;
    let folder = tempfile::tempdir().unwrap();
    let cogo = Cogo::at(&db).with("ARTIFACTS_BASE", folder.path().to_str().unwrap());
    let said = cogo.run(&["doctor", "--free-disk", "0"]);
    told(&said, '✓', "database size", &["most of it in"]);
    told(&said, '✓', "artifacts disk", &["are free at"]);
    told(&said, '✓', "database disk", &["are free at"]);
    let said = cogo.run(&["doctor", "--free-disk", "1000000000"]);
    told(&said, '✗', "artifacts disk", &["→ make room"]);
    told(&said, '✗', "database disk", &["→ make room"]);
    let elsewhere = Cogo::at(&db).with("ARTIFACTS_BASE", "s3://bucket/a").run(&["doctor"]);
    assert!(!elsewhere.out.contains("artifacts disk"), "{}", elsewhere.out);
}
