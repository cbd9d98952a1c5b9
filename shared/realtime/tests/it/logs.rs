use tracing_subscriber::filter::LevelFilter;

use crate::world::{KEY, TOKEN};

/// From now on, whatever anything in this process logs, however quietly, is kept.
pub(crate) fn collect() {
    testkit::keep_logs(LevelFilter::TRACE);
    // The websocket library logs this way.
    log::info!("the other kind of log line is kept too");
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
