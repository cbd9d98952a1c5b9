//! Builds that are ended, and what they may not do.

use std::net::TcpListener;

use crate::yard::{Yard, asking, running};

#[tokio::test]
async fn a_build_that_takes_too_long_is_a_failure_that_says_so() {
    let yard = Yard::new().await;
    let sleeper = format!("sleep 7000.{}", std::process::id());
    let makefile = format!("test:\n\ttrap '' TERM; setsid {sleeper} & {sleeper}\n");
    let mut asked = asking(yard.artifact(&[("Makefile", &makefile)]).await);
    asked.build.timeout_ms = Some(500);
    let built = yard.ask(&asked).await;
    assert_eq!(built.figures(), (false, 0, 1), "{:#}", built.whole);
    assert_eq!(built.whole["commands"][0]["ended"], "took too long, and was ended");
    assert_eq!(running(&sleeper), 0);
}

#[tokio::test]
async fn an_assignment_that_runs_out_fails_for_good() {
    let yard = Yard::new().await;
    let sleeper = format!("sleep 7001.{}", std::process::id());
    let makefile = format!("test:\n\t{sleeper}\n");
    let mut asked = asking(yard.artifact(&[("Makefile", &makefile)]).await);
    for ttl in [1_500, 0] {
        asked.assignment.ttl_ms = ttl;
        assert_eq!(yard.ask(&asked).await.reason(), "ttl_exceeded");
        assert_eq!(running(&sleeper), 0);
    }
}

#[tokio::test]
async fn cancelling_ends_every_process_and_leaves_no_folder() {
    let yard = Yard::new().await;
    let sleeper = format!("sleep 7002.{}", std::process::id());
    let makefile = format!("test:\n\ttrap '' TERM; setsid {sleeper} & {sleeper} & {sleeper}\n");
    let asked = asking(yard.artifact(&[("Makefile", &makefile)]).await);
    let id = yard.publish(&asked).await;
    let begun = async {
        while running(&sleeper) < 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::yard::TOO_LONG, begun).await.expect("it does not begin");
    yard.sql.execute("select public.bus_cancel($1)", &[&id]).await.unwrap();
    yard.until(&format!("select status = 'cancelled' from public.agent_messages where id = {id}"))
        .await;
    assert_eq!(running(&sleeper), 0);
    assert_eq!(yard.workspaces(), 0);
}

#[tokio::test]
async fn there_is_no_network_and_no_way_to_our_files() {
    let yard = Yard::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let secret = yard.folder.path().join("secret");
    std::fs::write(&secret, "of ours").unwrap();
    let test = format!(
        "import unittest, socket, os\nclass T(unittest.TestCase):\n\
         \x20   def test_network(self):\n        with self.assertRaises(OSError): socket.create_connection(('127.0.0.1', {port}), 5)\n\
         \x20   def test_files(self): self.assertFalse(os.path.exists({secret:?}))\n\
         \x20   def test_variables(self): self.assertNotIn('CARGO_MANIFEST_DIR', os.environ)\n",
    );
    let built = yard.build(&[("test_a.py", &test)]).await;
    assert_eq!(built.figures(), (true, 3, 0), "{:#}", built.whole);
}

#[tokio::test]
async fn the_network_is_given_only_where_both_sides_want_it() {
    let yard = Yard::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let test = format!(
        "import unittest, socket\nclass T(unittest.TestCase):\n    def test_network(self): socket.create_connection(('127.0.0.1', {port}), 5)\n"
    );
    let mut asked = asking(yard.artifact(&[("test_a.py", &test)]).await);
    asked.build.network = true;
    assert_eq!(yard.ask(&asked).await.reason(), "network_refused");

    let open = Yard::with(&["--buildtest-network"]).await;
    asked.source = open.artifact(&[("test_a.py", &test)]).await;
    let built = open.ask(&asked).await;
    assert_eq!(built.figures(), (true, 1, 0), "{:#}", built.whole);
}

#[tokio::test]
async fn output_without_end_is_bounded_in_events_and_report() {
    let yard = Yard::new().await;
    let makefile = "test:\n\t@yes a line of output | head -n 300000\n";
    let built = yard.build(&[("Makefile", makefile)]).await;
    assert!(built.figures().0, "{:#}", built.whole);
    assert!(built.whole.to_string().len() < 1 << 20);
    for (event, _, payload) in &built.events {
        assert!(payload.to_string().len() < 4_000, "{event}");
    }
}
