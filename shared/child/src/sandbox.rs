use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info, warn};

use crate::guardian::Guardian;
use crate::tools::Tools;
use crate::user::we_are_root;
use crate::view::View;
use crate::workspace::sweep;
use crate::{Child, ChildError, ChildSettings, Layer, Wanted, Workspace};

/// How children are run in this process. Cheap to clone.
#[derive(Clone)]
pub struct Sandbox {
    inner: Arc<Inner>,
}

struct Inner {
    layer: Layer,
    /// Whether each workspace has a user of its own: only root can give them one.
    own_users: bool,
    settings: ChildSettings,
    tools: Tools,
    view: View,
    /// What the marks of all our children begin with.
    prefix: String,
    _guardian: Guardian,
}

/// Why this machine cannot run children as it was asked to.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SandboxError {
    #[error("no sandbox works here: {tried}")]
    #[diagnostic(help(
        "install bubblewrap, or let this user make namespaces (in a container: run it with \
         `--security-opt seccomp=unconfined` or the capability SYS_ADMIN); SANDBOX=none runs \
         children without one, which is for code that is trusted"
    ))]
    NothingWorks { tried: String },
    #[error("SANDBOX={wanted} does not work here: {why}")]
    #[diagnostic(help("{}", way_out(*.wanted)))]
    DoesNotWork { wanted: Wanted, why: String },
    #[error("could not start the process that ends children if this one is killed")]
    Guardian(#[source] io::Error),
}

fn way_out(wanted: Wanted) -> &'static str {
    match wanted {
        Wanted::Auto | Wanted::Bubblewrap => {
            "install bubblewrap, and let this user make namespaces; or set SANDBOX=auto, which \
             takes what works"
        }
        Wanted::Namespaces => {
            "install util-linux and let this user make namespaces; or set SANDBOX=auto, which \
             takes what works"
        }
        Wanted::None => "install util-linux: children are bounded by its prlimit and setpriv",
    }
}

/// How long the trivial program may take that a layer is tried with.
const TRIAL: Duration = Duration::from_secs(10);

impl Sandbox {
    /// Finds the layer that works here by running a trivial program under it, and ends and removes
    /// what an earlier process left behind when it was killed.
    pub async fn start(settings: &ChildSettings) -> Result<Self, SandboxError> {
        let workspaces = settings.sandbox_workspaces.clone();
        // It removes folders of any size.
        let swept = tokio::task::spawn_blocking(move || sweep(&workspaces)).await;
        debug_assert!(swept.is_ok(), "sweeping panicked");
        let mut tried = Vec::new();
        for layer in settings.sandbox.layers() {
            // In some containers root may not become another user.
            for own_users in [true, false] {
                if own_users && !we_are_root() {
                    continue;
                }
                let sandbox = Self::with(*layer, own_users, settings)?;
                match sandbox.try_out().await {
                    Ok(()) => {
                        sandbox.tell();
                        return Ok(sandbox);
                    }
                    Err(why) => {
                        debug!(layer = %layer, own_users, why, "a sandbox does not work here");
                        tried.push(format!("{layer}: {why}"));
                    }
                }
            }
        }
        let tried = tried.join("; ");
        Err(match settings.sandbox {
            Wanted::Auto => SandboxError::NothingWorks { tried },
            wanted => SandboxError::DoesNotWork { wanted, why: tried },
        })
    }

    pub fn layer(&self) -> Layer {
        self.inner.layer
    }

    /// A fresh folder to run children in.
    pub fn workspace(&self) -> Result<Workspace, ChildError> {
        Workspace::new(self.clone(), self.inner.own_users)
    }

    /// Whether children find this program in their PATH.
    pub fn has_program(&self, name: &str) -> bool {
        let path = &self.settings().sandbox_path;
        crate::tools::find(name.as_ref(), path, Path::new("/")).is_some()
    }

    pub fn settings(&self) -> &ChildSettings {
        &self.inner.settings
    }

    pub(crate) fn tools(&self) -> &Tools {
        &self.inner.tools
    }

    pub(crate) fn view(&self) -> &View {
        &self.inner.view
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.inner.prefix
    }

    fn with(layer: Layer, own_users: bool, settings: &ChildSettings) -> Result<Self, SandboxError> {
        // Its keys are random, and this is all we need of them.
        let prefix = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        let inner = Inner {
            layer,
            own_users,
            tools: Tools::find(),
            view: View::of(&settings.sandbox_path, &settings.sandbox_readable),
            settings: settings.clone(),
            _guardian: Guardian::start(&prefix).map_err(SandboxError::Guardian)?,
            prefix,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    async fn try_out(&self) -> Result<(), String> {
        let attempt = async {
            let workspace = self.workspace()?;
            let mut child =
                Child::new(["/bin/sh", "-c", "echo works > file && cat file"], &workspace);
            child.limits.time = TRIAL;
            workspace.run(child, |_, _| {}, std::future::pending()).await
        };
        let ended = attempt.await.map_err(|error: ChildError| error.to_string())?;
        if ended.succeeded() && ended.stdout.text().trim() == "works" {
            return Ok(());
        }
        Err(format!("{:?}, {}", ended.how, ended.stderr.text().trim()))
    }

    fn tell(&self) {
        let (layer, own_users) = (self.layer(), self.inner.own_users);
        if layer.isolates() {
            info!(sandbox.layer = %layer, own_users, "children run under {layer}");
        } else {
            warn!(
                sandbox.layer = %layer, own_users,
                "children run without a sandbox: they can read files and reach the network"
            );
        }
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Sandbox").field("layer", &self.layer()).finish_non_exhaustive()
    }
}
