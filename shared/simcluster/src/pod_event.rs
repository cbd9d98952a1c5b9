use std::collections::BTreeMap;
use std::fmt;

/// What a pod does, told to whoever wants to put a process beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodEvent {
    pub what: PodWhat,
    pub pod: PodFacts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodWhat {
    /// Its containers run.
    Started,
    /// It is ready, and its workers would say so on the bus, unless [`PodFacts::silent`].
    Ready,
    /// It was ready, and is not any more.
    NotReady,
    /// It was told to stop and drains.
    Stopping,
    /// Its containers died; they may be started again.
    Died,
    /// Nothing is left of it.
    Gone,
}

#[derive(Clone, PartialEq, Eq)]
pub struct PodFacts {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub labels: BTreeMap<String, String>,
    pub image: String,
    /// What the first container is given: plain values, and what the downward API says of the pod.
    /// Values from Secrets and ConfigMaps are left out.
    pub env: BTreeMap<String, String>,
    /// Its fate is to be ready and never heard of on the bus.
    pub silent: bool,
}

/// The names of variables tell enough: a value may be anything.
impl fmt::Debug for PodFacts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("PodFacts")
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .field("uid", &self.uid)
            .field("image", &self.image)
            .field("silent", &self.silent)
            .field("env", &self.env.keys())
            .finish_non_exhaustive()
    }
}
