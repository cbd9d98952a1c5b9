use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::remote::RemotePods;
use crate::cluster::Cluster;
use crate::control;
use crate::kind::{CONFIG_MAP, POD, SECRET};
use crate::look;
use crate::managed::Writer;
use crate::store::{Change, Key, What};
use crate::write::{Deletion, Part};

/// How a node reaches its API: the cluster around it, or a real server far away.
#[derive(Clone)]
pub(crate) enum Reach {
    Here(Arc<Cluster>),
    There(Arc<super::remote::Remote>),
}

/// What a node hears of pods.
pub(crate) enum Seen {
    Pod(Arc<Value>),
    Gone(String),
    /// These are all that there are.
    Only(HashSet<String>),
}

pub(crate) enum Pods {
    Here {
        cluster: Arc<Cluster>,
        changed: watch::Receiver<u64>,
        version: u64,
        news: VecDeque<Seen>,
    },
    There(RemotePods),
}

/// It is not there any more, or another one of its name is.
#[derive(Debug)]
pub(crate) struct NoSuchPod;

impl Reach {
    pub(crate) fn pods(&self) -> Pods {
        match self {
            Self::Here(cluster) => Pods::Here {
                cluster: cluster.clone(),
                changed: cluster.changed.subscribe(),
                version: 0,
                news: VecDeque::new(),
            },
            Self::There(remote) => Pods::There(RemotePods::new(remote.clone())),
        }
    }

    pub(crate) fn binds(&self, pod: &Value) -> bool {
        match self {
            Self::Here(_) => true,
            Self::There(remote) => remote.binds(pod),
        }
    }

    pub(crate) async fn bind(&self, pod: &Value, node: &str) -> Result<(), NoSuchPod> {
        match self {
            Self::Here(cluster) => cluster.with(|store| {
                let held = store.get(&POD, look::namespace(pod), look::name(pod));
                let held = held.filter(|held| look::uid(held) == look::uid(pod)).cloned();
                let held = held.ok_or(NoSuchPod)?;
                store.bind(&held, node);
                Ok(())
            }),
            Self::There(remote) => remote.bind(pod, node).await,
        }
    }

    /// `status` is laid over what the pod's status is, whole field by whole field.
    pub(crate) async fn write_status(&self, pod: &Value, status: &Value) -> Result<(), NoSuchPod> {
        match self {
            Self::Here(cluster) => cluster.with(|store| {
                let held = store.get(&POD, look::namespace(pod), look::name(pod));
                let held = held.filter(|held| look::uid(held) == look::uid(pod)).cloned();
                let held = held.ok_or(NoSuchPod)?;
                let mut after = Value::clone(&held);
                let fields = look::map_at(&mut after, "status");
                fields.extend(status.as_object().cloned().unwrap_or_default());
                let writer = Writer::update("kubelet", "status");
                let _ = store.update(&POD, &held, after, Part::Status, &writer, false);
                Ok(())
            }),
            Self::There(remote) => remote.write_status(pod, status).await,
        }
    }

    /// Takes the pod's last trace away, as a kubelet does when its containers have ended.
    pub(crate) async fn remove(&self, pod: &Value) {
        match self {
            Self::Here(cluster) => {
                let uid = Some(look::uid(pod).to_owned());
                let now = Deletion { grace: Some(0), uid, ..Deletion::default() };
                let _ = cluster.with(|store| store.delete(&Key::of(&POD, pod), &now, false));
            }
            Self::There(remote) => remote.remove(pod).await,
        }
    }

    pub(crate) async fn record(&self, pod: &Value, kind: &str, reason: &str, message: &str) {
        match self {
            Self::Here(cluster) => {
                cluster.with(|store| control::record(store, pod, kind, reason, message));
            }
            Self::There(remote) => remote.record(pod, kind, reason, message).await,
        }
    }

    /// A Secret or a ConfigMap that a container needs.
    pub(crate) async fn source(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        match self {
            Self::Here(cluster) => {
                let kind = if kind == "secret" { &SECRET } else { &CONFIG_MAP };
                cluster.with(|store| store.get(kind, namespace, name).map(|one| Value::clone(one)))
            }
            Self::There(remote) => remote.source(kind, namespace, name).await,
        }
    }
}

impl Pods {
    pub(crate) async fn next(&mut self) -> Seen {
        match self {
            Self::There(pods) => pods.next().await,
            Self::Here { cluster, changed, version, news } => loop {
                if let Some(seen) = news.pop_front() {
                    return seen;
                }
                changed.mark_unchanged();
                let since = *version;
                *version = cluster.with(|store| {
                    let told: Result<Vec<Change>, _> = store
                        .since(since)
                        .map(|all| all.filter(|one| *one.kind == POD).cloned().collect());
                    match told {
                        Ok(told) => news.extend(told.into_iter().map(|one| match one.what {
                            What::Deleted => Seen::Gone(look::uid(&one.object).to_owned()),
                            _ => Seen::Pod(one.object),
                        })),
                        Err(_) => {
                            let all: Vec<Arc<Value>> = store.list(&POD, None).cloned().collect();
                            let uids = all.iter().map(|pod| look::uid(pod).to_owned()).collect();
                            news.push_back(Seen::Only(uids));
                            news.extend(all.into_iter().map(Seen::Pod));
                        }
                    }
                    store.version()
                });
                if news.is_empty() && changed.changed().await.is_err() {
                    // The cluster is being dropped, and we are with it.
                    tokio::time::sleep(Duration::from_secs(3600)).await;
                }
            },
        }
    }
}

/// What a pod's own name and node are called for events and bindings.
pub(crate) fn reference(pod: &Value) -> Value {
    json!({
        "kind": "Pod",
        "apiVersion": "v1",
        "namespace": look::namespace(pod),
        "name": look::name(pod),
        "uid": look::uid(pod),
        "resourceVersion": pod["metadata"]["resourceVersion"],
    })
}
