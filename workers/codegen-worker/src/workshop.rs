use std::sync::Arc;
use std::time::Duration;

use artifacts::{Bounds, Store};
use child::Sandbox;
use miette::Context;
use tracing::info;

use crate::executors_file::Executors;
use crate::templates::Templates;
use crate::{Settings, built_in};

/// Everything a message is worked on with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Workshop {
    pub(crate) store: Store,
    pub(crate) sandbox: Sandbox,
    pub(crate) templates: Arc<Templates>,
    pub(crate) executors: Arc<Executors>,
    pub(crate) bounds: Bounds,
    pub(crate) progress_every: Duration,
}

impl Workshop {
    /// Whatever is wrong with what operators wrote is said here, before the first message.
    pub(crate) async fn open(settings: &Settings) -> miette::Result<Self> {
        let store = Store::connect(&settings.artifacts)?;
        let mut templates = built_in::templates();
        if let Some(folder) = &settings.codegen_templates {
            templates.add_folder(folder).wrap_err("could not read CODEGEN_TEMPLATES")?;
        }
        let executors = match &settings.codegen_executors {
            Some(file) => Executors::read(file).wrap_err("could not read CODEGEN_EXECUTORS")?,
            None => Executors::default(),
        };
        let names = templates.names().chain(executors.names()).collect::<Vec<_>>().join(", ");
        info!("making code by {names}");
        executors.warn_of_missing();
        Ok(Self {
            store,
            sandbox: Sandbox::start(&settings.child).await?,
            templates: Arc::new(templates),
            executors: Arc::new(executors),
            bounds: Bounds::default(),
            progress_every: settings.codegen_progress_every,
        })
    }
}
