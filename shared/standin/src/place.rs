use std::sync::Arc;

use serde_json::{Value, json};

use crate::frame::Version;
use crate::identity::Identity;
use crate::outbox::Outbox;
use crate::server::Server;

/// A client's socket, as its channels need it.
pub(crate) struct Line {
    pub(crate) server: Arc<Server>,
    pub(crate) version: Version,
    pub(crate) outbox: Outbox,
    /// Whose key opened the socket.
    pub(crate) identity: Identity,
}

/// Where on its socket a channel is.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) line: Arc<Line>,
    pub(crate) topic: String,
    pub(crate) join_ref: Value,
}

impl Place {
    pub(crate) fn reply(&self, reference: &Value, status: &str, response: &Value) {
        let payload = json!({ "status": status, "response": response });
        self.send(reference, "phx_reply", &payload);
    }

    pub(crate) fn tell(&self, event: &str, payload: &Value) {
        self.send(&Value::Null, event, payload);
    }

    pub(crate) fn tell_system(&self, extension: &str, status: &str, message: &str) {
        let channel = self.topic.strip_prefix("realtime:");
        let payload = json!({
            "extension": extension, "status": status, "message": message, "channel": channel,
        });
        self.tell("system", &payload);
    }

    pub(crate) fn send(&self, reference: &Value, event: &str, payload: &Value) {
        let Self { line, topic, join_ref } = self;
        line.outbox.push(line.version.write(join_ref, reference, topic, event, payload));
    }
}
