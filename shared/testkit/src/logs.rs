use std::io::{self, Write};
use std::sync::{Mutex, Once};

use tracing_subscriber::filter::LevelFilter;

static KEPT: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static STARTED: Once = Once::new();

struct Keep;

impl Write for Keep {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        KEPT.lock().expect("nobody panics while writing").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// From now on, whatever this process logs is kept, through `log` as well; for tests that look for
/// what must not be there. The first call decides down to which level.
pub fn keep_logs(down_to: LevelFilter) {
    STARTED.call_once(|| {
        let lines = tracing_subscriber::fmt().with_ansi(false).with_writer(|| Keep);
        lines.with_max_level(down_to).init();
        tracing::info!("log lines are kept");
    });
}

/// All that was logged since.
pub fn kept_logs() -> String {
    String::from_utf8_lossy(&KEPT.lock().expect("nobody panics while writing")).into_owned()
}
