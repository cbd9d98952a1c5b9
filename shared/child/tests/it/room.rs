use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use child::{Child, ChildSettings, Ended, Sandbox, Stream, Wanted, Workspace};
use tempfile::TempDir;

/// A sandbox whose workspaces are in a folder of its own.
pub(crate) struct Room {
    pub(crate) sandbox: Sandbox,
    pub(crate) folder: TempDir,
}

/// Longer than anything here takes; a test that waits this long has failed.
pub(crate) const TOO_LONG: Duration = Duration::from_secs(60);

impl Room {
    /// None, and a line that says so, where the layer does not work.
    pub(crate) async fn under(layer: Wanted) -> Option<Self> {
        let folder = tempfile::Builder::new()
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .tempdir_in("/var/tmp")
            .unwrap();
        let settings = settings(layer, &folder);
        match Sandbox::start(&settings).await {
            Ok(sandbox) => Some(Self { sandbox, folder }),
            Err(error) => {
                eprintln!("not tested under {layer}: {error}");
                None
            }
        }
    }

    pub(crate) fn workspace(&self) -> Workspace {
        self.sandbox.workspace().unwrap()
    }

    /// A shell script to its end.
    pub(crate) async fn shell(&self, script: &str) -> Ended {
        let workspace = self.workspace();
        let child = shell(&workspace, script);
        run(&workspace, child).await
    }
}

pub(crate) fn settings(layer: Wanted, folder: &TempDir) -> ChildSettings {
    ChildSettings {
        sandbox: layer,
        sandbox_workspaces: folder.path().to_owned(),
        child_grace: Duration::from_millis(200),
        ..ChildSettings::default()
    }
}

pub(crate) fn shell(workspace: &Workspace, script: &str) -> Child {
    let mut child = Child::new(["/bin/sh", "-c", script], workspace);
    child.limits.time = TOO_LONG;
    child
}

pub(crate) async fn run(workspace: &Workspace, child: Child) -> Ended {
    workspace.run(child, |_, _| {}, std::future::pending()).await.unwrap()
}

/// Until the child says `ready`; then it is stopped.
pub(crate) async fn stop_when_ready(workspace: &Workspace, child: Child) -> Ended {
    let ready = tokio::sync::Notify::new();
    let on_line = |_: Stream, line: &str| {
        if line == "ready" {
            ready.notify_one();
        }
    };
    let ended = workspace.run(child, on_line, ready.notified()).await;
    ended.unwrap()
}

/// Every layer that works here, one after the other.
pub(crate) async fn under_each(test: impl AsyncFn(Room)) {
    let mut tested = 0;
    for layer in [Wanted::Bubblewrap, Wanted::Namespaces, Wanted::None] {
        if let Some(room) = Room::under(layer).await {
            eprintln!("under {layer}");
            tested += 1;
            test(room).await;
        }
    }
    assert!(tested > 0, "no layer works here, not even none");
}

/// A `sleep` that nobody else runs, so that it is found wherever it went.
pub(crate) struct Sleeper(String);

impl Sleeper {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(format!("sleep 86400.{}{number:04}", std::process::id()))
    }

    pub(crate) fn command(&self) -> &str {
        &self.0
    }

    /// How many run now. Their command lines are looked at, which no child can hide.
    pub(crate) fn running(&self) -> usize {
        let wanted = self.0.replace(' ', "\0") + "\0";
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
        lines.filter(|line| line == wanted.as_bytes()).count()
    }
}

pub(crate) fn layer_of(room: &Room) -> child::Layer {
    room.sandbox.layer()
}
