use std::fs;
use std::time::Duration;

/// Processor time of a process and of its children, the finished ones included.
pub(crate) fn of_family(parent: u32) -> Duration {
    let mut ticks = times(parent).map_or(0, |(own, finished)| own + finished);
    let Ok(processes) = fs::read_dir("/proc") else { return Duration::ZERO };
    for process in processes.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if parent_of(pid) == Some(parent) {
            ticks += times(pid).map_or(0, |(own, _)| own);
        }
    }
    duration(ticks)
}

/// Processor time of one process.
pub(crate) fn of(pid: u32) -> Duration {
    duration(times(pid).map_or(0, |(own, _)| own))
}

fn duration(ticks: u64) -> Duration {
    // Linux counts these in hundredths of a second for every program.
    Duration::from_millis(ticks * 10)
}

/// Own and finished children's ticks.
fn times(pid: u32) -> Option<(u64, u64)> {
    let fields = fields(pid)?;
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some((number(11)? + number(12)?, number(13)? + number(14)?))
}

fn parent_of(pid: u32) -> Option<u32> {
    fields(pid)?.get(1)?.parse().ok()
}

/// What follows the program's name, which may itself contain blanks and brackets.
fn fields(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    Some(rest.split(' ').map(str::to_owned).collect())
}
