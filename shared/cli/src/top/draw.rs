use bus::{RouteActivity, WorkerSeen};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Margin, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};
use registry::Release;
use time::OffsetDateTime;

use super::look::Look;
use super::panes::table;
use super::rows::{
    self, MESSAGES, ROLLOUTS, ROUTES, WORKERS, of_message, of_release, of_route, of_worker,
};
use super::state::{Messages, Pane, State, View};
use crate::human::{between, clock, cut, duration};

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);

/// Below this there is no table that one could read.
const NARROWEST: (u16, u16) = (40, 8);

/// Draws the state; `now` is of our own clock, for how long ago things are.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State, now: OffsetDateTime) {
    let area = frame.area();
    if area.width < NARROWEST.0 || area.height < NARROWEST.1 {
        let told = format!("this needs {} columns and {} lines", NARROWEST.0, NARROWEST.1);
        frame.render_widget(Paragraph::new(told).wrap(Wrap { trim: true }), area);
        return;
    }
    let [top, tabs, body, bottom] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(headline(state, top.width), top);
    frame.render_widget(titles(state), tabs);
    match &state.view {
        View::Panes => panes(frame, body, state, now),
        View::Messages(messages) => messages_of(frame, body, messages, state, now),
        View::Story { text, at, .. } => story(frame, body, text.as_deref(), *at),
    }
    frame.render_widget(footer(state), bottom);
    if state.help {
        window(frame, area, " keys ", HELP);
    }
    if let Some(ask) = &state.ask {
        let question = format!("{}\n\ny  yes    any other key  no", ask.question());
        window(frame, area, " sure? ", &question);
    }
}

const HELP: &str = "\
tab, shift-tab   the next pane, the one before
↑ ↓, j k         choose a line; page up, page down, g, G
enter            look into it
esc              back
p                pause or resume the route
r                replay the route's dead letters
ctrl-l           look now
q                leave

in/s, out/s      messages that came and ended, a second
failed           of those that ended just now
dead             dead letters that nobody replayed
later            waits for a time, or for its turn";

fn headline(state: &State, width: u16) -> Line<'static> {
    let name = Span::styled("cogo top", BOLD);
    let shown = usize::from(width).saturating_sub(30).max(10);
    let place = Span::raw(format!("  {}", cut(&state.place, shown)));
    let told = match (&state.trouble, &state.look) {
        (Some(_), _) => Span::styled("  not reachable", Style::new().fg(Color::Red)),
        (None, Some(look)) => {
            Span::styled(format!("  {} UTC", &clock(look.activity.read_at)[..8]), DIM)
        }
        (None, None) => Span::styled("  looking …", DIM),
    };
    Line::from(vec![name, place, told])
}

fn titles(state: &State) -> Line<'static> {
    match &state.view {
        View::Panes => {
            let mut spans = Vec::new();
            for pane in Pane::ALL {
                let (name, number) = match pane {
                    Pane::Routes => ("routes", state.routes().len()),
                    Pane::Workers => ("workers", state.workers().len()),
                    Pane::Rollouts => ("rollouts", state.rollouts().len()),
                };
                let chosen = pane == state.pane;
                let style = if chosen { BOLD.add_modifier(Modifier::REVERSED) } else { DIM };
                spans.push(Span::styled(format!(" {name} {number} "), style));
                spans.push(Span::raw(" "));
            }
            Line::from(spans)
        }
        View::Messages(messages) => {
            let paused = state.route().is_some_and(|route| route.paused);
            let paused = if paused { ", paused" } else { "" };
            Line::styled(
                format!(" {}{paused}: what has not come to a good end ", messages.route),
                BOLD,
            )
        }
        View::Story { .. } => Line::styled(" what happened ", BOLD),
    }
}

fn panes(frame: &mut Frame<'_>, area: Rect, state: &State, now: OffsetDateTime) {
    let Some(look) = &state.look else {
        let told = state.trouble.as_ref().map_or(String::new(), |trouble| trouble.why.clone());
        frame.render_widget(Paragraph::new(told).wrap(Wrap { trim: true }), area);
        return;
    };
    if let Some(trouble) = &state.trouble {
        let [notice, rest] =
            Layout::vertical([Constraint::Length(3), Constraint::Fill(1)]).areas(area);
        let since = duration(between(trouble.since, now));
        let told =
            format!("Not reachable for {since}: {}. Below is what was last seen.", trouble.why);
        let red = Style::new().fg(Color::Red);
        frame.render_widget(Paragraph::new(told).style(red).wrap(Wrap { trim: true }), notice);
        return lists(frame, rest, state, look);
    }
    lists(frame, area, state, look);
}

