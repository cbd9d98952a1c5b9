use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::geteuid;
use tracing::warn;

use crate::sandbox::Sandbox;
use crate::tree::{MARK, Tree};
use crate::user::{User, own_folder};
use crate::{Child, ChildError, Ended, Limits, Stream, run};

/// A folder that children work in, and the user they are there. Gone on drop, and if we are killed,
/// at the next start.
#[derive(Debug)]
pub struct Workspace {
    folder: PathBuf,
    work: PathBuf,
    home: PathBuf,
    temporary: PathBuf,
    mark: String,
    user: Option<User>,
    sandbox: Sandbox,
    /// Locked as long as we live: what is not locked belongs to nobody.
    _lock: File,
}

const LOCK: &str = "lock";
const NAME: &str = "at-";
/// A folder that is not locked yet has another name; this old, it never will be.
const UNFINISHED: &str = "new-";
const ABANDONED: Duration = Duration::from_secs(600);

impl Workspace {
    pub(crate) fn new(sandbox: Sandbox, own_user: bool) -> Result<Self, ChildError> {
        let base = base(&sandbox.settings().sandbox_workspaces);
        Self::make(&base, sandbox, own_user).map_err(|source| ChildError::workspace(&base, source))
    }

    fn make(base: &Path, sandbox: Sandbox, own_user: bool) -> io::Result<Self> {
        own_folder(base)?;
        let user = own_user.then(User::take).transpose()?;
        let unfinished = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .rand_bytes(16)
            .permissions(Permissions::from_mode(0o711))
            .tempdir_in(base)?;
        let lock = File::create(unfinished.path().join(LOCK))?;
        lock.lock()?;
        let own = |name: &str| {
            let path = unfinished.path().join(name);
            DirBuilder::new().mode(0o700).create(&path)?;
            user.iter().try_for_each(|user| lchown(&path, Some(user.id()), Some(user.id())))
        };
        own("work")?;
        own("home")?;
        if let Some(cargo) = &sandbox.view().cargo {
            let own = unfinished.path().join("home").join(CARGO_HOME);
            cargo_home(&own, cargo, user.as_ref().map(User::id))?;
        }
        own("tmp")?;
        DirBuilder::new().mode(0o700).create(unfinished.path().join("stage"))?;
        let name = unfinished.path().file_name().and_then(|name| name.to_str());
        let random = name.and_then(|name| name.strip_prefix(UNFINISHED)).unwrap_or_default();
        let mark = format!("{}-{random}", sandbox.prefix());
        let folder = base.join(format!("{NAME}{mark}"));
        fs::rename(unfinished.path(), &folder)?;
        // It has moved away, and nothing is to be removed there.
        let _ = unfinished.keep();
        Ok(Self {
            work: folder.join("work"),
            home: folder.join("home"),
            temporary: folder.join("tmp"),
            folder,
            mark,
            user,
            sandbox,
            _lock: lock,
        })
    }

    /// Where children work; empty at first.
    pub fn work(&self) -> &Path {
        &self.work
    }

    /// HOME of the children.
    pub fn home(&self) -> &Path {
        &self.home
    }

    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Gives what was written into it to the user that children run as. Before the first of them
    /// runs: what they made is theirs anyway.
    pub fn hand_over(&self) -> Result<(), ChildError> {
        let Some(user) = self.user() else { return Ok(()) };
        let failed = |source| ChildError::workspace(&self.work, source);
        for folder in [&self.work, &self.home] {
            each(folder, &mut |path, _| lchown(path, Some(user), Some(user))).map_err(failed)?;
        }
        Ok(())
    }

    /// Runs a program here, until nothing is left of all that it started. `on_line` gets what it
    /// says, cleared of secrets; a very long line comes in pieces. If `stop` comes first, the whole
    /// tree is asked to end, and killed after the grace.
    pub async fn run(
        &self,
        child: Child,
        on_line: impl FnMut(Stream, &str) + Send,
        stop: impl Future<Output = ()> + Send,
    ) -> Result<Ended, ChildError> {
        // Boxed: it is large, and handlers would carry it along.
        Box::pin(run::run(self, child, on_line, stop)).await
    }

    /// Removes it without holding up the runtime.
    pub async fn remove(self) {
        let removing = tokio::task::spawn_blocking(move || drop(self));
        // It removes itself, and tells what went wrong.
        let _ = removing.await;
    }

