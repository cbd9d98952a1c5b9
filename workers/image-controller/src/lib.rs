//! Brings releases onto Kubernetes, and takes bad ones back. Start at [`run`]; `controller.rs` is the
//! loop, `roll.rs` the way of one release step by step, [`judge`] the verdict.
//!
//! Invariants: the row is the truth. A step is noted under a fence, before it is taken where it could
//! not be repeated; whoever is killed between two of them is replaced by somebody who takes the same
//! step again. Only what the catalogue names is touched, and nothing is ever deleted.

mod canary;
mod controller;
mod hearing;
pub mod judge;
mod metrics;
mod on_trial;
mod operations;
mod pull_secrets;
mod resolve;
mod restore;
mod roll;
mod settings;
mod trouble;
mod verify;

use std::net::SocketAddr;
use std::sync::Arc;

use cluster::{Cluster, ConnectError};
use db::Db;
use miette::WrapErr;
use oci::Oci;
use rand::RngExt;
use registry::Registry;
use secrets::Secrets;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use controller::Controller;
use resolve::Resolver;

pub use settings::{CanarySettings, RolloutSettings, Settings};

pub async fn run(settings: Settings, stop: CancellationToken) -> miette::Result<()> {
    let kubeconfig = settings.secrets.kubeconfig.as_deref();
    let cluster = match Cluster::connect(&settings.cluster, kubeconfig).await {
        Ok(cluster) => cluster,
        // On a developer's machine all workers run, and few have a cluster.
        Err(ConnectError::NoCluster) => {
            warn!("there is no cluster: nothing is rolled out until KUBECONFIG names one");
            stop.cancelled().await;
            return Ok(());
        }
        Err(error) => return Err(error).wrap_err("could not use the cluster"),
    };
    let holder = settings.holder_id.clone();
    let holder =
        holder.unwrap_or_else(|| format!("image-controller-{:08x}", rand::rng().random::<u32>()));
    info!(holder, server = cluster.server(), "rolling out");
    let registry = Registry::new(Db::connect(&settings.db.named("image-controller"))?);
    let secrets = Secrets::new(&settings.secrets)?;
    let limits = settings.rollouts.limits();
    let controller = Arc::new(Controller {
        cluster,
        resolver: Resolver::new(Oci::new(&settings.registries)?, secrets.clone()),
        hearing: hearing::Hearing::new(registry.clone(), limits.beat),
        registry,
        metrics: metrics::Metrics::new(),
        settings: settings.rollouts,
        canaries: settings.canaries,
        limits,
        keeping: tokio::sync::Mutex::default(),
        look_again: tokio::sync::Notify::new(),
        reached: std::sync::atomic::AtomicBool::new(false),
    });
    // What only serves the rollouts ends with them, and they know how to stop.
    let operations = async {
        if let Some(port) = settings.metrics_port {
            let at = SocketAddr::new(settings.metrics_bind, port);
            operations::serve(at, controller.clone(), stop.clone()).await?;
        }
        std::future::pending().await
    };
    let logged_in = async {
        secrets.keep_alive(stop.clone()).await;
        std::future::pending().await
    };
    let work = async {
        tokio::join!(
            controller.clone().run(&holder, &stop),
            Box::pin(controller.keep_pull_secrets(&stop)),
        );
    };
    tokio::select! {
        () = Box::pin(work) => Ok(()),
        never = controller.hearing.listen() => never,
        failed = operations => failed,
        never = logged_in => never,
    }
}
