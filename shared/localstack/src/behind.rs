use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::Part;
use crate::kept::{Health, Kept};
use crate::refusal::Refusal;
use crate::upstream::Upstream;

/// A part as the gateway sees it.
#[derive(Clone, Debug)]
pub(crate) struct Behind {
    pub(crate) part: Part,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// It does not run here, and why.
    Off(String),
    /// A program that we keep running.
    Kept { upstream: Upstream, health: watch::Receiver<Health>, name: &'static str, log: PathBuf },
    /// Somebody else sees to it.
    At(Upstream),
}

impl Behind {
    pub(crate) fn off(part: Part, why: &str) -> Self {
        Self { part, state: State::Off(why.to_owned()) }
    }

    pub(crate) fn kept(part: Part, kept: &Kept) -> Self {
        let program = kept.program();
        let state = State::Kept {
            upstream: program.listens.clone(),
            health: kept.health(),
            name: program.name,
            log: program.log(),
        };
        Self { part, state }
    }

    pub(crate) fn at(part: Part, address: SocketAddr) -> Self {
        Self { part, state: State::At(Upstream::Tcp(address)) }
    }

    pub(crate) fn why_off(&self) -> Option<&str> {
        match &self.state {
            State::Off(why) => Some(why),
            State::Kept { .. } | State::At(_) => None,
        }
    }

    pub(crate) fn upstream(&self) -> Result<&Upstream, Refusal> {
        match &self.state {
            State::Off(_) => Err(self.down()),
            State::Kept { upstream, .. } | State::At(upstream) => Ok(upstream),
        }
    }

    /// Nobody listens there.
    pub(crate) fn down(&self) -> Refusal {
        let part = self.part;
        let message = match &self.state {
            State::Off(why) => format!("{part} does not run here: {why}"),
            State::Kept { health, name, .. } => match &*health.borrow() {
                Health::Down(why) => format!("{part} is down: {name} ended ({why})"),
                Health::Starting | Health::Up => format!("{part} is down: {name} is starting"),
            },
            State::At(_) => format!("{part} is down"),
        };
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, message, &self.way_out())
    }

    /// It hung up in the middle.
    pub(crate) fn broke(&self) -> Refusal {
        let message = format!("{} hung up without an answer", self.part);
        Refusal::new(StatusCode::BAD_GATEWAY, message, &self.way_out())
    }

    pub(crate) fn late(&self, patience: Duration) -> Refusal {
        let message = format!("{} did not answer within {} s", self.part, patience.as_secs());
        Refusal::new(StatusCode::GATEWAY_TIMEOUT, message, &self.way_out())
    }

    fn way_out(&self) -> String {
        match &self.state {
            State::Off(_) => "see what `cogo dev` said when it started".to_owned(),
            State::Kept { log, .. } => format!("it is started again; its log is {}", log.display()),
            State::At(_) => "see what `cogo dev` says".to_owned(),
        }
    }

    /// What is off on purpose is well.
    pub(crate) fn is_well(&self) -> bool {
        match &self.state {
            State::Off(_) | State::At(_) => true,
            State::Kept { health, .. } => *health.borrow() == Health::Up,
        }
    }

    /// For whoever asks how it is.
    pub(crate) fn told(&self) -> Value {
        match &self.state {
            State::Off(why) => json!({ "state": "off", "why": why }),
            State::At(_) => json!({ "state": "up" }),
            State::Kept { health, log, .. } => match &*health.borrow() {
                Health::Up => json!({ "state": "up" }),
                Health::Starting => json!({ "state": "starting" }),
                Health::Down(why) => json!({ "state": "down", "why": why, "log": log }),
            },
        }
    }
}
