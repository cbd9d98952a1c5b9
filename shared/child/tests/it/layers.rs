use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use child::{ChildError, ChildSettings, Layer, Sandbox, SandboxError, Wanted};

use crate::ending::we_are_root;
use crate::room::{Room, layer_of, run, shell, under_each};

#[tokio::test]
async fn a_child_gets_no_variable_of_ours() {
    under_each(async |room| {
        let ended = room.shell("env; cat /proc/self/environ | tr '\\0' '\\n'").await;
        let text = ended.stdout.text();
        let names: std::collections::BTreeSet<&str> =
            text.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
        let known = [
            "CARGO_HOME",
            "COGO_CHILD",
            "HOME",
            "LANG",
            "LOGNAME",
            "OLDPWD",
            "PATH",
            "PWD",
            "RUSTUP_HOME",
            "TMPDIR",
            "USER",
            "SHLVL",
            "_",
        ];
        let leaked: Vec<_> = names.iter().filter(|name| !known.contains(name)).collect();
        assert!(leaked.is_empty(), "{leaked:?}");
        assert!(names.contains("HOME"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn a_child_cannot_read_our_variables() {
    under_each(async |room| {
        if layer_of(&room) == Layer::None && !we_are_root() {
            return;
        }
        let ours = std::process::id();
        let script = format!("cat /proc/1/environ /proc/{ours}/environ | tr '\\0' '\\n'");
        let said = room.shell(&script).await.stdout.text();
        // Cargo sets this for tests.
        assert!(!said.contains("CARGO_MANIFEST_DIR"), "{said}");
    })
    .await;
}

#[tokio::test]
async fn a_child_cannot_read_the_home_of_root_nor_become_root() {
    under_each(async |room| {
        let said = room.shell("ls -A /root; cat /etc/shadow; id -u; umount /proc").await;
        let (out, err) = (said.stdout.text(), said.stderr.text());
        assert!(!out.contains(".profile") && !out.contains("root:"), "{out}");
        assert_ne!(out.lines().last(), Some("0"), "{out}");
        assert!(err.contains("umount"), "{err}");
    })
    .await;
}

#[tokio::test]
async fn a_sandboxed_child_sees_and_writes_only_what_is_shown() {
    under_each(async |room| {
        if !layer_of(&room).isolates() {
            return;
        }
        let outside = room.folder.path().join("outside");
        std::fs::write(&outside, "not for children").unwrap();
        let others = room.workspace();
        std::fs::write(others.work().join("theirs"), "").unwrap();
        let script = format!(
            "cat {outside}; ls {theirs}; \
             for place in / /usr /etc /dev /var /run {base}; do touch $place/x && echo wrote $place; done; \
             touch $HOME/x $TMPDIR/x /tmp/x /dev/shm/x x && echo fine; ls /proc | grep -c '^[0-9]'",
            outside = outside.display(),
            theirs = others.work().display(),
            base = room.folder.path().display(),
        );
        let ended = room.shell(&script).await;
        let out = ended.stdout.text();
        assert!(out.starts_with("fine\n"), "{out}{}", ended.stderr.text());
        let processes: u32 = out.lines().last().unwrap().parse().unwrap();
        assert!(processes < 10, "{out}");
        assert!(!std::path::Path::new("/dev/shm/x").exists());
    })
    .await;
}

#[tokio::test]
async fn a_child_reaches_the_network_only_if_it_may() {
    under_each(async |room| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let script = format!(
            "node -e 'require(\"net\").connect({port}, \"127.0.0.1\").on(\"connect\", () => \
             {{ console.log(\"open\"); process.exit() }}).on(\"error\", () => console.log(\"shut\"))'"
        );
        for network in [true, false] {
            let workspace = room.workspace();
            let mut child = shell(&workspace, &script);
            child.network = network;
            let ended = run(&workspace, child).await;
            let open = network || !layer_of(&room).denies_network();
            let expected = if open { "open" } else { "shut" };
            assert_eq!(ended.stdout.text().trim(), expected, "{}", ended.stderr.text());
        }
    })
    .await;
}

#[tokio::test]
async fn a_layer_that_does_not_work_is_told_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    // A folder that is a file: no workspace can be made, under no layer.
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let settings = |sandbox| ChildSettings {
        sandbox,
        sandbox_workspaces: file.clone(),
        ..ChildSettings::default()
    };
    for (wanted, says) in [
        (Wanted::Auto, "no sandbox works here: bubblewrap: "),
        (Wanted::Bubblewrap, "SANDBOX=bubblewrap does not work here: "),
        (Wanted::None, "SANDBOX=none does not work here: "),
    ] {
        let error = Sandbox::start(&settings(wanted)).await.unwrap_err();
        assert!(error.to_string().starts_with(says), "{error}");
        assert!(miette::Diagnostic::help(&error).is_some());
        if wanted == Wanted::Auto {
            assert!(matches!(error, SandboxError::NothingWorks { .. }), "never none by itself");
        }
    }
}

#[tokio::test]
async fn a_program_that_only_root_can_reach_is_told_as_such() {
    if !we_are_root() {
        return;
    }
    let room = Room::under(Wanted::None).await.unwrap();
    let closed = tempfile::tempdir().unwrap();
    std::fs::set_permissions(closed.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let program = closed.path().join("program");
    std::fs::copy("/bin/true", &program).unwrap();
    let workspace = room.workspace();
    let child = child::Child::new([&program], &workspace);
    let error = workspace.run(child, |_, _| {}, std::future::pending()).await.unwrap_err();
    let folder = closed.path().display().to_string();
    assert!(
        matches!(&error, ChildError::Unreadable { closed, .. } if *closed == folder),
        "{error:?}"
    );
}