fn lists(frame: &mut Frame<'_>, area: Rect, state: &State, look: &Look) {
    let (lines, headings, widths): (Vec<rows::Line>, &[&str], Vec<Constraint>) = match state.pane {
        Pane::Routes => {
            let line = |one: &RouteActivity| of_route(one, &look.activity);
            (
                look.activity.routes.iter().map(line).collect(),
                &ROUTES,
                narrow(&[6, 5, 7, 6, 5, 5, 6, 5]),
            )
        }
        Pane::Workers => {
            let lines = look.workers.iter().map(|one: &WorkerSeen| of_worker(one)).collect();
            (lines, &WORKERS, narrow(&[20, 8, 6, 6, 8]))
        }
        Pane::Rollouts => {
            let lines = look.rollouts.iter().map(|one: &Release| of_release(one)).collect();
            (lines, &ROLLOUTS, narrow(&[18, 16, 6, 12]))
        }
    };
    if lines.is_empty() {
        let none = match state.pane {
            Pane::Routes => "No route has ever had a message. `cogo bus send` publishes one.",
            Pane::Workers => "No worker is alive. `cogo run --help` lists what can be run.",
            Pane::Rollouts => "No release is recorded. `cogo images record` does that.",
        };
        return frame.render_widget(Paragraph::new(none).wrap(Wrap { trim: true }), area);
    }
    table(frame, area, headings, &widths, &lines, state.at());
}

/// The first column takes what the others leave.
fn narrow(widths: &[u16]) -> Vec<Constraint> {
    let others = widths.iter().map(|width| Constraint::Length(*width));
    [Constraint::Fill(1)].into_iter().chain(others).collect()
}

fn messages_of(
    frame: &mut Frame<'_>,
    area: Rect,
    messages: &Messages,
    state: &State,
    now: OffsetDateTime,
) {
    let told = match &messages.list {
        None => "looking …",
        Some(list) if list.is_empty() => "Nothing stands here, and nobody waits for anything.",
        Some(_) => "",
    };
    if !told.is_empty() {
        return frame.render_widget(Paragraph::new(told), area);
    }
    // The server's clock, which their moments are of.
    let now = state.look.as_ref().map_or(now, |look| look.activity.read_at);
    let lines: Vec<rows::Line> = messages.all().iter().map(|one| of_message(one, now)).collect();
    let widths = [10, 9, 5, 7].map(Constraint::Length).into_iter().chain([Constraint::Fill(1)]);
    let widths: Vec<Constraint> = widths.collect();
    table(frame, area, &MESSAGES, &widths, &lines, messages.at());
}

fn story(frame: &mut Frame<'_>, area: Rect, text: Option<&str>, at: usize) {
    let lines: Vec<Line<'_>> =
        text.unwrap_or("looking …").lines().skip(at).map(Line::raw).collect();
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), area);
}

fn footer(state: &State) -> Line<'static> {
    if let Some(said) = &state.said {
        let colour = if said.well { Color::Green } else { Color::Red };
        return Line::styled(format!(" {}", cut(&said.what, 300)), Style::new().fg(colour));
    }
    let keys: &[(&str, &str)] = match (&state.view, state.pane) {
        (View::Panes, Pane::Routes) => &[
            ("tab", "panes"),
            ("enter", "messages"),
            ("p", "pause"),
            ("r", "replay"),
            ("?", "keys"),
            ("q", "leave"),
        ],
        (View::Panes, Pane::Workers | Pane::Rollouts) => {
            &[("tab", "panes"), ("enter", "explain"), ("?", "keys"), ("q", "leave")]
        }
        (View::Messages(_), _) => &[
            ("enter", "explain"),
            ("p", "pause"),
            ("r", "replay"),
            ("esc", "back"),
            ("?", "keys"),
            ("q", "leave"),
        ],
        (View::Story { .. }, _) => &[("↑↓", "scroll"), ("esc", "back"), ("q", "leave")],
    };
    let spans = keys.iter().flat_map(|(key, what)| {
        [Span::styled(format!(" {key}"), BOLD), Span::styled(format!(" {what} "), DIM)]
    });
    Line::from(spans.collect::<Vec<_>>())
}

/// In the middle of everything, as large as its text.
fn window(frame: &mut Frame<'_>, area: Rect, title: &str, text: &str) {
    let widest = text.lines().map(|line| line.chars().count()).max().unwrap_or_default();
    let width = u16::try_from(widest + 4).unwrap_or(u16::MAX).min(area.width);
    let inner = usize::from(width.saturating_sub(4)).max(1);
    let lines: usize = text.lines().map(|line| line.chars().count().div_ceil(inner).max(1)).sum();
    let height = u16::try_from(lines + 2).unwrap_or(u16::MAX).min(area.height);
    let middle = area.centered(Constraint::Length(width), Constraint::Length(height));
    frame.render_widget(Clear, middle);
    frame.render_widget(Block::bordered().title(title.to_owned()), middle);
    let inside = middle.inner(Margin { horizontal: 2, vertical: 1 });
    frame.render_widget(Paragraph::new(text.to_owned()).wrap(Wrap { trim: true }), inside);
}
