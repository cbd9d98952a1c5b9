use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use nix::unistd::{getegid, geteuid};
use tokio::process::Command;

use crate::tools::Tools;
use crate::user::we_are_root;
use crate::view::View;
use crate::{Child, ChildError, Layer, Workspace};

/// What a command line is made from, beside the child itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around<'a> {
    pub(crate) layer: Layer,
    pub(crate) tools: &'a Tools,
    pub(crate) view: &'a View,
    pub(crate) workspace: &'a Workspace,
    /// Processes that count against the child's limit and are not its own.
    pub(crate) others: u64,
}

/// The first process of a sandbox of plain namespaces: shows the child its files, and stays as the
/// one that collects orphans.
///
/// Arguments: a folder to build in, where to work, then `ro|rw what` for each path, `--`, and the
/// command. Paths keep their names.
const FIRST_PROCESS: &str = r#"
set -eu
fail() { echo "sandbox: could not show the child its files" >&2; exit 125; }
trap fail EXIT
root=$1 cwd=$2 path=${PATH-}
shift 2
PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t tmpfs -o mode=755,size=4m tmpfs "$root"
cd "$root"
mkdir proc dev
mount -t proc proc proc
for device in null zero full random urandom tty; do
    : > "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
while [ "$1" != -- ]; do
    inside=$root$3
    if [ -d "$2" ]; then
        mkdir -p "$inside"
    else
        mkdir -p "${inside%/*}"
        : > "$inside"
    fi
    mount -o "rbind,$1" "$2" "$inside"
    shift 3
done
shift
mkdir -p .outside
mount -o remount,bind,ro "$root"
pivot_root . .outside
umount -l /.outside
ip link set lo up 2>/dev/null || :
cd "$cwd"
PATH=$path
trap - EXIT
set +e
"$@"
exit "$?"
"#;

/// How [`FIRST_PROCESS`] says that it could not do its part.
pub(crate) const NOT_SET_UP: i32 = 125;

