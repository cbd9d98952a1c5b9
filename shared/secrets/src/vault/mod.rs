mod kv;
mod login;
mod session;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::kv::Stores;
use self::login::Login;
use self::session::{Session, Token};
use self::wire::Wire;
pub(crate) use self::wire::deepest;
use crate::found::Found;
use crate::{Clock, InvalidSettings, SecretsSettings, Through, Trouble};

/// Vault's key-value stores, read as one logged-in client.
pub(crate) struct Vault {
    wire: Wire,
    session: Session,
    stores: Stores,
    clock: Clock,
    through: Arc<Through>,
}

impl Vault {
    pub(crate) fn new(
        addr: &str,
        settings: &SecretsSettings,
        clock: Clock,
    ) -> Result<Self, InvalidSettings> {
        let wire = Wire::new(addr, settings)?;
        let session = Session::new(Login::new(settings)?, clock.clone());
        let through = Through {
            keeper: "Vault",
            server: Some(wire.shown()),
            namespace: wire.namespace().map(str::to_owned),
            login: Some(session.shown()),
        };
        Ok(Self { wire, session, stores: Stores::default(), clock, through: Arc::new(through) })
    }

    /// Logs in, unless we are logged in already.
    pub(crate) async fn login(&self) -> Result<Arc<Through>, Trouble> {
        self.session.token(&self.wire, None).await?;
        Ok(self.through.clone())
    }

    pub(crate) async fn read(
        &self,
        mount: &str,
        path: &str,
        version: Option<u64>,
    ) -> Result<Found, Trouble> {
        let token = self.session.token(&self.wire, None).await?;
        match self.read_as(&token, mount, path, version).await {
            // The token may have been revoked, or its role have a new policy since: once more, as
            // somebody who has just logged in.
            Err(Trouble::Denied) => {
                let token = self.session.token(&self.wire, Some(token.login)).await?;
                self.read_as(&token, mount, path, version).await
            }
            answer => answer,
        }
    }

    async fn read_as(
        &self,
        token: &Token,
        mount: &str,
        path: &str,
        version: Option<u64>,
    ) -> Result<Found, Trouble> {
        let client = self.wire.client(Some(&token.value));
        let entry = self.stores.read(&self.wire, &client, mount, path, version).await?;
        Ok(Found {
            fields: entry.fields,
            version: entry.version.map(|version| version.to_string().into()),
            lease: entry.lease,
            through: self.through.clone(),
        })
    }

    /// Renews the login in time, also when nothing is read meanwhile, until `stop`.
    pub(crate) async fn keep_alive(&self, stop: CancellationToken) {
        loop {
            let due = self.session.due().await;
            let left = due.map(|due| due.saturating_duration_since(self.clock.now()));
            let wait = left.unwrap_or(SELDOM).min(SELDOM);
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.session.begun() => continue,
                () = tokio::time::sleep(wait) => {}
            }
            if due.is_some_and(|due| self.clock.now() >= due)
                && let Err(error) = self.session.token(&self.wire, None).await
            {
                warn!(%error, "our login to Vault has ended");
            }
        }
    }
}

/// Only so that nothing that is overlooked is overlooked for ever.
const SELDOM: Duration = Duration::from_secs(60);
