//! A WebSocket client like a browser's, built on tungstenite.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::soon;

/// One connection.
pub(crate) struct Socket {
    socket: WebSocketStream<TcpStream>,
    /// The subprotocol that the gateway selected.
    pub(crate) protocol: Option<String>,
    ids: u64,
}

/// Something received from the gateway.
#[derive(Debug, PartialEq)]
pub(crate) enum Received {
    Text(String),
    Ping,
    /// Code and reason.
    Close(u16, String),
    /// The connection ended without a close frame.
    Gone,
}

impl Socket {
    /// Opens a connection. This never fails: refusals are close frames.
    pub(crate) async fn open(to: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        soon("a handshake", Self::try_open(to, path, headers)).await.unwrap()
    }

    /// Opens a connection to a gateway that may not be running.
    pub(crate) async fn try_open(
        to: SocketAddr,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Option<Self> {
        let mut request = format!("ws://{to}{path}").into_client_request().unwrap();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            let value = HeaderValue::from_str(value).unwrap();
            // Replaces Host; other headers may occur several times.
            if name == "host" {
                request.headers_mut().insert(name, value);
            } else {
                request.headers_mut().append(name, value);
            }
        }
        let stream = TcpStream::connect(to).await.ok()?;
        let (socket, response) = client_async(request, stream).await.ok()?;
        let protocol = response.headers().get("sec-websocket-protocol");
        let protocol = protocol.map(|value| value.to_str().unwrap().to_owned());
        Some(Self { socket, protocol, ids: 0 })
    }

    pub(crate) async fn hello(&mut self, token: &str) {
        self.send(json!({"type": "hello", "token": token, "client": "tests/1"})).await;
    }

    pub(crate) async fn welcome(&mut self) -> Value {
        let frame = self.frame().await;
        assert_eq!(frame["type"], "welcome", "{frame}");
        frame
    }

    pub(crate) async fn send(&mut self, frame: Value) {
        self.send_text(&frame.to_string()).await;
    }

    /// Sends `frame` to a gateway that may have ended.
    pub(crate) async fn try_send(&mut self, frame: Value) -> Option<()> {
        self.socket.send(Message::text(frame.to_string())).await.ok()
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.message(Message::text(text)).await;
    }

    pub(crate) async fn message(&mut self, message: Message) {
        soon("room to send", self.socket.send(message)).await.unwrap();
    }

    /// Sends `frame` with a new id. Returns its answer, which must be the next frame.
    pub(crate) async fn ask(&mut self, mut frame: Value) -> Value {
        self.ids += 1;
        frame["id"] = self.ids.into();
        self.send(frame).await;
        let mut answer = self.frame().await;
        let id = answer.as_object_mut().and_then(|answer| answer.remove("id"));
        assert_eq!(id, Some(self.ids.into()), "{answer}");
        answer
    }

    /// Joins `group`, which has no history.
    pub(crate) async fn join(&mut self, group: &str) {
        let answer = self.ask(json!({"type": "join", "groups": [group]})).await;
        assert_eq!(answer, json!({"type": "joined", "groups": [{"group": group}]}));
    }

    /// The next thing received. Answers and skips v1's pings.
    #[track_caller]
    pub(crate) fn next(&mut self) -> impl Future<Output = Received> {
        soon("something to arrive", async {
            loop {
                match self.receive().await {
                    Received::Text(text) if text == r#"{"type":"ping"}"# => {
                        self.send(json!({"type": "pong"})).await;
                    }
                    received => return received,
                }
            }
        })
    }

    /// The next thing received, including pings.
    pub(crate) async fn receive(&mut self) -> Received {
        loop {
            let received = match self.socket.next().await {
                None | Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) => Received::Gone,
                Some(Err(Error::Io(_) | Error::Protocol(_))) => Received::Gone,
                Some(Err(error)) => panic!("{error}"),
                Some(Ok(Message::Text(text))) => Received::Text(text.to_string()),
                Some(Ok(Message::Ping(_))) => Received::Ping,
                Some(Ok(Message::Close(Some(CloseFrame { code, reason })))) => {
                    Received::Close(code.into(), reason.to_string())
                }
                Some(Ok(Message::Close(None))) => Received::Close(1005, String::new()),
                Some(Ok(Message::Pong(_))) => continue,
                Some(Ok(other)) => panic!("the gateway never sends {other:?}"),
            };
            return received;
        }
    }

    /// The next message.
    #[track_caller]
    pub(crate) fn text(&mut self) -> impl Future<Output = String> {
        let place = std::panic::Location::caller();
        let next = self.next();
        async move {
            match next.await {
                Received::Text(text) => text,
                other => panic!("expected a message at {place}, got {other:?}"),
            }
        }
    }

    /// The next message, parsed as JSON.
    #[track_caller]
    pub(crate) fn frame(&mut self) -> impl Future<Output = Value> {
        let text = self.text();
        async move { serde_json::from_str(&text.await).unwrap() }
    }

    /// The `data` of the next frame, which must be an event.
    #[track_caller]
    pub(crate) fn event(&mut self) -> impl Future<Output = Value> {
        let frame = self.frame();
        async move {
            let mut frame = frame.await;
            assert_eq!(frame["type"], "event", "{frame}");
            frame["data"].take()
        }
    }

    /// Waits for the close frame, which must be next. Returns its code and the JSON of its reason.
    #[track_caller]
    pub(crate) fn closed(&mut self) -> impl Future<Output = (u16, Value)> {
        let place = std::panic::Location::caller();
        let next = self.next();
        async move {
            match next.await {
                Received::Close(code, reason) => {
                    assert!(reason.len() <= 123, "{reason}");
                    let reason: Value = serde_json::from_str(&reason).unwrap_or(Value::Null);
                    if (4400..4600).contains(&code) {
                        assert!(reason["reason"].is_string(), "{code} {reason}");
                    }
                    (code, reason)
                }
                other => panic!("expected a close at {place}, got {other:?}"),
            }
        }
    }

    /// Sends a close frame.
    pub(crate) async fn begin_close(&mut self, code: u16) {
        let frame = CloseFrame { code: code.into(), reason: "".into() };
        self.message(Message::Close(Some(frame))).await;
    }

    /// Closes. Returns what the gateway answers.
    pub(crate) async fn close(mut self, code: u16) -> Received {
        self.begin_close(code).await;
        self.next().await
    }
}
