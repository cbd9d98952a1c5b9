use std::collections::BTreeMap;

/// What has gone through a proxy.
#[derive(Clone, Debug, Default)]
pub struct Passed {
    /// HTTP requests, by path.
    pub requests: BTreeMap<String, usize>,
    /// The most that were open at once, of those that are no websockets.
    pub most_connections: usize,
    pub most_websockets: usize,
    connections: usize,
    websockets: usize,
}

/// What one connection has turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Silent,
    Requests,
    Websocket,
}

impl Passed {
    pub fn calls(&self, function: &str) -> usize {
        self.requests.get(&format!("/rest/v1/rpc/{function}")).copied().unwrap_or_default()
    }

    /// What a client has just written. Requests do not overtake each other here, so each begins what
    /// is read.
    pub(crate) fn saw(&mut self, kind: &mut Kind, written: &[u8]) {
        let is_request = *kind != Kind::Websocket
            && [&b"GET "[..], b"POST "].iter().any(|verb| written.starts_with(verb));
        let Some(path) = written.split(|byte| b" ?".contains(byte)).nth(1) else { return };
        if !is_request {
            return;
        }
        let path = String::from_utf8_lossy(path).into_owned();
        if *kind == Kind::Silent {
            *kind = if path.ends_with("/websocket") { Kind::Websocket } else { Kind::Requests };
            let (now, most) = self.of(*kind);
            *now += 1;
            *most = (*now).max(*most);
        }
        *self.requests.entry(path).or_default() += 1;
    }

    pub(crate) fn closed(&mut self, kind: Kind) {
        if kind != Kind::Silent {
            *self.of(kind).0 -= 1;
        }
    }

    fn of(&mut self, kind: Kind) -> (&mut usize, &mut usize) {
        match kind {
            Kind::Websocket => (&mut self.websockets, &mut self.most_websockets),
            Kind::Silent | Kind::Requests => (&mut self.connections, &mut self.most_connections),
        }
    }
}
