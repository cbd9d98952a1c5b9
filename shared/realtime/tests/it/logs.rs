use std::io::{self, Write};
use std::sync::{Mutex, OnceLock};

use tracing_subscriber::filter::LevelFilter;

use crate::world::{KEY, TOKEN};

static WRITTEN: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static STARTED: OnceLock<()> = OnceLock::new();

struct Collect;

impl Write for Collect {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        WRITTEN.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// From now on, whatever anything in this process logs, however quietly, is kept.
pub(crate) fn collect() {
    STARTED.get_or_init(|| {
        let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(|| Collect);
        lines.with_max_level(LevelFilter::TRACE).init();
        // The websocket library logs this way.
        log::info!("the other kind of log line is kept too");
    });
}

pub(crate) fn written() -> String {
    String::from_utf8_lossy(&WRITTEN.lock().unwrap()).into_owned()
}

/// Fails if any of our secrets is in it, as it is, as a URL has it, or as bytes.
pub(crate) fn assert_hushed(text: &str) {
    for secret in [KEY, TOKEN] {
        let encoded = secret.replace('/', "%2F").replace('+', "%2B").replace('=', "%3D");
        for form in [secret, encoded.as_str()] {
            if let Some(at) = text.find(form) {
                let line = text[..at].rfind('\n').map_or(0, |start| start + 1);
                panic!("a secret is in: {}", &text[line..at + form.len()]);
            }
        }
    }
}
