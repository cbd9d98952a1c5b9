use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tracing::error;

/// The variable that marks every process of a workspace, however far it went from its parent.
pub(crate) const MARK: &str = "COGO_CHILD";

/// The processes of one run.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    /// What we started: the program, or the sandbox around it. None once it has been waited for,
    /// since its number may then be anybody's.
    pub(crate) root: Option<i32>,
    /// Whether `root` and its child are the sandbox's.
    pub(crate) wrapped: bool,
    pub(crate) mark: String,
    /// Nobody else runs as this user.
    pub(crate) user: Option<u32>,
}

type Processes = BTreeMap<i32, Process>;

struct Process {
    parent: i32,
    user: u32,
    threads: u64,
    /// Bytes that are not a file's.
    memory: u64,
}

/// The kernel kills quickly; beyond this a process hangs in a device.
const KILLED: Duration = Duration::from_secs(5);
const BETWEEN_LOOKS: Duration = Duration::from_millis(2);

impl Tree {
    /// Asks all of it to end.
    pub(crate) fn terminate(&self) {
        let processes = processes();
        for pid in self.members(&processes) {
            // The sandbox's own processes end when there is nothing left in it; the outer one would
            // take the rest with it at once.
            if self.is_outside(pid) || self.is_first_inside(&processes, pid) {
                continue;
            }
            signal(pid, Signal::SIGTERM);
            // One that is stopped would hear of it only later.
            signal(pid, Signal::SIGCONT);
        }
    }

    /// Kills until nothing is left of it.
    pub(crate) async fn end(&self) {
        let since = Instant::now();
        while self.kill() {
            if since.elapsed() > KILLED {
                error!(child.mark = self.mark, "a child was killed and does not go away");
                return;
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }

    /// Kills what there is of it now; false if there was nothing.
    pub(crate) fn kill(&self) -> bool {
        let processes = processes();
        let members = self.members(&processes);
        // A sandbox goes from the inside: once its first process is dead nothing is left in it, and
        // only then does the outer one end, which we wait for.
        let (first, rest): (Vec<i32>, Vec<i32>) =
            members.iter().partition(|pid| self.is_first_inside(&processes, **pid));
        for pid in &first {
            signal(*pid, Signal::SIGKILL);
        }
        for pid in rest {
            if first.is_empty() || !self.is_outside(pid) {
                signal(pid, Signal::SIGKILL);
            }
        }
        !members.is_empty()
    }

    pub(crate) fn memory(&self) -> u64 {
        let processes = processes();
        let members = self.members(&processes);
        members.iter().fold(0, |sum, pid| processes[pid].memory.saturating_add(sum))
    }

    fn is_outside(&self, pid: i32) -> bool {
        self.wrapped && Some(pid) == self.root
    }

    fn is_first_inside(&self, processes: &Processes, pid: i32) -> bool {
        self.wrapped && processes.get(&pid).map(|process| process.parent) == self.root
    }

    fn members(&self, processes: &Processes) -> BTreeSet<i32> {
        let is_member = |pid: i32, process: &Process| {
            Some(pid) == self.root || self.user == Some(process.user) || has_mark(pid, &self.mark)
        };
        let found = processes.iter().filter(|(pid, process)| is_member(**pid, process));
        let mut members: BTreeSet<i32> = found.map(|(pid, _)| *pid).collect();
        loop {
            let descend = processes.iter().filter(|(pid, process)| {
                members.contains(&process.parent) && !members.contains(*pid)
            });
            let children: Vec<i32> = descend.map(|(pid, _)| *pid).collect();
            if children.is_empty() {
                return members;
            }
            members.extend(children);
        }
    }
}

/// How many processes and threads a user has. A child without a user of its own counts with them.
pub(crate) fn threads_of(user: u32) -> u64 {
    let processes = processes();
    processes.values().filter(|process| process.user == user).map(|process| process.threads).sum()
}

/// All that run, but for those that have ended and are only to be waited for.
fn processes() -> Processes {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| Some((pid, process(pid)?))).collect()
}

fn process(pid: i32) -> Option<Process> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()
    };
    let number = |name: &str| field(name)?.parse::<u64>().ok();
    if matches!(field("State:")?, "Z" | "X") {
        return None;
    }
    let kib = number("RssAnon:").unwrap_or(0) + number("RssShmem:").unwrap_or(0);
    Some(Process {
        parent: field("PPid:")?.parse().ok()?,
        user: field("Uid:")?.parse().ok()?,
        threads: number("Threads:").unwrap_or(1),
        memory: kib * 1024,
    })
}

fn has_mark(pid: i32, mark: &str) -> bool {
    let wanted = format!("{MARK}={mark}");
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
}

fn signal(pid: i32, signal: Signal) {
    // It may have ended meanwhile.
    let _ = kill(Pid::from_raw(pid), signal);
}
