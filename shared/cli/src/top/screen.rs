use std::io;

use crossterm::event::{Event, EventStream, KeyEvent};
use futures_util::StreamExt;
use ratatui::{DefaultTerminal, Frame};

/// The terminal while it is ours. It is given back when this is dropped, and before the message of
/// a panic is written.
pub(super) struct Screen {
    terminal: DefaultTerminal,
    events: EventStream,
}

impl Screen {
    pub(super) fn take() -> io::Result<Self> {
        // Also puts a hook before the one for panics, which gives the terminal back first.
        let terminal = ratatui::try_init().inspect_err(|_| ratatui::restore())?;
        Ok(Self { terminal, events: EventStream::new() })
    }

    pub(super) fn draw(&mut self, picture: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(picture).map(|_| ())
    }

    /// The next key, or `None` where only the size has changed. An error once nobody is there.
    pub(super) async fn key(&mut self) -> io::Result<Option<KeyEvent>> {
        loop {
            match self.events.next().await {
                Some(Ok(Event::Key(key))) => return Ok(Some(key)),
                Some(Ok(Event::Resize(..))) => return Ok(None),
                Some(Ok(
                    Event::FocusGained | Event::FocusLost | Event::Mouse(_) | Event::Paste(_),
                )) => {}
                Some(Err(error)) => return Err(error),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}
