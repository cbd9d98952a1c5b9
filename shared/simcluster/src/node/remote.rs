use std::collections::{HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Node as NodeObject, Pod, Secret};
use kube::api::{
    DeleteParams, Patch, PatchParams, PostParams, Preconditions, WatchEvent, WatchParams,
};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;
use uuid::Uuid;

use super::Node;
use super::reach::{NoSuchPod, Reach, Seen, reference};
use crate::look::{self, text};
use crate::managed::now;
use crate::settings::Settings;

/// A simulated node of a real cluster: pods whose `schedulerName` it was told run on it, by their
/// fates, and no container ever does. Ends when it is dropped; its Node object stays.
pub struct RemoteNodes {
    _running: JoinSet<()>,
}

/// How to reach a real API server as a node.
pub(crate) struct Remote {
    client: Client,
    scheduler: String,
    node: String,
}

/// Kubelets renew their lease every ten seconds; after forty without it a node is not ready.
const RENEWAL: Duration = Duration::from_secs(10);

impl RemoteNodes {
    /// `scheduler` is the `schedulerName` of the pods to take; the cluster's own scheduler takes
    /// `default-scheduler`, so that name is only right where there is none.
    pub async fn start(
        client: Client,
        node: &str,
        scheduler: &str,
        settings: &Settings,
    ) -> Result<Self, kube::Error> {
        let remote =
            Arc::new(Remote { client, scheduler: scheduler.to_owned(), node: node.to_owned() });
        remote.join().await?;
        let mut running = JoinSet::new();
        running.spawn(Node::new(node, Reach::There(remote.clone()), settings).run());
        running.spawn(async move {
            loop {
                sleep(RENEWAL).await;
                // A renewal that is missed is made up for by the next.
                let _ = remote.join().await;
            }
        });
        Ok(Self { _running: running })
    }
}

impl Remote {
    /// Says that the node is there and ready.
    async fn join(&self) -> Result<(), kube::Error> {
        let ours = PatchParams::apply("cogo-simulated-node").force();
        let nodes: Api<NodeObject> = Api::all(self.client.clone());
        let node = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": { "name": self.node, "labels": { "cogo.dev/simulated": "true" } },
            // Whoever does not ask for a simulated node does not get one.
            "spec": { "taints": [{ "key": "cogo.dev/simulated", "effect": "NoSchedule" }] },
        });
        nodes.patch(&self.node, &ours, &Patch::Apply(&node)).await?;
        let room = json!({ "cpu": "1000", "memory": "1000Gi", "pods": "1000" });
        let status = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "status": {
                "capacity": room,
                "allocatable": room,
                "conditions": [{
                    "type": "Ready",
                    "status": "True",
                    "reason": "KubeletReady",
                    "message": "simulated",
                    "lastHeartbeatTime": now(),
                    "lastTransitionTime": now(),
                }],
            },
        });
        nodes.patch_status(&self.node, &ours, &Patch::Apply(&status)).await?;
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), "kube-node-lease");
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": { "name": self.node },
            "spec": {
                "holderIdentity": self.node,
                "leaseDurationSeconds": 40,
                "renewTime": now().replace('Z', ".000000Z"),
            },
        });
        leases.patch(&self.node, &ours, &Patch::Apply(&lease)).await?;
        Ok(())
    }

    pub(crate) fn binds(&self, pod: &Value) -> bool {
        text(pod, "/spec/schedulerName") == self.scheduler && !look::is_leaving(pod)
    }

    pub(crate) async fn bind(&self, pod: &Value, node: &str) -> Result<(), NoSuchPod> {
        let (namespace, name) = (look::namespace(pod), look::name(pod));
        let binding = json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": { "name": name, "namespace": namespace, "uid": look::uid(pod) },
            "target": { "kind": "Node", "apiVersion": "v1", "name": node },
        });
        let pods = self.pods_in(namespace);
        let bound: Result<Value, kube::Error> =
            pods.create_subresource("binding", name, &PostParams::default(), &binding).await;
        bound.map(|_| ()).map_err(|_| NoSuchPod)
    }

    pub(crate) async fn write_status(&self, pod: &Value, status: &Value) -> Result<(), NoSuchPod> {
        let pods = self.pods_in(look::namespace(pod));
        let patch = json!({ "metadata": { "uid": look::uid(pod) }, "status": status });
        let mut tries = 0;
        loop {
            let ours = PatchParams::default();
            let written =
                pods.patch_status(look::name(pod), &ours, &Patch::Strategic(&patch)).await;
            tries += 1;
            match written {
                Ok(_) => return Ok(()),
                // The name is another pod's, or nobody's.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => {
                    return Err(NoSuchPod);
                }
                Err(_) if tries < 5 => sleep(Duration::from_millis(200)).await,
                Err(_) => return Ok(()),
            }
        }
    }

    pub(crate) async fn remove(&self, pod: &Value) {
        let pods = self.pods_in(look::namespace(pod));
        let uid = Some(look::uid(pod).to_owned());
        let now = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid, resource_version: None }),
            ..DeleteParams::default()
        };
        let _ = pods.delete(look::name(pod), &now).await;
    }

    pub(crate) async fn record(&self, pod: &Value, kind: &str, reason: &str, message: &str) {
        let events: Api<Event> = Api::namespaced(self.client.clone(), look::namespace(pod));
        let event = json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": { "name": format!("{}.{}", look::name(pod), Uuid::new_v4().simple()) },
            "involvedObject": reference(pod),
            "reason": reason,
            "message": message,
            "type": kind,
            "count": 1,
            "firstTimestamp": now(),
            "lastTimestamp": now(),
            "source": { "component": "kubelet", "host": self.node },
        });
        let event: Event = serde_json::from_value(event).expect("it is an event");
        let _ = events.create(&PostParams::default(), &event).await;
    }

    pub(crate) async fn source(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let client = self.client.clone();
        if kind == "secret" {
            let secret = Api::<Secret>::namespaced(client, namespace).get(name).await.ok()?;
            return serde_json::to_value(secret).ok();
        }
        let map = Api::<ConfigMap>::namespaced(client, namespace).get(name).await.ok()?;
        serde_json::to_value(map).ok()
    }

    fn pods_in(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }
}

