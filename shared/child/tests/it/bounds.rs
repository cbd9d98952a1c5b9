use std::time::Duration;

use child::How;

use crate::ending::we_are_root;
use crate::room::{Sleeper, layer_of, run, shell, under_each};

#[tokio::test]
async fn a_tree_has_no_more_processes_than_it_may() {
    under_each(async |room| {
        let sleeper = Sleeper::new();
        let workspace = room.workspace();
        let script = format!(
            "n=0; while [ $n -lt 300 ]; do {} & n=$((n + 1)); echo $n; done",
            sleeper.command()
        );
        let mut child = shell(&workspace, &script);
        child.limits.processes = 40;
        let mut most = 0;
        let on_line = |_, line: &str| most = line.parse().unwrap_or(most);
        let ended = workspace.run(child, on_line, std::future::pending()).await.unwrap();
        // Without a user or a namespace of its own it shares the limit with all that we run.
        let alone = we_are_root() || layer_of(&room).isolates();
        let least = if alone { 10 } else { 0 };
        assert!((least..=60).contains(&most), "{most} processes, {ended:?}");
        assert_eq!(sleeper.running(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_fork_bomb_is_bounded_and_ended() {
    under_each(async |room| {
        let sleeper = Sleeper::new();
        let workspace = room.workspace();
        let script = format!("bomb() {{ {} & bomb & bomb & }}; bomb; wait", sleeper.command());
        let mut child = shell(&workspace, &script);
        child.limits.processes = 60;
        child.limits.time = Duration::from_secs(1);
        run(&workspace, child).await;
        assert_eq!(sleeper.running(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_process_has_no_more_memory_than_it_may() {
    under_each(async |room| {
        let workspace = room.workspace();
        // Doubles a variable until there is no room for it.
        let mut child = shell(&workspace, "x=xxxxxxxx; while :; do x=$x$x; done");
        child.limits.memory = 64 << 20;
        let ended = run(&workspace, child).await;
        assert!(!ended.succeeded(), "{ended:?}");
        assert_ne!(ended.how, How::TimedOut);
    })
    .await;
}

#[tokio::test]
async fn a_tree_has_no_more_memory_than_it_may() {
    under_each(async |room| {
        let workspace = room.workspace();
        // Each is small enough; together they are not.
        let one = "x=$(head -c 12000000 /dev/zero | tr '\\0' x); sleep 600; :";
        let script = format!("for n in 1 2 3 4 5 6 7 8; do ({one}) & done; wait");
        let mut child = shell(&workspace, &script);
        child.limits.memory = 64 << 20;
        assert_eq!(run(&workspace, child).await.how, How::OutOfMemory);
    })
    .await;
}

#[tokio::test]
async fn a_file_is_no_larger_than_it_may_be() {
    under_each(async |room| {
        let workspace = room.workspace();
        let script = "head -c 10000000 /dev/zero > big; wc -c < big";
        let mut child = shell(&workspace, script);
        child.limits.file_size = 1 << 20;
        let ended = run(&workspace, child).await;
        assert_eq!(ended.stdout.text().trim(), (1 << 20).to_string(), "{ended:?}");
    })
    .await;
}

#[tokio::test]
async fn programs_that_reserve_much_memory_and_use_little_run() {
    under_each(async |room| {
        let workspace = room.workspace();
        let mut child = shell(&workspace, "node -e 'console.log(6 * 7)'");
        child.limits.memory = 512 << 20;
        let ended = run(&workspace, child).await;
        assert_eq!(ended.stdout.text().trim(), "42", "{ended:?}");
    })
    .await;
}
