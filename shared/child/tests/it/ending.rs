use std::time::Duration;

use child::{ChildError, How, Layer};

use crate::room::{Sleeper, layer_of, run, shell, stop_when_ready, under_each};

#[tokio::test]
async fn exit_codes_and_signals_are_told_as_they_were() {
    under_each(async |room| {
        for (script, how) in [
            ("exit 0", How::Exited(0)),
            ("exit 1", How::Exited(1)),
            ("exit 125", How::Exited(125)),
            ("exit 126", How::Exited(126)),
            ("kill -KILL $$", How::Signalled(9)),
            ("kill -SEGV $$", How::Signalled(11)),
        ] {
            assert_eq!(room.shell(script).await.how, how, "{script}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told_apart_from_one_that_fails() {
    under_each(async |room| {
        let workspace = room.workspace();
        let child = child::Child::new(["no-such-program"], &workspace);
        let error = workspace.run(child, |_, _| {}, std::future::pending()).await.unwrap_err();
        assert!(matches!(error, ChildError::NotFound { program } if program == "no-such-program"));
    })
    .await;
}

#[tokio::test]
async fn what_ends_by_itself_when_asked_is_not_killed() {
    under_each(async |room| {
        let workspace = room.workspace();
        let script = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done";
        let ended = stop_when_ready(&workspace, shell(&workspace, script)).await;
        assert_eq!(ended.how, How::Stopped);
        assert!(ended.stdout.text().contains("bye"), "{}", ended.stdout.text());
    })
    .await;
}

/// However a tree tries to stay, stopping it or letting its main program end leaves nothing.
#[tokio::test]
async fn nothing_is_left_of_a_tree_that_does_not_want_to_end() {
    under_each(async |room| {
        for (what, escape) in [
            ("ignores TERM", "trap '' TERM; (SLEEP) &"),
            ("has a session of its own", "setsid SLEEP &"),
            ("forks twice", "(setsid sh -c 'SLEEP & SLEEP & exit' &)"),
            ("is stopped", "SLEEP & kill -STOP $!"),
            ("is stopped in its own session", "setsid sh -c 'SLEEP & kill -STOP $!' & sleep 0.1"),
            ("closes its output", "(exec >&- 2>&- <&-; setsid SLEEP) &"),
            ("keeps the output", "setsid SLEEP &"),
            ("clears its variables", "env -i setsid SLEEP &"),
        ] {
            // Without a sandbox and without a user of its own, it is known by its variables only.
            let known_by_variables = layer_of(&room) == Layer::None && !we_are_root();
            if known_by_variables && what == "clears its variables" {
                continue;
            }
            let sleeper = Sleeper::new();
            let escape = escape.replace("SLEEP", sleeper.command());
            for (how, after) in [
                (How::Stopped, "echo ready; wait; while :; do sleep 1; done"),
                (How::Exited(3), "exit 3"),
            ] {
                let workspace = room.workspace();
                // It must have begun, or its absence would prove nothing.
                let begun = "sleep 0.1;";
                let child = shell(&workspace, &format!("{escape}\n{begun} echo begun\n{after}"));
                let ended = stop_when_ready(&workspace, child).await;
                assert_eq!(ended.how, how, "{what}: {}", ended.stderr.text());
                assert_eq!(sleeper.running(), 0, "{what}, {how:?}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_program_that_stopped_itself_is_ended() {
    under_each(async |room| {
        let workspace = room.workspace();
        let ended =
            stop_when_ready(&workspace, shell(&workspace, "echo ready; kill -STOP $$")).await;
        assert_eq!(ended.how, How::Stopped);
    })
    .await;
}

#[tokio::test]
async fn a_run_that_takes_too_long_is_ended() {
    under_each(async |room| {
        let sleeper = Sleeper::new();
        let workspace = room.workspace();
        let script = format!("trap '' TERM; {0} & {0}", sleeper.command());
        let mut child = shell(&workspace, &script);
        child.limits.time = Duration::from_millis(300);
        assert_eq!(run(&workspace, child).await.how, How::TimedOut);
        assert_eq!(sleeper.running(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_run_that_nobody_waits_for_is_ended() {
    under_each(async |room| {
        let sleeper = Sleeper::new();
        let workspace = room.workspace();
        let child = shell(&workspace, &format!("setsid {0} & {0}", sleeper.command()));
        let forever = workspace.run(child, |_, _| {}, std::future::pending());
        let begun = async {
            while sleeper.running() < 2 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            ended = forever => panic!("{ended:?}"),
            () = begun => {}
        }
        let gone = async {
            while sleeper.running() > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(crate::room::TOO_LONG, gone).await.expect("it still runs");
    })
    .await;
}

pub(crate) fn we_are_root() -> bool {
    nix::unistd::geteuid().is_root()
}
