use bus::MessageState;
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use model::{Route, Stage};
use time::OffsetDateTime;

use super::ask::Ask;
use super::look::{LETTERS, Look};
use super::state::{Messages, Pane, Said, State, Trouble, View};
use crate::explain::What;

/// What comes from outside.
#[derive(Debug)]
pub(super) enum Event {
    Key(KeyEvent),
    Looked(Result<Box<Look>, String>, OffsetDateTime),
    Messages(Route, Result<Vec<MessageState>, String>),
    Told(Result<String, String>),
    Paused(Stage, bool, Result<(), String>),
    Replayed(Route, Result<usize, String>),
}

/// What is to be done outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Leave,
    /// Now, and not when it is time.
    Look,
    Messages(Route),
    Explain(What),
    Pause(Stage, bool),
    Replay(Route),
}

const PAGE: usize = 10;

/// What becomes of the state, and what follows. Asks nobody and waits for nothing.
pub(super) fn update(state: &mut State, event: Event) -> Option<Effect> {
    match event {
        Event::Key(key) if key.kind == KeyEventKind::Release => None,
        Event::Key(key) => press(state, key),
        Event::Looked(Ok(look), _) => {
            state.trouble = None;
            state.look = Some(*look);
            // What is looked into is read again with the rest.
            match &state.view {
                View::Messages(messages) => Some(Effect::Messages(messages.route.clone())),
                View::Panes | View::Story { .. } => None,
            }
        }
        Event::Looked(Err(why), at) => {
            let since = state.trouble.as_ref().map_or(at, |trouble| trouble.since);
            state.trouble = Some(Trouble { since, why });
            None
        }
        Event::Messages(route, read) => {
            let View::Messages(messages) = &mut state.view else { return None };
            match read {
                Ok(list) if messages.route == route => messages.list = Some(list),
                Ok(_) => {}
                Err(why) => state.said = Some(badly(why)),
            }
            None
        }
        Event::Told(told) => {
            if let View::Story { text, .. } = &mut state.view {
                *text = Some(told.unwrap_or_else(|why| why));
            }
            None
        }
        Event::Paused(stage, paused, done) => {
            let what = if paused { "is paused" } else { "goes on" };
            state.said = Some(match done {
                Ok(()) => well(format!("{stage} {what}")),
                Err(why) => badly(why),
            });
            Some(Effect::Look)
        }
        Event::Replayed(route, done) => {
            state.said = Some(match done {
                Ok(number) if u32::try_from(number).is_ok_and(|number| number >= LETTERS) => {
                    well(format!("{number} dead letters of {route} were sent again; r for more"))
                }
                Ok(1) => well(format!("1 dead letter of {route} was sent again")),
                Ok(number) => well(format!("{number} dead letters of {route} were sent again")),
                Err(why) => badly(why),
            });
            Some(Effect::Look)
        }
    }
}

fn well(what: String) -> Said {
    Said { what, well: true }
}

fn badly(what: String) -> Said {
    Said { what, well: false }
}

fn press(state: &mut State, key: KeyEvent) -> Option<Effect> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return match key.code {
            KeyCode::Char('c' | 'd') => Some(Effect::Leave),
            KeyCode::Char('l') => Some(Effect::Look),
            _ => None,
        };
    }
    if state.help {
        state.help = false;
        return None;
    }
    if let Some(ask) = state.ask.take() {
        return answer(ask, key.code);
    }
    state.said = None;
    match key.code {
        KeyCode::Char('q') => return Some(Effect::Leave),
        KeyCode::Char('?' | 'h') => state.help = true,
        KeyCode::Char('p') => ask_to_pause(state),
        KeyCode::Char('r') => ask_to_replay(state),
        KeyCode::Esc | KeyCode::Backspace | KeyCode::Left => return back(state),
        KeyCode::Enter | KeyCode::Right => return enter(state),
        KeyCode::Tab => turn(state, Pane::next),
        KeyCode::BackTab => turn(state, Pane::before),
        KeyCode::Up | KeyCode::Char('k') => go(state, |at| at.saturating_sub(1)),
        KeyCode::Down | KeyCode::Char('j') => go(state, |at| at + 1),
        KeyCode::PageUp => go(state, |at| at.saturating_sub(PAGE)),
        KeyCode::PageDown | KeyCode::Char(' ') => go(state, |at| at + PAGE),
        KeyCode::Home | KeyCode::Char('g') => go(state, |_| 0),
        KeyCode::End | KeyCode::Char('G') => go(state, |_| usize::MAX),
        _ => {}
    }
    None
}

