use std::sync::{Arc, Mutex, PoisonError};

use db::{Db, DbError};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::counts::Counters;
use crate::feed::Feed;
use crate::http::Seated;
use crate::hub::{Channel, Hub};
use crate::identity::{Doorkeeper, Identity};
use crate::messages::{self, Probe, Right};
use crate::rate::Meter;
use crate::settings::StandinSettings;

/// What all sockets share.
pub(crate) struct Server {
    pub(crate) settings: StandinSettings,
    pub(crate) doorkeeper: Doorkeeper,
    pub(crate) db: Db,
    pub(crate) hub: Arc<Hub>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) counters: Arc<Counters>,
    /// Whether broadcasts from the database arrive.
    pub(crate) listening: watch::Sender<bool>,
    /// To whoever looks after open sockets.
    pub(crate) seats: mpsc::Sender<Seated>,
    /// Cancelled when all sockets are to be closed; a restart puts a new one.
    sitting: Mutex<CancellationToken>,
    /// While it is down, nobody gets in.
    pub(crate) down: watch::Sender<bool>,
}

/// Handshakes that are done and wait for their socket to be looked after, which takes no time.
const SEATS: usize = 64;

impl Server {
    pub(crate) fn new(
        settings: StandinSettings,
    ) -> Result<(Arc<Self>, mpsc::Receiver<Seated>), DbError> {
        let db = Db::connect(&settings.db.clone().named("standin"))?;
        let counters = Arc::new(Counters::default());
        let meter = Arc::new(Meter::new(settings.awkward.rate));
        let (seats, seated) = mpsc::channel(SEATS);
        let server = Self {
            doorkeeper: Doorkeeper::new(&settings.jwt_secret, settings.keys.clone()),
            db,
            hub: Arc::new(Hub::new(counters.clone(), meter.clone())),
            feed: Arc::new(Feed::default()),
            meter,
            counters,
            listening: watch::Sender::new(false),
            seats,
            sitting: Mutex::default(),
            down: watch::Sender::new(false),
            settings,
        };
        Ok((Arc::new(server), seated))
    }

    /// Whether a policy lets somebody do something on a channel. Public ones have none.
    pub(crate) async fn may(
        &self,
        right: Right,
        identity: &Identity,
        channel: &Channel,
    ) -> Result<bool, DbError> {
        if !channel.private {
            return Ok(true);
        }
        let probe = Probe { days_ahead: i32::from(self.settings.awkward.lost_partition) };
        messages::has(&self.db, right, identity, &channel.name, probe).await
    }

    pub(crate) fn sitting(&self) -> CancellationToken {
        self.sitting.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whoever sits now has to go; whoever comes later may stay.
    pub(crate) fn everybody_out(&self) {
        let mut sitting = self.sitting.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *sitting).cancel();
    }
}