    /// The variables that every child here has.
    pub(crate) fn environment(&self) -> BTreeMap<OsString, OsString> {
        let settings = self.sandbox.settings();
        let mut all: BTreeMap<OsString, OsString> = BTreeMap::new();
        let mut set = |name: &str, value: OsString| all.insert(name.into(), value);
        set("PATH", settings.sandbox_path.clone());
        set("HOME", self.home.clone().into());
        set("TMPDIR", self.temporary.clone().into());
        set("LANG", "C.UTF-8".into());
        set("USER", "cogo".into());
        set("LOGNAME", "cogo".into());
        set(MARK, self.mark.clone().into());
        if let Some(rustup) = &self.sandbox.view().rustup {
            set("RUSTUP_HOME", rustup.clone().into());
        }
        if self.sandbox.view().cargo.is_some() {
            set("CARGO_HOME", self.home.join(CARGO_HOME).into());
        }
        all
    }

    pub(crate) fn limits(&self) -> Limits {
        self.sandbox.settings().limits()
    }

    pub(crate) fn user(&self) -> Option<u32> {
        self.user.as_ref().map(User::id)
    }

    pub(crate) fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Where a sandbox puts together what its child sees.
    pub(crate) fn stage(&self) -> PathBuf {
        self.folder.join("stage")
    }

    pub(crate) fn mark(&self) -> &str {
        &self.mark
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        remove(&self.folder);
    }
}

const CARGO_HOME: &str = ".cargo";

/// A folder that cargo may write to, with what has been downloaded before. Made while no child can
/// have put a link in its place.
fn cargo_home(own: &Path, shared: &Path, user: Option<u32>) -> io::Result<()> {
    fs::create_dir_all(own.join("registry"))?;
    for part in ["registry/index", "registry/cache", "git"] {
        symlink(shared.join(part), own.join(part))?;
    }
    match user {
        Some(user) => each(own, &mut |path, _| lchown(path, Some(user), Some(user))),
        None => Ok(()),
    }
}

/// Below a folder that is everybody's, one that is ours.
fn base(folder: &Path) -> PathBuf {
    folder.join(format!("cogo-{}", geteuid()))
}

/// Ends and removes what killed processes of ours left behind.
pub(crate) fn sweep(folder: &Path) {
    for entry in fs::read_dir(base(folder)).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let Some(name) = name.to_str() else { continue };
        if let Some(mark) = name.strip_prefix(NAME) {
            let Ok(lock) = File::open(path.join(LOCK)) else { continue };
            if lock.try_lock().is_ok() {
                end_leftovers(&path, mark);
                remove(&path);
            }
        } else if name.starts_with(UNFINISHED) {
            let age = entry.metadata().and_then(|found| found.modified()).map(|at| at.elapsed());
            if matches!(age, Ok(Ok(age)) if age > ABANDONED) {
                remove(&path);
            }
        }
    }
}

/// Ends what still runs in a dead process's workspace.
fn end_leftovers(folder: &Path, mark: &str) {
    let owner = fs::symlink_metadata(folder.join("work")).map(|found| found.uid()).ok();
    // Another workspace may have the same user by now, and keeps it.
    let user = owner.filter(|owner| *owner != geteuid().as_raw());
    let user = user.and_then(|user| User::take_this(user).ok().flatten());
    let (mark, id) = (mark.to_owned(), user.as_ref().map(User::id));
    let tree = Tree { root: None, wrapped: false, mark, user: id };
    let mut looks = 0;
    while looks < LOOKS && tree.kill() {
        looks += 1;
    }
}

/// A tree that forks quickly needs several; one that hangs in a device is not waited for.
const LOOKS: usize = 100;

fn remove(folder: &Path) {
    let mut removed = fs::remove_dir_all(folder);
    if removed.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
        // A child may have closed folders to its own user, which is ours if we are not root.
        let _ = each(folder, &mut |path, is_folder| match is_folder {
            true => fs::set_permissions(path, Permissions::from_mode(0o700)),
            false => Ok(()),
        });
        removed = fs::remove_dir_all(folder);
    }
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            warn!(error = %error, "could not remove the workspace {}", folder.display());
        }
        _ => {}
    }
}

/// Calls with a folder and all that is in it, never following a link.
fn each(path: &Path, call: &mut impl FnMut(&Path, bool) -> io::Result<()>) -> io::Result<()> {
    let mut open = vec![path.to_owned()];
    while let Some(path) = open.pop() {
        let is_folder = fs::symlink_metadata(&path)?.is_dir();
        call(&path, is_folder)?;
        if is_folder {
            for entry in fs::read_dir(&path)? {
                open.push(entry?.path());
            }
        }
    }
    Ok(())
}