/// Anything but yes is no.
fn answer(ask: Ask, key: KeyCode) -> Option<Effect> {
    if !matches!(key, KeyCode::Char('y' | 'Y')) {
        return None;
    }
    Some(match ask {
        Ask::Pause(stage) => Effect::Pause(stage, true),
        Ask::Resume(stage) => Effect::Pause(stage, false),
        Ask::Replay(route, _) => Effect::Replay(route),
    })
}

fn ask_to_pause(state: &mut State) {
    let Some(route) = state.route() else {
        state.said = Some(badly("choose a route first: tab goes to them".to_owned()));
        return;
    };
    let (stage, paused) = (route.stage(), route.paused);
    state.ask = Some(if paused { Ask::Resume(stage) } else { Ask::Pause(stage) });
}

fn ask_to_replay(state: &mut State) {
    match state.route().map(|route| (route.route(), route.letters)) {
        None => state.said = Some(badly("choose a route first: tab goes to them".to_owned())),
        Some((route, 0)) => state.said = Some(badly(format!("{route} has no dead letters"))),
        Some((route, letters)) => state.ask = Some(Ask::Replay(route, letters)),
    }
}

fn back(state: &mut State) -> Option<Effect> {
    match std::mem::replace(&mut state.view, View::Panes) {
        View::Story { under: Some(messages), .. } => {
            let route = messages.route.clone();
            state.view = View::Messages(messages);
            Some(Effect::Messages(route))
        }
        View::Panes | View::Messages(_) | View::Story { under: None, .. } => None,
    }
}

fn enter(state: &mut State) -> Option<Effect> {
    match std::mem::replace(&mut state.view, View::Panes) {
        View::Panes => open(state),
        View::Messages(messages) => {
            let Some(at) = messages.at() else {
                state.view = View::Messages(messages);
                return None;
            };
            let id = messages.all()[at].id;
            state.view = View::Story { text: None, at: 0, under: Some(messages) };
            Some(Effect::Explain(What::Message(id)))
        }
        story @ View::Story { .. } => {
            state.view = story;
            None
        }
    }
}

fn open(state: &mut State) -> Option<Effect> {
    let at = state.at()?;
    state.choose(at);
    let what = match state.pane {
        Pane::Routes => {
            let route = state.routes()[at].route();
            state.view = View::Messages(Messages::of(route.clone()));
            return Some(Effect::Messages(route));
        }
        Pane::Workers => What::Worker(state.workers()[at].id.clone()),
        Pane::Rollouts => What::Release(state.rollouts()[at].id),
    };
    state.view = View::Story { text: None, at: 0, under: None };
    Some(Effect::Explain(what))
}

fn turn(state: &mut State, to: impl FnOnce(Pane) -> Pane) {
    if let View::Panes = state.view {
        state.pane = to(state.pane);
    }
}

fn go(state: &mut State, to: impl FnOnce(usize) -> usize) {
    match &mut state.view {
        View::Panes => {
            if let Some(at) = state.at() {
                state.choose(to(at));
            }
        }
        View::Messages(messages) => {
            if let Some(at) = messages.at() {
                messages.choose(to(at));
            }
        }
        View::Story { text, at, .. } => {
            let lines = text.as_ref().map_or(0, |text| text.lines().count());
            *at = to(*at).min(lines.saturating_sub(1));
        }
    }
}
