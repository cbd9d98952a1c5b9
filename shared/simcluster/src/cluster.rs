use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;

use crate::access::Identity;
use crate::asked::Asked;
use crate::fates::Fates;
use crate::faults::Faults;
use crate::settings::Settings;
use crate::store::Store;

/// What the API, the controllers and the nodes share.
pub(crate) struct Cluster {
    pub(crate) settings: Settings,
    pub(crate) fates: Fates,
    pub(crate) faults: Faults,
    pub(crate) asked: Asked,
    /// The number of the last change, for all who wait for one.
    pub(crate) changed: watch::Sender<u64>,
    store: Mutex<Store>,
    identities: Mutex<HashMap<String, Identity>>,
}

impl Cluster {
    pub(crate) fn new(settings: Settings) -> Self {
        let store = Store::new(settings.remembered_changes);
        Self {
            fates: settings.fates.clone(),
            faults: Faults::default(),
            asked: Asked::default(),
            changed: watch::Sender::new(store.version()),
            store: Mutex::new(store),
            identities: Mutex::default(),
            settings,
        }
    }

    /// Looks or writes; whoever waits for a change is woken if there was one.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut Store) -> R) -> R {
        let mut store = self.store();
        let result = act(&mut store);
        let version = store.version();
        drop(store);
        self.changed.send_if_modified(|last| std::mem::replace(last, version) != version);
        result
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().expect("nobody panics while holding it")
    }

    pub(crate) fn add_identity(&self, token: String, identity: Identity) {
        self.identities.lock().expect("nobody panics while holding it").insert(token, identity);
    }

    pub(crate) fn identity(&self, token: &str) -> Option<Identity> {
        self.identities.lock().expect("nobody panics while holding it").get(token).cloned()
    }

    /// How long something takes here that takes this long in a real cluster.
    pub(crate) fn paced(&self, real: Duration) -> Duration {
        real.div_f64(self.settings.pace)
    }

    pub(crate) fn paced_seconds(&self, real: i64) -> Duration {
        self.paced(Duration::from_secs(u64::try_from(real).unwrap_or_default()))
    }
}
