use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::image::Found;
use super::reach::NoSuchPod;
use super::shown::{Doing, Shown, digest_of, hex, status};
use super::{Node, env};
use crate::fates::Fate;
use crate::look::{self, list, text};
use crate::managed::now;
use crate::pod_event::{PodEvent, PodFacts, PodWhat};

/// One pod from its binding to its end.
pub(crate) struct Life {
    node: Arc<Node>,
    pod: Arc<Value>,
    fate: Fate,
    shown: Shown,
    facts: PodFacts,
    stop: CancellationToken,
    gone: CancellationToken,
}

/// What was measured on real nodes.
const SCHEDULED: Duration = Duration::from_millis(30);
const SANDBOX: Duration = Duration::from_millis(250);
const PULL: Duration = Duration::from_millis(220);
const START: Duration = Duration::from_millis(120);
const UNTIL_READY: Duration = Duration::from_secs(1);
const EXITS_AFTER: Duration = Duration::from_millis(250);
const FIRST_RESTART: Duration = Duration::from_secs(1);
const FIRST_BACKOFF: Duration = Duration::from_secs(10);
const UNTIL_PULL_BACKOFF: Duration = Duration::from_millis(11_500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(300);

impl Life {
    pub(crate) fn new(
        node: Arc<Node>,
        pod: Arc<Value>,
        stop: CancellationToken,
        gone: CancellationToken,
    ) -> Self {
        let images = list(&pod, "/spec/containers").iter().map(|one| text(one, "/image"));
        let fates: Vec<Fate> = images.map(|image| node.fates.of(image)).collect();
        let fate = fates.into_iter().find(|fate| *fate != Fate::Ready).unwrap_or(Fate::Ready);
        let labels = look::entries(&pod, "/metadata/labels");
        let facts = PodFacts {
            namespace: look::namespace(&pod).to_owned(),
            name: look::name(&pod).to_owned(),
            uid: look::uid(&pod).to_owned(),
            labels: labels
                .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
                .collect(),
            image: text(&pod, "/spec/containers/0/image").to_owned(),
            env: env::plain(&pod, &node.name),
            silent: fate == Fate::Silent,
        };
        let shown = Shown {
            doing: Doing::Waiting { reason: "ContainerCreating", message: String::new() },
            restarts: 0,
            last: None,
            started_at: now(),
            digest: None,
        };
        Self { node, pod, fate, shown, facts, stop, gone }
    }

    pub(crate) async fn live(mut self) {
        let (stop, gone) = (self.stop.clone(), self.gone.clone());
        tokio::select! {
            biased;
            () = gone.cancelled() => {}
            () = stop.cancelled() => {}
            // Ends early only when the pod is not there any more.
            _ = self.run() => {}
        }
        if stop.is_cancelled() && !gone.is_cancelled() {
            tokio::select! {
                () = gone.cancelled() => {}
                () = self.leave() => {}
            }
        }
        self.tell(PodWhat::Gone).await;
    }

    async fn run(&mut self) -> Result<(), NoSuchPod> {
        self.wait(SCHEDULED).await;
        if text(&self.pod, "/spec/nodeName").is_empty() {
            self.node.reach.bind(&self.pod, &self.node.name).await?;
        }
        self.show().await?;
        self.wait(SANDBOX).await;
        self.pull().await?;
        self.configure().await?;
        self.wait(START).await;
        let mut backoff = FIRST_RESTART;
        loop {
            self.run_once().await?;
            // Whoever is here has exited. The first restart comes at once.
            if self.shown.restarts > 0 {
                let name = text(&self.pod, "/spec/containers/0/name");
                let message = format!(
                    "back-off {}s restarting failed container={name} pod={}_{}({})",
                    backoff.as_secs(),
                    self.facts.name,
                    self.facts.namespace,
                    self.facts.uid
                );
                self.note("Warning", "BackOff", &message).await;
                self.waits_with("CrashLoopBackOff", message).await?;
            }
            self.wait(backoff).await;
            backoff = match backoff {
                FIRST_RESTART => FIRST_BACKOFF,
                longer => (longer * 2).min(LONGEST_BACKOFF),
            };
            self.shown.restarts += 1;
        }
    }

    /// Returns once the image is there.
    async fn pull(&mut self) -> Result<(), NoSuchPod> {
        self.wait(PULL).await;
        let mut backoff = FIRST_BACKOFF;
        let image = self.facts.image.clone();
        let mut first = true;
        loop {
            let Some(why) = self.missing(&image).await else { return Ok(()) };
            self.note("Warning", "Failed", &format!("Failed to pull image \"{image}\": {why}"))
                .await;
            self.waits_with("ErrImagePull", why).await?;
            self.wait(if first { UNTIL_PULL_BACKOFF } else { Duration::from_secs(1) }).await;
            let message = format!("Back-off pulling image \"{image}\"");
            self.note("Normal", "BackOff", &message).await;
            self.waits_with("ImagePullBackOff", message).await?;
            self.wait(backoff).await;
            backoff = (backoff * 2).min(LONGEST_BACKOFF);
            first = false;
        }
    }

    /// Why an image cannot be pulled. `None` if it can.
    async fn missing(&mut self, image: &str) -> Option<String> {
        let refused = format!(
            "failed to pull and unpack image \"{image}\": failed to resolve reference \"{image}\": \
             unexpected status from HEAD request: 401 Unauthorized"
        );
        let missing = format!(
            "rpc error: code = NotFound desc = failed to pull and unpack image \"{image}\": \
             failed to resolve reference \"{image}\": {image}: not found"
        );
        match self.fate {
            Fate::MissingImage => return Some(missing),
            Fate::PullRefused => return Some(refused),
            Fate::OtherDigest => {
                self.shown.digest = Some(format!("sha256:{}", hex(&format!("other {image}"))));
                return None;
            }
            _ => {}
        }
        let registry = self.node.registry.clone().filter(|one| one.has(image));
        let Some(registry) = registry else {
            self.shown.digest = Some(digest_of(image));
            return None;
        };
        match registry.find(image, &self.logins().await).await {
            Found::Digest(digest) => {
                self.shown.digest = Some(digest);
                None
            }
            Found::Missing => Some(missing),
            Found::Refused => Some(refused),
            Found::Unreachable => Some(format!(
                "failed to pull and unpack image \"{image}\": failed to do request: dial tcp: \
                 connect: connection refused"
            )),
        }
    }

    async fn logins(&self) -> Vec<Value> {
        use base64::Engine;
        let mut found = Vec::new();
        for one in list(&self.pod, "/spec/imagePullSecrets") {
            let name = text(one, "/name");
            let secret = self.node.reach.source("secret", &self.facts.namespace, name).await;
            let held = secret.unwrap_or_default();
            let encoded = text(&held, "/data/.dockerconfigjson");
            let plain = base64::engine::general_purpose::STANDARD.decode(encoded);
            found.extend(plain.ok().and_then(|plain| serde_json::from_slice(&plain).ok()));
        }
        found
    }

    /// Returns once all that the containers are configured with is there.
    async fn configure(&mut self) -> Result<(), NoSuchPod> {
        loop {
            let Some(why) = self.misconfigured().await else { return Ok(()) };
            self.note("Warning", "Failed", &format!("Error: {why}")).await;
            self.waits_with("CreateContainerConfigError", why).await?;
            self.wait(Duration::from_secs(10)).await;
        }
    }

    async fn misconfigured(&self) -> Option<String> {
        if self.fate == Fate::WrongConfig {
            return Some("secret \"settings-that-do-not-exist\" not found".to_owned());
        }
        for (kind, name, key) in env::sources(&self.pod) {
            match self.node.reach.source(kind, &self.facts.namespace, &name).await {
                None => return Some(format!("{kind} \"{name}\" not found")),
                Some(held) if !key.is_empty() && held["data"][&key].is_null() => {
                    let shown = if kind == "secret" { "Secret" } else { "ConfigMap" };
                    let place = format!("{}/{name}", self.facts.namespace);
                    return Some(format!("couldn't find key {key} in {shown} {place}"));
                }
                Some(_) => {}
            }
        }
        None
    }

    /// From the containers' start to their exit, if they exit.
    async fn run_once(&mut self) -> Result<(), NoSuchPod> {
        let probed = list(&self.pod, "/spec/containers")
            .iter()
            .any(|one| one["readinessProbe"].is_object() || one["startupProbe"].is_object());
        match self.fate.clone() {
            Fate::BadEntrypoint => {
                self.wait(Duration::from_millis(300)).await;
                let why = "failed to create containerd task: failed to create shim task: OCI \
                    runtime create failed: runc create failed: unable to start container process: \
                    exec: \"/no-such-program\": stat /no-such-program: no such file or directory";
                self.note("Warning", "Failed", &format!("Error: {why}")).await;
                self.shown.last = Some((128, "StartError", now()));
                self.waits_with("RunContainerError", why.to_owned()).await?;
                return Ok(());
            }
            Fate::CrashAtStart => {
                // Without a probe a container is ready as soon as it runs, even for a moment.
                self.runs(!probed).await?;
                self.wait(EXITS_AFTER).await;
                return self.exits(1, "Error").await;
            }
            Fate::OutOfMemory => {
                self.runs(!probed).await?;
                self.wait(EXITS_AFTER).await;
                return self.exits(137, "OOMKilled").await;
            }
            Fate::NeverReady => {
                self.runs(false).await?;
                std::future::pending::<()>().await;
            }
            Fate::Slow(slow) => {
                self.runs(false).await?;
                self.wait(slow).await;
            }
            _ if probed => {
                self.runs(false).await?;
                self.wait(UNTIL_READY).await;
            }
            _ => {}
        }
        self.runs(true).await?;
        match self.fate {
            Fate::CrashAfterReady(after) => {
                self.wait(after).await;
                self.exits(1, "Error").await
            }
            Fate::ReadyThenNot(after) => {
                self.wait(after).await;
                self.runs(false).await?;
                std::future::pending().await
            }
            Fate::Flapping(each) => loop {
                self.wait(each).await;
                self.runs(false).await?;
                self.wait(each).await;
                self.runs(true).await?;
            },
            _ => std::future::pending().await,
        }
    }

    /// What was told to stop goes on for a while; what never ran has nothing to drain.
    async fn leave(&mut self) {
        let ran = matches!(self.shown.doing, Doing::Running { .. });
        if ran {
            self.tell(PodWhat::Stopping).await;
            let grace = look::number(&self.pod, "/metadata/deletionGracePeriodSeconds")
                .or_else(|| look::number(&self.pod, "/spec/terminationGracePeriodSeconds"))
                .unwrap_or(30);
            let grace = Duration::from_secs(u64::try_from(grace).unwrap_or_default());
            let drain = self.node.fates.drain_of(&self.facts.image).unwrap_or(self.node.drain);
            self.wait(drain.min(grace)).await;
            self.shown.doing = Doing::Exited { code: 0, reason: "Completed" };
            let _ = self.show().await;
        }
        self.node.reach.remove(&self.pod).await;
    }

    async fn runs(&mut self, ready: bool) -> Result<(), NoSuchPod> {
        let before = self.shown.doing.clone();
        self.shown.doing = Doing::Running { ready };
        self.show().await?;
        if !matches!(before, Doing::Running { .. }) {
            self.tell(PodWhat::Started).await;
        }
        match (before == Doing::Running { ready: true }, ready) {
            (false, true) => self.tell(PodWhat::Ready).await,
            (true, false) => self.tell(PodWhat::NotReady).await,
            _ => {}
        }
        Ok(())
    }

    async fn exits(&mut self, code: i32, reason: &'static str) -> Result<(), NoSuchPod> {
        self.shown.doing = Doing::Exited { code, reason };
        self.show().await?;
        self.shown.last = Some((code, reason, now()));
        self.tell(PodWhat::Died).await;
        Ok(())
    }

    async fn waits_with(&mut self, reason: &'static str, message: String) -> Result<(), NoSuchPod> {
        self.shown.doing = Doing::Waiting { reason, message };
        self.show().await
    }

    async fn show(&mut self) -> Result<(), NoSuchPod> {
        let mut shown = status(&self.pod, &self.shown);
        self.node.reach.write_status(&self.pod, &shown).await?;
        // The next status goes by when the conditions of this one became what they are.
        let mut pod = Value::clone(&self.pod);
        look::map_at(&mut pod, "status")
            .insert("conditions".to_owned(), shown["conditions"].take());
        self.pod = Arc::new(pod);
        Ok(())
    }

    async fn note(&self, kind: &str, reason: &str, message: &str) {
        self.node.reach.record(&self.pod, kind, reason, message).await;
    }

    async fn tell(&self, what: PodWhat) {
        if let Some(listener) = &self.node.on_pod {
            // Nobody listening any more is no trouble of the pod's.
            let _ = listener.send(PodEvent { what, pod: self.facts.clone() }).await;
        }
    }

    async fn wait(&self, real: Duration) {
        sleep(self.node.paced(real)).await;
    }
}
