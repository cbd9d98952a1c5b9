//! What a rollout looks like, on a machine without a cluster: a real registry of images, and a
//! simulated cluster whose pods say on a real bus that they are ready.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use db::Db;
use localstack::{ImageRegistry, StackSettings};
use miette::{IntoDiagnostic, WrapErr};
use model::{AgentName, Provider, Repo, Tag};
use registry::{NewAccount, NewAgent, NewTag, Phase, PullSecretLink, Registry};
use simcluster::{Fate, Settings, SimCluster};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::connection::Connection;
use crate::crew::Crew;
use crate::ended::Ended;
use crate::image_status::follow;
use crate::images::releases_table;
use crate::local::{Local, Plan};
use crate::out::{aside, say};
use crate::simulated_workers::keep_beating;

const AGENT: &str = "cogo-demo-worker";
const NAMESPACE: &str = "cogo";
/// Where the registry's login lies: in a Secret of the simulated cluster.
const LOGIN: &str = "k8s:cogo/registry-login#login";
/// What the node pulls with; the controller makes it from that login.
const PULL_SECRET: &str = "registry-pull";
/// A node waits for whoever puts processes beside its pods, and there are never many.
const PODS: usize = 64;

/// One release after the other, and what has to become of each.
const STORY: &[Chapter] = &[
    Chapter {
        says: "A first release.",
        tag: "v1.0.0",
        fate: Some(Fate::Ready),
        ends: Phase::Active,
    },
    Chapter { says: "A newer one.", tag: "v1.1.0", fate: Some(Fate::Ready), ends: Phase::Active },
    Chapter {
        says: "One that exits as soon as it starts. Kubernetes alone would call it rolled out.",
        tag: "v1.1.1",
        fate: Some(Fate::CrashAtStart),
        ends: Phase::RolledBack,
    },
    Chapter {
        says: "One that is ready, and never heard of on the bus.",
        tag: "v1.1.2",
        fate: Some(Fate::Silent),
        ends: Phase::RolledBack,
    },
    Chapter {
        says: "One that nobody has pushed.",
        tag: "v1.1.3",
        fate: None,
        ends: Phase::Rejected,
    },
];

struct Chapter {
    says: &'static str,
    tag: &'static str,
    /// Of its pods; `None`: there is no such image.
    fate: Option<Fate>,
    ends: Phase,
}

pub(crate) async fn show_rollouts(
    crew: Crew,
    stack: StackSettings,
    folder: &Path,
    stop: CancellationToken,
) -> miette::Result<Ended> {
    fs::create_dir_all(folder).into_diagnostic()?;
    let images = ImageRegistry::start(&folder.join("images"), Arc::new(aside)).await?;
    let (told, pods) = mpsc::channel(PODS);
    let settings = Settings {
        namespaces: vec![NAMESPACE.to_owned()],
        registry: Some(images.host()),
        on_pod: Some(told),
        ..Settings::default()
    };
    let cluster = SimCluster::start(settings).await.into_diagnostic()?;
    cluster.load(&manifests(&images)).into_diagnostic()?;
    let kubeconfig = folder.join("kubeconfig");
    cluster.write_kubeconfig(&kubeconfig).into_diagnostic()?;
    let more = vec![
        ("KUBECONFIG", kubeconfig.display().to_string()),
        ("SECRETS_ALLOW", "k8s:cogo/registry-login".to_owned()),
    ];
    // A database of its own each time: the story begins with an agent that has never run.
    let database = folder.join("database");
    let _ = fs::remove_dir_all(&database);
    let plan = Plan { crew, stack, folder: database, port: 0, services: None, more };
    let Some(local) = Local::start(plan, &stop).await? else { return Ok(Ended::Badly) };
    let (bus, db) = (local.bus.clone(), local.db.clone());
    let (to, until) = (Connection::to(db), stop.clone());
    let show = async {
        tokio::select! {
            ended = tell(&cluster, &images, &to, until) => ended,
            () = keep_beating(&bus, pods) => Ok(Ended::Badly),
        }
    };
    let ended = Box::pin(local.run(show, &stop)).await?;
    images.stop().await;
    Ok(ended.unwrap_or(Ended::Badly))
}

