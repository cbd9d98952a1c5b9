use std::time::{Duration, Instant};

use cluster::facts::{
    Container, Deployment, Facts, Phase, Pod, Progress, Pull, Refusal, ReplicaSet, State, Template,
};

use super::{Clock, Heartbeat, Limits, Question, Release, Verdict, judge};

/// Everything that a verdict depends on, at first of a release that is well: two pods, ready for
/// ten seconds, with a worker in each of them. Times are seconds since it was deployed.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) started: Instant,
    pub(super) facts: Facts,
    pub(super) heartbeats: Vec<Heartbeat>,
    pub(super) release: Release,
    pub(super) clock: Clock,
    pub(super) limits: Limits,
}

pub(super) const ID: &str = "r2";
pub(super) const DIGEST: &str = "sha256:22";
const IMAGE: &str = "ghcr.io/acme/codegen:v2@sha256:22";

impl Scene {
    pub(super) fn well() -> Self {
        let started = Instant::now();
        let mut scene = Self {
            started,
            facts: facts(started),
            heartbeats: Vec::new(),
            release: Release {
                id: ID.to_owned(),
                digest: DIGEST.to_owned(),
                generation: 7,
                question: Question::IsGood,
            },
            clock: Clock {
                now: started,
                deadline: started + Duration::from_secs(40),
                held: None,
                bus_is_out: false,
            },
            limits: Limits::default(),
        };
        scene.facts.pods = vec![pod("a", scene.at(2)), pod("b", scene.at(2))];
        scene.beat("a", 2);
        scene.beat("b", 2);
        scene.now(12);
        scene
    }

    pub(super) fn at(&self, second: u64) -> Instant {
        self.started + Duration::from_secs(second)
    }

    /// It is so late, and everything was seen and heard just now.
    pub(super) fn now(&mut self, second: u64) -> &mut Self {
        self.clock.now = self.at(second);
        self.facts.seen = self.clock.now;
        for heartbeat in &mut self.heartbeats {
            heartbeat.heard = self.clock.now;
        }
        self
    }

    pub(super) fn beat(&mut self, pod: &str, second: u64) {
        let ready = Some(self.at(second));
        let (release_id, pod_uid) = (ID.to_owned(), format!("uid-{pod}"));
        self.heartbeats.push(Heartbeat { release_id, pod_uid, ready, heard: self.clock.now });
    }

    pub(super) fn judge(&self) -> Verdict {
        judge(&self.facts, &self.heartbeats, &self.release, &self.clock, &self.limits)
    }

    /// The code of a bad verdict, or which other it is.
    pub(super) fn told(&self) -> String {
        match self.judge() {
            Verdict::Wait { .. } => "wait".to_owned(),
            Verdict::Good => "good".to_owned(),
            Verdict::Bad(bad) => bad.code.to_string(),
            Verdict::Hold { .. } => "hold".to_owned(),
        }
    }

    pub(super) fn container(&mut self) -> &mut Container {
        &mut self.facts.pods[0].containers[0]
    }

    /// None of the pods is there yet.
    pub(super) fn none_available(&mut self) -> &mut Self {
        let deployment = &mut self.facts.deployment;
        deployment.available = 0;
        if let Some(current) = &mut self.facts.current {
            (current.ready, current.available) = (0, 0);
        }
        for pod in &mut self.facts.pods {
            pod.ready = None;
        }
        self
    }

    pub(super) fn waiting(&mut self, reason: &str, message: &str) -> &mut Self {
        self.none_available();
        let (reason, message) = (reason.to_owned(), message.to_owned());
        self.container().state = State::Waiting { reason, message };
        self
    }

    pub(super) fn pull(&mut self, message: &str, times: u32, since: u64) -> &mut Self {
        self.waiting("ErrImagePull", message);
        let since = self.at(since);
        self.container().pull = Some(Pull { message: message.to_owned(), since, times });
        self
    }

    pub(super) fn refusal(&mut self, message: &str, since: u64) -> &mut Self {
        let (owner, since) = ("rs2".to_owned(), self.at(since));
        self.none_available().facts.pods.clear();
        let refusal = Refusal { owner, message: message.to_owned(), times: 1, since };
        self.facts.refusals.push(refusal);
        self
    }
}

fn facts(started: Instant) -> Facts {
    let template = Template {
        release: Some(ID.to_owned()),
        images: [("worker".to_owned(), IMAGE.to_owned())].into(),
    };
    Facts {
        seen: started,
        watched_since: started,
        trouble: None,
        deployment: Deployment {
            name: "codegen".to_owned(),
            uid: "d1".to_owned(),
            generation: 7,
            observed_generation: 7,
            template: template.clone(),
            wanted: 2,
            replicas: 2,
            updated: 2,
            available: 2,
            min_ready: 2,
            paused: false,
            progress: Some(Progress {
                going: true,
                reason: "NewReplicaSetAvailable".to_owned(),
                message: "ReplicaSet \"codegen-2\" has successfully progressed.".to_owned(),
            }),
            revision: Some("2".to_owned()),
        },
        current: Some(ReplicaSet {
            name: "codegen-2".to_owned(),
            uid: "rs2".to_owned(),
            owner: "d1".to_owned(),
            hash: "2".to_owned(),
            template,
            revision: Some("2".to_owned()),
            wanted: 2,
            replicas: 2,
            ready: 2,
            available: 2,
        }),
        pods: Vec::new(),
        older: Vec::new(),
        refusals: Vec::new(),
    }
}

pub(super) fn pod(name: &str, ready: Instant) -> Pod {
    Pod {
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        owner: "rs2".to_owned(),
        phase: Phase::Running,
        reason: None,
        going: false,
        ready: Some(ready),
        ready_mark: None,
        unschedulable: None,
        containers: vec![Container {
            name: "worker".to_owned(),
            init: false,
            state: State::Running,
            restarts: 0,
            last_exit: None,
            image_id: format!("ghcr.io/acme/codegen@{DIGEST}"),
            pull: None,
        }],
    }
}