impl Around<'_> {
    pub(crate) fn command(&self, child: &Child, program: &Path) -> Result<Command, ChildError> {
        let inner = self.inner(child, program)?;
        let argv = match self.layer {
            Layer::Bubblewrap => self.bubblewrap(child, inner)?,
            Layer::Namespaces => self.namespaces(child, inner)?,
            Layer::None => inner,
        };
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).env_clear().envs(&child.env);
        // A program that is not in a sandbox is started where it works.
        command.current_dir(if self.layer == Layer::None { &child.cwd } else { Path::new("/") });
        Ok(command)
    }

    /// The program under its user and limits.
    fn inner(&self, child: &Child, program: &Path) -> Result<Vec<OsString>, ChildError> {
        let mut argv = vec![required(&self.tools.setpriv, "setpriv")?];
        argv.push("--no-new-privs".into());
        if let Some(user) = self.workspace.user() {
            let user = user.to_string();
            argv.extend(["--reuid", &user, "--regid", &user, "--clear-groups"].map(Into::into));
        }
        if we_are_root() {
            argv.extend(["--inh-caps=-all", "--bounding-set=-all"].map(Into::into));
        }
        if self.layer == Layer::None {
            argv.extend(["--pdeathsig", "KILL"].map(Into::into));
        }
        argv.push("--".into());
        argv.push(required(&self.tools.prlimit, "prlimit")?);
        argv.extend(child.limits.arguments(self.others));
        argv.push("--".into());
        argv.push(program.into());
        argv.extend(child.argv.iter().skip(1).cloned());
        Ok(argv)
    }

    fn bubblewrap(&self, child: &Child, inner: Vec<OsString>) -> Result<Vec<OsString>, ChildError> {
        let mut argv = vec![required(&self.tools.bwrap, "bwrap")?];
        let flags = ["--die-with-parent", "--new-session", "--unshare-pid", "--unshare-ipc"];
        argv.extend(flags.map(Into::into));
        argv.extend(["--unshare-uts", "--unshare-cgroup-try"].map(Into::into));
        if !we_are_root() {
            argv.push("--unshare-user".into());
        }
        if !child.network {
            argv.push("--unshare-net".into());
        }
        argv.extend(["--proc", "/proc", "--dev", "/dev"].map(Into::into));
        let shown = self.shown(child);
        for folder in folders_above(&shown) {
            argv.extend(["--dir".into(), folder.into()]);
        }
        for (writable, what, at) in shown {
            argv.push(if writable { "--bind" } else { "--ro-bind" }.into());
            argv.extend([what.into(), at.into()]);
        }
        // What is left of both is memory that no limit counts.
        argv.extend(["--remount-ro", "/dev", "--remount-ro", "/", "--chdir"].map(Into::into));
        argv.extend([child.cwd.clone().into(), "--".into()]);
        argv.extend(inner);
        Ok(argv)
    }

    fn namespaces(&self, child: &Child, inner: Vec<OsString>) -> Result<Vec<OsString>, ChildError> {
        let unshare = required(&self.tools.unshare, "unshare")?;
        let mut argv = vec![required(&self.tools.setpriv, "setpriv")?];
        argv.extend(["--pdeathsig", "KILL", "--"].map(Into::into));
        argv.push(unshare.clone());
        let flags = ["--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child"];
        argv.extend(flags.map(Into::into));
        if !we_are_root() {
            argv.extend(["--user", "--map-root-user"].map(Into::into));
        }
        if !child.network {
            argv.push("--net".into());
        }
        argv.extend(["--", "/bin/sh", "-c", FIRST_PROCESS, "sandbox"].map(Into::into));
        argv.extend([self.workspace.stage().into(), child.cwd.clone().into()]);
        for (writable, what, at) in self.shown(child) {
            argv.push(if writable { "rw" } else { "ro" }.into());
            argv.extend([what.into(), at.into()]);
        }
        argv.push("--".into());
        if !we_are_root() {
            // Only the first process is root in there.
            let (user, group) = (geteuid(), getegid());
            argv.extend([unshare, "--user".into(), "--".into()]);
            argv.insert(argv.len() - 1, format!("--map-user={user}").into());
            argv.insert(argv.len() - 1, format!("--map-group={group}").into());
        }
        argv.extend(inner);
        Ok(argv)
    }

    /// Whether it may write there, the path, and where the child sees it.
    fn shown(&self, child: &Child) -> Vec<(bool, PathBuf, PathBuf)> {
        let readable = self.view.readable.iter().chain(&child.readable);
        let mut shown: Vec<_> = readable
            .filter(|path| path.exists())
            .map(|path| (false, path.clone(), path.clone()))
            .collect();
        let workspace = self.workspace;
        // On a disk, because memory taken this way would be counted by nobody. Where the workspace
        // lies itself below `/tmp`, the child has only TMPDIR: it must not be able to rename what
        // we mount on.
        if !workspace.work().starts_with("/tmp") {
            shown.push((true, workspace.temporary().to_owned(), "/tmp".into()));
        }
        shown.push((true, workspace.temporary().to_owned(), "/dev/shm".into()));
        for folder in [workspace.work(), workspace.home(), workspace.temporary()] {
            shown.push((true, folder.to_owned(), folder.to_owned()));
        }
        shown
    }
}

/// The folders that what is shown lies in. Bubblewrap would make them itself, and let nobody but
/// root pass through.
fn folders_above(shown: &[(bool, PathBuf, PathBuf)]) -> BTreeSet<PathBuf> {
    let above = shown.iter().flat_map(|(_, _, at)| at.ancestors().skip(1));
    let inside = |folder: &Path| shown.iter().any(|(_, _, at)| folder.starts_with(at));
    let made = ["/", "/dev", "/proc"].map(Path::new);
    above.filter(|folder| !made.contains(folder) && !inside(folder)).map(Path::to_owned).collect()
}

fn required(tool: &Option<PathBuf>, name: &str) -> Result<OsString, ChildError> {
    let missing = || ChildError::NotFound { program: name.to_owned() };
    tool.as_deref().map(Path::as_os_str).map(OsStr::to_owned).ok_or_else(missing)
}
