use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use realtime::{Happening, JoinOptions, RealtimeOptions};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::server::{Peer, Push, Server, kind_4, refuse};
use crate::world::{connect, ms, with_timings, within};

/// So many connections are ill-treated before the server mends its ways.
const BAD_CONNECTIONS: usize = 60;
const TOPICS: [&str; 3] = ["a", "b", "c"];

#[tokio::test]
async fn whatever_a_server_does_everything_is_heard_once_it_is_well() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let before = Handle::current().metrics().num_alive_tasks();
    let server = Server::start().await;
    let quick = with_timings(|timings| {
        timings.connect = ms(100);
        timings.heartbeat = ms(60);
        timings.heartbeat_answer = ms(60);
        timings.join_answer = ms(60);
        timings.ready = ms(60);
        timings.steady = ms(200);
    });
    let options = RealtimeOptions { canary: Some(ms(50)), max_frame: 64 << 10, ..quick };
    let least_wait = options.timings.backoff / 4;
    let realtime = connect(&server, &options);
    let mut channels = TOPICS.map(|topic| {
        let wanted = JoinOptions { replication_ready: true, ..JoinOptions::default() };
        realtime.join(topic, wanted).unwrap()
    });

    let started = Instant::now();
    let accepted = Arc::new(AtomicUsize::new(0));
    let mut world = JoinSet::new();
    let mut bad_seeds = StdRng::seed_from_u64(seed);
    let counted = accepted.clone();
    world.spawn(async move {
        let mut peers = JoinSet::new();
        loop {
            let stream = server.accept_tcp().await;
            let number = counted.fetch_add(1, Ordering::Relaxed);
            let random = StdRng::seed_from_u64(bad_seeds.random());
            peers.spawn(treat(stream, (number < BAD_CONNECTIONS).then_some(random)));
        }
    });

    // Everybody hears a ring from a connection that is well.
    for channel in &mut channels {
        let heard = async {
            loop {
                match channel.next().await {
                    Some(Happening::Broadcast(broadcast)) if broadcast.event == "well" => return,
                    Some(_) => {}
                    None => panic!("the connection ended for good; seed {seed}"),
                }
            }
        };
        let heard = timeout(Duration::from_secs(120), heard).await;
        let connections = accepted.load(Ordering::Relaxed);
        heard.unwrap_or_else(|_| panic!("deaf after {connections} connections; seed {seed}"));
    }
    let connections = accepted.load(Ordering::Relaxed);
    assert!(connections > BAD_CONNECTIONS, "seed {seed}");
    let most = started.elapsed().as_micros() / least_wait.as_micros() + 1;
    assert!(connections as u128 <= most, "{connections} connections, not {most}; seed {seed}");

    world.shutdown().await;
    drop(channels);
    drop(realtime);
    let gone = async {
        while Handle::current().metrics().num_alive_tasks() > before {
            tokio::time::sleep(ms(1)).await;
        }
    };
    within("the end of all tasks", gone).await;
}

/// One connection, with faults if there is something to draw them from.
async fn treat(stream: TcpStream, random: Option<StdRng>) {
    let Some(mut random) = random else {
        if let Some(peer) = Peer::open(stream).await {
            answer(peer, None).await;
        }
        return;
    };
    match random.random_range(0..10) {
        0 => {
            let status = [401, 403, 404, 429, 500, 502][random.random_range(0..6)];
            refuse(stream, status, r#"{"error":"no"}"#).await;
        }
        1 => drop(stream),
        // Accepted, and never answered.
        2 => tokio::time::sleep(ms(300)).await,
        _ => {
            let life = ms(random.random_range(0..200));
            let Some(peer) = Peer::open(stream).await else { return };
            let _ = timeout(life, Box::pin(answer(peer, Some(random)))).await;
        }
    }
}

async fn answer(mut peer: Peer, mut random: Option<StdRng>) {
    while let Some(push) = peer.try_push().await {
        let fault = random.as_mut().map(|random| random.random_range(0..40));
        let ready = "Replication connection established";
        match (push.event.as_str(), fault) {
            (_, Some(0)) => return peer.reset(),
            (_, Some(1)) => peer.close(1000 + u16::from(push.topic.len() as u8 % 13), "bye").await,
            (_, Some(2)) => peer.text("garbage").await,
            (_, Some(3)) => peer.binary(vec![4, 255, 255]).await,
            (_, Some(4)) => peer.tell(&push, "phx_error", json!({})).await,
            (_, Some(5)) => peer.tell(&push, "phx_close", json!({})).await,
            (_, Some(6)) => peer.system(&push, "system", "error", "Token has expired").await,
            (_, Some(7)) => peer.text(&"x".repeat(100 << 10)).await,
            (_, Some(8)) => peer.tell(&push, "broadcast", Value::Null).await,
            // From here on nothing is read or answered, heartbeats neither.
            (_, Some(9)) => std::future::pending().await,
            ("phx_join", Some(10..15)) => {
                peer.reply(&push, "error", json!({ "reason": "no" })).await;
            }
            ("phx_join", Some(15..18)) => {}
            ("phx_join", Some(18..21)) => peer.reply(&push, "ok", json!({})).await,
            ("phx_join", _) => {
                peer.reply(&push, "ok", json!({})).await;
                peer.system(&push, "system", "ok", ready).await;
                let event = if fault.is_none() { "well" } else { "ill" };
                ring(&mut peer, &push, event).await;
            }
            // The canary's, which it wants to hear.
            ("broadcast", Some(10..30)) => {}
            ("broadcast", _) => peer.tell(&push, "broadcast", push.payload.clone()).await,
            _ => {}
        }
    }
}

async fn ring(peer: &mut Peer, join: &Push, event: &str) {
    peer.binary(kind_4(&join.topic, event, r#"{"id":"x"}"#, 0, b"ring")).await;
    peer.broadcast(join, event, json!({})).await;
}
