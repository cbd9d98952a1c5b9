use std::ops::Deref;

use bus::Message;

/// A message with its payload read.
#[derive(Clone, Debug)]
pub struct Received<P> {
    pub payload: P,
    pub message: Message,
}

impl<P> Deref for Received<P> {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}
