use bus::{MessageState, RouteActivity, WorkerSeen};
use model::{MessageId, Route};
use registry::Release;
use time::OffsetDateTime;
use uuid::Uuid;

use super::ask::Ask;
use super::look::Look;

/// All that is shown, and nothing else: what is drawn follows from it alone.
#[derive(Debug)]
pub(super) struct State {
    /// Where it looks.
    pub(super) place: String,
    /// The last look that succeeded.
    pub(super) look: Option<Look>,
    /// Since when no look succeeds, and why.
    pub(super) trouble: Option<Trouble>,
    pub(super) pane: Pane,
    pub(super) chosen: Chosen,
    pub(super) view: View,
    /// What is to be confirmed before it is done.
    pub(super) ask: Option<Ask>,
    pub(super) help: bool,
    /// What came of what was asked for last.
    pub(super) said: Option<Said>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) since: OffsetDateTime,
    pub(super) why: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) what: String,
    pub(super) well: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pane {
    Routes,
    Workers,
    Rollouts,
}

/// By what the lines are of, and not by their places: lines come and go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) route: Option<Route>,
    pub(super) worker: Option<String>,
    pub(super) release: Option<Uuid>,
}

#[derive(Debug)]
pub(super) enum View {
    Panes,
    Messages(Messages),
    /// A thing's story, and where one is in it. Behind it lies what it was opened from.
    Story {
        text: Option<String>,
        at: usize,
        under: Option<Messages>,
    },
}

/// What stands on a route; `None` until it has been read.
#[derive(Debug)]
pub(super) struct Messages {
    pub(super) route: Route,
    pub(super) list: Option<Vec<MessageState>>,
    pub(super) chosen: Option<MessageId>,
}

impl Pane {
    pub(super) const ALL: [Self; 3] = [Self::Routes, Self::Workers, Self::Rollouts];

    pub(super) fn next(self) -> Self {
        match self {
            Self::Routes => Self::Workers,
            Self::Workers => Self::Rollouts,
            Self::Rollouts => Self::Routes,
        }
    }

    pub(super) fn before(self) -> Self {
        self.next().next()
    }
}

impl State {
    pub(super) fn new(place: String) -> Self {
        Self {
            place,
            look: None,
            trouble: None,
            pane: Pane::Routes,
            chosen: Chosen::default(),
            view: View::Panes,
            ask: None,
            help: false,
            said: None,
        }
    }

    pub(super) fn routes(&self) -> &[RouteActivity] {
        self.look.as_ref().map_or(&[], |look| &look.activity.routes)
    }

    pub(super) fn workers(&self) -> &[WorkerSeen] {
        self.look.as_ref().map_or(&[], |look| &look.workers)
    }

    pub(super) fn rollouts(&self) -> &[Release] {
        self.look.as_ref().map_or(&[], |look| &look.rollouts)
    }

    pub(super) fn lines(&self) -> usize {
        match self.pane {
            Pane::Routes => self.routes().len(),
            Pane::Workers => self.workers().len(),
            Pane::Rollouts => self.rollouts().len(),
        }
    }

    /// The place of the chosen line; of what has gone, the first.
    pub(super) fn at(&self) -> Option<usize> {
        let found = match self.pane {
            Pane::Routes => {
                let wanted = self.chosen.route.as_ref();
                self.routes().iter().position(|one| Some(&one.route()) == wanted)
            }
            Pane::Workers => {
                let wanted = self.chosen.worker.as_ref();
                self.workers().iter().position(|one| Some(&one.id) == wanted)
            }
            Pane::Rollouts => {
                self.rollouts().iter().position(|one| Some(one.id) == self.chosen.release)
            }
        };
        found.or((self.lines() > 0).then_some(0))
    }

    pub(super) fn choose(&mut self, at: usize) {
        let at = at.min(self.lines().saturating_sub(1));
        match self.pane {
            Pane::Routes => self.chosen.route = self.routes().get(at).map(RouteActivity::route),
            Pane::Workers => {
                self.chosen.worker = self.workers().get(at).map(|worker| worker.id.clone());
            }
            Pane::Rollouts => self.chosen.release = self.rollouts().get(at).map(|one| one.id),
        }
    }

    /// The route that a key acts on.
    pub(super) fn route(&self) -> Option<&RouteActivity> {
        match &self.view {
            View::Panes if self.pane == Pane::Routes => self.routes().get(self.at()?),
            View::Messages(messages) => {
                self.routes().iter().find(|one| one.route() == messages.route)
            }
            View::Panes | View::Story { .. } => None,
        }
    }
}

impl Messages {
    pub(super) fn of(route: Route) -> Self {
        Self { route, list: None, chosen: None }
    }

    pub(super) fn all(&self) -> &[MessageState] {
        self.list.as_deref().unwrap_or_default()
    }

    pub(super) fn at(&self) -> Option<usize> {
        let found = self.all().iter().position(|message| Some(message.id) == self.chosen);
        found.or((!self.all().is_empty()).then_some(0))
    }

    pub(super) fn choose(&mut self, at: usize) {
        let at = at.min(self.all().len().saturating_sub(1));
        self.chosen = self.all().get(at).map(|message| message.id);
    }
}