type Events = Pin<Box<dyn Stream<Item = Result<WatchEvent<Pod>, kube::Error>> + Send>>;

/// All pods of a real cluster, listed and then watched, again whenever the watch ends.
pub(crate) struct RemotePods {
    remote: Arc<Remote>,
    events: Option<Events>,
    news: VecDeque<Seen>,
}

impl RemotePods {
    pub(crate) fn new(remote: Arc<Remote>) -> Self {
        Self { remote, events: None, news: VecDeque::new() }
    }

    pub(crate) async fn next(&mut self) -> Seen {
        loop {
            if let Some(seen) = self.news.pop_front() {
                return seen;
            }
            let Some(events) = &mut self.events else {
                if self.list().await.is_err() {
                    sleep(Duration::from_millis(500)).await;
                }
                continue;
            };
            match events.next().await {
                Some(Ok(WatchEvent::Added(pod) | WatchEvent::Modified(pod))) => {
                    return Seen::Pod(untyped(&pod));
                }
                Some(Ok(WatchEvent::Deleted(pod))) => {
                    return Seen::Gone(pod.metadata.uid.unwrap_or_default());
                }
                Some(Ok(WatchEvent::Bookmark(_))) => {}
                Some(Ok(WatchEvent::Error(_)) | Err(_)) | None => self.events = None,
            }
        }
    }

    async fn list(&mut self) -> Result<(), kube::Error> {
        let pods: Api<Pod> = Api::all(self.remote.client.clone());
        let listed = pods.list(&kube::api::ListParams::default()).await?;
        let uids: HashSet<String> =
            listed.items.iter().filter_map(|pod| pod.metadata.uid.clone()).collect();
        self.news.push_back(Seen::Only(uids));
        self.news.extend(listed.items.iter().map(|pod| Seen::Pod(untyped(pod))));
        let version = listed.metadata.resource_version.unwrap_or_default();
        let events = pods.watch(&WatchParams::default(), &version).await?;
        self.events = Some(Box::pin(events));
        Ok(())
    }
}

fn untyped(pod: &Pod) -> Arc<Value> {
    Arc::new(serde_json::to_value(pod).expect("pods are JSON"))
}