async fn tell(
    cluster: &SimCluster,
    images: &ImageRegistry,
    to: &Connection,
    stop: CancellationToken,
) -> miette::Result<Ended> {
    let registry = Registry::new(Db::connect(&to.db)?);
    let agent: AgentName = AGENT.parse().into_diagnostic()?;
    catalogue(&registry, images, &agent).await?;
    say(&format!(
        "{AGENT} has two pods on a simulated node, and its images in a registry at {}",
        images.host()
    ))?;
    let mut as_it_should = true;
    for chapter in STORY {
        let Chapter { says, tag, fate, ends } = chapter;
        say(&format!("\n{says}\n$ cogo images record {AGENT} {tag} --watch"))?;
        if let Some(fate) = fate {
            cluster.fates().set(tag, fate.clone());
            let labels = [("cogo.component", AGENT), ("org.opencontainers.image.version", tag)];
            let pushed = images.pusher().push(&format!("demo/{AGENT}"), tag, &labels).await;
            pushed.wrap_err_with(|| format!("could not push {tag}"))?;
        }
        let tag: Tag = tag.parse().into_diagnostic()?;
        let recorded = registry.record(&NewTag::new(agent.clone(), tag)).await?;
        follow(&registry, recorded.release_id, to, stop.clone()).await?;
        let release = registry.release(recorded.release_id).await?;
        as_it_should &= release.is_some_and(|release| release.phase == *ends);
    }
    say(&format!("\nAn operator goes back.\n$ cogo images rollback {AGENT} --watch"))?;
    let back = registry.rollback(&agent, None).await?;
    as_it_should &= follow(&registry, back.release_id, to, stop.clone()).await? == Ended::Well;
    say(&format!("\n$ cogo images list {AGENT}"))?;
    say(&releases_table(&registry.releases(Some(&agent), 20).await?))?;
    if !as_it_should {
        aside("something did not end as it should");
    }
    Ok(if as_it_should { Ended::Well } else { Ended::Badly })
}

async fn catalogue(
    registry: &Registry,
    images: &ImageRegistry,
    agent: &AgentName,
) -> miette::Result<()> {
    let account = NewAccount {
        provider: Provider::Oci,
        registry_url: format!("http://{}", images.host()),
        namespace: "demo".to_owned(),
        credential_ref: Some(LOGIN.parse().into_diagnostic()?),
        read_only: true,
        description: "the registry of this demo".to_owned(),
    };
    let id = registry.put_account(&account).await?;
    let repo: Repo = format!("{}/demo/{AGENT}", images.host()).parse().into_diagnostic()?;
    let new = NewAgent {
        default_tag: Some("prod".to_owned()),
        autodeploy_enabled: true,
        account: Some(id.to_string()),
        kube_namespace: Some(NAMESPACE.to_owned()),
        ..NewAgent::new(agent.clone(), repo)
    };
    registry.put_agent(&new).await?;
    let link = PullSecretLink {
        account: id.to_string(),
        kube_namespace: NAMESPACE.to_owned(),
        secret_name: PULL_SECRET.to_owned(),
        controller: true,
    };
    registry.put_pull_secret(&link).await?;
    Ok(())
}

/// What somebody would have applied before: the agent's Deployment, and the registry's login.
fn manifests(images: &ImageRegistry) -> String {
    format!(
        "apiVersion: v1\n\
         kind: Secret\n\
         metadata: {{ name: registry-login, namespace: {NAMESPACE} }}\n\
         stringData: {{ login: \"{login}\" }}\n\
         ---\n\
         apiVersion: apps/v1\n\
         kind: Deployment\n\
         metadata: {{ name: {AGENT}, namespace: {NAMESPACE} }}\n\
         spec:\n  \
           replicas: 2\n  \
           minReadySeconds: 2\n  \
           progressDeadlineSeconds: 45\n  \
           revisionHistoryLimit: 3\n  \
           strategy: {{ type: RollingUpdate, rollingUpdate: {{ maxSurge: 100%, maxUnavailable: 0 }} }}\n  \
           selector: {{ matchLabels: {{ app: {AGENT} }} }}\n  \
           template:\n    \
             metadata: {{ labels: {{ app: {AGENT} }} }}\n    \
             spec:\n      \
               imagePullSecrets: [{{ name: {PULL_SECRET} }}]\n      \
               containers:\n      \
                 - name: worker\n        \
                   image: {host}/demo/{AGENT}:none\n        \
                   env:\n          \
                     - {{ name: POD_UID, valueFrom: {{ fieldRef: {{ fieldPath: metadata.uid }} }} }}\n",
        login = images.credential().expose(),
        host = images.host(),
    )
}
