use std::collections::VecDeque;
use std::sync::Mutex;

/// What was asked of the API from outside, for tests that care.
#[derive(Debug, Default)]
pub(crate) struct Asked(Mutex<VecDeque<Request>>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// As roles name it: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`.
    pub verb: String,
    /// `/apis/apps/v1/namespaces/agents/deployments/codegen`
    pub path: String,
    pub user: String,
    pub status: u16,
}

/// Enough for any test; a long demonstration forgets its beginning.
const REMEMBERED: usize = 10_000;

impl Asked {
    pub(crate) fn note(&self, request: Request) {
        let mut noted = self.0.lock().expect("nobody panics while holding it");
        noted.push_back(request);
        if noted.len() > REMEMBERED {
            noted.pop_front();
        }
    }

    pub(crate) fn all(&self) -> Vec<Request> {
        self.0.lock().expect("nobody panics while holding it").iter().cloned().collect()
    }
}
