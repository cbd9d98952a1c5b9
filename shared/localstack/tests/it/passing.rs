use std::convert::Infallible;

use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use axum::{Router, body::Bytes};
use futures_util::StreamExt;
use localstack::Part;
use reqwest::Method;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::supabase::{Supabase, parsed};

#[tokio::test]
async fn a_large_body_goes_through_both_ways() {
    let supabase = Supabase::start_with([Part::Rest], None).await;
    let big = "x".repeat(20 * 1024 * 1024);
    let body = format!(r#"{{"k": "big", "big": "{big}"}}"#);
    let pieces: Vec<_> = body.into_bytes().chunks(64 * 1024).map(<[u8]>::to_vec).collect();
    let stream = futures_util::stream::iter(pieces.into_iter().map(Ok::<_, Infallible>));
    let insert = supabase.request(Method::POST, "/rest/v1/things");
    let insert = insert.header("content-type", "application/json");
    let answer = insert.body(reqwest::Body::wrap_stream(stream)).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    let answer = supabase.request(Method::GET, "/rest/v1/things?select=big").send().await.unwrap();
    let rows = parsed(&answer.text().await.unwrap());
    assert!(rows[0]["big"] == big.as_str(), "it comes back as it was");
    supabase.stop().await;
}

/// Something that answers in pieces, and says when it has heard each of the request's.
async fn mirror(heard: mpsc::Sender<Bytes>) -> (std::net::SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = move |request: Request<Body>| async move {
        let stream = request.into_body().into_data_stream().inspect(move |piece| {
            heard.try_send(piece.as_ref().unwrap().clone()).unwrap();
        });
        Response::new(Body::from_stream(stream))
    };
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        axum::serve(listener, Router::new().fallback(answer)).await.unwrap();
    });
    (address, serving)
}

#[tokio::test]
async fn a_piece_is_passed_on_before_the_next_one_is_there() {
    let (heard, mut hears) = mpsc::channel(16);
    let (address, _serving) = mirror(heard).await;
    let supabase = Supabase::start_with([Part::Realtime], Some(address)).await;
    let (send, mut pieces) = mpsc::channel::<Bytes>(1);
    let stream = futures_util::stream::poll_fn(move |cx| {
        pieces.poll_recv(cx).map(|piece| piece.map(Ok::<_, Infallible>))
    });
    let request = supabase.request(Method::POST, "/realtime/v1/api/broadcast");
    send.send("one".into()).await.unwrap();
    let answer = request.body(reqwest::Body::wrap_stream(stream)).send().await.unwrap();
    let mut back = answer.bytes_stream();
    assert_eq!(hears.recv().await.unwrap(), "one");
    assert_eq!(back.next().await.unwrap().unwrap(), "one");
    send.send("two".into()).await.unwrap();
    assert_eq!(back.next().await.unwrap().unwrap(), "two");
    drop(send);
    assert!(back.next().await.is_none());
    supabase.stop().await;
}

#[tokio::test]
async fn a_body_beyond_all_measure_is_refused_without_being_read() {
    let supabase = Supabase::start_with([Part::Rest], None).await;
    // The length alone is enough: not a byte of it is sent.
    let length = (300 * 1024 * 1024_u64).to_string();
    let insert = supabase.request(Method::POST, "/rest/v1/things").header("content-length", length);
    let stream = futures_util::stream::pending::<Result<Bytes, Infallible>>();
    let answer = insert.body(reqwest::Body::wrap_stream(stream)).send().await.unwrap();
    assert_eq!(answer.status(), 413);
    supabase.stop().await;
}

#[tokio::test]
async fn a_part_that_hangs_up_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut rude = JoinSet::new();
    rude.spawn(async move {
        loop {
            drop(listener.accept().await.unwrap());
        }
    });
    let supabase = Supabase::start_with([Part::Realtime], Some(address)).await;
    let answer = supabase.request(Method::GET, "/realtime/v1/x").send().await.unwrap();
    assert_eq!(answer.status(), 502);
    assert!(answer.text().await.unwrap().contains("realtime hung up"));
    rude.shutdown().await;
    let answer = supabase.request(Method::GET, "/realtime/v1/x").send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.text().await.unwrap().contains("realtime is down"));
    supabase.stop().await;
}
