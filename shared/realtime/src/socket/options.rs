use std::time::Duration;

use super::frame::Protocol;
use super::token::TokenSource;

#[derive(Clone, Debug)]
pub struct RealtimeOptions {
    pub protocol: Protocol,
    pub token: TokenSource,
    /// How often we broadcast to ourselves, to notice a server that answers but does not deliver.
    /// Each costs two of the project's messages. The topics are private and begin with
    /// `cogo:canary:`; a role that may not read and write those does without.
    pub canary: Option<Duration>,
    /// How many happenings of a channel wait to be read, and how many bytes of them, before they
    /// are dropped and counted.
    pub queue: usize,
    pub queue_bytes: usize,
    /// The largest message taken, and sent.
    pub max_frame: usize,
    pub timings: Timings,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Timings {
    /// Opening the connection: name, TCP, TLS and the server's answer, which is 2 s late when it is
    /// a refusal.
    pub connect: Duration,
    pub write: Duration,
    /// The server closes a connection that is silent for 60 s.
    pub heartbeat: Duration,
    pub heartbeat_answer: Duration,
    /// The server thinks for 5 s before it refuses a join.
    pub join_answer: Duration,
    /// From the join's answer until everything is heard. The server gives up after 60 s itself.
    pub ready: Duration,
    pub ack: Duration,
    /// Getting a token from a [`TokenSource::Fetched`].
    pub token: Duration,
    /// Until the first reconnect or rejoin; then twice as long each time, up to the cap.
    pub backoff: Duration,
    pub backoff_cap: Duration,
    /// What lasted this long was no failure, and the next wait is short again.
    pub steady: Duration,
    /// For saying goodbye.
    pub close: Duration,
}

impl Default for RealtimeOptions {
    fn default() -> Self {
        Self {
            protocol: Protocol::V2,
            token: TokenSource::Key,
            canary: Some(Duration::from_secs(30)),
            queue: 1024,
            queue_bytes: 8 << 20,
            max_frame: 5 << 20,
            timings: Timings::default(),
        }
    }
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            write: Duration::from_secs(10),
            heartbeat: Duration::from_secs(20),
            heartbeat_answer: Duration::from_secs(10),
            join_answer: Duration::from_secs(15),
            ready: Duration::from_secs(65),
            ack: Duration::from_secs(10),
            token: Duration::from_secs(10),
            backoff: Duration::from_secs(1),
            backoff_cap: Duration::from_secs(20),
            steady: Duration::from_secs(30),
            close: Duration::from_millis(500),
        }
    }
}
