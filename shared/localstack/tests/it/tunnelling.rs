use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use localstack::Part;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::Error;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::{accept_hdr_async, connect_async};

use crate::supabase::Supabase;

/// Echoes what it hears, and closes as it is told: `close 1012 restart`. Says how each connection
/// began, and with which code it ended.
async fn echo(told: mpsc::Sender<String>) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let told = told.clone();
            #[expect(clippy::result_large_err, reason = "the library asks for this type")]
            let greet = |request: &Request, response: Response| {
                let protocol = request.headers().get("sec-websocket-extensions").is_some();
                told.try_send(format!("{} {protocol}", request.uri())).unwrap();
                Ok(response)
            };
            let mut socket = accept_hdr_async(stream, greet).await.unwrap();
            loop {
                match socket.next().await {
                    Some(Ok(Message::Text(text))) if text.starts_with("close ") => {
                        let (code, reason) = text[6..].split_once(' ').unwrap();
                        let code = CloseCode::from(code.parse::<u16>().unwrap());
                        let frame = CloseFrame { code, reason: reason.into() };
                        socket.close(Some(frame)).await.unwrap();
                    }
                    Some(Ok(Message::Close(frame))) => {
                        let code = frame.map(|frame| u16::from(frame.code));
                        told.try_send(format!("closed {code:?}")).unwrap();
                    }
                    // The library answers these itself.
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(message)) => socket.send(message).await.unwrap(),
                    Some(Err(error)) => {
                        told.try_send(format!("broke {error}")).unwrap();
                        break;
                    }
                    None => break,
                }
            }
        }
    });
    (address, serving)
}

#[tokio::test]
async fn a_websocket_is_passed_on_with_every_frame_and_the_code_it_closes_with() {
    let (told, mut tells) = mpsc::channel(16);
    let (address, _serving) = echo(told).await;
    let supabase = Supabase::start_with([Part::Realtime], Some(address)).await;
    let base = supabase.services.url().replace("http:", "ws:");
    let key = supabase.keys().publishable_key.expose();

    // The key in the query, as browsers have to, and unchanged behind the gateway.
    let path = format!("/realtime/v1/websocket?apikey={key}&vsn=2.0.0&x=a%20b");
    let (mut socket, _) = connect_async(format!("{base}{path}")).await.unwrap();
    assert_eq!(tells.recv().await.unwrap(), format!("{path} false"));
    let large = Message::Binary(vec![7_u8; 3_000_000].into());
    for message in [Message::Text("hello".into()), large] {
        socket.send(message.clone()).await.unwrap();
        assert!(socket.next().await.unwrap().unwrap() == message);
    }
    socket.send(Message::Ping(vec![1].into())).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::Pong(vec![1].into()));
    socket.send(Message::Text("close 1012 restart".into())).await.unwrap();
    let Message::Close(Some(frame)) = socket.next().await.unwrap().unwrap() else { panic!() };
    assert_eq!((u16::from(frame.code), frame.reason.as_str()), (1012, "restart"));
    assert!(socket.next().await.is_none(), "and then it is over");
    assert_eq!(tells.recv().await.unwrap(), "closed Some(1012)");

    // The key in a header, and a code of the client's.
    let mut request = format!("{base}/realtime/v1/websocket").into_client_request().unwrap();
    request.headers_mut().insert("apikey", key.parse().unwrap());
    let (mut socket, _) = connect_async(request).await.unwrap();
    assert_eq!(tells.recv().await.unwrap(), "/realtime/v1/websocket false");
    let frame = CloseFrame { code: CloseCode::from(4001), reason: "mine".into() };
    socket.close(Some(frame)).await.unwrap();
    while socket.next().await.is_some() {}
    assert_eq!(tells.recv().await.unwrap(), "closed Some(4001)");

    // The gateway that stops lets go of both.
    let (mut socket, _) = connect_async(format!("{base}{path}")).await.unwrap();
    tells.recv().await.unwrap();
    supabase.stop().await;
    while let Some(Ok(_)) = socket.next().await {}
    assert!(tells.recv().await.unwrap().starts_with("broke"));
}

#[tokio::test]
async fn a_websocket_without_a_key_or_a_server_is_refused_in_http() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let supabase = Supabase::start_with([Part::Realtime], Some(nobody)).await;
    let base = supabase.services.url().replace("http:", "ws:");
    let key = supabase.keys().publishable_key.expose();
    for (query, status) in
        [(String::new(), 401), ("?apikey=sb_1".to_owned(), 401), (format!("?apikey={key}"), 503)]
    {
        let refused = connect_async(format!("{base}/realtime/v1/websocket{query}")).await;
        let Err(Error::Http(answer)) = refused else { panic!("{query}: {refused:?}") };
        assert_eq!(answer.status().as_u16(), status, "{query}");
    }
    supabase.stop().await;
}
