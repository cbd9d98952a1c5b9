use std::fs;

use child::{How, Stream, Wanted};
use model::Secret;

use crate::room::{Room, TOO_LONG, run, shell, under_each};

#[tokio::test]
async fn a_gigabyte_without_a_line_end_takes_no_memory() {
    // Reading is the same under every layer.
    let room = Room::under(Wanted::None).await.unwrap();
    let workspace = room.workspace();
    let mut child = shell(&workspace, "head -c 1000000000 /dev/zero | tr '\\0' x; echo; echo end");
    child.limits.time = TOO_LONG * 5;
    let limit = child.limits.output;
    let mut lines = 0_u64;
    let ended = workspace.run(child, |_, _| lines += 1, std::future::pending()).await.unwrap();
    assert_eq!(ended.how, How::Exited(0));
    assert_eq!(ended.stdout.total(), 1_000_000_005);
    assert!(ended.stdout.text().len() <= limit + 100);
    assert!(ended.stdout.text().ends_with("xxx\nend\n"));
    assert!(lines > 100_000, "{lines}");
    let peak = most_resident();
    assert!(peak < 300 << 10, "{peak} KiB were in memory");
}

fn most_resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test]
async fn input_that_nobody_reads_holds_nothing_up() {
    under_each(async |room| {
        let workspace = room.workspace();
        let mut child = shell(&workspace, "echo done");
        child.stdin = vec![b'x'; 10_000_000];
        assert_eq!(run(&workspace, child).await.stdout.text(), "done\n");
    })
    .await;
}

#[tokio::test]
async fn a_child_reads_what_it_is_given_and_then_the_end() {
    under_each(async |room| {
        let workspace = room.workspace();
        let mut child = shell(&workspace, "wc -c");
        child.stdin = vec![b'x'; 1_000_000];
        assert_eq!(run(&workspace, child).await.stdout.text().trim(), "1000000");
        let nothing = shell(&workspace, "wc -c");
        assert_eq!(run(&workspace, nothing).await.stdout.text().trim(), "0");
    })
    .await;
}

#[tokio::test]
async fn closed_output_is_not_the_end() {
    under_each(async |room| {
        let ended = room.shell("exec >&- 2>&-; sleep 0.2; exit 7").await;
        assert_eq!(ended.how, How::Exited(7));
    })
    .await;
}

#[tokio::test]
async fn both_streams_are_told_line_by_line_without_secrets() {
    under_each(async |room| {
        let workspace = room.workspace();
        // The secret comes in two pieces.
        let script = "printf 'a hun'; sleep 0.1; echo 'ter2 b'; printf '\\377!' >&2; echo $KEY >&2";
        let mut child = shell(&workspace, script);
        child.env.insert("KEY".into(), "hunter2".into());
        child.redact.push(Secret::new("hunter2".to_owned()));
        let mut lines = Vec::new();
        let on_line = |stream, line: &str| lines.push((stream, line.to_owned()));
        let ended = workspace.run(child, on_line, std::future::pending()).await.unwrap();
        lines.sort_by_key(|(stream, _)| *stream == Stream::Stderr);
        let expected = [(Stream::Stdout, "a *** b"), (Stream::Stderr, "\u{fffd}!***")];
        assert_eq!(lines, expected.map(|(stream, line)| (stream, line.to_owned())));
        assert_eq!(ended.stdout.text(), "a *** b\n");
    })
    .await;
}
