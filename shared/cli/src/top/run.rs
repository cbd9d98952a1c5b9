use std::time::Duration;

use miette::{IntoDiagnostic, WrapErr};
use telemetry::Chain;
use time::OffsetDateTime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::draw::draw;
use super::keys::{Effect, Event, update};
use super::look::Reader;
use super::screen::Screen;
use super::state::State;
use crate::ended::{Ended, explained};

/// Draws, waits for whatever comes first, and draws again. What takes time is done beside it, so
/// that a key is answered at once, also while the database is away.
pub(super) async fn run(
    reader: Reader,
    every: Duration,
    stop: CancellationToken,
) -> miette::Result<Ended> {
    let mut hung_up = signal(SignalKind::hangup()).into_diagnostic()?;
    let screen = Screen::take().into_diagnostic();
    let mut screen = screen.wrap_err("could not take the terminal")?;
    let mut state = State::new(reader.place());
    let mut doing = JoinSet::new();
    // One look at a time: a slow database is not asked more often for being slow.
    let mut looking = true;
    doing.spawn(done(reader.clone(), Effect::Look));
    let mut next_look = Instant::now() + every;
    loop {
        let now = OffsetDateTime::now_utc();
        screen.draw(|frame| draw(frame, &state, now)).into_diagnostic()?;
        let event = tokio::select! {
            () = stop.cancelled() => return Ok(Ended::Well),
            _ = hung_up.recv() => return Ok(Ended::Well),
            key = screen.key() => match key.into_diagnostic()? {
                Some(key) => Event::Key(key),
                None => continue,
            },
            Some(event) = doing.join_next() => match event.into_diagnostic()? {
                Some(event) => event,
                None => continue,
            },
            () = sleep_until(next_look) => {
                next_look = Instant::now() + every;
                if !looking {
                    looking = true;
                    doing.spawn(done(reader.clone(), Effect::Look));
                }
                continue;
            }
        };
        looking &= !matches!(event, Event::Looked(..));
        match update(&mut state, event) {
            None => {}
            Some(Effect::Leave) => return Ok(Ended::Well),
            Some(Effect::Look) if looking => {}
            Some(effect) => {
                looking |= effect == Effect::Look;
                doing.spawn(done(reader.clone(), effect));
            }
        }
    }
}

/// Does something outside; what came of it.
async fn done(reader: Reader, effect: Effect) -> Option<Event> {
    Some(match effect {
        Effect::Leave => return None,
        Effect::Look => {
            let look = reader.look().await.map(Box::new).map_err(in_a_line);
            Event::Looked(look, OffsetDateTime::now_utc())
        }
        Effect::Messages(route) => {
            let read = reader.messages(&route).await.map_err(in_a_line);
            Event::Messages(route, read)
        }
        Effect::Explain(what) => Event::Told(reader.explain(&what).await.map_err(in_a_line)),
        Effect::Pause(stage, paused) => {
            let done = reader.pause(&stage, paused).await.map_err(in_a_line);
            Event::Paused(stage, paused, done)
        }
        Effect::Replay(route) => {
            let done = reader.replay(&route).await.map_err(in_a_line);
            Event::Replayed(route, done)
        }
    })
}

/// What went wrong with its causes, and what to do.
fn in_a_line(report: miette::Report) -> String {
    let report = explained(report);
    let told = Chain(&*report).to_string();
    match report.help() {
        Some(help) => format!("{told} ({help})"),
        None => told,
    }
}
