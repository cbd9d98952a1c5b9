use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use child::{Child, Sandbox, Wanted};

use crate::room::{run, settings, shell, under_each};

#[tokio::test]
async fn a_child_may_change_what_was_handed_over() {
    under_each(async |room| {
        let workspace = room.workspace();
        fs::create_dir(workspace.work().join("folder")).unwrap();
        fs::write(workspace.work().join("folder/file"), "one").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", workspace.work().join("link")).unwrap();
        workspace.hand_over().unwrap();
        let script = "echo two >> folder/file && touch new folder/new && cat folder/file";
        let ended = run(&workspace, shell(&workspace, script)).await;
        assert_eq!(ended.stdout.text(), "onetwo\n", "{}", ended.stderr.text());
        assert_eq!(fs::metadata("/etc/passwd").unwrap().uid(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_workspace_is_gone_whatever_its_child_did_to_it() {
    under_each(async |room| {
        let workspace = room.workspace();
        let work = workspace.work().to_owned();
        let script = "mkdir -p a/b && touch a/b/c && chmod 0 a/b a && chmod 0 . $HOME";
        run(&workspace, shell(&workspace, script)).await;
        workspace.remove().await;
        assert!(!work.exists() && !work.parent().unwrap().exists());
    })
    .await;
}

#[tokio::test]
async fn the_folders_of_living_processes_stay_and_those_of_dead_ones_go() {
    let folder = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir_in("/var/tmp")
        .unwrap();
    let first = Sandbox::start(&settings(Wanted::None, &folder)).await.unwrap();
    let alive = first.workspace().unwrap();
    let base = alive.work().ancestors().nth(2).unwrap();
    let dead = base.join("at-0123-abcd");
    fs::create_dir_all(dead.join("work/deep")).unwrap();
    fs::write(dead.join("lock"), "").unwrap();

    let second = Sandbox::start(&settings(Wanted::None, &folder)).await.unwrap();
    assert!(alive.work().exists() && !dead.exists());
    drop(second);
    let child = Child::new(["/bin/true"], &alive);
    assert!(run(&alive, child).await.succeeded());
}

#[tokio::test]
async fn a_folder_that_others_may_write_to_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join(format!("cogo-{}", nix::unistd::geteuid()));
    fs::create_dir(&base).unwrap();
    fs::set_permissions(&base, fs::Permissions::from_mode(0o777)).unwrap();
    let error = Sandbox::start(&settings(Wanted::None, &folder)).await.unwrap_err();
    assert!(error.to_string().contains("could not prepare the workspace"), "{error}");
}
