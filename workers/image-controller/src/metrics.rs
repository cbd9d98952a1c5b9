use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use registry::Phase;

/// What is counted. Labels have few values: a phase, a code; never an agent or a tag.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    began: Counter,
    ended: Family<Ended, Counter>,
    failed: Family<Failed, Counter>,
    under_way: Gauge,
    pull_secrets: Family<Synced, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failed {
    code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Synced {
    outcome: &'static str,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let (began, under_way) = (Counter::default(), Gauge::default());
        let (ended, failed, pull_secrets) =
            (Family::default(), Family::default(), Family::default());
        let mut registry = Registry::default();
        let name = |what: &str| format!("image_controller_{what}");
        registry.register(
            name("rollouts_begun"),
            "Releases that were brought onto Kubernetes",
            began.clone(),
        );
        registry.register(
            name("rollouts_ended"),
            "Releases that came to an end, by phase",
            Family::clone(&ended),
        );
        registry.register(
            name("rollouts_failed"),
            "Releases that were bad, by why",
            Family::clone(&failed),
        );
        registry.register(
            name("under_way"),
            "Releases that are being looked after",
            under_way.clone(),
        );
        registry.register(
            name("pull_secrets"),
            "Pull secrets that were looked at, by outcome",
            Family::clone(&pull_secrets),
        );
        Self(Arc::new(Inner { registry, began, ended, failed, under_way, pull_secrets }))
    }

    pub(crate) fn began(&self) {
        self.0.began.inc();
    }

    pub(crate) fn ended(&self, phase: Phase) {
        self.0.ended.get_or_create(&Ended { phase: phase.as_str() }).inc();
    }

    pub(crate) fn failed(&self, code: &str) {
        self.0.failed.get_or_create(&Failed { code: code.to_owned() }).inc();
    }

    pub(crate) fn under_way(&self, count: usize) {
        self.0.under_way.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(crate) fn pull_secret(&self, outcome: &'static str) {
        self.0.pull_secrets.get_or_create(&Synced { outcome }).inc();
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.0.registry).expect("a string takes everything");
        text
    }
}
